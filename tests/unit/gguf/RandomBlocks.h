//===- RandomBlocks.h - Random weights in blocks ----------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_GGUF_RANDOMBLOCKS_H
#define PARE_TESTS_UNIT_GGUF_RANDOMBLOCKS_H

#include "frontend/gguf/TensorType.h"
#include "llvm/Support/ErrorHandling.h"
#include <cstring>
#include <random>

namespace pare::test {

/// Types with a storage.
inline std::vector<const gguf::TensorType *> getBlockTypes() {
  std::vector<const gguf::TensorType *> types;
  for (const gguf::TensorType &type : gguf::getTensorTypes())
    if (type.storage)
      types.push_back(&type);
  return types;
}

/// Writes a scale within about 1/8 and 1/4.
inline void putScale(ScaleType type, uint8_t *out, std::mt19937 &rng) {
  switch (type) {
  case ScaleType::F16: {
    uint16_t bits = uint16_t(0x3000 | (rng() & 0x3ff));
    std::memcpy(out, &bits, 2);
    return;
  }
  case ScaleType::E8M0Half:
    *out = uint8_t(124 + rng() % 3);
    return;
  case ScaleType::E4M3Half:
    *out = uint8_t(rng() % 0x50);
    return;
  case ScaleType::F32:
  case ScaleType::BF16:
    break;
  }
  llvm_unreachable("no storage has such scales");
}

/// Blocks of `elements` random weights of moderate size.
inline std::vector<uint8_t> makeBlocks(const BlockStorage &storage,
                                       uint64_t elements, std::mt19937 &rng) {
  const BlockFormat &format = storage.format;
  BlockPlanes planes;
  planes.resize(format, elements);
  bool isTernary = format.bits == 2 && format.offset == 1;
  unsigned codes = isTernary ? 3 : 1u << format.bits;
  for (uint8_t &code : planes.codes)
    code = uint8_t(rng() % codes);
  for (auto *plane : {&planes.scales, &planes.minima})
    for (size_t i = 0; i < plane->size(); i += getScaleBytes(format.scale))
      putScale(format.scale, plane->data() + i, rng);
  for (auto *plane : {&planes.subScales, &planes.subMinima})
    for (uint8_t &number : *plane)
      number = uint8_t(rng() & ((1u << format.subBits) - 1));
  return storage.pack(planes);
}

} // namespace pare::test

#endif
