//===- Metrics.h - How good a model's results are ---------------*- C++ -*-===//
//
// Figures of `pare eval`, for numbers from wherever. Those of language models
// are llama.cpp's (tools/perplexity, --kl-divergence), so that both can be
// compared: the same positions count, and means have standard errors.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_METRICS_H
#define PARE_TOOLS_METRICS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace pare::tools {

/// A figure and its standard error.
struct Estimate {
  double value = 0, error = 0;
};

/// The mean of `values` and its standard error, sqrt(variance / (n - 1)) with
/// the variance over n; 0 for fewer than two values.
Estimate estimateMean(llvm::ArrayRef<double> values);
/// Of yes and no: sqrt(p (1 - p) / (n - 1)).
Estimate estimateShare(uint64_t yes, uint64_t count);

/// The `share` quantile of `values`, which are not empty, with linear
/// interpolation between neighbours, as numpy.quantile.
double quantile(std::vector<double> values, double share);

/// Index of the largest of `values`, the first of equals; their number where
/// one of them is NaN.
size_t findTop(llvm::ArrayRef<float> values);

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

/// What one row of logits says of the token that follows.
struct Prediction {
  double loss = 0;        ///< -ln of its probability
  double lossAgainst = 0; ///< the same by the reference
  double kl = 0; ///< nats: sum of p ln(p / q), p the reference's distribution
  bool sameTop = false; ///< the likeliest token is the reference's
};

/// From rows of finite logits [vocabulary]; `against` may be empty.
/// Exponentials are of f32, sums in double: KL is exact to about 1e-7.
Prediction measurePrediction(llvm::ArrayRef<float> logits,
                             llvm::ArrayRef<float> against, int32_t next);

/// Of all predictions of a text.
struct LanguageReport {
  uint64_t tokens = 0;
  /// e to the mean loss; errors are those of the mean times it.
  Estimate perplexity, perplexityAgainst;
  double loss = 0, lossAgainst = 0; ///< means
  Estimate ratio;                   ///< of the perplexities
  Estimate kl;                      ///< mean
  double klMedian = 0, kl90 = 0, kl99 = 0, kl999 = 0, klMax = 0;
  Estimate sameTop;     ///< share of tokens
  Estimate probability; ///< root mean square of the differences between the two
                        ///< probabilities of the token that follows
};

LanguageReport summarize(llvm::ArrayRef<Prediction> predictions);

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// Rows of floats.
struct Matrix {
  std::vector<float> values; ///< [rows, columns]
  size_t columns = 0;
  size_t rows() const { return columns ? values.size() / columns : 0; }
  llvm::ArrayRef<float> row(size_t i) const {
    return llvm::ArrayRef(values).slice(i * columns, columns);
  }
};

/// Of two vectors of one size; 1 if both are zero, 0 if one is.
double getCosine(llvm::ArrayRef<float> a, llvm::ArrayRef<float> b);

/// Ranks of `values` from 1, equal ones with the mean of theirs.
std::vector<double> getRanks(llvm::ArrayRef<double> values);
/// The correlation of ranks; nullopt where one side is constant.
std::optional<double> getSpearman(llvm::ArrayRef<double> a,
                                  llvm::ArrayRef<double> b);

/// How a model's vectors of texts compare with another's, row by row.
struct VectorReport {
  uint64_t rows = 0;
  Estimate cosine;
  double worst = 1, lowest1 = 1; ///< cosine: the least, and the 1% quantile
  size_t worstRow = 0;
  /// Spearman's correlation of the similarities (cosines) of all pairs of rows,
  /// of more than 3,000 rows of so many evenly spaced ones; nullopt for fewer
  /// than three.
  std::optional<double> rankCorrelation;
};

/// `a` and `b` have the same shape and at least one row.
VectorReport compareVectors(const Matrix &a, const Matrix &b);

} // namespace pare::tools

#endif
