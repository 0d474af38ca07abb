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
// Formats
//===----------------------------------------------------------------------===//

/// Non-linear 4-bit levels of ggml's IQ4 types.
static constexpr float iq4Levels[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/// e2m1, doubled.
static constexpr float fp4Levels[] = {0, 1,  2,  3,  4,  6,  8,  12,
                                      0, -1, -2, -3, -4, -6, -8, -12};

static constexpr BlockFormat formats[] = {
    {.name = "q4_0", .bits = 4, .group = 32, .offset = 8},
    {.name = "q4_1", .bits = 4, .group = 32, .minimum = MinimumKind::Added},
    {.name = "q5_0", .bits = 5, .group = 32, .offset = 16},
    {.name = "q5_1", .bits = 5, .group = 32, .minimum = MinimumKind::Added},
    {.name = "q8_0", .bits = 8, .group = 32, .codes = CodeKind::Signed},
    {.name = "q2_k",
     .bits = 2,
     .group = 16,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 4},
    {.name = "q3_k",
     .bits = 3,
     .group = 16,
     .offset = 4,
     .superGroup = 256,
     .subBits = 6,
     .subOffset = 32},
    {.name = "q4_k",
     .bits = 4,
     .group = 32,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 6},
    {.name = "q5_k",
     .bits = 5,
     .group = 32,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 6},
    {.name = "q6_k",
     .bits = 6,
     .group = 16,
     .offset = 32,
     .superGroup = 256,
     .subBits = 8,
     .subSigned = true},
    {.name = "iq4_nl",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = iq4Levels},
    {.name = "iq4_xs",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = iq4Levels,
     .superGroup = 256,
     .subBits = 6,
     .subOffset = 32},
    {.name = "mxfp4",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = fp4Levels,
     .scale = ScaleType::E8M0Half},
    {.name = "nvfp4",
     .bits = 4,
     .group = 16,
     .codes = CodeKind::Codebook,
     .codebook = fp4Levels,
     .scale = ScaleType::E4M3Half},
    {.name = "ternary", .bits = 2, .group = 256, .offset = 1},
};

llvm::ArrayRef<BlockFormat> getBlockFormats() { return formats; }

const BlockFormat *findBlockFormat(llvm::StringRef name) {
  const BlockFormat *found = llvm::find_if(
      formats, [&](const BlockFormat &format) { return format.name == name; });
  return found == std::end(formats) ? nullptr : found;
}

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

double BlockFormat::getBitsPerWeight() const {
  unsigned planes = hasMinimum() ? 2 : 1;
  double sub = hasTwoLevels() ? double(subBits) / group : 0;
  return bits + double(zeroBits) / group +
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

//===----------------------------------------------------------------------===//
// Storage
//===----------------------------------------------------------------------===//

/// Where part `offset` of a plane is; null where the format has no such plane.
template <typename Plane> static auto *getPart(Plane &plane, uint64_t offset) {
  return plane.empty() ? nullptr : plane.data() + offset;
}

/// The parts of block `index` of `planes`.
template <typename Byte, typename Planes>
static BlockParts<Byte> getParts(const BlockStorage &storage, Planes &planes,
                                 uint64_t index) {
  const BlockFormat &format = storage.format;
  uint64_t scales = index * (storage.elements / format.scaleGroup()) *
                    getScaleBytes(format.scale);
  uint64_t subs = index * (storage.elements / format.group);
  return {getPart(planes.codes, index * storage.elements),
          getPart(planes.scales, scales), getPart(planes.subScales, subs),
          getPart(planes.minima, scales), getPart(planes.subMinima, subs)};
}

void BlockStorage::unpack(llvm::ArrayRef<uint8_t> blocks,
                          BlockPlanes &planes) const {
  assert(blocks.size() % bytes == 0 && "a block that is not whole");
  uint64_t count = blocks.size() / bytes;
  planes.resize(format, count * elements);
  for (uint64_t i = 0; i < count; ++i)
    unpackBlock(blocks.data() + i * bytes, getParts<uint8_t>(*this, planes, i));
}

std::vector<uint8_t> BlockStorage::pack(const BlockPlanes &planes) const {
  assert(planes.codes.size() % elements == 0 && "a block that is not whole");
  uint64_t count = planes.codes.size() / elements;
  std::vector<uint8_t> blocks(count * bytes);
  for (uint64_t i = 0; i < count; ++i)
    packBlock(getParts<const uint8_t>(*this, planes, i),
              blocks.data() + i * bytes);
  return blocks;
}

void BlockStorage::decode(llvm::ArrayRef<uint8_t> blocks,
                          llvm::MutableArrayRef<float> weights) const {
  assert(blocks.size() / bytes * elements == weights.size() &&
         "blocks and weights differ in number");
  constexpr uint64_t blocksAtOnce = 256;
  BlockPlanes planes;
  while (!blocks.empty()) {
    uint64_t count = std::min<uint64_t>(blocksAtOnce, blocks.size() / bytes);
    unpack(blocks.take_front(count * bytes), planes);
    decodeBlocks(format, planes, weights.take_front(count * elements));
    blocks = blocks.drop_front(count * bytes);
    weights = weights.drop_front(count * elements);
  }
}

} // namespace pare
