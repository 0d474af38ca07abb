//===- Reduce.h - Reductions over any set of axes ---------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_REDUCE_H
#define PARE_BACKENDS_CPU_KERNELS_REDUCE_H

#include "backends/cpu/kernels/Strided.h"
#include "backends/cpu/kernels/Vectors.h"
#include <functional>

namespace pare::cpu {

enum class ReduceKind { Sum, Mean, Max, Min, Prod, SumSquare, L2 };

/// Reduces `in`, row-major, over the axes that `reduced` names; the output is
/// the row-major tensor of the others. Sums are taken in an order that depends
/// on the shape and the vector width only. A maximum or minimum ignores NaN
/// unless there is nothing else; that of no element is -inf or +inf (the
/// least or largest integer). Mean and L2 are for floats.
struct ReduceSpec {
  ReduceKind kind = ReduceKind::Sum;
  llvm::SmallVector<Extent> shape;
  llvm::SmallVector<bool> reduced; ///< one per axis
  PareDType type = PARE_F32; ///< of in and out: f32, f16, bf16, i32 or i64
  unsigned ptrIn = 0, ptrOut = 1;
  /// Optional: maps results before they are stored (a vector or a scalar of the
  /// compute type).
  std::function<mlir::Value(KernelBuilder &b, mlir::Value result)> epilogue;
};

Grid reduceGrid(const ReduceSpec &spec, const Isa &isa);
void emitReduce(KernelBuilder &b, const ReduceSpec &spec);

} // namespace pare::cpu

#endif
