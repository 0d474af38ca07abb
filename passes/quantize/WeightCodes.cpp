//===- WeightCodes.cpp - Weights as 8-bit codes ---------------------------===//
#include "passes/quantize/WeightCodes.h"
#include "passes/quantize/Gptq.h"
#include <cmath>

using namespace mlir;

namespace pare {

static float squaredError(ArrayRef<float> values, float scale) {
  float inverse = 1 / scale, error = 0;
  for (float value : values) {
    float delta = value - roundCode(value * inverse) * scale;
    error += delta * delta;
  }
  return error;
}

/// 0 for a channel of zeros.
static float chooseScale(ArrayRef<float> values) {
  float largest = 0;
  for (float value : values)
    largest = std::max(largest, std::abs(value));
  // Below this the inverse overflows; such a channel is as good as zero.
  if (largest < 1e-30f)
    return 0;
  float best = largest / 127, bestError = squaredError(values, best);
  for (float factor : {0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f}) {
    float scale = largest * factor / 127, error = squaredError(values, scale);
    if (error < bestError) {
      best = scale;
      bestError = error;
    }
  }
  return best;
}

/// Codes of [inner, channels] weights, each rounded to nearest.
static std::vector<int8_t> roundToNearest(ArrayRef<float> weights,
                                          ArrayRef<float> scales) {
  std::vector<int8_t> codes;
  codes.reserve(weights.size());
  for (auto [i, weight] : llvm::enumerate(weights)) {
    float scale = scales[i % scales.size()];
    codes.push_back(scale == 0 ? 0 : int8_t(roundCode(weight * (1 / scale))));
  }
  return codes;
}

static double getWeightError(ArrayRef<float> weights, ArrayRef<int8_t> codes,
                             ArrayRef<float> scales) {
  double difference = 0, norm = 0;
  for (auto [i, weight] : llvm::enumerate(weights)) {
    double delta = weight - double(codes[i]) * scales[i % scales.size()];
    difference += delta * delta;
    norm += double(weight) * weight;
  }
  return norm > 0 ? std::sqrt(difference / norm) : 0;
}

WeightCodes encodeInt8(const HostTensor &weight, int64_t axis,
                       const SecondMoments *moments) {
  RankedTensorType type = weight.type();
  MLIRContext *context = type.getContext();
  int64_t channels = type.getDimSize(axis), after = 1;
  for (int64_t size : type.getShape().drop_front(axis + 1))
    after *= size;
  int64_t inner = weight.size() / channels;
  /// Where an input's weight of a channel is in memory.
  auto at = [&](int64_t k, int64_t c) {
    return (k / after * channels + c) * after + k % after;
  };
  ArrayRef<float> values = weight.values<float>();
  std::vector<float> byInput(values.size()), channel(inner), scales(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < inner; ++k)
      byInput[k * channels + c] = channel[k] = values[at(k, c)];
    scales[c] = chooseScale(channel);
  }

  std::vector<int8_t> codes = moments ? roundByGptq(byInput, scales, *moments)
                                      : roundToNearest(byInput, scales);
  // Codes broadcast from the right: [K, N] takes scales [N], [N, …] takes
  // [N, 1, …].
  SmallVector<int64_t> scaleShape(type.getRank() - axis, 1);
  scaleShape[0] = channels;
  WeightCodes result{
      HostTensor(type.clone(IntegerType::get(context, 8))),
      HostTensor(RankedTensorType::get(scaleShape, Float32Type::get(context)),
                 scales),
      moments ? getOutputError(byInput, codes, scales, *moments)
              : getWeightError(byInput, codes, scales)};
  MutableArrayRef<int8_t> out = result.codes.values<int8_t>();
  for (int64_t k = 0; k < inner; ++k)
    for (int64_t c = 0; c < channels; ++c)
      out[at(k, c)] = codes[k * channels + c];
  return result;
}

} // namespace pare
