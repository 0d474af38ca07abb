//===- Hqq.cpp - Half-quadratic quantization ------------------------------===//
#include "passes/quantize/encode/Panel.h"
#include <limits>

namespace pare::encode {

/// Badri and Shaji 2023, equations 4 to 6, for a group with its scale given:
/// min over z of ‖w - s (v - z)‖_p^p with v = round(w / s + z), split by an
/// auxiliary error e: e by the generalized soft threshold, z by the mean. Zeros
/// of a lane are those under which its mean |w - ŵ| was least; it stops where
/// that no longer falls, as the authors' code does.
static Lanes solveZero(const GroupData &data, const Levels &levels,
                       const GroupScale &start) {
  constexpr int kIterations = 20;
  constexpr float kNorm = 0.7f, kGrowth = 1.01f;
  float beta = 10;
  Lanes best = start.zero, zero = start.zero,
        least = splat(std::numeric_limits<float>::infinity());
  bool isActive[kLanes];
  std::fill_n(isActive, kLanes, true);
  for (int i = 0; i < kIterations; ++i, beta *= kGrowth) {
    GroupScale scale = start;
    scale.zero = zero;
    Lanes error = splat(0), sum = splat(0), value, decoded;
    for (int64_t k = 0; k < data.size; ++k) {
      const Lanes &weight = data.weights[k];
      scale.round(levels, weight, value);
      scale.decode(value, decoded);
      for (int lane = 0; lane < kLanes; ++lane) {
        float delta = weight[lane] - decoded[lane], size = std::abs(delta);
        float shrunk = 0;
        if (size > 0)
          shrunk = std::copysign(
              std::max(size - std::pow(size, kNorm - 1) / beta, 0.0f), delta);
        error[lane] += size;
        sum[lane] +=
            value[lane] - (weight[lane] - shrunk) * scale.inverse[lane];
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!isActive[lane])
        continue;
      isActive[lane] = error[lane] < least[lane];
      if (!isActive[lane])
        continue;
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
    GroupData data = getGroup(problem, panel.weights.data(), s);
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
