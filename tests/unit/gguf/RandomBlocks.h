//===- RandomBlocks.h - Random weights in blocks ----------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_GGUF_RANDOMBLOCKS_H
#define PARE_TESTS_UNIT_GGUF_RANDOMBLOCKS_H

#include "frontend/gguf/TensorType.h"
#include "tests/unit/weights/RandomPlanes.h"

namespace pare::test {

/// Types with a storage.
inline std::vector<const gguf::TensorType *> getBlockTypes() {
  std::vector<const gguf::TensorType *> types;
  for (const gguf::TensorType &type : gguf::getTensorTypes())
    if (type.storage)
      types.push_back(&type);
  return types;
}

/// Blocks of `elements` random weights of moderate size.
inline std::vector<uint8_t> makeBlocks(const BlockStorage &storage,
                                       uint64_t elements, std::mt19937 &rng) {
  return storage.pack(makePlanes(storage.format, elements, rng));
}

} // namespace pare::test

#endif
