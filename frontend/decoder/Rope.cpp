//===- Rope.cpp - Frequencies of rotary embeddings ------------------------===//
#include "frontend/decoder/Rope.h"
#include <algorithm>
#include <cmath>
#include <numbers>

namespace pare::decoder {

namespace {

constexpr double twoPi = 2 * std::numbers::pi;

/// By wavelength: long ones are divided by the factor, short ones stay, those
/// between are mixed (Llama 3.1).
double scaleLlama3(const Rope &rope, double frequency) {
  double original = double(rope.originalContext);
  double wavelength = twoPi / frequency;
  if (wavelength < original / rope.highFrequency)
    return frequency;
  if (wavelength > original / rope.lowFrequency)
    return frequency / rope.factor;
  double smooth = (original / wavelength - rope.lowFrequency) /
                  (rope.highFrequency - rope.lowFrequency);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

/// Share of extrapolation of the i-th of `count` frequencies (YaRN, section
/// 3.2): 1 where it turns often within the original context, 0 where it does
/// not turn once.
double getYarnExtrapolation(const Rope &rope, int64_t i) {
  auto findDimension = [&](double rotations) {
    return double(rope.dims) *
           std::log(double(rope.originalContext) / (rotations * twoPi)) /
           (2 * std::log(rope.base));
  };
  double low = findDimension(rope.betaFast),
         high = findDimension(rope.betaSlow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(rope.dims - 1));
  if (low == high)
    high += 0.001;
  return 1 - std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
}

double getYarnScale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double getAttentionFactor(const Rope &rope) {
  if (rope.attentionFactor > 0)
    return rope.attentionFactor;
  switch (rope.scaling) {
  case RopeScaling::Yarn:
    return rope.mscale > 0 && rope.mscaleAllDim > 0
               ? getYarnScale(rope.factor, rope.mscale) /
                     getYarnScale(rope.factor, rope.mscaleAllDim)
               : getYarnScale(rope.factor, 1);
  case RopeScaling::LongRope:
    return rope.factor <= 1
               ? 1
               : std::sqrt(1 + std::log(rope.factor) /
                                   std::log(double(rope.originalContext)));
  default:
    return 1;
  }
}

} // namespace

RopeFrequencies getRopeFrequencies(const Rope &rope, int64_t context,
                                   llvm::ArrayRef<float> divisors) {
  assert((divisors.empty() || int64_t(divisors.size()) == rope.dims / 2) &&
         "one divisor per frequency");
  double base = rope.base;
  if (rope.scaling == RopeScaling::Dynamic && context > rope.originalContext &&
      rope.originalContext > 0)
    base *=
        std::pow(rope.factor * double(context) / double(rope.originalContext) -
                     (rope.factor - 1),
                 double(rope.dims) / double(rope.dims - 2));
  const std::vector<double> &longOrShort =
      context > rope.originalContext ? rope.longDivisors : rope.shortDivisors;
  RopeFrequencies result;
  for (int64_t i = 0; i < rope.dims / 2; ++i) {
    double frequency = std::pow(base, -2.0 * double(i) / double(rope.dims));
    switch (rope.scaling) {
    case RopeScaling::Linear:
      frequency /= rope.factor;
      break;
    case RopeScaling::Llama3:
      frequency = scaleLlama3(rope, frequency);
      break;
    case RopeScaling::Yarn: {
      double extrapolation = getYarnExtrapolation(rope, i);
      frequency *= extrapolation + (1 - extrapolation) / rope.factor;
      break;
    }
    case RopeScaling::LongRope:
      if (!longOrShort.empty())
        frequency /= longOrShort[i];
      break;
    case RopeScaling::None:
    case RopeScaling::Dynamic:
    case RopeScaling::Divisors:
      break;
    }
    if (!divisors.empty())
      frequency /= divisors[i];
    result.inverse.push_back(float(frequency));
  }
  result.attentionFactor = float(getAttentionFactor(rope));
  return result;
}

} // namespace pare::decoder
