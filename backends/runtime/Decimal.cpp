//===- Decimal.cpp - Doubles and decimal text -----------------------------===//
#include "backends/runtime/Decimal.h"

using namespace pare::rt;

namespace {

/// An unsigned integer below 2^1536: any double, or its inverse, times a power
/// of ten that makes it a whole number.
struct Big {
  static constexpr unsigned limbs = 48;
  uint32_t limb[limbs] = {};

  explicit Big(uint64_t value) {
    limb[0] = uint32_t(value);
    limb[1] = uint32_t(value >> 32);
  }

  void multiplyAdd(uint32_t factor, uint32_t addend) {
    uint64_t carry = addend;
    for (uint32_t &l : limb) {
      carry += uint64_t(l) * factor;
      l = uint32_t(carry);
      carry >>= 32;
    }
  }
  void scaleByTen(int power) {
    for (; power > 0; --power)
      multiplyAdd(10, 0);
  }
  void shiftLeft(unsigned bits) {
    const unsigned whole = bits / 32, part = bits % 32;
    for (unsigned i = limbs; i-- > 0;) {
      const uint64_t high = i >= whole ? limb[i - whole] : 0;
      const uint64_t low = i >= whole + 1 ? limb[i - whole - 1] : 0;
      limb[i] = uint32_t((high << 32 | low) << part >> 32);
    }
  }
  void add(const Big &other) {
    uint64_t carry = 0;
    for (unsigned i = 0; i < limbs; ++i) {
      carry += uint64_t(limb[i]) + other.limb[i];
      limb[i] = uint32_t(carry);
      carry >>= 32;
    }
  }
  /// `other` is not larger.
  void subtract(const Big &other) {
    int64_t borrow = 0;
    for (unsigned i = 0; i < limbs; ++i) {
      borrow += int64_t(limb[i]) - int64_t(other.limb[i]);
      limb[i] = uint32_t(borrow);
      borrow >>= 32;
    }
  }
  int compare(const Big &other) const {
    for (unsigned i = limbs; i-- > 0;)
      if (limb[i] != other.limb[i])
        return limb[i] < other.limb[i] ? -1 : 1;
    return 0;
  }
  int bits() const {
    for (unsigned i = limbs; i-- > 0;)
      if (limb[i])
        return int(32 * i + 32) - __builtin_clz(limb[i]);
    return 0;
  }
};

/// digits * 10^power, rounded to the nearest double.
double toDouble(Big digits, int power) {
  Big divisor(1);
  digits.scaleByTen(power);
  divisor.scaleByTen(-power);
  // A fraction in (1/4, 1), and its first 64 bits.
  const int exponent = digits.bits() - divisor.bits() + 1;
  if (exponent > 0)
    divisor.shiftLeft(unsigned(exponent));
  else
    digits.shiftLeft(unsigned(-exponent));
  uint64_t quotient = 0;
  for (int i = 0; i < 64; ++i) {
    digits.shiftLeft(1);
    quotient <<= 1;
    if (digits.compare(divisor) >= 0) {
      digits.subtract(divisor);
      quotient |= 1;
    }
  }
  const bool inexact = digits.bits() > 0;

  const int width = 64 - __builtin_clzll(quotient);
  const int top = width - 1 + exponent - 64; // exponent of the first bit
  const int precision = top >= -1022 ? 53 : 53 - (-1022 - top);
  if (precision < 0)
    return 0;
  const int shift = width - precision; // at least 10
  uint64_t mantissa = shift < 64 ? quotient >> shift : 0;
  const uint64_t rest = shift < 64 ? quotient << (64 - shift) : quotient;
  const uint64_t half = uint64_t(1) << 63;
  if (rest > half || (rest == half && (inexact || (mantissa & 1))))
    ++mantissa;
  uint64_t result = mantissa;
  if (top >= -1022)
    result += uint64_t(top + 1022) << 52;
  const uint64_t infinity = uint64_t(0x7ff) << 52;
  if (result > infinity)
    result = infinity;
  double value;
  memcpy(&value, &result, 8);
  return value;
}

/// The shortest digits of a positive finite `value`, which is 0.DIGITS *
/// 10^point. Returns how many there are, at most 17.
unsigned shortestDigits(double value, char *digits, int &point) {
  uint64_t pattern;
  memcpy(&pattern, &value, 8);
  const int biased = int(pattern >> 52 & 0x7ff);
  uint64_t fraction = pattern & ((uint64_t(1) << 52) - 1);
  const bool narrowBelow = biased > 1 && fraction == 0;
  if (biased)
    fraction |= uint64_t(1) << 52;
  const int exponent = (biased ? biased : 1) - 1075;
  const bool even = fraction % 2 == 0;

  // value = rest / scale; neighbours are 2 * below and 2 * above away.
  Big rest(fraction), scale(1), below(1), above(1);
  rest.shiftLeft(unsigned(max(exponent, 0) + 1 + narrowBelow));
  scale.shiftLeft(unsigned(max(-exponent, 0) + 1 + narrowBelow));
  below.shiftLeft(unsigned(max(exponent, 0)));
  above.shiftLeft(unsigned(max(exponent, 0) + narrowBelow));

  const int top = exponent + 63 - __builtin_clzll(fraction);
  point = int((int64_t(top) * 1292913986) >> 32); // floor(top * log10(2))
  scale.scaleByTen(point);
  Big *const lengths[] = {&rest, &below, &above};
  for (Big *length : lengths)
    length->scaleByTen(-point);
  auto reachesScale = [&] {
    Big sum = rest;
    sum.add(above);
    const int order = sum.compare(scale);
    return order > 0 || (even && order == 0);
  };
  while (reachesScale()) {
    scale.multiplyAdd(10, 0);
    ++point;
  }

  unsigned count = 0;
  for (;;) {
    for (Big *length : lengths)
      length->multiplyAdd(10, 0);
    char digit = '0';
    while (rest.compare(scale) >= 0) {
      rest.subtract(scale);
      ++digit;
    }
    const int order = rest.compare(below);
    const bool low = order < 0 || (even && order == 0);
    const bool high = reachesScale();
    if (!low && !high) {
      digits[count++] = digit;
      continue;
    }
    if (low && high)
      rest.shiftLeft(1);
    const bool up = high && (!low || rest.compare(scale) > 0 ||
                             (rest.compare(scale) == 0 && digit % 2 != 0));
    digits[count++] = char(digit + up);
    return count;
  }
}

} // namespace

bool pare::rt::parseDecimal(Str text, double &value) {
  uint64_t at = 0;
  auto isDigit = [&] {
    return at < text.size && text.data[at] >= '0' && text.data[at] <= '9';
  };
  const bool negative = text.startsWith("-");
  at += negative || text.startsWith("+");

  Big digits(0);
  int power = 0, kept = 0;
  bool any = false, dropped = false;
  auto takeDigits = [&](int step) {
    for (; isDigit(); ++at) {
      const uint32_t digit = uint32_t(text.data[at] - '0');
      any = true;
      if (kept < 40) {
        digits.multiplyAdd(10, digit);
        kept += kept > 0 || digit > 0;
        power -= step;
      } else {
        dropped |= digit > 0;
        power += 1 - step;
      }
      power = min(power, 100000);
    }
  };
  takeDigits(0);
  if (at < text.size && text.data[at] == '.') {
    ++at;
    takeDigits(1);
  }
  if (!any)
    return false;
  if (at < text.size && (text.data[at] | 0x20) == 'e') {
    ++at;
    const bool down = at < text.size && text.data[at] == '-';
    at += down || (at < text.size && text.data[at] == '+');
    if (!isDigit())
      return false;
    int exponent = 0;
    for (; isDigit(); ++at)
      exponent = min(exponent * 10 + (text.data[at] - '0'), 200000);
    power += down ? -exponent : exponent;
  }
  if (at != text.size)
    return false;

  if (dropped) {
    digits.multiplyAdd(10, 1);
    --power;
    ++kept;
  }
  if (kept == 0 || power + kept < -330)
    value = 0;
  else if (power + kept > 310)
    value = __builtin_inf();
  else
    value = toDouble(digits, power);
  if (negative)
    value = -value;
  return true;
}

unsigned pare::rt::decimalText(double value, char *text) {
  auto literal = [&](const char *word) {
    const unsigned n = unsigned(strlen(word));
    memcpy(text, word, n);
    return n;
  };
  if (value != value)
    return literal("nan");
  const bool negative = __builtin_signbit(value);
  if (__builtin_isinf(value))
    return literal(negative ? "-inf" : "inf");
  char *out = text;
  if (negative)
    *out++ = '-';

  char digits[20] = {'0'};
  int point = 1;
  const unsigned count =
      value == 0 ? 1 : shortestDigits(negative ? -value : value, digits, point);
  auto put = [&](const char *from, unsigned n) {
    memcpy(out, from, n);
    out += n;
  };
  auto zeros = [&](int n) {
    for (; n > 0; --n)
      *out++ = '0';
  };
  if (point > 16 || point <= -4) {
    put(digits, 1);
    if (count > 1) {
      *out++ = '.';
      put(digits + 1, count - 1);
    }
    int exponent = point - 1;
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    if (exponent >= 100)
      *out++ = char('0' + exponent / 100);
    *out++ = char('0' + exponent / 10 % 10);
    *out++ = char('0' + exponent % 10);
  } else if (point <= 0) {
    put("0.", 2);
    zeros(-point);
    put(digits, count);
  } else {
    const unsigned whole = min(count, unsigned(point));
    put(digits, whole);
    zeros(point - int(whole));
    *out++ = '.';
    if (count > whole)
      put(digits + whole, count - whole);
    else
      zeros(1);
  }
  return unsigned(out - text);
}
