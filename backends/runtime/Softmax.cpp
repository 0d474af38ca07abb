#include "backends/runtime/Softmax.h"

using namespace pare::rt;

namespace {

/// Cody and Waite, "Software manual for the elementary functions", 1980: x is
/// n ln 2 + r, e^r a polynomial. No branches, so that loops of it become vector
/// code.
inline float exponential(float x) {
  constexpr float kLog2E = 1.44269504f, kRound = 0x1.8p23f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kLowest = -87.0f, kHighest = 88.0f;
  float bounded = x < kLowest ? kLowest : x;
  bounded = bounded > kHighest ? kHighest : bounded;
  float shifted = bounded * kLog2E + kRound;
  float n = shifted - kRound;
  float r = bounded - n * kLn2High - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  float value = p * r * r + r + 1.0f;
  int32_t bits = (int32_t(n) + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof(power));
  return x < kLowest ? 0.0f : value * power;
}

} // namespace

float pare::rt::expOf(float x) { return exponential(x); }

double pare::rt::logOf(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof(bits));
  // x = 2^exponent m with m in [sqrt(1/2), sqrt(2)).
  constexpr uint64_t kRootHalf = 0x3fe6a09e667f3bcd,
                     kFraction = (1ull << 52) - 1;
  bits += 0x3ff0000000000000 - kRootHalf;
  int64_t exponent = int64_t(bits >> 52) - 1023;
  bits = (bits & kFraction) + kRootHalf;
  double m;
  memcpy(&m, &bits, sizeof(m));
  // log m = 2 artanh s
  double s = (m - 1) / (m + 1), square = s * s, sum = 0;
  for (int k = 21; k >= 1; k -= 2)
    sum = sum * square + 1.0 / k;
  constexpr double kLn2 = 0.693147180559945309417;
  return double(exponent) * kLn2 + 2 * s * sum;
}

double pare::rt::squareRoot(double x) { return __builtin_sqrt(x); }

float pare::rt::largest(const float *logits, uint64_t count) {
  constexpr uint64_t kLanes = 16;
  float top = logits[0];
  bool ordered = true;
  uint64_t i = 0;
  if (count >= kLanes) {
    float lanes[kLanes];
    uint32_t unordered[kLanes] = {};
    memcpy(lanes, logits, sizeof(lanes));
    for (; i + kLanes <= count; i += kLanes)
      for (uint64_t j = 0; j < kLanes; ++j) {
        float x = logits[i + j];
        lanes[j] = x > lanes[j] ? x : lanes[j];
        unordered[j] |= uint32_t(x != x);
      }
    for (uint64_t j = 0; j < kLanes; ++j) {
      top = max(top, lanes[j]);
      ordered &= unordered[j] == 0;
    }
  }
  for (; i < count; ++i) {
    top = max(top, logits[i]);
    ordered &= logits[i] == logits[i];
  }
  return ordered ? top : __builtin_nanf("");
}

namespace {
constexpr uint64_t kLanes = 4;

/// Adds terms in an order that does not depend on vector widths.
void addLanes(const float *terms, uint64_t count, double *lanes) {
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (uint64_t j = 0; j < kLanes; ++j)
      lanes[j] += double(terms[i + j]);
  for (uint64_t j = 0; i < count; ++i, ++j)
    lanes[j] += double(terms[i]);
}
double sumLanes(const double *lanes) {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}
} // namespace

double pare::rt::sumOfExponentials(const float *logits, uint64_t count,
                                   float top) {
  constexpr uint64_t kBlock = 256;
  float terms[kBlock];
  double lanes[kLanes] = {};
  for (uint64_t begin = 0; begin < count; begin += kBlock) {
    uint64_t n = min(kBlock, count - begin);
    for (uint64_t i = 0; i < n; ++i)
      terms[i] = exponential(logits[begin + i] - top);
    addLanes(terms, n, lanes);
  }
  return sumLanes(lanes);
}

double pare::rt::exponentials(const float *logits, uint64_t count, float top,
                              float scale, float *weights) {
  for (uint64_t i = 0; i < count; ++i)
    weights[i] = exponential((logits[i] - top) * scale);
  double lanes[kLanes] = {};
  addLanes(weights, count, lanes);
  return sumLanes(lanes);
}
