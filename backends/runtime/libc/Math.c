//===- Math.c - What baseline CPUs have no instruction for ----------------===//
//
// Compilers turn rounding and fused multiply-add into calls of these where the
// target lacks SSE4.1 or FMA.
//
//===----------------------------------------------------------------------===//
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Beyond this all floats are whole. */
static const float kWhole = 0x1p23f;

/* Adding and taking away 2^23 rounds to the nearest even whole number. */
static float roundEven(float x) {
  float magnitude = x < 0 ? -x : x;
  if (!(magnitude < kWhole))
    return x;
  volatile float shifted = magnitude + kWhole;
  return copysignf(shifted - kWhole, x);
}

float rintf(float x) { return roundEven(x); }
float nearbyintf(float x) { return roundEven(x); }
float roundevenf(float x) { return roundEven(x); }

float truncf(float x) {
  float magnitude = x < 0 ? -x : x;
  return magnitude < kWhole ? copysignf((float)(int32_t)x, x) : x;
}

float floorf(float x) {
  float whole = truncf(x);
  return whole > x ? whole - 1 : whole;
}

float ceilf(float x) {
  float whole = truncf(x);
  return whole < x ? copysignf(whole + 1, x) : whole;
}

/* The product is exact in double; the sum is rounded to odd, so that rounding
   it once more to float rounds the exact value (Boldo and Melquiond, 2008). */
float fmaf(float x, float y, float z) {
  double product = (double)x * y;
  double sum = product + z;
  double added = sum - product;
  double error = (product - (sum - added)) + (z - added);
  uint64_t bits;
  memcpy(&bits, &sum, 8);
  if (error != 0 && error == error && !(bits & 1)) {
    bits += (error > 0) == (sum > 0) ? 1 : -1;
    memcpy(&sum, &bits, 8);
  }
  return (float)sum;
}
