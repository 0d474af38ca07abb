//===- Scales.cpp - Scales of groups, as a format can store them ----------===//
#include "passes/quantize/encode/Scales.h"
#include "passes/quantize/encode/ScaleStorage.h"
#include "llvm/ADT/STLExtras.h"
#include <limits>
#include <optional>

using llvm::ArrayRef;

namespace pare::encode {

//===----------------------------------------------------------------------===//
// Small parts
//===----------------------------------------------------------------------===//

void PanelScales::resize(const BlockFormat &format, int64_t columns) {
  groups.resize(columns / format.group);
  if (!format.hasTwoLevels())
    return;
  superScales.resize(columns / format.superGroup);
  superMinima.resize(superScales.size(), splat(0));
  subScales.resize(groups.size());
  subMinima.resize(groups.size(), splat(0));
}

void PanelScales::copyLane(const PanelScales &from, int lane) {
  for (size_t g = 0; g < groups.size(); ++g)
    groups[g].copyLane(from.groups[g], lane);
  auto copy = [lane](Columns &to, const Columns &from) {
    for (size_t i = 0; i < to.size(); ++i)
      to[i][lane] = from[i][lane];
  };
  copy(superScales, from.superScales);
  copy(superMinima, from.superMinima);
  copy(subScales, from.subScales);
  copy(subMinima, from.subMinima);
}

GroupData GroupData::slice(int64_t begin, int64_t count) const {
  return {weights + begin, importance + begin, count,
          moments ? moments + begin * stride + begin : nullptr, stride};
}

static Lanes roundScales(ScaleType type, Lanes lanes) {
  for (float &lane : lanes.at)
    lane = roundScale(type, lane);
  return lanes;
}

/// Largest w and largest -w of each lane, at least 0.
static std::pair<Lanes, Lanes> getExtremes(ArrayRef<Lanes> weights) {
  Lanes above = splat(0), below = splat(0);
  for (const Lanes &column : weights)
    for (int lane = 0; lane < kLanes; ++lane) {
      above[lane] = std::max(above[lane], column[lane]);
      below[lane] = std::max(below[lane], -column[lane]);
    }
  return {above, below};
}

/// Sums over a group's weights with u = value - zero.
struct Sums {
  Lanes q = splat(0), qu = splat(0), quu = splat(0), qw = splat(0),
        quw = splat(0);

  Sums(const GroupData &data, const Levels &levels, const GroupScale &scale);
};

// The loops that fitting scales spends its time in. Compiled once more for
// AVX2, which changes no bit of their results.

[[gnu::always_inline]] static inline void sumUp(const GroupData &data,
                                                const Levels &levels,
                                                const GroupScale &scale,
                                                Sums &sums) {
  Vector q{}, qu{}, quu{}, qw{}, quw{};
  for (int64_t k = 0; k < data.size; ++k) {
    Lanes value;
    scale.round(levels, data.weights[k], value);
    Vector w = vec(data.weights[k]), p = vec(data.importance[k]),
           u = vec(value) - vec(scale.zero);
    q += p;
    qu += p * u;
    quu += p * u * u;
    qw += p * w;
    quw += p * u * w;
  }
  vec(sums.q) = q;
  vec(sums.qu) = qu;
  vec(sums.quu) = quu;
  vec(sums.qw) = qw;
  vec(sums.quw) = quw;
}

[[gnu::always_inline]] static inline void addSquares(const GroupData &data,
                                                     const Levels &levels,
                                                     const GroupScale &scale,
                                                     Lanes &error) {
  Vector sum{};
  for (int64_t k = 0; k < data.size; ++k) {
    Lanes value, decoded;
    scale.round(levels, data.weights[k], value);
    scale.decode(value, decoded);
    Vector delta = vec(data.weights[k]) - vec(decoded);
    sum += vec(data.importance[k]) * delta * delta;
  }
  vec(error) += sum;
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] static void sumUpAvx2(const GroupData &data,
                                              const Levels &levels,
                                              const GroupScale &scale,
                                              Sums &sums) {
  sumUp(data, levels, scale, sums);
}
[[gnu::target("avx2")]] static void addSquaresAvx2(const GroupData &data,
                                                   const Levels &levels,
                                                   const GroupScale &scale,
                                                   Lanes &error) {
  addSquares(data, levels, scale, error);
}
static bool hasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#else
static bool hasAvx2() { return false; }
static constexpr auto sumUpAvx2 = sumUp;
static constexpr auto addSquaresAvx2 = addSquares;
#endif

Sums::Sums(const GroupData &data, const Levels &levels,
           const GroupScale &scale) {
  hasAvx2() ? sumUpAvx2(data, levels, scale, *this)
            : sumUp(data, levels, scale, *this);
}

/// Σ q (w - ŵ)² of rounding to nearest, or e H_g eᵀ where moments are known.
static Lanes measure(const GroupData &data, const Levels &levels,
                     const GroupScale &scale) {
  Lanes error = splat(0);
  if (!data.moments) {
    hasAvx2() ? addSquaresAvx2(data, levels, scale, error)
              : addSquares(data, levels, scale, error);
    return error;
  }
  Columns errors(data.size), products(data.size, splat(0));
  for (int64_t k = 0; k < data.size; ++k) {
    Lanes value, decoded;
    scale.round(levels, data.weights[k], value);
    scale.decode(value, decoded);
    for (int lane = 0; lane < kLanes; ++lane)
      errors[k][lane] = data.weights[k][lane] - decoded[lane];
  }
  addProducts(data.moments, data.stride, data.size, errors.data(), data.size,
              products.data());
  for (int64_t k = 0; k < data.size; ++k)
    for (int lane = 0; lane < kLanes; ++lane)
      error[lane] += errors[k][lane] * products[k][lane];
  return error;
}

/// The best scale so far of each lane.
struct Best {
  GroupScale scale;
  Lanes error = splat(std::numeric_limits<float>::infinity());

  void consider(const GroupScale &candidate, const Lanes &candidateError) {
    for (int lane = 0; lane < kLanes; ++lane) {
      // The first is taken even if its error is not a number.
      bool better = candidateError[lane] < error[lane] || isFirst_;
      if (!better)
        continue;
      scale.copyLane(candidate, lane);
      error[lane] = candidateError[lane];
    }
    isFirst_ = false;
  }

private:
  bool isFirst_ = true;
};

/// Factors of the scale that clips nothing. With few levels the best clips
/// most of a normal distribution's tail, with many little.
static llvm::SmallVector<float> getClipFactors(const Levels &levels) {
  constexpr int kSteps = 16;
  float count = levels.high() - levels.low(), least = count < 8    ? 0.3f
                                                      : count < 32 ? 0.5f
                                                                   : 0.75f;
  if (!levels.isUniform())
    least = 0.5f;
  llvm::SmallVector<float> factors;
  for (int i = 0; i < kSteps; ++i)
    factors.push_back(1.05f + (least - 1.05f) * float(i) / (kSteps - 1));
  return factors;
}

//===----------------------------------------------------------------------===//
// Symmetric formats
//===----------------------------------------------------------------------===//

/// How a fitted scale is stored: as `type`, or as it is.
using Storage = std::optional<ScaleType>;

static void store(Storage type, GroupScale &scale, const Lanes &to) {
  scale.setScale(type ? roundScales(*type, to) : to);
}

/// w = scale · value.
static GroupScale fitSymmetric(const GroupData &data, const Levels &levels,
                               Storage type, bool isSigned,
                               ScaleSearch search) {
  auto [above, below] = getExtremes({data.weights, size_t(data.size)});
  // No scale below clips: one as the levels are, one that turns them round.
  Lanes straight, turned;
  float up = 1 / levels.high(), down = levels.low() < 0 ? -1 / levels.low() : 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    straight[lane] = std::max(above[lane] * up, below[lane] * down);
    turned[lane] = -std::max(above[lane] * down, below[lane] * up);
  }
  bool turns = isSigned && levels.low() < 0 && !levels.isSymmetric();
  if (search == ScaleSearch::MaxAbs) {
    for (int lane = 0; lane < kLanes; ++lane)
      if (turns && -turned[lane] < straight[lane])
        straight[lane] = turned[lane];
    GroupScale scale;
    store(type, scale, straight);
    return scale;
  }

  // Of scales that are stored coarsely the best may be far from a fitted one.
  bool isCoarse = type && getScaleBytes(*type) == 1;
  llvm::SmallVector<float> factors = getClipFactors(levels);
  if (isCoarse)
    factors.append({1.25f, 1.5f});
  Best best;
  for (bool turn : {false, true}) {
    if (turn && !turns)
      break;
    const Lanes &base = turn ? turned : straight;
    for (float factor : factors) {
      Lanes scale = base;
      for (float &lane : scale.at)
        lane *= factor;
      GroupScale candidate;
      if (isCoarse) {
        store(type, candidate, scale);
        best.consider(candidate, measure(data, levels, candidate));
      }
      candidate.setScale(scale);
      Sums sums(data, levels, candidate);
      for (int lane = 0; lane < kLanes; ++lane) {
        float fitted = sums.quw[lane] / sums.quu[lane];
        if (sums.quu[lane] > 0 && (isSigned || fitted > 0))
          scale[lane] = fitted;
      }
      store(type, candidate, scale);
      best.consider(candidate, measure(data, levels, candidate));
    }
  }
  return best.scale;
}

//===----------------------------------------------------------------------===//
// Formats with a minimum or zero points
//===----------------------------------------------------------------------===//

/// Least and largest weight of each lane.
static std::pair<Lanes, Lanes> getRange(const GroupData &data) {
  Lanes least = data.weights[0], largest = data.weights[0];
  for (int64_t k = 1; k < data.size; ++k)
    for (int lane = 0; lane < kLanes; ++lane) {
      least[lane] = std::min(least[lane], data.weights[k][lane]);
      largest[lane] = std::max(largest[lane], data.weights[k][lane]);
    }
  return {least, largest};
}

/// w = scale · value + minimum. Of a minimum that is stored without a sign
/// none is above zero.
static GroupScale fitMinimum(const GroupData &data, const Levels &levels,
                             Storage type, bool isSigned, ScaleSearch search) {
  auto [least, largest] = getRange(data);
  float span = 1 / (levels.high() - levels.low());
  // The codes reach `factor` of the range; of what they do not, `below` is at
  // its lower end.
  auto place = [&](float factor, float below) {
    GroupScale placed;
    Lanes scale;
    for (int lane = 0; lane < kLanes; ++lane) {
      float low = isSigned ? least[lane] : std::min(least[lane], 0.0f),
            range = std::max(largest[lane] - low, 0.0f);
      scale[lane] = factor * range * span;
      float minimum =
          low + (1 - factor) * below * range - scale[lane] * levels.low();
      placed.minimum[lane] = isSigned ? minimum : std::min(minimum, 0.0f);
    }
    placed.setScale(scale);
    return placed;
  };
  auto storeBoth = [&](GroupScale &scale) {
    if (!type)
      return;
    scale.setScale(roundScales(*type, scale.scale));
    for (float &lane : scale.minimum.at)
      lane = -roundScale(*type, -lane);
  };
  if (search == ScaleSearch::MaxAbs) {
    GroupScale scale = place(1, 0);
    storeBoth(scale);
    return scale;
  }

  auto fitBoth = [&](GroupScale &candidate, const Sums &sums) {
    Lanes scale = candidate.scale;
    for (int lane = 0; lane < kLanes; ++lane) {
      float q = sums.q[lane], qu = sums.qu[lane], quu = sums.quu[lane],
            qw = sums.qw[lane], quw = sums.quw[lane];
      float determinant = q * quu - qu * qu;
      if (!(determinant > 1e-6f * q * quu))
        continue;
      float fitted = (q * quw - qu * qw) / determinant,
            minimum = (quu * qw - qu * quw) / determinant;
      if (!isSigned && minimum > 0) {
        minimum = 0;
        fitted = quw / quu;
      }
      if (!(fitted > 0))
        continue;
      scale[lane] = fitted;
      candidate.minimum[lane] = minimum;
    }
    candidate.setScale(scale);
  };
  Best best;
  for (float below : {0.5f, 0.0f, 1.0f})
    for (float factor : getClipFactors(levels)) {
      GroupScale candidate = place(factor, below);
      fitBoth(candidate, Sums(data, levels, candidate));
      storeBoth(candidate);
      best.consider(candidate, measure(data, levels, candidate));
    }
  return best.scale;
}

/// w = scale · (value - zero) with zero an integer in [0, largestZero].
static GroupScale fitZero(const GroupData &data, const Levels &levels,
                          Storage type, float largestZero, ScaleSearch search) {
  auto [least, largest] = getRange(data);
  float span = 1 / (levels.high() - levels.low());
  auto place = [&](float factor, float shift) {
    GroupScale placed;
    Lanes scale;
    for (int lane = 0; lane < kLanes; ++lane) {
      float low = std::min(least[lane], 0.0f),
            range = std::max(largest[lane], 0.0f) - low;
      float zero = range > 0 ? levels.low() - low / (range * span) : 0;
      zero = std::clamp(std::nearbyint(zero) + shift, 0.0f, largestZero);
      placed.zero[lane] = zero;
      // The zero point may be one that clips an end.
      scale[lane] = factor * range * span;
    }
    placed.setScale(scale);
    return placed;
  };
  if (search == ScaleSearch::MaxAbs) {
    GroupScale scale = place(1, 0);
    store(type, scale, scale.scale);
    return scale;
  }

  Best best;
  for (float shift : {0.0f, -1.0f, 1.0f})
    for (float factor : getClipFactors(levels)) {
      GroupScale candidate = place(factor, shift);
      Sums sums(data, levels, candidate);
      Lanes scale = candidate.scale;
      for (int lane = 0; lane < kLanes; ++lane)
        if (sums.quw[lane] > 0 && sums.quu[lane] > 0)
          scale[lane] = sums.quw[lane] / sums.quu[lane];
      store(type, candidate, scale);
      best.consider(candidate, measure(data, levels, candidate));
    }
  return best.scale;
}

//===----------------------------------------------------------------------===//
// ScaleFitter
//===----------------------------------------------------------------------===//

/// The integers that a sub-scale may be.
static Levels getSubScaleLevels(const BlockFormat &format) {
  int count = 1 << format.subBits;
  if (format.subSigned)
    return Levels(-count / 2, count / 2 - 1);
  return Levels(-format.subOffset, count - 1 - format.subOffset);
}

ScaleFitter::ScaleFitter(const BlockFormat &format, ScaleSearch search)
    : format_(format), search_(search), levels_(format),
      subScaleLevels_(getSubScaleLevels(format)),
      subMinimumLevels_(0, (1 << format.subBits) - 1) {}

bool ScaleFitter::isScaleSigned() const {
  return format_.hasTwoLevels() ? subScaleLevels_.low() < 0
                                : isSigned(format_.scale);
}

bool ScaleFitter::isMinimumSigned() const {
  return !format_.hasTwoLevels() && isSigned(format_.scale);
}

GroupScale ScaleFitter::fitGroup(const GroupData &data) const {
  Storage type;
  if (!format_.hasTwoLevels())
    type = format_.scale;
  if (format_.hasMinimum())
    return fitMinimum(data, levels_, type, isMinimumSigned(), search_);
  if (format_.zeroBits)
    return fitZero(data, levels_, type, float((1u << format_.zeroBits) - 1),
                   search_);
  return fitSymmetric(data, levels_, type, isScaleSigned(), search_);
}

void ScaleFitter::fit(const GroupData &data, int64_t index,
                      PanelScales &scales) const {
  if (!format_.hasTwoLevels()) {
    scales.groups[index] = fitGroup(data);
    return;
  }
  std::vector<GroupScale> ideal;
  for (int64_t k = 0; k < data.size; k += format_.group)
    ideal.push_back(fitGroup(data.slice(k, format_.group)));
  storeTwoLevels(data, index, ideal, scales);
}

void ScaleFitter::storeTwoLevels(const GroupData &data, int64_t index,
                                 ArrayRef<GroupScale> ideal,
                                 PanelScales &scales) const {
  int64_t count = ideal.size(), first = index * count;
  // What a deviation of a scale or a minimum costs weights it in the fit of
  // the super-scale.
  Columns idealScales, idealMinima, scaleWeights, minimumWeights;
  for (int64_t g = 0; g < count; ++g) {
    Sums sums(data.slice(g * format_.group, format_.group), levels_, ideal[g]);
    Lanes minimum;
    for (int lane = 0; lane < kLanes; ++lane)
      minimum[lane] = std::abs(ideal[g].minimum[lane]);
    idealScales.push_back(ideal[g].scale);
    idealMinima.push_back(minimum);
    scaleWeights.push_back(sums.quu);
    minimumWeights.push_back(sums.q);
  }
  ScaleSearch search =
      search_ == ScaleSearch::MaxAbs ? ScaleSearch::MaxAbs : ScaleSearch::Mse;
  GroupData scaleData{idealScales.data(), scaleWeights.data(), count},
      minimumData{idealMinima.data(), minimumWeights.data(), count};
  GroupScale super = fitSymmetric(scaleData, subScaleLevels_, format_.scale,
                                  isScaleSigned(), search),
             superMinimum;
  scales.superScales[index] = super.scale;
  if (format_.hasMinimum()) {
    superMinimum = fitSymmetric(minimumData, subMinimumLevels_, format_.scale,
                                /*isSigned=*/false, search);
    // Minima are not above zero.
    for (int lane = 0; lane < kLanes; ++lane)
      scales.superMinima[index][lane] =
          -minimumSign() * superMinimum.scale[lane];
  }
  for (int64_t g = 0; g < count; ++g) {
    super.round(subScaleLevels_, idealScales[g], scales.subScales[first + g]);
    if (format_.hasMinimum())
      superMinimum.round(subMinimumLevels_, idealMinima[g],
                         scales.subMinima[first + g]);
    scales.groups[first + g].zero = ideal[g].zero;
    applySubs(first + g, scales);
  }
  if (search_ == ScaleSearch::MaxAbs)
    return;
  for (int pass = 0; pass < 2; ++pass) {
    refitSuper(data, index, /*minima=*/false, scales);
    if (format_.hasMinimum())
      refitSuper(data, index, /*minima=*/true, scales);
    for (int64_t g = 0; g < count; ++g)
      refineSubs(data.slice(g * format_.group, format_.group), first + g,
                 scales);
  }
}

void ScaleFitter::applySubs(int64_t group, PanelScales &scales) const {
  int64_t super = group * format_.group / format_.superGroup;
  GroupScale &to = scales.groups[group];
  Lanes scale;
  for (int lane = 0; lane < kLanes; ++lane) {
    scale[lane] =
        scales.superScales[super][lane] * scales.subScales[group][lane];
    to.minimum[lane] = minimumSign() * (scales.superMinima[super][lane] *
                                        scales.subMinima[group][lane]);
  }
  to.setScale(scale);
}

/// Least squares of the super-scale, or of the super-minimum, for the codes
/// and sub-scales as they are; kept in lanes whose error falls when codes are
/// chosen again.
void ScaleFitter::refitSuper(const GroupData &data, int64_t index, bool minima,
                             PanelScales &scales) const {
  int64_t count = data.size / format_.group, first = index * count;
  Lanes upper = splat(0), lower = splat(0), before = splat(0);
  for (int64_t g = first; g < first + count; ++g) {
    GroupData group = data.slice((g - first) * format_.group, format_.group);
    const GroupScale &scale = scales.groups[g];
    Sums sums(group, levels_, scale);
    Lanes error = measure(group, levels_, scale);
    for (int lane = 0; lane < kLanes; ++lane) {
      before[lane] += error[lane];
      if (minima) {
        float sub = minimumSign() * scales.subMinima[g][lane];
        upper[lane] +=
            sub * (sums.qw[lane] - scale.scale[lane] * sums.qu[lane]);
        lower[lane] += sub * sub * sums.q[lane];
      } else {
        float sub = scales.subScales[g][lane];
        upper[lane] +=
            sub * (sums.quw[lane] - scale.minimum[lane] * sums.qu[lane]);
        lower[lane] += sub * sub * sums.quu[lane];
      }
    }
  }
  Columns &supers = minima ? scales.superMinima : scales.superScales;
  Lanes old = supers[index], fitted = old, after = splat(0);
  for (int lane = 0; lane < kLanes; ++lane)
    if (lower[lane] > 0)
      fitted[lane] = upper[lane] / lower[lane];
  supers[index] = roundScales(format_.scale, fitted);
  for (int64_t g = first; g < first + count; ++g) {
    applySubs(g, scales);
    Lanes error =
        measure(data.slice((g - first) * format_.group, format_.group), levels_,
                scales.groups[g]);
    for (int lane = 0; lane < kLanes; ++lane)
      after[lane] += error[lane];
  }
  for (int lane = 0; lane < kLanes; ++lane)
    if (!(after[lane] < before[lane]))
      supers[index][lane] = old[lane];
  for (int64_t g = first; g < first + count; ++g)
    applySubs(g, scales);
}

/// Takes the best of the neighbouring sub-scales and sub-minima.
void ScaleFitter::refineSubs(const GroupData &data, int64_t group,
                             PanelScales &scales) const {
  Lanes scale = scales.subScales[group], minimum = scales.subMinima[group];
  Lanes bestScale = scale, bestMinimum = minimum,
        least = measure(data, levels_, scales.groups[group]);
  auto step = [](const Lanes &from, int by, const Levels &levels, Lanes &to) {
    for (int lane = 0; lane < kLanes; ++lane)
      to[lane] =
          std::clamp(from[lane] + float(by), levels.low(), levels.high());
  };
  int reach = format_.hasMinimum() ? 1 : 0;
  for (int up = -1; up <= 1; ++up)
    for (int side = -reach; side <= reach; ++side) {
      if (up == 0 && side == 0)
        continue;
      step(scale, up, subScaleLevels_, scales.subScales[group]);
      step(minimum, side, subMinimumLevels_, scales.subMinima[group]);
      applySubs(group, scales);
      Lanes error = measure(data, levels_, scales.groups[group]);
      for (int lane = 0; lane < kLanes; ++lane)
        if (error[lane] < least[lane]) {
          least[lane] = error[lane];
          bestScale[lane] = scales.subScales[group][lane];
          bestMinimum[lane] = scales.subMinima[group][lane];
        }
    }
  scales.subScales[group] = bestScale;
  scales.subMinima[group] = bestMinimum;
  applySubs(group, scales);
}

void ScaleFitter::store(int64_t group, const Lanes &scale, const Lanes &minimum,
                        PanelScales &scales) const {
  GroupScale &to = scales.groups[group];
  if (!format_.hasTwoLevels()) {
    to.setScale(roundScales(format_.scale, scale));
    if (format_.hasMinimum())
      for (int lane = 0; lane < kLanes; ++lane)
        to.minimum[lane] =
            minimumSign() *
            roundScale(format_.scale, minimumSign() * minimum[lane]);
    return;
  }
  int64_t super = group * format_.group / format_.superGroup;
  auto code = [](const Lanes &by, const Levels &levels, Lanes lanes) {
    GroupScale superScale;
    superScale.setScale(by);
    Lanes codes;
    superScale.round(levels, lanes, codes);
    return codes;
  };
  scales.subScales[group] =
      code(scales.superScales[super], subScaleLevels_, scale);
  if (format_.hasMinimum()) {
    Lanes unsignedMinimum = minimum;
    for (float &lane : unsignedMinimum.at)
      lane *= minimumSign();
    scales.subMinima[group] =
        code(scales.superMinima[super], subMinimumLevels_, unsignedMinimum);
  }
  applySubs(group, scales);
}

} // namespace pare::encode
