//===- Awq.h - Scales of a product's inputs ---------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_AWQ_H
#define PARE_PASSES_QUANTIZE_ENCODE_AWQ_H

#include "passes/quantize/encode/Encode.h"

namespace pare::encode {

/// f32 weights [rows, columns], row-major.
struct MatrixView {
  llvm::ArrayRef<float> weights;
  int64_t rows;
};

/// One factor per input, by which weights of all `matrices` (which have their
/// inputs in common) are multiplied and inputs divided, so that rounding to
/// nearest hurts the outputs least: AWQ (Lin et al. 2023, equation 5).
/// Factors are |x|^α over √(largest · least of them), with the α of 0, 1/20 …
/// 19/20 whose Σ tr(E H Eᵀ) is least. `magnitudes` is the mean |x| of each
/// input; `moments` must have products or importance. The factors are all 1
/// where no α is better than 0.
std::vector<float> findInputScales(llvm::ArrayRef<MatrixView> matrices,
                                   const BlockFormat &format,
                                   const InputMoments &moments,
                                   llvm::ArrayRef<float> magnitudes,
                                   ScaleSearch search, unsigned threads = 1);

} // namespace pare::encode

#endif
