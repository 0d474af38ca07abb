//===- Half.h - 16-bit floats to f32 ----------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_WEIGHTS_HALF_H
#define PARE_FRONTEND_WEIGHTS_HALF_H

#include "llvm/ADT/bit.h"
#include <cstdint>

namespace pare {

/// f16 to f32: the exponent is rebased by a multiplication, which also
/// normalises subnormals.
inline float halfToFloat(uint16_t half) {
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
  float value = (half & 0x7c00) == 0x7c00
                    ? llvm::bit_cast<float>(magnitude | 0x7f800000u)
                    : llvm::bit_cast<float>(magnitude) * 0x1p112f;
  return half & 0x8000 ? -value : value;
}

inline float bfloatToFloat(uint16_t bits) {
  return llvm::bit_cast<float>(uint32_t(bits) << 16);
}

} // namespace pare

#endif
