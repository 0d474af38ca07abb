//===- Descent.cpp - Coordinate descent on the output's error -------------===//
//
// The objective of a row is that of its outputs: with e = w - ŵ and inputs x,
// or x_float where the float model's differ (C = Σ (x_float - x) xᵀ),
//
//     f = Σ (w·x_float - ŵ·x)² = e H eᵀ + 2 e Cᵀ wᵀ + constant
//
// and half its gradient by -ŵ is G = e H + w C. One weight's best value is the
// level nearest to ŵ_k + G_k / H_kk.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/encode/Panel.h"
#include "passes/quantize/encode/ScaleStorage.h"

namespace pare::encode {

namespace {

class Descent {
public:
  Descent(const Problem &problem, Panel &panel)
      : problem_(problem), format_(problem.format()), fitter_(problem.fitter),
        panel_(panel), columns_(problem.columns) {}

  void run();

private:
  /// G and objectives from the panel as it is.
  void evaluate(double (&objectives)[kLanes]);
  /// One sweep; whether anything changed.
  bool sweep();
  void refitGroup(int64_t group);
  void refitSuper(int64_t super, bool minima);
  void roundAgain(int64_t begin, int64_t end);

  const float *moments(int64_t row, int64_t column) const {
    return problem_.moments.data() + row * columns_ + column;
  }
  /// Lanes in which moving ŵ of [begin, begin + size) by `moves` lowers the
  /// objective.
  void findGains(int64_t begin, const Columns &moves, bool (&gains)[kLanes]);
  /// Moves ŵ, in the gradient of the span only.
  void move(int64_t begin, const Columns &moves);

  const Problem &problem_;
  const BlockFormat &format_;
  const ScaleFitter &fitter_;
  Panel &panel_;
  int64_t columns_;
  Columns gradient_;
  /// Columns whose gradient is kept up to date: moves in them reach the others
  /// together, at the end.
  int64_t spanBegin_ = 0, spanEnd_ = 0;
  Columns spanMoves_; ///< less ŵ's moves, per column of the span
  bool changed_ = false;
};

} // namespace

void Descent::evaluate(double (&objectives)[kLanes]) {
  Columns errors;
  getErrors(problem_, panel_, errors);
  gradient_.assign(columns_, splat(0));
  if (!problem_.cross.empty())
    addProducts(problem_.cross.data(), columns_, columns_,
                panel_.weights.data(), columns_, gradient_.data());
  Columns linear = gradient_;
  addProducts(problem_.moments.data(), columns_, columns_, errors.data(),
              columns_, gradient_.data());
  std::fill_n(objectives, kLanes, 0);
  for (int64_t k = 0; k < columns_; ++k)
    for (int lane = 0; lane < kLanes; ++lane)
      objectives[lane] += double(errors[k][lane]) *
                          (double(gradient_[k][lane]) + linear[k][lane]);
}

void Descent::run() {
  double before[kLanes], after[kLanes];
  evaluate(before);
  Columns values = panel_.values;
  PanelScales scales = panel_.scales;
  for (unsigned i = 0; i < problem_.options.sweeps && sweep(); ++i)
    ;
  // What was summed up step by step is checked once, exactly.
  evaluate(after);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (after[lane] <= before[lane])
      continue;
    for (int64_t k = 0; k < columns_; ++k)
      panel_.values[k][lane] = values[k][lane];
    panel_.scales.copyLane(scales, lane);
  }
}

bool Descent::sweep() {
  changed_ = false;
  // Spans are super-groups, or of groups that together are worth a product.
  constexpr int64_t kBlock = 64;
  int64_t group = format_.group, size = format_.scaleGroup();
  if (!format_.hasTwoLevels() && size < kBlock)
    size = kBlock / size * size;
  for (spanBegin_ = 0; spanBegin_ < columns_; spanBegin_ = spanEnd_) {
    spanEnd_ = std::min(spanBegin_ + size, columns_);
    spanMoves_.assign(spanEnd_ - spanBegin_, splat(0));
    if (format_.hasTwoLevels()) {
      refitSuper(spanBegin_ / size, /*minima=*/false);
      if (format_.hasMinimum())
        refitSuper(spanBegin_ / size, /*minima=*/true);
    }
    for (int64_t begin = spanBegin_; begin < spanEnd_; begin += group) {
      refitGroup(begin / group);
      for (int64_t k = begin; k < begin + group; k += kBlock)
        roundAgain(k, std::min(k + kBlock, begin + group));
    }
    int64_t count = spanEnd_ - spanBegin_;
    addProducts(moments(0, spanBegin_), columns_, spanBegin_, spanMoves_.data(),
                count, gradient_.data());
    addProducts(moments(spanEnd_, spanBegin_), columns_, columns_ - spanEnd_,
                spanMoves_.data(), count, gradient_.data() + spanEnd_);
  }
  return changed_;
}

void Descent::findGains(int64_t begin, const Columns &moves,
                        bool (&gains)[kLanes]) {
  int64_t count = moves.size();
  Columns products(count, splat(0));
  addProducts(moments(begin, begin), columns_, count, moves.data(), count,
              products.data());
  double changes[kLanes] = {};
  for (int64_t k = 0; k < count; ++k)
    for (int lane = 0; lane < kLanes; ++lane)
      changes[lane] +=
          double(moves[k][lane]) *
          (double(products[k][lane]) - 2 * double(gradient_[begin + k][lane]));
  for (int lane = 0; lane < kLanes; ++lane)
    gains[lane] = changes[lane] < 0;
}

void Descent::move(int64_t begin, const Columns &moves) {
  int64_t count = moves.size();
  Columns negative = moves;
  for (int64_t k = 0; k < count; ++k)
    for (int lane = 0; lane < kLanes; ++lane) {
      changed_ |= moves[k][lane] != 0;
      negative[k][lane] = -moves[k][lane];
      spanMoves_[begin - spanBegin_ + k][lane] -= moves[k][lane];
    }
  addProducts(moments(spanBegin_, begin), columns_, spanEnd_ - spanBegin_,
              negative.data(), count, gradient_.data() + spanBegin_);
}

/// The least-squares scale, and minimum, of a group for its values.
void Descent::refitGroup(int64_t group) {
  int64_t count = format_.group, begin = group * count;
  const GroupScale old = panel_.scales.groups[group];
  Columns units(count), products(count, splat(0));
  for (int64_t k = 0; k < count; ++k)
    for (int lane = 0; lane < kLanes; ++lane)
      units[k][lane] = panel_.values[begin + k][lane] - old.zero[lane];
  addProducts(moments(begin, begin), columns_, count, units.data(), count,
              products.data());
  // [b c; c d] [δs; δm] = [r; t]
  Lanes b = splat(0), c = splat(0), r = splat(0), t = splat(0);
  float d = 0;
  for (int64_t k = 0; k < count; ++k) {
    float sum = 0;
    for (int64_t j = 0; j < count; ++j)
      sum += *moments(begin + k, begin + j);
    d += sum;
    const Lanes &gradient = gradient_[begin + k];
    for (int lane = 0; lane < kLanes; ++lane) {
      b[lane] += units[k][lane] * products[k][lane];
      c[lane] += units[k][lane] * sum;
      r[lane] += units[k][lane] * gradient[lane];
      t[lane] += gradient[lane];
    }
  }
  Lanes scale = old.scale, minimum = old.minimum;
  for (int lane = 0; lane < kLanes; ++lane) {
    float determinant = b[lane] * d - c[lane] * c[lane];
    if (format_.hasMinimum() && determinant > 1e-5f * b[lane] * d) {
      scale[lane] += (r[lane] * d - t[lane] * c[lane]) / determinant;
      minimum[lane] += (t[lane] * b[lane] - r[lane] * c[lane]) / determinant;
    } else if (b[lane] > 0) {
      scale[lane] += r[lane] / b[lane];
    }
  }
  bool isTwoLevel = format_.hasTwoLevels();
  Lanes subScale, subMinimum;
  if (isTwoLevel) {
    subScale = panel_.scales.subScales[group];
    subMinimum = panel_.scales.subMinima[group];
  }
  fitter_.store(group, scale, minimum, panel_.scales);

  Columns moves(count);
  for (int64_t k = 0; k < count; ++k) {
    Lanes from, to;
    old.decode(panel_.values[begin + k], from);
    panel_.scales.groups[group].decode(panel_.values[begin + k], to);
    for (int lane = 0; lane < kLanes; ++lane)
      moves[k][lane] = to[lane] - from[lane];
  }
  bool gains[kLanes];
  findGains(begin, moves, gains);
  GroupScale &current = panel_.scales.groups[group];
  for (int lane = 0; lane < kLanes; ++lane) {
    if (gains[lane])
      continue;
    for (Lanes &column : moves)
      column[lane] = 0;
    current.copyLane(old, lane);
    if (isTwoLevel) {
      panel_.scales.subScales[group][lane] = subScale[lane];
      panel_.scales.subMinima[group][lane] = subMinimum[lane];
    }
  }
  move(begin, moves);
}

/// The least-squares super-scale, or super-minimum, of a super-group for its
/// values and sub-scales. A super-group is a span.
void Descent::refitSuper(int64_t super, bool minima) {
  int64_t count = format_.superGroup, begin = super * count,
          group = format_.group, first = begin / group;
  PanelScales &scales = panel_.scales;
  Columns units(count), products(count, splat(0)), old(count);
  for (int64_t k = 0; k < count; ++k) {
    int64_t g = first + k / group;
    const GroupScale &scale = scales.groups[g];
    scale.decode(panel_.values[begin + k], old[k]);
    for (int lane = 0; lane < kLanes; ++lane)
      units[k][lane] =
          minima ? fitter_.minimumSign() * scales.subMinima[g][lane]
                 : scales.subScales[g][lane] *
                       (panel_.values[begin + k][lane] - scale.zero[lane]);
  }
  addProducts(moments(begin, begin), columns_, count, units.data(), count,
              products.data());
  Lanes upper = splat(0), lower = splat(0);
  for (int64_t k = 0; k < count; ++k)
    for (int lane = 0; lane < kLanes; ++lane) {
      upper[lane] += units[k][lane] * gradient_[begin + k][lane];
      lower[lane] += units[k][lane] * products[k][lane];
    }
  Lanes &stored =
            minima ? scales.superMinima[super] : scales.superScales[super],
        before = stored;
  for (int lane = 0; lane < kLanes; ++lane)
    if (lower[lane] > 0)
      stored[lane] =
          roundScale(format_.scale, stored[lane] + upper[lane] / lower[lane]);
  for (int64_t g = first; g < first + count / group; ++g)
    fitter_.applySubs(g, scales);

  Columns moves(count);
  for (int64_t k = 0; k < count; ++k) {
    Lanes to;
    scales.groups[first + k / group].decode(panel_.values[begin + k], to);
    for (int lane = 0; lane < kLanes; ++lane)
      moves[k][lane] = to[lane] - old[k][lane];
  }
  bool gains[kLanes];
  findGains(begin, moves, gains);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (gains[lane])
      continue;
    stored[lane] = before[lane];
    for (Lanes &column : moves)
      column[lane] = 0;
  }
  for (int64_t g = first; g < first + count / group; ++g)
    fitter_.applySubs(g, scales);
  move(begin, moves);
}

/// Chooses the values of columns [begin, end) of one group again, one after
/// the other.
void Descent::roundAgain(int64_t begin, int64_t end) {
  const GroupScale &scale = panel_.scaleOf(problem_, begin);
  Columns moves(end - begin), negative(end - begin);
  for (int64_t k = begin; k < end; ++k) {
    Lanes gradient = gradient_[k], target, value, from, to;
    addProducts(moments(k, begin), columns_, 1, negative.data(), k - begin,
                &gradient);
    float moment = *moments(k, k);
    float inverse = moment > 0 ? 1 / moment : 0;
    scale.decode(panel_.values[k], from);
    for (int lane = 0; lane < kLanes; ++lane)
      target[lane] = from[lane] + gradient[lane] * inverse;
    scale.round(fitter_.levels(), target, value);
    scale.decode(value, to);
    for (int lane = 0; lane < kLanes; ++lane) {
      float step = to[lane] - from[lane];
      bool isGain = step * (step * moment - 2 * gradient[lane]) < 0 &&
                    (panel_.stays.empty() || panel_.stays[k][lane] != 0);
      moves[k - begin][lane] = isGain ? step : 0;
      negative[k - begin][lane] = isGain ? -step : 0;
      panel_.values[k][lane] = isGain ? value[lane] : panel_.values[k][lane];
    }
  }
  move(begin, moves);
}

void descend(const Problem &problem, Panel &panel) {
  Descent(problem, panel).run();
}

} // namespace pare::encode
