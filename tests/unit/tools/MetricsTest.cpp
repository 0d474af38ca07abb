#include "tools/Metrics.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace pare::tools;

namespace {

TEST(Metrics, MeansHaveStandardErrors) {
  // Variance 1.25 over 4 values, sqrt(1.25 / 3).
  Estimate mean = estimateMean({1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(mean.value, 2.5);
  EXPECT_DOUBLE_EQ(mean.error, std::sqrt(1.25 / 3));
  EXPECT_EQ(estimateMean({7}).value, 7);
  EXPECT_EQ(estimateMean({7}).error, 0);
  // A share is the mean of zeros and ones.
  Estimate share = estimateShare(1, 4), same = estimateMean({0, 0, 1, 0});
  EXPECT_DOUBLE_EQ(share.value, same.value);
  EXPECT_DOUBLE_EQ(share.error, same.error);
}

TEST(Metrics, QuantilesAreNumpys) {
  EXPECT_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({0, 10}, 0.99), 9.9);
  EXPECT_EQ(quantile({5}, 0.999), 5);
  EXPECT_EQ(quantile({1, 2}, 1), 2);
}

/// Logits of a distribution, shifted: softmax does not see it.
std::vector<float> logitsOf(std::vector<double> probabilities, double shift) {
  std::vector<float> logits;
  for (double p : probabilities)
    logits.push_back(float(std::log(p) + shift));
  return logits;
}

TEST(Metrics, PredictionsByTheDefinition) {
  std::vector<double> p = {0.5, 0.25, 0.125, 0.125}, q = {0.2, 0.4, 0.3, 0.1};
  double kl = 0;
  for (size_t i = 0; i < 4; ++i)
    kl += p[i] * std::log(p[i] / q[i]);
  Prediction x = measurePrediction(logitsOf(q, 30), logitsOf(p, -7), 2);
  EXPECT_NEAR(x.loss, -std::log(0.3), 1e-6);
  EXPECT_NEAR(x.lossAgainst, -std::log(0.125), 1e-6);
  EXPECT_NEAR(x.kl, kl, 1e-6);
  EXPECT_FALSE(x.sameTop);
  // Not symmetric, and zero of itself.
  EXPECT_GT(
      std::abs(measurePrediction(logitsOf(p, 0), logitsOf(q, 0), 2).kl - kl),
      0.01);
  x = measurePrediction(logitsOf(p, 3), logitsOf(p, 3), 0);
  EXPECT_EQ(x.kl, 0);
  EXPECT_TRUE(x.sameTop);
  // Without a reference.
  EXPECT_NEAR(measurePrediction(logitsOf(q, 0), {}, 1).loss, -std::log(0.4),
              1e-6);
}

TEST(Metrics, PredictionsOfLogitsFarApart) {
  // A token that f32 cannot weigh beside another adds nothing, not NaN.
  Prediction x = measurePrediction({0, 200, -300}, {0, 100, -300}, 0);
  EXPECT_NEAR(x.loss, 200, 1e-6);
  EXPECT_NEAR(x.lossAgainst, 100, 1e-6);
  EXPECT_NEAR(x.kl, 0, 1e-6);
}

TEST(Metrics, SummaryOfPredictions) {
  std::vector<Prediction> all;
  for (int i = 0; i < 101; ++i) {
    Prediction x;
    x.loss = i % 2 ? 1.5 : 0.5;
    x.lossAgainst = x.loss - 0.25;
    x.kl = i;
    x.sameTop = i < 75;
    all.push_back(x);
  }
  LanguageReport r = summarize(all);
  EXPECT_EQ(r.tokens, 101u);
  double mean = (51 * 0.5 + 50 * 1.5) / 101;
  EXPECT_NEAR(r.perplexity.value, std::exp(mean), 1e-12);
  EXPECT_NEAR(r.perplexityAgainst.value, std::exp(mean - 0.25), 1e-12);
  EXPECT_NEAR(r.ratio.value, std::exp(0.25), 1e-12);
  EXPECT_NEAR(r.ratio.error, 0, 1e-12); // every token has the same difference
  EXPECT_GT(r.perplexity.error, 0.1);
  EXPECT_EQ(r.kl.value, 50);
  EXPECT_EQ(r.klMedian, 50);
  EXPECT_EQ(r.kl90, 90);
  EXPECT_EQ(r.kl99, 99);
  EXPECT_NEAR(r.kl999, 99.9, 1e-9);
  EXPECT_EQ(r.klMax, 100);
  EXPECT_NEAR(r.sameTop.value, 75.0 / 101, 1e-12);
  double a = std::exp(-1.5) - std::exp(-1.25),
         b = std::exp(-0.5) - std::exp(-0.25);
  EXPECT_NEAR(r.probability.value, std::sqrt((50 * a * a + 51 * b * b) / 101),
              1e-12);
  EXPECT_EQ(summarize({}).tokens, 0u);
}

TEST(Metrics, RanksShareTies) {
  EXPECT_EQ(getRanks({10, 30, 20, 30}), (std::vector<double>{1, 3.5, 2, 3.5}));
  EXPECT_DOUBLE_EQ(*getSpearman({1, 2, 3, 4}, {10, 100, 1000, 1001}), 1);
  EXPECT_DOUBLE_EQ(*getSpearman({1, 2, 3}, {3, 2, 1}), -1);
  // scipy.stats.spearmanr([1, 2, 3, 4, 5], [5, 6, 7, 8, 7])
  EXPECT_NEAR(*getSpearman({1, 2, 3, 4, 5}, {5, 6, 7, 8, 7}),
              0.8207826816681233, 1e-12);
  EXPECT_FALSE(getSpearman({1, 1}, {1, 2}));
}

TEST(Metrics, VectorsRowByRow) {
  Matrix a{{1, 0, 0, 1, 3, 4, 0, 0}, 2}, b{{2, 0, 1, 0, 3, 4, 0, 0}, 2};
  VectorReport r = compareVectors(a, b);
  EXPECT_EQ(r.rows, 4u);
  EXPECT_DOUBLE_EQ(r.cosine.value, (1 + 0 + 1 + 1) / 4.0);
  EXPECT_EQ(r.worst, 0);
  EXPECT_EQ(r.worstRow, 1u);
  EXPECT_NEAR(r.lowest1, 0.03, 1e-12);
  ASSERT_TRUE(r.rankCorrelation);
  EXPECT_LT(*r.rankCorrelation, 1);
  EXPECT_DOUBLE_EQ(*compareVectors(a, a).rankCorrelation, 1);
  EXPECT_EQ(getCosine({0, 0}, {0, 0}), 1);
  EXPECT_EQ(getCosine({0, 0}, {0, 2}), 0);
}

} // namespace
