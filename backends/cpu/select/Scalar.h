//===- Scalar.h - Elementwise nn ops on registers ---------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_SELECT_SCALAR_H
#define PARE_BACKENDS_CPU_SELECT_SCALAR_H

#include "backends/cpu/kernels/KernelBuilder.h"
#include "frontend/ir/NN.h"

namespace pare::cpu {

/// Whether `op` maps equal positions of its operands to one of its result and
/// emitScalar knows it.
bool isElementwise(mlir::Operation *op);

/// The op on one vector per operand, all of one lane count and of the operands'
/// compute types (kernels/Vectors.h).
mlir::Value emitScalar(KernelBuilder &b, mlir::Operation *op,
                       llvm::ArrayRef<mlir::Value> operands);

} // namespace pare::cpu

#endif
