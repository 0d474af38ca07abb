#include "EncodeData.h"
#include "passes/quantize/encode/Levels.h"
#include "passes/quantize/encode/ScaleStorage.h"
#include <cmath>

using namespace pare;
using namespace pare::encode;
using namespace pare::test;
using llvm::ArrayRef;

namespace {

//===----------------------------------------------------------------------===//
// Scales as they are stored
//===----------------------------------------------------------------------===//

struct StoredType {
  ScaleType type;
  uint32_t count; ///< of bit patterns
};

constexpr StoredType storedTypes[] = {{ScaleType::F16, 0x10000},
                                      {ScaleType::BF16, 0x10000},
                                      {ScaleType::E8M0Half, 255},
                                      {ScaleType::E4M3Half, 0x7f}};

std::vector<float> getStored(const StoredType &stored) {
  std::vector<float> values;
  for (uint32_t bits = 0; bits < stored.count; ++bits) {
    uint8_t bytes[2] = {uint8_t(bits), uint8_t(bits >> 8)};
    float value = decodeScale(stored.type, bytes);
    if (std::isfinite(value))
      values.push_back(value);
  }
  std::sort(values.begin(), values.end());
  return values;
}

TEST(ScaleStorage, WhatIsStoredStaysTheSame) {
  for (const StoredType &stored : storedTypes)
    for (float value : getStored(stored))
      EXPECT_EQ(roundScale(stored.type, value), value);
}

TEST(ScaleStorage, IsNearest) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> mantissas(-2, 2), exponents(-30, 20);
  for (const StoredType &stored : storedTypes) {
    std::vector<float> values = getStored(stored);
    for (int i = 0; i < 20000; ++i) {
      float value = mantissas(random) * std::exp2(exponents(random));
      auto above = std::lower_bound(values.begin(), values.end(), value);
      double nearest = INFINITY;
      if (above != values.end())
        nearest = std::abs(double(*above) - value);
      if (above != values.begin())
        nearest = std::min(nearest, std::abs(double(above[-1]) - value));
      EXPECT_EQ(std::abs(double(roundScale(stored.type, value)) - value),
                nearest)
          << value;
    }
  }
}

TEST(ScaleStorage, LargestIsFinite) {
  for (const StoredType &stored : storedTypes)
    EXPECT_EQ(roundScale(stored.type, std::numeric_limits<float>::max()),
              getStored(stored).back());
}

//===----------------------------------------------------------------------===//
// Levels
//===----------------------------------------------------------------------===//

/// A codebook of 8 bits, as floats of 8 bits are: levels of both signs that
/// get twice as far apart every eighth one; some codes mean the same.
BlockFormat makeFloatFormat() {
  static const std::vector<float> levels = [] {
    std::vector<float> values;
    for (unsigned code = 0; code < 256; ++code) {
      unsigned magnitude = std::min(code & 127, 126u);
      float value = std::ldexp(float(8 + magnitude % 8), magnitude / 8);
      values.push_back(code & 128 ? -value : value);
    }
    return values;
  }();
  return {.name = "floats",
          .bits = 8,
          .group = 32,
          .codes = CodeKind::Codebook,
          .codebook = levels,
          .scale = ScaleType::F16};
}

BlockFormat makeZeroPointFormat() {
  return {.name = "zero_points",
          .bits = 3,
          .group = 32,
          .zeroBits = 3,
          .scale = ScaleType::F16};
}

TEST(Levels, RoundToTheNearestOfTheFormat) {
  std::mt19937 random(6);
  std::vector<BlockFormat> formats = getBlockFormats().vec();
  formats.push_back(makeFloatFormat());
  for (const BlockFormat &format : formats) {
    Levels levels(format);
    float reach = std::max(std::abs(levels.low()), levels.high()) * 1.2f;
    std::uniform_real_distribution<float> numbers(-reach, reach);
    for (int i = 0; i < 200; ++i) {
      Lanes lanes, rounded;
      // Of all sizes.
      for (float &lane : lanes.at)
        lane = std::ldexp(numbers(random), -(i % 12));
      lanes[i % kLanes] = 0;
      if (i == 0)
        lanes[1] = levels.low() + (levels.high() - levels.low()) / 2;
      rounded = lanes;
      levels.round(rounded);
      for (int lane = 0; lane < kLanes; ++lane) {
        float nearest = INFINITY;
        for (unsigned code = 0; code < 1u << format.bits; ++code) {
          float value = format.getValue(uint8_t(code));
          if (value >= levels.low() && value <= levels.high())
            nearest = std::min(nearest, std::abs(value - lanes[lane]));
        }
        EXPECT_EQ(std::abs(rounded[lane] - lanes[lane]), nearest);
        EXPECT_EQ(format.getValue(levels.getCode(rounded[lane])),
                  rounded[lane]);
      }
    }
  }
}

TEST(Levels, TernaryHasNoFourth) {
  Levels levels(*findBlockFormat("ternary"));
  EXPECT_EQ(levels.low(), -1);
  EXPECT_EQ(levels.high(), 1);
  EXPECT_EQ(Levels(*findBlockFormat("q4_0")).high(), 7);
  EXPECT_EQ(Levels(*findBlockFormat("q8_0")).low(), -127);
}

//===----------------------------------------------------------------------===//
// Products of panels
//===----------------------------------------------------------------------===//

TEST(Lanes, ProductsAddUp) {
  // Neither the count of columns nor the depth fills whole tiles.
  constexpr int64_t kCount = 7, kDepth = 301, kStride = 310;
  std::vector<float> matrix = normal(kCount * kStride, 1),
                     values = normal(kDepth * kLanes, 2);
  Columns in(kDepth), out(kCount, splat(0.5f));
  for (int64_t i = 0; i < kDepth * kLanes; ++i)
    in[i / kLanes][i % kLanes] = values[i];
  addProducts(matrix.data(), kStride, kCount, in.data(), kDepth, out.data());
  for (int64_t i = 0; i < kCount; ++i)
    for (int lane = 0; lane < kLanes; ++lane) {
      double sum = 0.5;
      for (int64_t k = 0; k < kDepth; ++k)
        sum += double(matrix[i * kStride + k]) * in[k][lane];
      EXPECT_NEAR(out[i][lane], sum, 1e-4);
    }
}

//===----------------------------------------------------------------------===//
// The choice of scales
//===----------------------------------------------------------------------===//

EncodedMatrix encodeNearest(ArrayRef<float> weights, int64_t rows,
                            const BlockFormat &format, ScaleSearch search,
                            const InputMoments *moments = nullptr) {
  EncodeOptions options;
  options.method = RoundMethod::Nearest;
  options.scales = search;
  return encodeMatrix(weights, rows, weights.size() / rows, format, options,
                      moments);
}

/// Σ q (w - ŵ)² with w rounded to the nearest of the levels that codes stand
/// for under a scale, minimum and zero point.
double getError(ArrayRef<float> weights, ArrayRef<double> importance,
                const std::vector<float> &levels, double scale, double minimum,
                double zero) {
  double error = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    double nearest = INFINITY;
    for (float level : levels)
      nearest = std::min(
          nearest, std::abs(scale * (level - zero) + minimum - weights[i]));
    error += importance[i] * nearest * nearest;
  }
  return error;
}

std::vector<float> getLevels(const BlockFormat &format) {
  Levels levels(format);
  std::vector<float> values;
  for (unsigned code = 0; code < 1u << format.bits; ++code) {
    float value = format.getValue(uint8_t(code));
    if (value >= levels.low() && value <= levels.high())
      values.push_back(value);
  }
  return values;
}

/// The least error over a fine grid of everything that can be stored.
double searchGroup(ArrayRef<float> weights, ArrayRef<double> importance,
                   const BlockFormat &format) {
  std::vector<float> levels = getLevels(format);
  auto [low, high] = std::minmax_element(levels.begin(), levels.end());
  float least = *std::min_element(weights.begin(), weights.end()),
        largest = *std::max_element(weights.begin(), weights.end());
  double best = INFINITY;
  auto tryScale = [&](double scale, double minimum, double zero) {
    best = std::min(best, getError(weights, importance, levels,
                                   roundScale(format.scale, float(scale)),
                                   minimum, zero));
  };
  if (format.hasMinimum()) {
    for (int i = 0; i < 80; ++i)
      for (int j = 0; j < 80; ++j) {
        double minimum = least + (largest - least) * (j - 20) / 120.0,
               scale = (largest - least) / (*high - *low) * (0.3 + i / 100.0);
        tryScale(scale, roundScale(format.scale, float(minimum)), 0);
      }
    return best;
  }
  double reach = std::max(std::abs(least), std::abs(largest)) /
                 std::min(std::abs(*low == 0 ? *high : *low), *high);
  if (format.zeroBits) {
    for (unsigned zero = 0; zero < 1u << format.zeroBits; ++zero)
      for (int i = 1; i < 400; ++i)
        tryScale(2 * reach * i / 400, 0, zero);
    return best;
  }
  for (int i = 1; i < 800; ++i)
    for (double sign : {-1.0, 1.0})
      tryScale(sign * 1.3 * reach * i / 800, 0, 0);
  return best;
}

class ScaleSearches : public ::testing::TestWithParam<BlockFormat> {};

TEST_P(ScaleSearches, NearTheBestOfAFineGrid) {
  const BlockFormat &format = GetParam();
  constexpr int64_t kRows = 24;
  std::vector<float> weights = normal(kRows * format.group, 3, 0.5f);
  std::vector<double> importance(format.group);
  for (size_t i = 0; i < importance.size(); ++i)
    importance[i] = 0.3 + double(i * 5 % 7);
  InputMoments moments{format.group, {}, importance, {}};
  Matrix w = toMatrix(weights, kRows);
  auto measure = [&](ScaleSearch search, int64_t row) {
    Matrix decoded = decode(
        format, encodeNearest(weights, kRows, format, search, &moments).planes,
        kRows);
    double error = 0;
    for (size_t i = 0; i < importance.size(); ++i)
      error += importance[i] * std::pow(w(row, i) - decoded(row, i), 2);
    return error;
  };
  double best = 0, searched = 0, plain = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    best +=
        searchGroup(ArrayRef(weights).slice(row * format.group, format.group),
                    importance, format);
    searched += measure(ScaleSearch::Mse, row);
    plain += measure(ScaleSearch::MaxAbs, row);
  }
  EXPECT_LE(searched, 1.03 * best);
  EXPECT_LT(searched, 0.98 * plain);
}

INSTANTIATE_TEST_SUITE_P(
    OneLevel, ScaleSearches,
    ::testing::Values(*findBlockFormat("q4_0"), *findBlockFormat("q4_1"),
                      *findBlockFormat("iq4_nl"), *findBlockFormat("mxfp4"),
                      *findBlockFormat("nvfp4"), *findBlockFormat("ternary"),
                      makeZeroPointFormat()),
    [](const auto &info) { return info.param.name.str(); });

/// What two levels lose beside f32 scales (and minima) per group is little.
TEST(ScaleSearch, TwoLevelsLoseLittle) {
  constexpr int64_t kRows = 16, kColumns = 512;
  std::vector<float> weights = normal(kRows * kColumns, 4, 0.02f);
  // Groups differ in size.
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] *= 1 + 0.3f * float(i / 16 % 5);
  for (const BlockFormat &format : getBlockFormats()) {
    if (!format.hasTwoLevels())
      continue;
    BlockFormat ideal = format;
    ideal.superGroup = 0;
    ideal.scale = ScaleType::F32;
    double stored =
               encodeNearest(weights, kRows, format, ScaleSearch::Mse).error,
           plain =
               encodeNearest(weights, kRows, format, ScaleSearch::MaxAbs).error,
           best = encodeNearest(weights, kRows, ideal, ScaleSearch::Mse).error;
    EXPECT_LE(stored, 1.06 * best) << format.name.str();
    EXPECT_LT(stored, plain) << format.name.str();
  }
}

TEST(ScaleSearch, OutputErrorOfTheGroup) {
  constexpr int64_t kRows = 16;
  const BlockFormat &format = *findBlockFormat("q4_1");
  std::vector<float> weights = normal(kRows * format.group, 8);
  Moments moments(correlatedInputs(format.group, 300, 9));
  InputMoments inputs = moments.get();
  double mse = encodeNearest(weights, kRows, format, ScaleSearch::Mse, &inputs)
                   .error,
         output =
             encodeNearest(weights, kRows, format, ScaleSearch::Output, &inputs)
                 .error;
  EXPECT_LT(output, 0.97 * mse);
}

//===----------------------------------------------------------------------===//
// Every format
//===----------------------------------------------------------------------===//

TEST(EncodeMatrix, ErrorIsThatOfDecodedPlanes) {
  constexpr int64_t kRows = 19, kColumns = 512;
  std::vector<float> weights = normal(kRows * kColumns, 11, 0.7f);
  std::fill_n(weights.begin() + 3 * kColumns, kColumns, 0.0f);
  Matrix w = toMatrix(weights, kRows);
  Moments moments(correlatedInputs(kColumns, 600, 12));
  InputMoments inputs = moments.get();
  std::vector<BlockFormat> formats = getBlockFormats().vec();
  formats.push_back(makeZeroPointFormat());
  formats.push_back(makeFloatFormat());
  for (const BlockFormat &format : formats)
    for (RoundMethod method : {RoundMethod::Nearest, RoundMethod::Hqq,
                               RoundMethod::Gptq, RoundMethod::GptqDescent}) {
      EncodeOptions options;
      options.method = method;
      EncodedMatrix encoded =
          encodeMatrix(weights, kRows, kColumns, format, options, &inputs);
      Matrix errors = w - decode(format, encoded.planes, kRows);
      double expected = std::sqrt(getObjective(errors, moments.products) /
                                  getObjective(w, moments.products));
      EXPECT_NEAR(encoded.error, expected, 1e-4 * expected)
          << format.name.str() << " by " << int(method);
      EXPECT_NEAR(encoded.norm, getObjective(w, moments.products),
                  1e-4 * encoded.norm);
      EXPECT_EQ(errors.row(3).norm(), 0) << format.name.str();
    }
}

TEST(EncodeMatrix, ErrorWithoutMomentsIsOfWeights) {
  constexpr int64_t kRows = 5, kColumns = 64;
  const BlockFormat &format = *findBlockFormat("q4_0");
  std::vector<float> weights = normal(kRows * kColumns, 13);
  EncodedMatrix encoded =
      encodeNearest(weights, kRows, format, ScaleSearch::Mse);
  Matrix w = toMatrix(weights, kRows);
  double expected =
      (w - decode(format, encoded.planes, kRows)).norm() / w.norm();
  EXPECT_NEAR(encoded.error, expected, 1e-5);
  EXPECT_GT(expected, 0.01);
}

TEST(EncodeMatrix, ThreadsDoNotChangeBytes) {
  constexpr int64_t kRows = 70, kColumns = 256;
  std::vector<float> weights = normal(kRows * kColumns, 14);
  Matrix inputs = correlatedInputs(kColumns, 400, 15);
  Moments moments(inputs, inputs + 0.1 * correlatedInputs(kColumns, 400, 16));
  InputMoments input = moments.get();
  for (llvm::StringRef name : {"q4_0", "q4_k", "q3_k", "iq4_nl"})
    for (RoundMethod method :
         {RoundMethod::Nearest, RoundMethod::Hqq, RoundMethod::Gptq,
          RoundMethod::GptqDescent, RoundMethod::AutoRound}) {
      EncodeOptions options;
      options.method = method;
      options.iterations = 5;
      auto run = [&](unsigned threads) {
        options.threads = threads;
        return encodeMatrix(weights, kRows, kColumns, *findBlockFormat(name),
                            options, &input);
      };
      EncodedMatrix one = run(1), three = run(3);
      EXPECT_EQ(one.planes.codes, three.planes.codes);
      EXPECT_EQ(one.planes.scales, three.planes.scales);
      EXPECT_EQ(one.planes.subScales, three.planes.subScales);
      EXPECT_EQ(one.planes.minima, three.planes.minima);
      EXPECT_EQ(one.planes.subMinima, three.planes.subMinima);
      EXPECT_EQ(one.error, three.error);
    }
}

} // namespace
