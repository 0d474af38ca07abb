//===- BlockFormat.cpp - What quantized weights are made of ---------------===//
#include "frontend/weights/BlockFormat.h"
#include "frontend/weights/Half.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include <cassert>
#include <cmath>

// Decoding is defined operation by operation.
#pragma STDC FP_CONTRACT OFF

namespace endian = llvm::support::endian;

namespace pare {

//===----------------------------------------------------------------------===//
// Scales and codes
//===----------------------------------------------------------------------===//

unsigned getScaleBytes(ScaleType type) {
  switch (type) {
  case ScaleType::F32:
    return 4;
  case ScaleType::F16:
  case ScaleType::BF16:
    return 2;
  case ScaleType::E8M0Half:
  case ScaleType::E4M3Half:
    return 1;
  }
  llvm_unreachable("a scale type without a size");
}

float decodeScale(ScaleType type, const uint8_t *bytes) {
  switch (type) {
  case ScaleType::F32:
    return llvm::bit_cast<float>(endian::read32le(bytes));
  case ScaleType::F16:
    return halfToFloat(endian::read16le(bytes));
  case ScaleType::BF16:
    return bfloatToFloat(endian::read16le(bytes));
  case ScaleType::E8M0Half:
    return std::ldexp(1.0f, int(*bytes) - 128);
  case ScaleType::E4M3Half: {
    int exponent = *bytes >> 3 & 15, mantissa = *bytes & 7;
    if (*bytes == 0x7f)
      return 0;
    return exponent == 0 ? std::ldexp(float(mantissa), -10)
                         : std::ldexp(float(mantissa + 8), exponent - 11);
  }
  }
  llvm_unreachable("a scale type without a decoder");
}

/// `raw` as a two's complement number of `bits` bits.
static int signExtend(unsigned raw, unsigned bits) {
  return int32_t(raw << (32 - bits)) >> (32 - bits);
}

float BlockFormat::getValue(uint8_t code) const {
  unsigned raw = code & ((1u << bits) - 1);
  switch (codes) {
  case CodeKind::Offset:
    return float(int(raw) - offset);
  case CodeKind::Signed:
    return float(signExtend(raw, bits));
  case CodeKind::Codebook:
    return raw < codebook.size() ? codebook[raw] : 0.0f;
  }
  llvm_unreachable("a kind of code without values");
}

std::optional<uint8_t> BlockFormat::zeroCode() const {
  if (zeroBits || hasMinimum())
    return std::nullopt;
  for (unsigned code = 0; code < 1u << bits; ++code)
    if (getValue(uint8_t(code)) == 0)
      return uint8_t(code);
  return std::nullopt;
}

double BlockFormat::getBitsPerWeight() const {
  unsigned planes = hasMinimum() ? 2 : 1;
  double sub = hasTwoLevels() ? double(subBits) / group : 0;
  double codes = isSparse() ? double(bits + placeBits()) * keep / of : bits;
  return codes + double(zeroBits) / group +
         planes * (8.0 * getScaleBytes(scale) / scaleGroup() + sub);
}

//===----------------------------------------------------------------------===//
// Planes
//===----------------------------------------------------------------------===//

void BlockPlanes::resize(const BlockFormat &format, uint64_t elements) {
  assert(elements % format.scaleGroup() == 0 && "a group that is not whole");
  uint64_t scaleBytes =
      elements / format.scaleGroup() * getScaleBytes(format.scale);
  uint64_t subs = format.hasTwoLevels() ? elements / format.group : 0;
  codes.resize(elements);
  zeros.resize(format.zeroBits ? elements / format.group : 0);
  scales.resize(scaleBytes);
  subScales.resize(subs);
  minima.resize(format.hasMinimum() ? scaleBytes : 0);
  subMinima.resize(format.hasMinimum() ? subs : 0);
}

void takeSparseCodes(const BlockFormat &format, llvm::ArrayRef<uint8_t> codes,
                     uint8_t *stored, uint8_t *places) {
  assert(codes.size() % format.of == 0 && "a group that is not whole");
  const uint8_t zero = *format.zeroCode();
  for (; !codes.empty(); codes = codes.drop_front(format.of)) {
    llvm::ArrayRef<uint8_t> group = codes.take_front(format.of);
    unsigned zeros = unsigned(llvm::count(group, zero)),
             others = format.of - zeros;
    assert(others <= format.keep && "more codes than the format keeps");
    // Memory safety must not rest on it, though.
    unsigned room = format.keep, spare = room - std::min(room, others);
    for (unsigned place = 0; place < format.of && room; ++place) {
      if (group[place] == zero) {
        if (spare == 0)
          continue;
        --spare;
      }
      *stored++ = group[place];
      *places++ = uint8_t(place);
      --room;
    }
  }
}

void decodeBlocks(const BlockFormat &format, const BlockPlanes &planes,
                  llvm::MutableArrayRef<float> weights) {
  assert(weights.size() == planes.codes.size() && "one weight per code");
  float values[256];
  for (auto [code, value] : llvm::enumerate(values))
    value = format.getValue(uint8_t(code));
  const unsigned scaleBytes = getScaleBytes(format.scale);
  const unsigned groupsPerScale = format.scaleGroup() / format.group;
  const float sign = format.minimum == MinimumKind::Subtracted ? -1.0f : 1.0f;

  for (uint64_t g = 0, e = weights.size() / format.group; g < e; ++g) {
    uint64_t at = g / groupsPerScale * scaleBytes;
    float scale = decodeScale(format.scale, &planes.scales[at]);
    float minimum =
        format.hasMinimum() ? decodeScale(format.scale, &planes.minima[at]) : 0;
    if (format.hasTwoLevels()) {
      unsigned raw = planes.subScales[g];
      scale *= float(format.subSigned ? signExtend(raw, format.subBits)
                                      : int(raw) - format.subOffset);
      if (format.hasMinimum())
        minimum *= float(planes.subMinima[g]);
    }
    minimum *= sign;
    // Values are small integers: moving them by a zero point is exact.
    const float zero = format.zeroBits ? float(planes.zeros[g]) : 0.0f;
    const uint8_t *codes = &planes.codes[g * format.group];
    float *out = &weights[g * format.group];
    if (format.hasMinimum())
      for (unsigned i = 0; i < format.group; ++i)
        out[i] = scale * (values[codes[i]] - zero) + minimum;
    else
      for (unsigned i = 0; i < format.group; ++i)
        out[i] = scale * (values[codes[i]] - zero);
  }
}

} // namespace pare
