//===- Weights.h - Weights in blocks for tests ------------------*- C++ -*-===//
#ifndef PARE_TESTS_EXPORT_WEIGHTS_H
#define PARE_TESTS_EXPORT_WEIGHTS_H

#include "backends/export/Export.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"
#include <random>

namespace pare::exporting {

/// A matrix with seeded random codes and scales, in a format's own storage.
class RandomWeight {
public:
  RandomWeight(mlir::MLIRContext &context, llvm::StringRef name, int64_t rows,
               int64_t columns, unsigned seed = 5) {
    const BlockFormat &format = *findBlockFormat(name);
    const BlockStorage &storage = getPlainStorage(format);
    planes.resize(format, uint64_t(rows * columns));
    std::mt19937 random(seed);
    auto fill = [&](std::vector<uint8_t> &plane, unsigned bits) {
      for (uint8_t &byte : plane)
        byte = uint8_t(random() & ((1u << bits) - 1));
    };
    // Ternary codes are 0, 1 and 2.
    fill(planes.codes, format.bits);
    if (name.starts_with("ternary"))
      for (uint8_t &code : planes.codes)
        code %= 3;
    fill(planes.zeros, format.zeroBits);
    fill(planes.subScales, format.subBits);
    fill(planes.subMinima, format.subBits);
    // f16 from 1 to 2.
    for (std::vector<uint8_t> *plane : {&planes.scales, &planes.minima})
      for (size_t i = 0; i + 1 < plane->size(); i += 2) {
        (*plane)[i] = uint8_t(random());
        (*plane)[i + 1] = uint8_t(0x3c | (random() & 3));
      }
    bytes = storage.pack(planes);
    weight.data.type = mlir::RankedTensorType::get(
        {rows, columns}, mlir::Float32Type::get(&context));
    weight.data.bytes = bytes;
    weight.data.storage = &storage;
  }
  RandomWeight(const RandomWeight &) = delete;

  std::vector<float> decode() const {
    std::vector<float> values(planes.codes.size());
    decodeBlocks(weight.format(), planes, values);
    return values;
  }

  BlockPlanes planes;
  std::vector<uint8_t> bytes;
  QuantizedWeight weight;
};

/// There is an error, on one line, with all of `words`.
inline void expectError(llvm::Error error,
                        llvm::ArrayRef<llvm::StringRef> words) {
  EXPECT_TRUE(bool(error));
  std::string message = llvm::toString(std::move(error));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  for (llvm::StringRef word : words)
    EXPECT_TRUE(llvm::StringRef(message).contains(word))
        << message << " without " << word.str();
}

} // namespace pare::exporting

#endif
