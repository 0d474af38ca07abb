#include "backends/runtime/FloatText.h"

#include <stdint.h>
#include <string.h>

using namespace pare::rt;

namespace {

constexpr int kMinPower = -31, kMaxPower = 45;

constexpr int floorLog2Pow10(int e) { return (e * 1741647) >> 19; }

/// A 192-bit unsigned integer, enough for 10^45 and for 2^171 / 10^31.
struct Wide {
  uint32_t limb[6] = {};

  constexpr void multiply(uint32_t factor) {
    uint64_t carry = 0;
    for (uint32_t &l : limb) {
      carry += uint64_t(l) * factor;
      l = uint32_t(carry);
      carry >>= 32;
    }
  }
  /// Returns the remainder.
  constexpr uint32_t divide(uint32_t divisor) {
    uint64_t rest = 0;
    for (int i = 5; i >= 0; --i) {
      rest = rest << 32 | limb[i];
      limb[i] = uint32_t(rest / divisor);
      rest %= divisor;
    }
    return uint32_t(rest);
  }
  constexpr bool bit(int i) const { return limb[i / 32] >> (i % 32) & 1; }
};

/// ceil(10^power * 2^(63 - floor(log2(10^power)))), in [2^63, 2^64).
constexpr uint64_t scaledPower(int power) {
  Wide value;
  bool inexact = false;
  if (power >= 0) {
    value.limb[0] = 1;
    for (int i = 0; i < power; ++i)
      value.multiply(10);
  } else {
    value.limb[5] = 1u << 31; // 2^191: at least 87 bits remain
    for (int i = 0; i < -power; ++i)
      inexact |= value.divide(10) != 0;
  }
  int top = 191;
  while (!value.bit(top))
    --top;
  uint64_t result = 0;
  for (int i = 0; i < 64; ++i)
    result = result << 1 | uint64_t(top - i >= 0 && value.bit(top - i));
  for (int i = top - 64; i >= 0; --i)
    inexact |= value.bit(i);
  return result + inexact;
}

struct PowerTable {
  uint64_t entry[kMaxPower - kMinPower + 1];
  constexpr PowerTable() : entry() {
    for (int i = kMinPower; i <= kMaxPower; ++i)
      entry[i - kMinPower] = scaledPower(i);
  }
};
constexpr PowerTable kPowers;

/// Upper bits of power * value, the lowest made odd if the rest is not zero.
uint32_t roundToOdd(uint64_t power, uint32_t value) {
  unsigned __int128 product = static_cast<unsigned __int128>(power) * value;
  return uint32_t(product >> 64) | (uint32_t(product >> 32) > 1);
}

struct Decimal {
  uint32_t digits;
  int exponent;
};

Decimal toDecimal(uint32_t fraction, uint32_t biased) {
  uint32_t c = biased ? fraction | 1u << 23 : fraction;
  int q = int(biased ? biased : 1) - 150;
  if (biased && q <= 0 && q > -24 && (c & ((1u << -q) - 1)) == 0)
    return {c >> -q, 0};

  bool even = c % 2 == 0;
  bool lowerIsCloser = fraction == 0 && biased > 1;
  int k = (q * 1262611 - (lowerIsCloser ? 524031 : 0)) >> 22;
  int h = q + floorLog2Pow10(-k) + 1;
  uint64_t power = kPowers.entry[-k - kMinPower];
  uint32_t low = roundToOdd(power, (4 * c - 2 + lowerIsCloser) << h) + !even;
  uint32_t mid = roundToOdd(power, (4 * c) << h);
  uint32_t high = roundToOdd(power, (4 * c + 2) << h) - !even;

  uint32_t s = mid / 4;
  if (s >= 10) {
    uint32_t t = s / 10;
    bool down = low <= 40 * t, up = 40 * t + 40 <= high;
    if (down != up)
      return {t + up, k + 1};
  }
  bool down = low <= 4 * s, up = 4 * s + 4 <= high;
  if (down != up)
    return {s + up, k};
  uint32_t half = 4 * s + 2;
  return {s + (mid > half || (mid == half && (s & 1))), k};
}

} // namespace

unsigned pare::rt::floatText(float value, char *text) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  uint32_t fraction = bits & 0x7fffff, biased = bits >> 23 & 255;
  if (biased == 255 && fraction) {
    memcpy(text, "nan", 3);
    return 3;
  }
  char *at = text;
  if (bits >> 31)
    *at++ = '-';
  if (biased == 255) {
    memcpy(at, "inf", 3);
    return unsigned(at + 3 - text);
  }
  if (!biased && !fraction) {
    *at++ = '0';
    return unsigned(at - text);
  }

  Decimal decimal = toDecimal(fraction, biased);
  while (decimal.digits % 10 == 0) {
    decimal.digits /= 10;
    ++decimal.exponent;
  }
  char digits[10];
  int count = 0;
  for (uint32_t rest = decimal.digits; rest; rest /= 10)
    digits[count++] = char('0' + rest % 10);
  auto emit = [&](int n) {
    for (; n; --n)
      *at++ = digits[--count];
  };

  int point = count + decimal.exponent; // digits before the decimal point
  if (point > 0 && point <= 9) {
    int whole = point < count ? point : count;
    emit(whole);
    for (int i = whole; i < point; ++i)
      *at++ = '0';
    if (count) {
      *at++ = '.';
      emit(count);
    }
  } else if (point <= 0 && point > -4) {
    *at++ = '0';
    *at++ = '.';
    for (int i = point; i < 0; ++i)
      *at++ = '0';
    emit(count);
  } else {
    emit(1);
    if (count) {
      *at++ = '.';
      emit(count);
    }
    int exponent = point - 1;
    *at++ = 'e';
    if (exponent < 0) {
      *at++ = '-';
      exponent = -exponent;
    }
    if (exponent >= 10)
      *at++ = char('0' + exponent / 10);
    *at++ = char('0' + exponent % 10);
  }
  return unsigned(at - text);
}
