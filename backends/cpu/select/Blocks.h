//===- Blocks.h - What products of weights in blocks share ------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_SELECT_BLOCKS_H
#define PARE_BACKENDS_CPU_SELECT_BLOCKS_H

#include "backends/cpu/Select.h"
#include "backends/cpu/kernels/BlockGemm.h"

namespace pare::cpu {

/// The format of a weight in blocks, or null.
const BlockFormat *getBlockFormat(mlir::Value value);

/// The codes that `product`, whose first operand is what it multiplies,
/// multiplies in its group, one scale per kBlockStep; null: it multiplies f32.
nn::DequantizeOp getCodes(mlir::Operation *product);

/// Why the group of `product`, an op on weights in blocks or, where `format` is
/// null, plain ones, has no kernel; nullopt: it has one.
std::optional<std::string> whyNoProduct(mlir::Operation *op,
                                        mlir::Operation *product,
                                        const BlockFormat *format);

/// Adds what `product` multiplies to the call: codes and their scales, or f32.
/// Returns the index of the scales' pointer.
unsigned addRows(KernelCall &call, mlir::Operation *product,
                 Selector &selector);

/// Adds the call of a product of `m` rows to the program: `spec` and `call`
/// have all but the group's tail, its outputs and the tasks.
void addProduct(mlir::Operation *op, mlir::Operation *product,
                BlockGemmSpec spec, nn::Dim m, KernelCall call,
                Selector &selector);

} // namespace pare::cpu

#endif
