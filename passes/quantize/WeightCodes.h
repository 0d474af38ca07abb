//===- WeightCodes.h - Weights as 8-bit codes -------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_WEIGHTCODES_H
#define PARE_PASSES_QUANTIZE_WEIGHTCODES_H

#include "passes/calibrate/SecondMoments.h"

namespace pare {

/// The integer in [-127, 127] nearest to x, half to even.
inline float roundCode(float x) {
  // Exact for |x| < 2^22, which codes are far below.
  constexpr float kMagic = 12582912.0f; // 1.5 * 2^23
  return (std::clamp(x, -127.0f, 127.0f) + kMagic) - kMagic;
}

struct WeightCodes {
  HostTensor codes;  ///< i8, of the weight's shape, in [-127, 127]
  HostTensor scales; ///< f32; one per channel, broadcasts against the codes
  double error;      ///< ‖w − ŵ‖ / ‖w‖, of the output where it is known
};

/// Symmetric codes of an f32 weight with one scale per index of `axis`. The
/// scale is the one of a few between 0.7 and 1 times max|w| / 127 that has the
/// smallest squared error: where a channel has a lone outlier, clipping it
/// costs less than coarser steps for the rest. Values are rounded to nearest,
/// or by GPTQ where the second moments of the product's input are given.
WeightCodes encodeInt8(const HostTensor &weight, int64_t axis,
                       const SecondMoments *moments = nullptr);

} // namespace pare

#endif
