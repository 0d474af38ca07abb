//===- ScaleStorage.cpp - Scales as formats store them --------------------===//
#include "passes/quantize/encode/ScaleStorage.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include <algorithm>
#include <cmath>

namespace endian = llvm::support::endian;

namespace pare::encode {

/// The highest bits of `bits` without the lowest `shift`, nearest, ties to
/// even.
static uint32_t dropBits(uint32_t bits, unsigned shift) {
  uint32_t half = (1u << (shift - 1)) - 1;
  return (bits + half + (bits >> shift & 1)) >> shift;
}

static uint16_t toHalf(float value) {
  uint32_t bits = llvm::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  float magnitude = std::min(std::abs(value), 65504.0f);
  // Below the normal numbers a half counts units of 2^-24; adding 1/2 rounds
  // to such units.
  if (magnitude < 0x1p-14f)
    return uint16_t(sign |
                    (llvm::bit_cast<uint32_t>(magnitude + 0.5f) & 0x7fffff));
  uint32_t rebased = llvm::bit_cast<uint32_t>(magnitude) - (112u << 23);
  return uint16_t(sign | dropBits(rebased, 13));
}

static uint16_t toBFloat(float value) {
  constexpr float kLargest = 0x1.fep127f;
  value = std::clamp(value, -kLargest, kLargest);
  return uint16_t(dropBits(llvm::bit_cast<uint32_t>(value), 16));
}

/// Of 2^(byte - 128); 255 is no number in MX.
static uint8_t toE8M0Half(float value) {
  if (!(value > 0))
    return 0;
  int exponent;
  float mantissa = std::frexp(value, &exponent); // in [0.5, 1)
  int power = exponent - 1 + (mantissa >= 0.75f);
  return uint8_t(std::clamp(power + 128, 0, 254));
}

/// Of halved e4m3: 0x7e is 224, units of subnormal numbers are 2^-10.
static uint8_t toE4M3Half(float value) {
  if (!(value > 0))
    return 0;
  value = std::min(value, 224.0f);
  // Adding 2^13 rounds to units of 2^-10.
  if (value < 0x1p-7f)
    return uint8_t(llvm::bit_cast<uint32_t>(value + 0x1p13f) & 0x7fffff);
  // The exponent of 2^-7 becomes 1: 2^(e - 8) has e.
  uint32_t rebased = llvm::bit_cast<uint32_t>(value) - ((127u - 8) << 23);
  return uint8_t(dropBits(rebased, 20));
}

void encodeScale(ScaleType type, float value, uint8_t *bytes) {
  switch (type) {
  case ScaleType::F32:
    endian::write32le(bytes, llvm::bit_cast<uint32_t>(value));
    return;
  case ScaleType::F16:
    endian::write16le(bytes, toHalf(value));
    return;
  case ScaleType::BF16:
    endian::write16le(bytes, toBFloat(value));
    return;
  case ScaleType::E8M0Half:
    *bytes = toE8M0Half(value);
    return;
  case ScaleType::E4M3Half:
    *bytes = toE4M3Half(value);
    return;
  }
  llvm_unreachable("a scale type without an encoder");
}

float roundScale(ScaleType type, float value) {
  uint8_t bytes[4];
  encodeScale(type, value, bytes);
  return decodeScale(type, bytes);
}

bool isSigned(ScaleType type) {
  return type != ScaleType::E8M0Half && type != ScaleType::E4M3Half;
}

} // namespace pare::encode
