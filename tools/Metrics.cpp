//===- Metrics.cpp - How good a model's results are -----------------------===//
#include "tools/Metrics.h"
#include "backends/runtime/Softmax.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <numeric>

using namespace llvm;

namespace pare::tools {

Estimate estimateMean(ArrayRef<double> values) {
  if (values.empty())
    return {};
  auto n = double(values.size());
  double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2)
    return {mean, 0};
  // Around the mean: the difference of two large sums would lose digits.
  double squares = 0;
  for (double value : values)
    squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / n / (n - 1))};
}

Estimate estimateShare(uint64_t yes, uint64_t count) {
  if (!count)
    return {};
  double p = double(yes) / double(count);
  return {p, count < 2 ? 0 : std::sqrt(p * (1 - p) / double(count - 1))};
}

double quantile(std::vector<double> values, double share) {
  llvm::sort(values);
  double at = share * double(values.size() - 1);
  auto low = size_t(at);
  size_t high = std::min(low + 1, values.size() - 1);
  double rest = at - double(low);
  return rest == 0 ? values[low]
                   : values[low] + rest * (values[high] - values[low]);
}

size_t findTop(ArrayRef<float> values) {
  float top = rt::largest(values.data(), values.size());
  return size_t(llvm::find(values, top) - values.begin());
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

/// The sum of weight * (a - b), in an order that does not depend on vector
/// widths.
static double sumDifferences(ArrayRef<float> weights, ArrayRef<float> a,
                             ArrayRef<float> b) {
  constexpr size_t lanes = 4;
  double sums[lanes] = {};
  size_t i = 0;
  for (; i + lanes <= weights.size(); i += lanes)
    for (size_t j = 0; j < lanes; ++j)
      sums[j] += double(weights[i + j]) * (double(a[i + j]) - double(b[i + j]));
  for (size_t j = 0; i < weights.size(); ++i, ++j)
    sums[j] += double(weights[i]) * (double(a[i]) - double(b[i]));
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

Prediction measurePrediction(ArrayRef<float> logits, ArrayRef<float> against,
                             int32_t next) {
  Prediction result;
  size_t top = findTop(logits);
  double sum = double(logits[top]) +
               std::log(rt::sumOfExponentials(logits.data(), logits.size(),
                                              logits[top]));
  result.loss = sum - double(logits[next]);
  if (against.empty())
    return result;
  // sum p ln(p / q) = sum p (a - b) - ln sum e^a + ln sum e^b, where a and b
  // are the logits of p and q; the sum over p needs no second exponential.
  size_t topAgainst = findTop(against);
  std::vector<float> weights(against.size());
  double total = rt::exponentials(against.data(), against.size(),
                                  against[topAgainst], 1, weights.data());
  double sumAgainst = double(against[topAgainst]) + std::log(total);
  result.lossAgainst = sumAgainst - double(against[next]);
  result.kl = std::max(0.0, sumDifferences(weights, against, logits) / total -
                                sumAgainst + sum);
  result.sameTop = top == topAgainst;
  return result;
}

LanguageReport summarize(ArrayRef<Prediction> predictions) {
  LanguageReport report;
  report.tokens = predictions.size();
  if (predictions.empty())
    return report;
  auto collect = [&](auto get) {
    std::vector<double> values;
    values.reserve(predictions.size());
    for (const Prediction &prediction : predictions)
      values.push_back(get(prediction));
    return values;
  };
  auto perplexity = [&](auto get, double &loss) {
    Estimate mean = estimateMean(collect(get));
    loss = mean.value;
    return Estimate{std::exp(mean.value), std::exp(mean.value) * mean.error};
  };
  report.perplexity =
      perplexity([](const Prediction &p) { return p.loss; }, report.loss);
  report.perplexityAgainst = perplexity(
      [](const Prediction &p) { return p.lossAgainst; }, report.lossAgainst);
  double ignored = 0;
  report.ratio = perplexity(
      [](const Prediction &p) { return p.loss - p.lossAgainst; }, ignored);

  std::vector<double> kl = collect([](const Prediction &p) { return p.kl; });
  report.kl = estimateMean(kl);
  llvm::sort(kl); // so that each quantile finds it sorted
  report.klMedian = quantile(kl, 0.5);
  report.kl90 = quantile(kl, 0.9);
  report.kl99 = quantile(kl, 0.99);
  report.kl999 = quantile(kl, 0.999);
  report.klMax = kl.back();
  report.sameTop = estimateShare(
      count_if(predictions, [](const Prediction &p) { return p.sameTop; }),
      predictions.size());
  Estimate squares = estimateMean(collect([](const Prediction &p) {
    double difference = std::exp(-p.loss) - std::exp(-p.lossAgainst);
    return difference * difference;
  }));
  // Of the root: d sqrt(x) = dx / (2 sqrt(x)).
  double root = std::sqrt(squares.value);
  report.probability = {root, root > 0 ? squares.error / (2 * root) : 0};
  return report;
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

double getCosine(ArrayRef<float> a, ArrayRef<float> b) {
  double dot = 0, normA = 0, normB = 0;
  for (auto [x, y] : zip_equal(a, b)) {
    dot += double(x) * double(y);
    normA += double(x) * double(x);
    normB += double(y) * double(y);
  }
  if (normA == 0 && normB == 0)
    return 1;
  double norms = std::sqrt(normA) * std::sqrt(normB);
  return norms > 0 ? dot / norms : 0;
}

std::vector<double> getRanks(ArrayRef<double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  llvm::sort(order, [&](size_t a, size_t b) {
    return values[a] != values[b] ? values[a] < values[b] : a < b;
  });
  std::vector<double> ranks(values.size());
  for (size_t first = 0, last; first < order.size(); first = last) {
    last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]])
      ++last;
    for (size_t i = first; i < last; ++i)
      ranks[order[i]] = double(first + last + 1) / 2;
  }
  return ranks;
}

std::optional<double> getSpearman(ArrayRef<double> a, ArrayRef<double> b) {
  std::vector<double> ranksA = getRanks(a), ranksB = getRanks(b);
  double mean = double(a.size() + 1) / 2;
  double product = 0, squaresA = 0, squaresB = 0;
  for (auto [x, y] : zip_equal(ranksA, ranksB)) {
    product += (x - mean) * (y - mean);
    squaresA += (x - mean) * (x - mean);
    squaresB += (y - mean) * (y - mean);
  }
  if (squaresA == 0 || squaresB == 0)
    return std::nullopt;
  return product / std::sqrt(squaresA) / std::sqrt(squaresB);
}

/// Rows whose pairs are ranked: 4.5 million of them.
static constexpr size_t kMaxRanked = 3000;

/// At most kMaxRanked rows.
static Matrix thinOut(const Matrix &m) {
  if (m.rows() <= kMaxRanked)
    return m;
  Matrix result{{}, m.columns};
  for (size_t i = 0; i < kMaxRanked; ++i)
    append_range(result.values, m.row(i * m.rows() / kMaxRanked));
  return result;
}

/// Cosines of all pairs of rows.
static std::vector<double> getSimilarities(const Matrix &m) {
  Matrix unit = m;
  for (size_t i = 0; i < m.rows(); ++i) {
    double norm = 0;
    for (float x : m.row(i))
      norm += double(x) * double(x);
    norm = std::sqrt(norm);
    for (size_t k = 0; k < m.columns && norm > 0; ++k)
      unit.values[i * m.columns + k] = float(double(m.row(i)[k]) / norm);
  }
  std::vector<double> result;
  result.reserve(m.rows() * (m.rows() - 1) / 2);
  for (size_t i = 0; i < m.rows(); ++i)
    for (size_t j = 0; j < i; ++j) {
      double dot = 0;
      for (size_t k = 0; k < m.columns; ++k)
        dot += double(unit.values[i * m.columns + k]) *
               double(unit.values[j * m.columns + k]);
      result.push_back(dot);
    }
  return result;
}

VectorReport compareVectors(const Matrix &a, const Matrix &b) {
  VectorReport report;
  report.rows = a.rows();
  std::vector<double> cosines;
  for (size_t i = 0; i < a.rows(); ++i)
    cosines.push_back(getCosine(a.row(i), b.row(i)));
  report.cosine = estimateMean(cosines);
  report.worstRow = size_t(std::min_element(cosines.begin(), cosines.end()) -
                           cosines.begin());
  report.worst = cosines[report.worstRow];
  report.lowest1 = quantile(cosines, 0.01);
  if (a.rows() >= 3)
    report.rankCorrelation =
        getSpearman(getSimilarities(thinOut(a)), getSimilarities(thinOut(b)));
  return report;
}

} // namespace pare::tools
