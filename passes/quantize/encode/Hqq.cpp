//===- Hqq.cpp - Half-quadratic quantization ------------------------------===//
#include "passes/quantize/encode/Panel.h"
#include <limits>

namespace pare::encode {

using Bits = int32_t __attribute__((vector_size(sizeof(Lanes))));

/// x becomes |x|^power, by 2^(power · log2 |x|), for powers in [-1, 0] to 1e-6
/// of it; of zero some large number. The same bits on every CPU and with every
/// C library.
[[gnu::always_inline]] static inline void raise(Vector &x, float power) {
  Bits bits = reinterpret_cast<Bits &>(x) & 0x7fffffff;
  // A mantissa in [√½, √2), its logarithm by the series of artanh.
  Bits exponent = (bits - 0x3f3504f3) >> 23, mantissa = bits - (exponent << 23);
  Vector m = reinterpret_cast<Vector &>(mantissa), t = (m - 1) / (m + 1),
         tt = t * t;
  Vector log = t * (2.8853901f +
                    tt * (0.9617967f + tt * (0.5770780f + tt * 0.4121986f))) +
               __builtin_convertvector(exponent, Vector);
  Vector y = log * power;
  constexpr float kMagic = 12582912.0f; // 1.5 · 2^23: adding it rounds
  Vector shifted = y + kMagic, f = y - (shifted - kMagic);
  // The series of 2^f, |f| <= 1/2.
  Vector series =
      1 + f * (0.69314718f +
               f * (0.24022651f +
                    f * (0.055504109f +
                         f * (0.0096181291f +
                              f * (0.0013333558f + f * 0.00015403530f)))));
  Bits result = reinterpret_cast<Bits &>(series) +
                (reinterpret_cast<Bits &>(shifted) << 23);
  x = reinterpret_cast<Vector &>(result);
}

/// Of one zero point: Σ |w - ŵ| and Σ (v - (w - e) / s), with e the error w - ŵ
/// less what the norm's generalized soft threshold takes of it.
[[gnu::always_inline]] static inline void
sumUp(const GroupData &data, const Levels &levels, const GroupScale &scale,
      float beta, Lanes &errors, Lanes &zeros) {
  constexpr float kNorm = 0.7f;
  float inverseBeta = 1 / beta;
  Vector error{}, sum{}, zero{};
  for (int64_t k = 0; k < data.size; ++k) {
    Lanes value, decoded;
    scale.round(levels, data.weights[k], value);
    scale.decode(value, decoded);
    Vector w = vec(data.weights[k]), delta = w - vec(decoded);
    Bits bits = reinterpret_cast<Bits &>(delta), magnitude = bits & 0x7fffffff;
    Vector size = reinterpret_cast<Vector &>(magnitude);
    Vector powers = size;
    raise(powers, kNorm - 1);
    Vector shrunk = size - powers * inverseBeta;
    shrunk = shrunk > zero ? shrunk : zero;
    Bits withSign = reinterpret_cast<Bits &>(shrunk) | (bits ^ magnitude);
    error += size;
    sum += vec(value) -
           (w - reinterpret_cast<Vector &>(withSign)) * vec(scale.inverse);
  }
  vec(errors) = error;
  vec(zeros) = sum;
}

// Compiled once more for AVX2, which changes no bit of the results.
#if defined(__x86_64__)
[[gnu::target("avx2")]] static void
sumUpAvx2(const GroupData &data, const Levels &levels, const GroupScale &scale,
          float beta, Lanes &errors, Lanes &zeros) {
  sumUp(data, levels, scale, beta, errors, zeros);
}
static bool hasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#else
static bool hasAvx2() { return false; }
static constexpr auto sumUpAvx2 = sumUp;
#endif

/// Badri and Shaji 2023, equations 4 to 6, for a group with its scale given:
/// min over z of ‖w - s (v - z)‖_p^p with v = round(w / s + z), split by an
/// auxiliary error e: e by the generalized soft threshold, z by the mean. Zeros
/// of a lane are those under which its mean |w - ŵ| was least; it stops where
/// that no longer falls, as the authors' code does.
static Lanes solveZero(const GroupData &data, const Levels &levels,
                       const GroupScale &start) {
  constexpr int kIterations = 20;
  constexpr float kGrowth = 1.01f;
  float beta = 10;
  Lanes best = start.zero, zero = start.zero,
        least = splat(std::numeric_limits<float>::infinity());
  bool isActive[kLanes], isAnyActive = true;
  std::fill_n(isActive, kLanes, true);
  for (int i = 0; i < kIterations && isAnyActive; ++i, beta *= kGrowth) {
    GroupScale scale = start;
    scale.zero = zero;
    Lanes error, sum;
    hasAvx2() ? sumUpAvx2(data, levels, scale, beta, error, sum)
              : sumUp(data, levels, scale, beta, error, sum);
    isAnyActive = false;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!isActive[lane])
        continue;
      isActive[lane] = error[lane] < least[lane];
      if (!isActive[lane])
        continue;
      isAnyActive = true;
      least[lane] = error[lane];
      best[lane] = zero[lane];
      zero[lane] = sum[lane] / float(data.size);
    }
  }
  return best;
}

void roundByHqq(const Problem &problem, Panel &panel) {
  const BlockFormat &format = problem.format();
  const ScaleFitter &fitter = problem.fitter;
  if (!format.hasMinimum() && !format.zeroBits) {
    fitScales(problem, panel);
    roundToNearest(problem, panel);
    return;
  }
  int64_t perScale = format.scaleGroup();
  for (int64_t s = 0; s < problem.columns / perScale; ++s) {
    GroupData data = getGroup(problem, panel.toRound().data(), s);
    std::vector<GroupScale> ideal;
    for (int64_t k = 0; k < perScale; k += format.group) {
      GroupData group = data.slice(k, format.group);
      GroupScale scale = fitter.fitGroup(group);
      // A minimum is a zero point that need not be whole.
      for (int lane = 0; lane < kLanes; ++lane)
        scale.zero[lane] -= scale.minimum[lane] * scale.inverse[lane];
      scale.minimum = splat(0);
      scale.zero = solveZero(group, fitter.levels(), scale);
      for (int lane = 0; lane < kLanes; ++lane) {
        if (format.zeroBits) {
          float largest = float((1u << format.zeroBits) - 1);
          scale.zero[lane] =
              std::clamp(std::nearbyint(scale.zero[lane]), 0.0f, largest);
          continue;
        }
        float minimum = -scale.scale[lane] * scale.zero[lane];
        scale.minimum[lane] =
            fitter.isMinimumSigned() ? minimum : std::min(minimum, 0.0f);
        scale.zero[lane] = 0;
      }
      ideal.push_back(scale);
    }
    if (format.hasTwoLevels()) {
      fitter.storeTwoLevels(data, s, ideal, panel.scales);
    } else {
      panel.scales.groups[s] = ideal.front();
      fitter.store(s, ideal.front().scale, ideal.front().minimum, panel.scales);
    }
  }
  roundToNearest(problem, panel);
}

} // namespace pare::encode
