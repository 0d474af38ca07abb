//===- Choose.h - Between the kernels of two providers ----------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_CHOOSE_H
#define PARE_BACKENDS_CPU_CHOOSE_H

#include "backends/cpu/Select.h"

namespace pare::cpu {

/// What a timing table knows an op by.
struct TimedOp {
  std::string op;     ///< "matmul", "conv1x1", "conv", "depthwise"
  std::string format; ///< of its weight: "f32", "int8"
  ProductShape shape; ///< pixels, inputs of an output, outputs
};

/// The product or convolution that `op` computes, at typical sizes: 64 within
/// the declared bounds for dynamic ones. nullopt: it is neither.
std::optional<TimedOp> getTimedOp(mlir::Operation *op);

/// Whether oneDNN's kernel is to be preferred to the generated one, which both
/// compute `op`; why is put into `reason`.
bool prefersOneDnn(mlir::Operation *op, const SelectOptions &options,
                   std::string &reason);

} // namespace pare::cpu

#endif
