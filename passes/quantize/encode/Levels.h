//===- Levels.h - The values that codes stand for ---------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_LEVELS_H
#define PARE_PASSES_QUANTIZE_ENCODE_LEVELS_H

#include "frontend/weights/BlockFormat.h"
#include "passes/quantize/encode/Lanes.h"
#include "llvm/ADT/bit.h"
#include <algorithm>

namespace pare::encode {

/// Rising distinct values and the nearest one to a number.
class Levels {
public:
  /// The values of a format's codes, before zero points.
  explicit Levels(const BlockFormat &format);
  /// All integers from low to high, below 2^22 in magnitude.
  Levels(int low, int high) : low_(low), high_(high), uniform_(true) {}

  float low() const { return low_; }
  float high() const { return high_; }
  /// Whether values are all integers between low and high.
  bool isUniform() const { return uniform_; }
  /// Whether -x is a level where x is one.
  bool isSymmetric() const;

  /// The nearest level of each lane; a tie goes to the even integer or to the
  /// lower level. Not a number goes to some level.
  [[gnu::always_inline]] void round(Lanes &lanes) const {
    if (uniform_) {
      // Exact below 2^22.
      constexpr float kMagic = 12582912.0f; // 1.5 * 2^23
      Vector low = low_ + Vector{}, high = high_ + Vector{}, x = vec(lanes);
      x = x > low ? x : low;
      x = x < high ? x : high;
      vec(lanes) = (x + kMagic) - kMagic;
      return;
    }
    for (float &x : lanes.at) {
      unsigned above = starts_[llvm::bit_cast<uint32_t>(x) >> kKeyShift];
      for (unsigned i = 0; i < steps_; ++i)
        above += x > middles_[above];
      x = values_[above];
    }
  }

  /// The distance of the levels around `value`; 1 where levels are uniform.
  float getStep(float value) const;

  /// The code of a level that `round` gave.
  uint8_t getCode(float value) const;

private:
  /// Numbers with the same sign, exponent and highest bits of the mantissa are
  /// a bucket.
  static constexpr unsigned kKeyShift = 20;

  void fillStarts();

  float low_, high_;
  bool uniform_;
  std::vector<float> values_, middles_; ///< middles end in infinity
  std::vector<uint8_t> codes_;          ///< of values
  /// Of each bucket how many middles are below it; at most `steps_` are in it.
  std::vector<uint8_t> starts_;
  unsigned steps_ = 0;
};

} // namespace pare::encode

#endif
