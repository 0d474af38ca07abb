//===- AutoRound.cpp - Rounding by signed gradient descent ----------------===//
#include "passes/quantize/encode/Panel.h"
#include <limits>

namespace pare::encode {

namespace {

/// Cheng et al. 2023, algorithm 1, for the error of one matrix's output. Of
/// each weight an offset in [-1/2, 1/2] moves what is rounded; of each group
/// two factors move the ends of what its codes reach:
///
///     s = (α upper - β lower) / (high - low)
///     ŵ = s · round((w - m) / s + V) + m,  m = β lower - s low
///
/// Formats with neither minimum nor zero point have α alone, s = α s₀. Scales
/// are stored in every step and gradients go straight through rounding. The
/// authors start from scales that clip nothing and keep factors below 1; these
/// may clip already, so that factors may grow. Weights that become 0 have no
/// offset.
class AutoRound {
public:
  AutoRound(const Problem &problem, Panel &panel)
      : problem_(problem), format_(problem.format()), fitter_(problem.fitter),
        panel_(panel) {}
  void run();

private:
  void storeScales();
  void round();
  /// Moves parameters against the sign of their gradients.
  void step(float rate);
  bool hasEnds() const { return format_.hasMinimum() || format_.zeroBits; }

  const Problem &problem_;
  const BlockFormat &format_;
  const ScaleFitter &fitter_;
  Panel &panel_;
  std::vector<GroupScale> start_;
  Columns offsets_, gradient_;
  Columns upperFactors_, lowerFactors_; ///< per group
};

} // namespace

void AutoRound::run() {
  int64_t columns = problem_.columns;
  fitScales(problem_, panel_);
  start_ = panel_.scales.groups;
  offsets_.assign(columns, splat(0));
  upperFactors_.assign(start_.size(), splat(1));
  lowerFactors_ = upperFactors_;
  Columns linear(columns, splat(0)), errors;
  if (!problem_.cross.empty())
    addProducts(problem_.cross.data(), columns, columns, panel_.weights.data(),
                columns, linear.data());

  double least[kLanes];
  std::fill_n(least, kLanes, std::numeric_limits<double>::infinity());
  Panel best = panel_;
  unsigned iterations = problem_.options.iterations;
  for (unsigned i = 0; i <= iterations; ++i) {
    if (i > 0)
      storeScales();
    round();
    getErrors(problem_, panel_, errors);
    gradient_ = linear;
    addProducts(problem_.moments.data(), columns, columns, errors.data(),
                columns, gradient_.data());
    double objectives[kLanes] = {};
    for (int64_t k = 0; k < columns; ++k)
      for (int lane = 0; lane < kLanes; ++lane)
        objectives[lane] += double(errors[k][lane]) *
                            (double(gradient_[k][lane]) + linear[k][lane]);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!(objectives[lane] < least[lane]))
        continue;
      least[lane] = objectives[lane];
      best.scales.copyLane(panel_.scales, lane);
      for (int64_t k = 0; k < columns; ++k)
        best.values[k][lane] = panel_.values[k][lane];
    }
    if (i < iterations)
      step((1 - float(i) / float(iterations)) / float(iterations));
  }
  panel_.scales = std::move(best.scales);
  panel_.values = std::move(best.values);
}

void AutoRound::storeScales() {
  float low = fitter_.levels().low(), high = fitter_.levels().high();
  for (size_t g = 0; g < start_.size(); ++g) {
    const GroupScale &start = start_[g];
    Lanes scale = start.scale, minimum = start.minimum, zero = start.zero;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!hasEnds()) {
        scale[lane] *= upperFactors_[g][lane];
        continue;
      }
      float s = start.scale[lane], m = start.minimum[lane] - s * zero[lane],
            upper = upperFactors_[g][lane] * (s * high + m),
            lower = lowerFactors_[g][lane] * (s * low + m);
      scale[lane] = (upper - lower) / (high - low);
      if (format_.hasMinimum()) {
        minimum[lane] = lower - scale[lane] * low;
        if (!fitter_.isMinimumSigned())
          minimum[lane] = std::min(minimum[lane], 0.0f);
      } else if (scale[lane] > 0) {
        float largest = float((1u << format_.zeroBits) - 1);
        zero[lane] = std::clamp(std::nearbyint(low - lower / scale[lane]), 0.0f,
                                largest);
      }
    }
    fitter_.store(g, scale, minimum, panel_.scales);
    panel_.scales.groups[g].zero = zero;
  }
}

void AutoRound::round() {
  const Levels &levels = fitter_.levels();
  for (int64_t k = 0; k < problem_.columns; ++k) {
    const GroupScale &scale = panel_.scaleOf(problem_, k);
    const Lanes &weight = panel_.toRound()[k];
    Lanes &value = panel_.values[k];
    for (int lane = 0; lane < kLanes; ++lane) {
      float place = (weight[lane] - scale.minimum[lane]) * scale.inverse[lane] +
                    scale.zero[lane];
      value[lane] = place + offsets_[k][lane] * levels.getStep(place);
    }
    levels.round(value);
  }
}

/// `by` in the direction of `value`.
static float toSign(float value, float by) {
  return value > 0 ? by : value < 0 ? -by : 0;
}

void AutoRound::step(float rate) {
  const Levels &levels = fitter_.levels();
  float low = levels.low(), high = levels.high();
  int64_t size = format_.group;
  for (size_t g = 0; g < start_.size(); ++g) {
    const GroupScale &scale = panel_.scales.groups[g];
    // Σ G ∂ŵ/∂s and Σ G ∂ŵ/∂m: moving along them lowers the error.
    Lanes alongScale = splat(0), alongMinimum = splat(0);
    for (int64_t k = g * size, e = k + size; k < e; ++k)
      for (int lane = 0; lane < kLanes; ++lane) {
        float gradient = gradient_[k][lane], value = panel_.values[k][lane],
              place = (panel_.toRound()[k][lane] - scale.minimum[lane]) *
                          scale.inverse[lane] +
                      scale.zero[lane],
              moved = place + offsets_[k][lane] * levels.getStep(place);
        // Zero points are minima of -s z here.
        if (moved < low - 0.5f || moved > high + 0.5f) {
          alongScale[lane] += gradient * value;
          alongMinimum[lane] += gradient;
          continue;
        }
        if (!panel_.stays.empty() && panel_.stays[k][lane] == 0)
          continue;
        alongScale[lane] += gradient * (value - place);
        offsets_[k][lane] = std::clamp(
            offsets_[k][lane] + toSign(gradient * scale.scale[lane], rate),
            -0.5f, 0.5f);
      }
    for (int lane = 0; lane < kLanes; ++lane) {
      const GroupScale &start = start_[g];
      float s = start.scale[lane],
            m = start.minimum[lane] - s * start.zero[lane];
      auto move = [&](float &factor, float along) {
        factor = std::clamp(factor + toSign(along, rate), 0.5f, 1.5f);
      };
      if (!hasEnds()) {
        move(upperFactors_[g][lane], alongScale[lane] * s);
        continue;
      }
      float upper = (s * high + m) / (high - low),
            lower = (s * low + m) / (high - low);
      move(upperFactors_[g][lane],
           upper * (alongScale[lane] - low * alongMinimum[lane]));
      move(lowerFactors_[g][lane],
           lower * (high * alongMinimum[lane] - alongScale[lane]));
    }
  }
}

void roundByAutoRound(const Problem &problem, Panel &panel) {
  AutoRound(problem, panel).run();
}

} // namespace pare::encode
