//===- RandomPlanes.h - Random weights, as planes ---------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_WEIGHTS_RANDOMPLANES_H
#define PARE_TESTS_UNIT_WEIGHTS_RANDOMPLANES_H

#include "frontend/weights/BlockFormat.h"
#include <algorithm>
#include <cstring>
#include <random>

namespace pare::test {

/// Writes a scale within about 1/8 and 1/4.
inline void putScale(ScaleType type, uint8_t *out, std::mt19937 &rng) {
  auto putBits = [&](auto bits) { std::memcpy(out, &bits, sizeof(bits)); };
  switch (type) {
  case ScaleType::F32:
    return putBits(uint32_t(0x3e000000 | (rng() & 0x7fffff)));
  case ScaleType::F16:
    return putBits(uint16_t(0x3000 | (rng() & 0x3ff)));
  case ScaleType::BF16:
    return putBits(uint16_t(0x3e00 | (rng() & 0x7f)));
  case ScaleType::E8M0Half:
    return putBits(uint8_t(124 + rng() % 3));
  case ScaleType::E4M3Half:
    return putBits(uint8_t(rng() % 0x50));
  }
}

/// Makes codes zero until a sparse format can store the others: at random, so
/// that some groups have fewer than it keeps.
inline void makeSparse(const BlockFormat &format, std::vector<uint8_t> &codes,
                       std::mt19937 &rng) {
  const uint8_t zero = *format.zeroCode();
  for (size_t i = 0; i < codes.size(); i += format.of) {
    auto group = codes.begin() + i, end = group + format.of;
    while (end - group - std::count(group, end, zero) > format.keep)
      group[rng() % format.of] = zero;
    if (rng() % 8 == 0)
      group[rng() % format.of] = zero;
  }
}

/// Planes of `elements` random weights of moderate size.
inline BlockPlanes makePlanes(const BlockFormat &format, uint64_t elements,
                              std::mt19937 &rng) {
  BlockPlanes planes;
  planes.resize(format, elements);
  bool isTernary = format.bits == 2 && format.offset == 1;
  unsigned codes = isTernary ? 3 : 1u << format.bits;
  for (uint8_t &code : planes.codes)
    code = uint8_t(rng() % codes);
  if (format.isSparse())
    makeSparse(format, planes.codes, rng);
  for (auto *plane : {&planes.scales, &planes.minima})
    for (size_t i = 0; i < plane->size(); i += getScaleBytes(format.scale))
      putScale(format.scale, plane->data() + i, rng);
  for (auto *plane : {&planes.subScales, &planes.subMinima})
    for (uint8_t &number : *plane)
      number = uint8_t(rng() & ((1u << format.subBits) - 1));
  for (uint8_t &zero : planes.zeros)
    zero = uint8_t(rng() & ((1u << format.zeroBits) - 1));
  return planes;
}

} // namespace pare::test

#endif
