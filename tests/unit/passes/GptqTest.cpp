#include "passes/quantize/Gptq.h"
#include "TestGraph.h"
#include "passes/quantize/WeightCodes.h"
#include <random>

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

class Gptq : public ::testing::Test {
protected:
  HostTensor tensor(ArrayRef<int64_t> shape, ArrayRef<float> values) {
    return HostTensor(RankedTensorType::get(shape, Float32Type::get(&context)),
                      values);
  }

  std::vector<float> normal(size_t count) {
    std::normal_distribution<float> values;
    std::vector<float> result(count);
    for (float &value : result)
      value = values(random);
    return result;
  }

  /// Rows that share a few directions, as activations do.
  HostTensor correlated(int64_t rows, int64_t size) {
    constexpr int64_t kRank = 8;
    std::vector<float> mix = normal(kRank * size), x = normal(rows * size);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<float> directions = normal(kRank);
      for (int64_t i = 0; i < size; ++i) {
        x[r * size + i] *= 0.1f;
        for (int64_t d = 0; d < kRank; ++d)
          x[r * size + i] += directions[d] * mix[d * size + i];
      }
    }
    return tensor({rows, size}, x);
  }

  Context context;
  std::mt19937 random{7};
};

TEST_F(Gptq, MomentsAreSumsOverRows) {
  SecondMoments moments(2);
  moments.add(tensor({1, 2, 2}, {1, 2, 3, 4}));
  moments.add(tensor({1, 2}, {0, -1}));
  EXPECT_EQ(moments.sums().vec(), std::vector<double>({10, 14, 14, 21}));
}

TEST_F(Gptq, UncorrelatedInputsAreRoundedToNearest) {
  // 160 inputs are more than one block.
  constexpr int64_t kInner = 160, kChannels = 3;
  SecondMoments moments(kInner);
  std::vector<float> unit(kInner * kInner, 0);
  for (int64_t i = 0; i < kInner; ++i)
    unit[i * kInner + i] = 1 + i % 5;
  moments.add(tensor({kInner, kInner}, unit));
  HostTensor weight = tensor({kInner, kChannels}, normal(kInner * kChannels));
  WeightCodes nearest = encodeInt8(weight, 1),
              corrected = encodeInt8(weight, 1, &moments);
  EXPECT_EQ(nearest.codes.bytes(), corrected.codes.bytes());
  EXPECT_EQ(nearest.scales.bytes(), corrected.scales.bytes());
}

TEST_F(Gptq, CorrelatedInputsLoseLess) {
  constexpr int64_t kInner = 200, kChannels = 24;
  SecondMoments moments(kInner);
  moments.add(correlated(500, kInner));
  std::vector<float> values = normal(kInner * kChannels);
  for (int64_t k = 0; k < kInner; ++k)
    values[k * kChannels + 5] = 0; // a channel of zeros
  // Both orientations of the same weight.
  HostTensor byInput = tensor({kInner, kChannels}, values);
  std::vector<float> transposed(values.size());
  for (int64_t k = 0; k < kInner; ++k)
    for (int64_t c = 0; c < kChannels; ++c)
      transposed[c * kInner + k] = values[k * kChannels + c];
  WeightCodes nearest = encodeInt8(byInput, 1),
              corrected = encodeInt8(byInput, 1, &moments),
              other = encodeInt8(tensor({kChannels, kInner}, transposed), 0,
                                 &moments);
  double error = getOutputError(values, nearest.codes.values<int8_t>(),
                                nearest.scales.values<float>(), moments);
  EXPECT_GT(error, 0);
  EXPECT_LT(corrected.error, error / 2);
  EXPECT_EQ(corrected.error, other.error);
  for (int64_t k = 0; k < kInner; ++k) {
    EXPECT_EQ(corrected.codes.values<int8_t>()[k * kChannels + 5], 0);
    for (int64_t c = 0; c < kChannels; ++c)
      EXPECT_EQ(corrected.codes.values<int8_t>()[k * kChannels + c],
                other.codes.values<int8_t>()[c * kInner + k]);
  }
}

TEST_F(Gptq, PrunedWeightsStayZero) {
  constexpr int64_t kInner = 160, kChannels = 8;
  SecondMoments moments(kInner);
  moments.add(correlated(400, kInner));
  std::vector<float> values = normal(kInner * kChannels);
  for (size_t i = 0; i < values.size(); i += 2)
    values[i] = 0;
  WeightCodes codes =
      encodeInt8(tensor({kInner, kChannels}, values), 1, &moments);
  for (size_t i = 0; i < values.size(); i += 2)
    EXPECT_EQ(codes.codes.values<int8_t>()[i], 0) << i;
}

TEST_F(Gptq, InputsThatWereAlwaysZeroAreRoundedToNearest) {
  SecondMoments moments(4);
  HostTensor weight = tensor({4, 1}, {0.3f, -0.7f, 1.0f, 0.11f});
  EXPECT_EQ(encodeInt8(weight, 1).codes.bytes(),
            encodeInt8(weight, 1, &moments).codes.bytes());
}

} // namespace
