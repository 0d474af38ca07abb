//===- Scales.h - Scales of groups, as a format can store them --*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_SCALES_H
#define PARE_PASSES_QUANTIZE_ENCODE_SCALES_H

#include "passes/quantize/encode/Encode.h"
#include "passes/quantize/encode/Levels.h"
#include <cmath>

namespace pare::encode {

/// What the values of a group's codes are multiplied by and moved by:
/// w = scale · (value - zero) + minimum.
struct GroupScale {
  Lanes scale, inverse; ///< inverse: 1 / scale, or 0 where that overflows
  Lanes minimum = splat(0), zero = splat(0);

  void setScale(const Lanes &to) {
    scale = to;
    for (int lane = 0; lane < kLanes; ++lane)
      inverse[lane] = std::abs(to[lane]) > 1e-37f ? 1 / to[lane] : 0.0f;
  }
  void copyLane(const GroupScale &from, int lane) {
    scale[lane] = from.scale[lane];
    inverse[lane] = from.inverse[lane];
    minimum[lane] = from.minimum[lane];
    zero[lane] = from.zero[lane];
  }

  /// The level nearest to `weight`.
  [[gnu::always_inline]] void round(const Levels &levels, const Lanes &weight,
                                    Lanes &value) const {
    vec(value) = (vec(weight) - vec(minimum)) * vec(inverse) + vec(zero);
    levels.round(value);
  }

  /// The weight that a level stands for, as decodeBlocks computes it.
  [[gnu::always_inline]] void decode(const Lanes &value, Lanes &weight) const {
    vec(weight) = vec(scale) * (vec(value) - vec(zero)) + vec(minimum);
  }
};

/// Scales of a panel of rows.
struct PanelScales {
  std::vector<GroupScale> groups;
  /// Two levels only: per super-group, and per group the integer that it is
  /// multiplied by. Minima are as stored, without the sign of the format.
  std::vector<Lanes> superScales, superMinima, subScales, subMinima;

  /// Sizes all for rows of `columns` elements.
  void resize(const BlockFormat &format, int64_t columns);
  void copyLane(const PanelScales &from, int lane);
};

/// Weights that share a scale, or a super-scale.
struct GroupData {
  const Lanes *weights, *importance; ///< [size]
  int64_t size;
  /// With ScaleSearch::Output the second moments of the group's inputs, rows
  /// `stride` apart; else null.
  const float *moments = nullptr;
  int64_t stride = 0;

  GroupData slice(int64_t begin, int64_t count) const;
};

/// Chooses scales.
class ScaleFitter {
public:
  ScaleFitter(const BlockFormat &format, ScaleSearch search);

  const BlockFormat &format() const { return format_; }
  const Levels &levels() const { return levels_; }
  const Levels &subScaleLevels() const { return subScaleLevels_; }
  const Levels &subMinimumLevels() const { return subMinimumLevels_; }
  float minimumSign() const {
    return format_.minimum == MinimumKind::Subtracted ? -1.0f : 1.0f;
  }
  /// Whether a group's scale (minimum) is never below (above) zero because of
  /// how it is stored.
  bool isScaleSigned() const;
  bool isMinimumSigned() const;

  /// Scales of the scaleGroup() weights of `data`, which are number `index` of
  /// their rows, written to that place of `scales`.
  void fit(const GroupData &data, int64_t index, PanelScales &scales) const;

  /// Gives group `group` the scale and minimum that can be stored and are
  /// nearest to the given ones; with two levels only sub-scales and
  /// sub-minima change.
  void store(int64_t group, const Lanes &scale, const Lanes &minimum,
             PanelScales &scales) const;

  /// Stores the ideal scales of the groups of super-group `index` in two
  /// levels, near enough to lose little; `data` is as for fit.
  void storeTwoLevels(const GroupData &data, int64_t index,
                      llvm::ArrayRef<GroupScale> ideal,
                      PanelScales &scales) const;

  /// The scale of one group; with two levels the ideal one.
  GroupScale fitGroup(const GroupData &data) const;

  /// Computes a group's scale from its two levels, as decodeBlocks does.
  void applySubs(int64_t group, PanelScales &scales) const;

private:
  void refitSuper(const GroupData &data, int64_t index, bool minima,
                  PanelScales &scales) const;
  void refineSubs(const GroupData &data, int64_t group,
                  PanelScales &scales) const;

  const BlockFormat &format_;
  ScaleSearch search_;
  Levels levels_, subScaleLevels_, subMinimumLevels_;
};

} // namespace pare::encode

#endif
