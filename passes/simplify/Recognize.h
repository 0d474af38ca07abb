//===- Recognize.h - Finds the ops that exporters decompose -----*- C++ -*-===//
#ifndef PARE_PASSES_SIMPLIFY_RECOGNIZE_H
#define PARE_PASSES_SIMPLIFY_RECOGNIZE_H

#include "passes/simplify/Match.h"

namespace pare {

/// softmax(scale * q · kᵀ + mask) · v → nn.attention, for products over
/// [batch, heads, sequence, size] or [batch, sequence, size].
mlir::LogicalResult recognizeAttention(nn::MatMulOp op,
                                       mlir::PatternRewriter &rewriter,
                                       const WeightStore *weights);

} // namespace pare

#endif
