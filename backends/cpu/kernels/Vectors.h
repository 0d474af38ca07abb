//===- Vectors.h - Typed vectors, loops over rows, reductions ---*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_VECTORS_H
#define PARE_BACKENDS_CPU_KERNELS_VECTORS_H

#include "backends/cpu/kernels/KernelBuilder.h"
#include "backends/runtime/Abi.h"

namespace pare::cpu {

/// Bytes of a stored element (a bool is a byte).
unsigned elementBytes(PareDType type);
/// How an element lies in memory: f32, i8 for a bool, i16 for f16 and bf16.
mlir::Type storageType(mlir::OpBuilder &b, PareDType type);
/// What bodies compute with: f32 for f16 and bf16, i1 for a bool, signless
/// integers.
mlir::Type computeType(mlir::OpBuilder &b, PareDType type);

/// Lanes [offset, offset + lanes) of `base` as a vector of the compute type;
/// `count` as in loadVecPartial.
mlir::Value loadAs(KernelBuilder &b, PareDType type, mlir::Value base,
                   mlir::Value offset, unsigned lanes, mlir::Value count = {});
/// The same of elements `stride` apart, one by one.
mlir::Value loadStrided(KernelBuilder &b, PareDType type, mlir::Value base,
                        mlir::Value offset, mlir::Value stride, unsigned lanes,
                        mlir::Value count = {});
/// One element in all lanes.
mlir::Value loadSplat(KernelBuilder &b, PareDType type, mlir::Value base,
                      mlir::Value offset, unsigned lanes);
void storeAs(KernelBuilder &b, PareDType type, mlir::Value vector,
             mlir::Value base, mlir::Value offset, mlir::Value count = {});

/// The counterpart of loadStrided.
void storeStrided(KernelBuilder &b, PareDType type, mlir::Value vector,
                  mlir::Value base, mlir::Value offset, mlir::Value stride,
                  mlir::Value count = {});

/// Visits [0, n) in vectors: `lanes * unroll` wide while they fit, then `lanes`
/// wide, then one partial vector. `body(i, width, count)`; `count` is null for
/// whole vectors.
void forVectors(
    KernelBuilder &b, mlir::Value n, unsigned lanes, unsigned unroll,
    llvm::function_ref<void(mlir::Value i, unsigned width, mlir::Value count)>
        body);

using Combine = llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)>;

/// Reduces [0, n) to a scalar. `step(acc, i, count)` adds the elements at i to
/// a vector accumulator, which starts as `neutral` (a scalar constant) in all
/// lanes; what it does to lanes at or beyond `count` is ignored. The order
/// depends on n and the widths only: lane by lane, then a balanced tree.
mlir::Value
reduceVectors(KernelBuilder &b, mlir::Value n, unsigned lanes, unsigned unroll,
              mlir::Value neutral,
              llvm::function_ref<mlir::Value(mlir::Value acc, mlir::Value i,
                                             mlir::Value count)>
                  step,
              Combine combine);

/// Combines halves of a vector until `lanes` are left; 0: a scalar.
mlir::Value foldLanes(KernelBuilder &b, mlir::Value vector, unsigned lanes,
                      Combine combine);

/// Transposes n vectors of n lanes (n a power of two) in registers.
llvm::SmallVector<mlir::Value>
transposeInRegisters(KernelBuilder &b, llvm::ArrayRef<mlir::Value> rows);

/// The order-independent minimum and maximum of x86: a > b ? a : b.
mlir::Value maxFloat(KernelBuilder &b, mlir::Value x, mlir::Value y);
mlir::Value minFloat(KernelBuilder &b, mlir::Value x, mlir::Value y);

} // namespace pare::cpu

#endif
