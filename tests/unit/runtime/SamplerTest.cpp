// Against what the methods' papers define, computed the plain way: all
// probabilities in double, everything sorted.
#include "backends/runtime/Sampler.h"
#include "backends/runtime/Softmax.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

using namespace pare::rt;

namespace {

std::vector<float> makeLogits(size_t count, unsigned seed, float scale = 3) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(count);
  for (float &logit : logits)
    logit = normal(engine);
  return logits;
}

/// Softmax of the tokens in `kept` (all where it is empty), 0 for others.
std::vector<double> softmax(const std::vector<float> &logits,
                            const std::set<int> &kept = {},
                            double temperature = 1) {
  double top = *std::max_element(logits.begin(), logits.end()), sum = 0;
  std::vector<double> result(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    if (kept.empty() || kept.count(int(i)))
      sum += result[i] = std::exp((double(logits[i]) - top) / temperature);
  for (double &p : result)
    p /= sum;
  return result;
}

/// The smallest prefix of the tokens in the order of `less` whose probability
/// is at least `mass`.
template <typename Less>
std::set<int> smallest(const std::vector<double> &p, double mass, Less less) {
  std::vector<int> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return less(a, b) || (!less(b, a) && a < b); });
  std::set<int> kept;
  double sum = 0;
  for (int token : order) {
    kept.insert(token);
    if ((sum += p[size_t(token)]) >= mass)
      break;
  }
  return kept;
}

std::set<int> topP(const std::vector<float> &logits, double mass) {
  std::vector<double> p = softmax(logits);
  return smallest(p, mass,
                  [&](int a, int b) { return p[size_t(a)] > p[size_t(b)]; });
}

std::set<int> typical(const std::vector<float> &logits, double mass) {
  std::vector<double> p = softmax(logits);
  double entropy = 0;
  for (double x : p)
    entropy -= x > 0 ? x * std::log(x) : 0;
  auto distance = [&](int i) {
    return std::abs(-std::log(p[size_t(i)]) - entropy);
  };
  return smallest(p, mass,
                  [&](int a, int b) { return distance(a) < distance(b); });
}

std::set<int> minP(const std::vector<float> &logits, double ratio) {
  std::vector<double> p = softmax(logits);
  double top = *std::max_element(p.begin(), p.end());
  std::set<int> kept;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] >= ratio * top)
      kept.insert(int(i));
  return kept;
}

std::set<int> topK(const std::vector<float> &logits, size_t k) {
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return logits[size_t(a)] != logits[size_t(b)]
               ? logits[size_t(a)] > logits[size_t(b)]
               : a < b;
  });
  return {order.begin(), order.begin() + long(std::min(k, order.size()))};
}

class Draws {
public:
  explicit Draws(std::vector<float> logits) : logits(std::move(logits)) {
    EXPECT_TRUE(sampler.open(uint32_t(this->logits.size())));
  }
  int32_t draw(const Sampling &sampling, Random &random,
               const std::vector<int32_t> &history = {}) {
    std::vector<float> copy = logits;
    return sampler.sample(copy.data(), sampling, history.data(), history.size(),
                          random);
  }
  /// Draws often and expects each token of `kept` as often as the softmax over
  /// them says, within 5 standard deviations, and no other.
  void expect(const Sampling &sampling, const std::set<int> &kept,
              int count = 20000) {
    std::vector<double> p = softmax(logits, kept, double(sampling.temperature));
    std::map<int, int> found;
    Random random(7, 0);
    for (int i = 0; i < count; ++i)
      ++found[draw(sampling, random)];
    for (auto [token, times] : found)
      EXPECT_TRUE(kept.count(token)) << token;
    for (int token : kept) {
      double mean = count * p[size_t(token)];
      EXPECT_NEAR(found[token], mean, 5 * std::sqrt(mean) + 1) << token;
    }
  }
  std::vector<float> logits;
  Sampler sampler;
};

} // namespace

TEST(Softmax, ExponentialAndLogarithm) {
  for (float x = -90; x < 89; x += 0.00317f) {
    double expected = x < -87 ? 0 : std::exp(std::min(double(x), 88.0));
    EXPECT_NEAR(double(expOf(x)), expected, 2e-7 * expected) << x;
  }
  EXPECT_EQ(expOf(-INFINITY), 0);
  EXPECT_EQ(expOf(0), 1);
  for (double x = 1e-300; x < 1e300; x *= 1.37)
    EXPECT_NEAR(logOf(x), std::log(x),
                1e-15 * std::max(1.0, std::abs(std::log(x))));
  EXPECT_EQ(logOf(1), 0);
}

TEST(Softmax, SumsAndMaxima) {
  for (size_t count : {1, 2, 15, 16, 17, 255, 256, 257, 5000}) {
    std::vector<float> logits = makeLogits(count, unsigned(count));
    float top = *std::max_element(logits.begin(), logits.end());
    EXPECT_EQ(largest(logits.data(), count), top);
    double sum = 0;
    for (float logit : logits)
      sum += std::exp(double(logit) - double(top));
    EXPECT_NEAR(sumOfExponentials(logits.data(), count, top), sum, 3e-7 * sum);
    for (size_t at : {size_t(0), count / 2, count - 1}) {
      std::vector<float> broken = logits;
      broken[at] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(std::isnan(largest(broken.data(), count))) << count;
    }
  }
}

TEST(Sampler, RandomIsXoshiro256StarStar) {
  // The state of seed 0, stream 0 is the first outputs of splitmix64 seeded by
  // its own first output.
  auto splitMix = [](uint64_t &x) {
    uint64_t z = x += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  uint64_t zero = 0, mixed = splitMix(zero);
  EXPECT_EQ(mixed, 0xe220a8397b1dcdafu); // of the published reference code
  uint64_t s[4];
  for (uint64_t &word : s)
    word = splitMix(mixed);
  Random random(0, 0);
  for (int i = 0; i < 100; ++i) {
    auto rotate = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
    uint64_t expected = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = rotate(s[3], 45);
    EXPECT_EQ(random.next(), expected);
  }
  EXPECT_NE(Random(0, 0).next(), Random(0, 1).next());
  EXPECT_NE(Random(0, 0).next(), Random(1, 0).next());
}

TEST(Sampler, GreedyTakesTheLowestOfEqualTokens) {
  std::vector<float> logits = makeLogits(1000, 1);
  logits[700] = logits[300] = logits[301] = 50;
  Draws draws(logits);
  Random random;
  Sampling greedy;
  greedy.temperature = 0;
  EXPECT_EQ(draws.draw(greedy, random), 300);
  Sampling one;
  one.topK = 1;
  EXPECT_EQ(draws.draw(one, random), 300);
  Sampling cold;
  cold.temperature = 1e-30f;
  EXPECT_EQ(draws.draw(cold, random), 300);
  EXPECT_EQ(random.next(), Random().next());
}

TEST(Sampler, TemperatureDividesLogits) {
  Draws draws(makeLogits(12, 2));
  std::set<int> all = topK(draws.logits, 12);
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    Sampling sampling;
    sampling.temperature = temperature;
    draws.expect(sampling, all);
  }
}

TEST(Sampler, TopK) {
  for (uint32_t k : {2u, 5u, 40u, 64u, 65u, 300u, 1000u}) {
    Draws draws(makeLogits(300, k, 1));
    Sampling sampling;
    sampling.topK = k;
    draws.expect(sampling, topK(draws.logits, k), 5000);
  }
  // Of equal logits the lower tokens are among the k.
  Draws draws(std::vector<float>(200, 1.0f));
  Sampling sampling;
  sampling.topK = 3;
  draws.expect(sampling, {0, 1, 2}, 3000);
}

TEST(Sampler, TopP) {
  for (float p : {0.01f, 0.3f, 0.8f, 0.95f, 0.999f})
    for (unsigned seed = 0; seed < 3; ++seed) {
      Draws draws(makeLogits(400, seed));
      Sampling sampling;
      sampling.topP = p;
      draws.expect(sampling, topP(draws.logits, double(p)), 5000);
    }
}

TEST(Sampler, Typical) {
  for (float p : {0.1f, 0.5f, 0.95f})
    for (unsigned seed = 0; seed < 3; ++seed) {
      Draws draws(makeLogits(100, seed));
      Sampling sampling;
      sampling.typical = p;
      draws.expect(sampling, typical(draws.logits, double(p)), 5000);
    }
  // A likely token may be too little surprising.
  Draws draws({3, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_FALSE(typical(draws.logits, 0.2).count(0));
  Sampling sampling;
  sampling.typical = 0.2f;
  draws.expect(sampling, typical(draws.logits, 0.2), 3000);
}

TEST(Sampler, MinP) {
  for (float p : {0.01f, 0.1f, 0.5f, 1.0f}) {
    Draws draws(makeLogits(200, 3));
    Sampling sampling;
    sampling.minP = p;
    draws.expect(sampling, minP(draws.logits, double(p)), 5000);
  }
}

TEST(Sampler, StepsFollowEachOther) {
  // top-p among the tokens that top-k left, min-p among those of top-p, the
  // temperature last.
  Draws draws(makeLogits(500, 4, 2));
  Sampling sampling;
  sampling.topK = 50;
  sampling.topP = 0.8f;
  sampling.minP = 0.2f;
  sampling.temperature = 1.7f;
  std::set<int> k = topK(draws.logits, 50);
  std::vector<double> p = softmax(draws.logits, k);
  std::set<int> nucleus = smallest(
      p, 0.8, [&](int a, int b) { return p[size_t(a)] > p[size_t(b)]; });
  std::set<int> kept;
  for (int token : nucleus)
    if (minP(draws.logits, 0.2).count(token))
      kept.insert(token);
  EXPECT_LT(kept.size(), nucleus.size());
  EXPECT_LT(nucleus.size(), k.size());
  draws.expect(sampling, kept);
}

TEST(Sampler, BiasesAndPenalties) {
  std::vector<float> logits = makeLogits(50, 5);
  logits[3] = 4, logits[7] = -2, logits[9] = 1.5f;
  Sampler sampler;
  ASSERT_TRUE(sampler.open(50));
  TokenBias biases[] = {{11, 2.5f}, {12, -INFINITY}, {99, 1}};
  Sampling sampling;
  sampling.biases = biases;
  sampling.numBiases = 3;
  sampling.repetition = 1.25f;
  sampling.presence = 0.5f;
  sampling.frequency = 0.25f;
  sampling.penaltyWindow = 5;
  std::vector<int32_t> history = {20, 3, 7, 3, 9, 3};
  std::vector<float> changed = logits;
  Random random;
  for (int i = 0; i < 2; ++i) { // counts do not stay
    changed = logits;
    sampler.sample(changed.data(), sampling, history.data(), history.size(),
                   random);
  }
  std::vector<float> expected = logits;
  expected[11] += 2.5f;
  expected[12] = -INFINITY;
  expected[3] = 4 / 1.25f - 3 * 0.25f - 0.5f;
  expected[7] = -2 * 1.25f - 0.25f - 0.5f;
  expected[9] = 1.5f / 1.25f - 0.25f - 0.5f;
  EXPECT_EQ(changed, expected);
  sampling.penaltyWindow = -1;
  changed = logits;
  sampler.sample(changed.data(), sampling, history.data(), history.size(),
                 random);
  EXPECT_NE(changed[20], logits[20]);
}

TEST(Sampler, NotANumber) {
  Draws draws(makeLogits(100, 6));
  Random random;
  draws.logits[57] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(draws.draw({}, random), -1);
  draws.logits.assign(100, -INFINITY);
  EXPECT_EQ(draws.draw({}, random), -1);
  draws.logits[42] = 0;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(draws.draw({}, random), 42);
}

TEST(Sampler, Scores) {
  std::vector<float> logits = makeLogits(3000, 8);
  logits[10] = logits[2000] = *std::max_element(logits.begin(), logits.end());
  Sampler sampler;
  ASSERT_TRUE(sampler.open(3000));
  std::vector<TokenScore> scores(6);
  sampler.score(logits.data(), 1234, 5, scores.data());
  std::vector<double> p = softmax(logits);
  EXPECT_EQ(scores[0].token, 1234);
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return logits[size_t(a)] != logits[size_t(b)]
               ? logits[size_t(a)] > logits[size_t(b)]
               : a < b;
  });
  for (size_t i = 0; i < 6; ++i) {
    if (i)
      EXPECT_EQ(scores[i].token, order[i - 1]);
    EXPECT_NEAR(double(scores[i].logProbability),
                std::log(p[size_t(scores[i].token)]), 1e-5);
  }
  Sampler small;
  ASSERT_TRUE(small.open(2));
  small.score(logits.data(), 0, 3, scores.data());
  EXPECT_EQ(scores[3].token, -1);
}
