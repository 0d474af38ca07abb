//===- WeightCodes.cpp - Weights as 8-bit codes ---------------------------===//
#include "passes/quantize/WeightCodes.h"
#include <cmath>

using namespace mlir;

namespace pare {

/// Rounds half to even; exact for |x| < 2^22, which codes are far below.
static float roundCode(float x) {
  constexpr float kMagic = 12582912.0f; // 1.5 * 2^23
  return (std::clamp(x, -127.0f, 127.0f) + kMagic) - kMagic;
}

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

WeightCodes encodeInt8(const HostTensor &weight, int64_t axis) {
  RankedTensorType type = weight.type();
  MLIRContext *context = type.getContext();
  int64_t channels = type.getDimSize(axis), inner = 1;
  for (int64_t size : type.getShape().drop_front(axis + 1))
    inner *= size;
  int64_t outer = weight.size() / (channels * inner);
  // Codes broadcast from the right: [K, N] takes scales [N], [N, …] takes
  // [N, 1, …].
  SmallVector<int64_t> scaleShape(type.getRank() - axis, 1);
  scaleShape[0] = channels;
  WeightCodes result{
      HostTensor(type.clone(IntegerType::get(context, 8))),
      HostTensor(RankedTensorType::get(scaleShape, Float32Type::get(context))),
      0};
  ArrayRef<float> values = weight.values<float>();
  MutableArrayRef<int8_t> codes = result.codes.values<int8_t>();
  MutableArrayRef<float> scales = result.scales.values<float>();
  std::vector<float> channel(outer * inner);
  double difference = 0, norm = 0;
  for (int64_t c = 0; c < channels; ++c) {
    auto at = [&](int64_t o) { return (o * channels + c) * inner; };
    for (int64_t o = 0; o < outer; ++o)
      std::copy_n(values.data() + at(o), inner, channel.data() + o * inner);
    float scale = chooseScale(channel), inverse = scale == 0 ? 0 : 1 / scale;
    scales[c] = scale;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) {
        float value = channel[o * inner + i], code = roundCode(value * inverse);
        codes[at(o) + i] = int8_t(code);
        double delta = double(value) - double(code) * scale;
        difference += delta * delta;
        norm += double(value) * value;
      }
  }
  result.error = norm > 0 ? std::sqrt(difference / norm) : 0;
  return result;
}

} // namespace pare
