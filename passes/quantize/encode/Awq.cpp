//===- Awq.cpp - Scales of a product's inputs -----------------------------===//
#include "passes/quantize/encode/Awq.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using llvm::ArrayRef;

namespace pare::encode {

static std::vector<float> getFactors(ArrayRef<float> magnitudes, double alpha) {
  std::vector<float> factors;
  for (float magnitude : magnitudes)
    factors.push_back(
        float(std::max(std::pow(double(magnitude), alpha), 1e-4)));
  double root = std::sqrt(double(*llvm::max_element(factors)) *
                          *llvm::min_element(factors));
  for (float &factor : factors)
    factor = float(factor / root);
  return factors;
}

/// Σ tr(E H Eᵀ) of matrices whose weights are multiplied by `factors` before
/// rounding to nearest.
static double getError(ArrayRef<MatrixView> matrices, const BlockFormat &format,
                       const InputMoments &moments, ArrayRef<float> factors,
                       const EncodeOptions &options) {
  int64_t columns = moments.size;
  std::vector<double> products(moments.products.size()),
      importance(moments.importance.size());
  for (size_t i = 0; i < products.size(); ++i)
    products[i] = moments.products[i] /
                  (double(factors[i / columns]) * factors[i % columns]);
  for (size_t i = 0; i < importance.size(); ++i)
    importance[i] = moments.importance[i] / (double(factors[i]) * factors[i]);
  InputMoments scaled{columns, products, importance, {}};

  double total = 0;
  for (const MatrixView &matrix : matrices) {
    std::vector<float> weights = matrix.weights.vec();
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i] *= factors[i % columns];
    EncodedMatrix encoded =
        encodeMatrix(weights, matrix.rows, columns, format, options, &scaled);
    total += encoded.error * encoded.error * encoded.norm;
  }
  return total;
}

std::vector<float> findInputScales(ArrayRef<MatrixView> matrices,
                                   const BlockFormat &format,
                                   const InputMoments &moments,
                                   ArrayRef<float> magnitudes,
                                   ScaleSearch search, unsigned threads) {
  assert(int64_t(magnitudes.size()) == moments.size && "one per input");
  constexpr int kSteps = 20;
  EncodeOptions options;
  options.method = RoundMethod::Nearest;
  options.scales = search;
  options.threads = threads;
  std::vector<float> best;
  double least = 0;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> factors = getFactors(magnitudes, double(step) / kSteps);
    double error = getError(matrices, format, moments, factors, options);
    if (best.empty() || error < least) {
      best = std::move(factors);
      least = error;
    }
  }
  return best;
}

} // namespace pare::encode
