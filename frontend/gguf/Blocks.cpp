//===- Blocks.cpp - How ggml lays out blocks ------------------------------===//
//
// Each type has one pair of functions, the second undoing the first. Codes and
// scales are spread over a block in two ways, which the helpers name: lanes and
// streams.
//
//===----------------------------------------------------------------------===//
#include "frontend/gguf/Blocks.h"
#include <cassert>
#include <cstring>

namespace pare::gguf {
namespace {

using Parts = BlockParts<uint8_t>;
using ConstParts = BlockParts<const uint8_t>;

constexpr unsigned superBlock = 256;

//===----------------------------------------------------------------------===//
// Lanes: `width` bytes hold 8 / bits runs of `width` codes. Byte j has code j
// of every run, the first run in its lowest bits.
//===----------------------------------------------------------------------===//

/// ORs the lanes of `in` into `codes`, `shift` bits up.
void addLanes(const uint8_t *in, unsigned width, unsigned bits, uint8_t *codes,
              unsigned shift = 0) {
  for (unsigned at = 0; at < 8; at += bits)
    for (unsigned j = 0; j < width; ++j)
      *codes++ |= uint8_t((in[j] >> at & ((1u << bits) - 1)) << shift);
}

void takeLanes(const uint8_t *codes, unsigned width, unsigned bits,
               uint8_t *out, unsigned shift = 0) {
  std::memset(out, 0, width);
  for (unsigned at = 0; at < 8; at += bits)
    for (unsigned j = 0; j < width; ++j)
      out[j] |= uint8_t((*codes++ >> shift & ((1u << bits) - 1)) << at);
}

/// Lanes one after the other until `count` codes are there.
void addAllLanes(const uint8_t *in, unsigned width, unsigned bits,
                 unsigned count, uint8_t *codes, unsigned shift = 0) {
  unsigned codesAtOnce = width * 8 / bits;
  for (unsigned i = 0; i < count; i += codesAtOnce, in += width)
    addLanes(in, width, bits, codes + i, shift);
}

void takeAllLanes(const uint8_t *codes, unsigned width, unsigned bits,
                  unsigned count, uint8_t *out, unsigned shift = 0) {
  unsigned codesAtOnce = width * 8 / bits;
  for (unsigned i = 0; i < count; i += codesAtOnce, out += width)
    takeLanes(codes + i, width, bits, out, shift);
}

//===----------------------------------------------------------------------===//
// Streams: numbers of `bits` bits follow each other, lowest bits first.
//===----------------------------------------------------------------------===//

void addStream(const uint8_t *in, unsigned bits, unsigned count, uint8_t *out,
               unsigned shift) {
  for (unsigned i = 0, at = 0; i < count; ++i, at += bits)
    out[i] |= uint8_t((in[at / 8] >> at % 8 & ((1u << bits) - 1)) << shift);
}

void takeStream(const uint8_t *numbers, unsigned bits, unsigned count,
                uint8_t *out, unsigned shift) {
  std::memset(out, 0, count * bits / 8);
  for (unsigned i = 0, at = 0; i < count; ++i, at += bits)
    out[at / 8] |=
        uint8_t((numbers[i] >> shift & ((1u << bits) - 1)) << at % 8);
}

/// Clears the planes that the helpers OR into.
void clear(uint8_t *plane, unsigned count) { std::memset(plane, 0, count); }

//===----------------------------------------------------------------------===//
// Blocks of 32: f16 scale, f16 minimum, fifth bits, 4-bit codes
//===----------------------------------------------------------------------===//

template <bool hasMinimum, bool hasFifthBit>
void unpackSmall(const uint8_t *in, Parts parts) {
  std::memcpy(parts.scales, in, 2), in += 2;
  if (hasMinimum)
    std::memcpy(parts.minima, in, 2), in += 2;
  clear(parts.codes, 32);
  if (hasFifthBit)
    addStream(in, 1, 32, parts.codes, 4), in += 4;
  addLanes(in, 16, 4, parts.codes);
}

template <bool hasMinimum, bool hasFifthBit>
void packSmall(ConstParts parts, uint8_t *out) {
  std::memcpy(out, parts.scales, 2), out += 2;
  if (hasMinimum)
    std::memcpy(out, parts.minima, 2), out += 2;
  if (hasFifthBit)
    takeStream(parts.codes, 1, 32, out, 4), out += 4;
  takeLanes(parts.codes, 16, 4, out);
}

void unpackQ8_0(const uint8_t *in, Parts parts) {
  std::memcpy(parts.scales, in, 2);
  std::memcpy(parts.codes, in + 2, 32);
}

void packQ8_0(ConstParts parts, uint8_t *out) {
  std::memcpy(out, parts.scales, 2);
  std::memcpy(out + 2, parts.codes, 32);
}

//===----------------------------------------------------------------------===//
// K types: blocks of 256 with sub-scales
//===----------------------------------------------------------------------===//

/// Sub-scales and sub-minima in nibbles, codes, super-scale, super-minimum.
void unpackQ2_K(const uint8_t *in, Parts parts) {
  for (unsigned g = 0; g < 16; ++g) {
    parts.subScales[g] = in[g] & 15;
    parts.subMinima[g] = in[g] >> 4;
  }
  clear(parts.codes, superBlock);
  addAllLanes(in + 16, 32, 2, superBlock, parts.codes);
  std::memcpy(parts.scales, in + 80, 2);
  std::memcpy(parts.minima, in + 82, 2);
}

void packQ2_K(ConstParts parts, uint8_t *out) {
  for (unsigned g = 0; g < 16; ++g)
    out[g] = uint8_t(parts.subScales[g] | parts.subMinima[g] << 4);
  takeAllLanes(parts.codes, 32, 2, superBlock, out + 16);
  std::memcpy(out + 80, parts.scales, 2);
  std::memcpy(out + 82, parts.minima, 2);
}

/// Third bits, lower bits, 16 sub-scales in 12 bytes, super-scale. A set third
/// bit means that nothing is subtracted, so the whole code less 4 is the value.
void unpackQ3_K(const uint8_t *in, Parts parts) {
  clear(parts.codes, superBlock);
  addLanes(in, 32, 1, parts.codes, 2);
  addAllLanes(in + 32, 32, 2, superBlock, parts.codes);
  clear(parts.subScales, 16);
  addLanes(in + 96, 8, 4, parts.subScales);
  addLanes(in + 104, 4, 2, parts.subScales, 4);
  std::memcpy(parts.scales, in + 108, 2);
}

void packQ3_K(ConstParts parts, uint8_t *out) {
  takeLanes(parts.codes, 32, 1, out, 2);
  takeAllLanes(parts.codes, 32, 2, superBlock, out + 32);
  takeLanes(parts.subScales, 8, 4, out + 96);
  takeLanes(parts.subScales, 4, 2, out + 104, 4);
  std::memcpy(out + 108, parts.scales, 2);
}

/// 8 sub-scales and 8 sub-minima of 6 bits in 12 bytes: the first four of each
/// whole, the others' upper bits above them, their lower bits at the end.
void unpackScalesAndMinima(const uint8_t *in, Parts parts) {
  for (unsigned i = 0; i < 4; ++i) {
    parts.subScales[i] = in[i] & 63;
    parts.subMinima[i] = in[i + 4] & 63;
    parts.subScales[i + 4] = uint8_t((in[i + 8] & 15) | (in[i] >> 6) << 4);
    parts.subMinima[i + 4] = uint8_t(in[i + 8] >> 4 | (in[i + 4] >> 6) << 4);
  }
}

void packScalesAndMinima(ConstParts parts, uint8_t *out) {
  for (unsigned i = 0; i < 4; ++i) {
    unsigned scale = parts.subScales[i + 4], minimum = parts.subMinima[i + 4];
    out[i] = uint8_t(parts.subScales[i] | (scale >> 4) << 6);
    out[i + 4] = uint8_t(parts.subMinima[i] | (minimum >> 4) << 6);
    out[i + 8] = uint8_t((scale & 15) | (minimum & 15) << 4);
  }
}

/// Q4_K and Q5_K: super-scale, super-minimum, sub-scales, fifth bits, codes.
template <bool hasFifthBit> void unpackQ45_K(const uint8_t *in, Parts parts) {
  std::memcpy(parts.scales, in, 2);
  std::memcpy(parts.minima, in + 2, 2);
  unpackScalesAndMinima(in + 4, parts);
  in += 16;
  clear(parts.codes, superBlock);
  if (hasFifthBit)
    addLanes(in, 32, 1, parts.codes, 4), in += 32;
  addAllLanes(in, 32, 4, superBlock, parts.codes);
}

template <bool hasFifthBit> void packQ45_K(ConstParts parts, uint8_t *out) {
  std::memcpy(out, parts.scales, 2);
  std::memcpy(out + 2, parts.minima, 2);
  packScalesAndMinima(parts, out + 4);
  out += 16;
  if (hasFifthBit)
    takeLanes(parts.codes, 32, 1, out, 4), out += 32;
  takeAllLanes(parts.codes, 32, 4, superBlock, out);
}

/// Lower four bits, upper two bits, sub-scales, super-scale.
void unpackQ6_K(const uint8_t *in, Parts parts) {
  clear(parts.codes, superBlock);
  addAllLanes(in, 64, 4, superBlock, parts.codes);
  addAllLanes(in + 128, 32, 2, superBlock, parts.codes, 4);
  std::memcpy(parts.subScales, in + 192, 16);
  std::memcpy(parts.scales, in + 208, 2);
}

void packQ6_K(ConstParts parts, uint8_t *out) {
  takeAllLanes(parts.codes, 64, 4, superBlock, out);
  takeAllLanes(parts.codes, 32, 2, superBlock, out + 128, 4);
  std::memcpy(out + 192, parts.subScales, 16);
  std::memcpy(out + 208, parts.scales, 2);
}

/// Super-scale, upper two and lower four bits of sub-scales, codes.
void unpackIQ4_XS(const uint8_t *in, Parts parts) {
  std::memcpy(parts.scales, in, 2);
  clear(parts.subScales, 8);
  addStream(in + 2, 2, 8, parts.subScales, 4);
  addStream(in + 4, 4, 8, parts.subScales, 0);
  clear(parts.codes, superBlock);
  addAllLanes(in + 8, 16, 4, superBlock, parts.codes);
}

void packIQ4_XS(ConstParts parts, uint8_t *out) {
  std::memcpy(out, parts.scales, 2);
  takeStream(parts.subScales, 2, 8, out + 2, 4);
  takeStream(parts.subScales, 4, 8, out + 4, 0);
  takeAllLanes(parts.codes, 16, 4, superBlock, out + 8);
}

//===----------------------------------------------------------------------===//
// 4-bit floats: one-byte scales, codes
//===----------------------------------------------------------------------===//

void unpackMXFP4(const uint8_t *in, Parts parts) {
  parts.scales[0] = in[0];
  clear(parts.codes, 32);
  addLanes(in + 1, 16, 4, parts.codes);
}

void packMXFP4(ConstParts parts, uint8_t *out) {
  out[0] = parts.scales[0];
  takeLanes(parts.codes, 16, 4, out + 1);
}

void unpackNVFP4(const uint8_t *in, Parts parts) {
  std::memcpy(parts.scales, in, 4);
  clear(parts.codes, 64);
  addAllLanes(in + 4, 8, 4, 64, parts.codes);
}

void packNVFP4(ConstParts parts, uint8_t *out) {
  std::memcpy(out, parts.scales, 4);
  takeAllLanes(parts.codes, 8, 4, 64, out + 4);
}

//===----------------------------------------------------------------------===//
// Ternary types
//===----------------------------------------------------------------------===//

/// A byte b stands for the fraction b / 256; its base-3 digits are the codes.
void unpackDigits(const uint8_t *in, unsigned width, unsigned digits,
                  uint8_t *codes) {
  uint8_t power = 1;
  for (unsigned digit = 0; digit < digits; ++digit, power *= 3)
    for (unsigned j = 0; j < width; ++j)
      *codes++ = uint8_t(uint8_t(in[j] * power) * 3 >> 8);
}

/// The least byte whose five leading digits are the codes, zeros after them.
void packDigits(const uint8_t *codes, unsigned width, unsigned digits,
                uint8_t *out) {
  for (unsigned j = 0; j < width; ++j) {
    unsigned number = 0;
    for (unsigned digit = 0; digit < 5; ++digit)
      number = number * 3 + (digit < digits ? codes[digit * width + j] : 0);
    out[j] = uint8_t((number * 256 + 242) / 243);
  }
}

void unpackTQ1_0(const uint8_t *in, Parts parts) {
  unpackDigits(in, 32, 5, parts.codes);
  unpackDigits(in + 32, 16, 5, parts.codes + 160);
  unpackDigits(in + 48, 4, 4, parts.codes + 240);
  std::memcpy(parts.scales, in + 52, 2);
}

void packTQ1_0(ConstParts parts, uint8_t *out) {
  packDigits(parts.codes, 32, 5, out);
  packDigits(parts.codes + 160, 16, 5, out + 32);
  packDigits(parts.codes + 240, 4, 4, out + 48);
  std::memcpy(out + 52, parts.scales, 2);
}

void unpackTQ2_0(const uint8_t *in, Parts parts) {
  clear(parts.codes, superBlock);
  addAllLanes(in, 32, 2, superBlock, parts.codes);
  std::memcpy(parts.scales, in + 64, 2);
}

void packTQ2_0(ConstParts parts, uint8_t *out) {
  takeAllLanes(parts.codes, 32, 2, superBlock, out);
  std::memcpy(out + 64, parts.scales, 2);
}

const BlockFormat &format(llvm::StringRef name) {
  const BlockFormat *found = findBlockFormat(name);
  assert(found && "a storage without a format");
  return *found;
}

} // namespace

const BlockStorage q4_0 = {format("q4_0"), 32, 18, unpackSmall<false, false>,
                           packSmall<false, false>},
                   q4_1 = {format("q4_1"), 32, 20, unpackSmall<true, false>,
                           packSmall<true, false>},
                   q5_0 = {format("q5_0"), 32, 22, unpackSmall<false, true>,
                           packSmall<false, true>},
                   q5_1 = {format("q5_1"), 32, 24, unpackSmall<true, true>,
                           packSmall<true, true>},
                   q8_0 = {format("q8_0"), 32, 34, unpackQ8_0, packQ8_0},
                   q2_K = {format("q2_k"), 256, 84, unpackQ2_K, packQ2_K},
                   q3_K = {format("q3_k"), 256, 110, unpackQ3_K, packQ3_K},
                   q4_K = {format("q4_k"), 256, 144, unpackQ45_K<false>,
                           packQ45_K<false>},
                   q5_K = {format("q5_k"), 256, 176, unpackQ45_K<true>,
                           packQ45_K<true>},
                   q6_K = {format("q6_k"), 256, 210, unpackQ6_K, packQ6_K},
                   iq4_NL = {format("iq4_nl"), 32, 18,
                             unpackSmall<false, false>,
                             packSmall<false, false>},
                   iq4_XS = {format("iq4_xs"), 256, 136, unpackIQ4_XS,
                             packIQ4_XS},
                   mxfp4 = {format("mxfp4"), 32, 17, unpackMXFP4, packMXFP4},
                   nvfp4 = {format("nvfp4"), 64, 36, unpackNVFP4, packNVFP4},
                   tq1_0 = {format("ternary"), 256, 54, unpackTQ1_0, packTQ1_0},
                   tq2_0 = {format("ternary"), 256, 66, unpackTQ2_0, packTQ2_0};

} // namespace pare::gguf
