//===- Entries.h - The rows of the selection table, by family ---*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_SELECT_ENTRIES_H
#define PARE_BACKENDS_CPU_SELECT_ENTRIES_H

#include "backends/cpu/Select.h"
#include "backends/cpu/kernels/Strided.h"

namespace pare::cpu {

llvm::ArrayRef<KernelEntry> getMatMulEntries();
llvm::ArrayRef<KernelEntry> getBlockEntries();
llvm::ArrayRef<KernelEntry> getExpertEntries();
llvm::ArrayRef<KernelEntry> getConvEntries();
llvm::ArrayRef<KernelEntry> getAttentionEntries();
llvm::ArrayRef<KernelEntry> getCacheEntries();
llvm::ArrayRef<KernelEntry> getNormEntries();
llvm::ArrayRef<KernelEntry> getElementwiseEntries();
llvm::ArrayRef<KernelEntry> getReduceEntries();
llvm::ArrayRef<KernelEntry> getMovementEntries();
llvm::ArrayRef<KernelEntry> getQuantizeEntries();

/// Whether every reader of a slice takes it where it lies (attention heads cut
/// out of a fused projection), so that nothing is copied.
bool isReadInPlace(nn::SliceOp slice);

/// A kernel's product or grid as an expression of the shapes: its dims are
/// those of `call`.
nn::Dim toDim(const Product &product, const KernelCall &call,
              mlir::MLIRContext *context);
nn::Dim toDim(const Grid &grid, const KernelCall &call,
              mlir::MLIRContext *context);

/// Whether a value's bytes are known to the compiler: a param or a constant.
bool isConstant(mlir::Value value);

/// Whether `op` dequantizes activation codes without a zero point of their own.
bool hasPlainCodes(nn::DequantizeOp op);

/// Adds the op's results as the call's outputs.
void addOutputs(KernelCall &call, mlir::Operation *op);

/// Offers every input from `firstInput` on that has a result's type to be
/// overwritten by it.
void offerInPlace(KernelCall &call, unsigned firstInput);

/// Starts a call of `op`: its labels and costs.
KernelCall beginCall(mlir::Operation *op, llvm::StringRef suffix = "");

} // namespace pare::cpu

#endif
