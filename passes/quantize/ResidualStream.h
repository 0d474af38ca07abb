//===- ResidualStream.h - What products add to ------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_RESIDUALSTREAM_H
#define PARE_PASSES_QUANTIZE_RESIDUALSTREAM_H

#include "frontend/ir/NN.h"
#include "passes/calibrate/Segments.h"
#include "passes/reference/HostTensor.h"

namespace pare {

/// Whether rows of a product by `x` act on no other row of the segment's only
/// output, the residual stream.
bool staysInRows(mlir::Value x, const Segment &segment);

/// What the segment's only op that reads `product` makes of it by adding, past
/// biases: a stream of activations. Null: that is something else.
mlir::Value findSum(nn::MatMulOp product, const Segment &segment);

/// Of each row 1 / its mean square. What is added to a residual stream counts
/// by the stream's size, since all that reads it normalizes it: a first token
/// with values a thousand times those of others must not drown them.
std::vector<float> weighRows(const HostTensor &stream);

} // namespace pare

#endif
