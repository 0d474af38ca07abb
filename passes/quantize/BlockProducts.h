//===- BlockProducts.h - Products of weights in blocks ----------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_BLOCKPRODUCTS_H
#define PARE_PASSES_QUANTIZE_BLOCKPRODUCTS_H

#include "passes/quantize/Int8.h"

namespace pare {

/// What meets weights in blocks in a matrix product.
enum class BlockActivations {
  F32,  ///< as they are; weights are decoded
  Int8, ///< codes, wherever the target has integer kernels
  Auto, ///< the default: today as Int8
};

struct BlockProductOptions {
  /// Asked for its integer kernels; null: it has one for every format.
  const Target *target = nullptr;
  BlockActivations activations = BlockActivations::Auto;
  /// Where decisions are appended, one per weight in blocks, in program order;
  /// may be null.
  std::vector<TensorDecision> *decisions = nullptr;
};

} // namespace pare

#endif
