//===- Files.h - Small GGUF files for tests ---------------------*- C++ -*-===//
#ifndef PARE_TESTS_GGUF_FILES_H
#define PARE_TESTS_GGUF_FILES_H

#include "frontend/gguf/Writer.h"
#include "tests/unit/safetensors/Files.h"
#include "llvm/ADT/StringExtras.h"
#include <random>

namespace pare::gguf {

inline std::vector<uint8_t> makeRandom(size_t size, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t &byte : bytes)
    byte = uint8_t(random());
  return bytes;
}

/// Adds a tensor of seeded random bytes.
inline void addRandom(Writer &writer, llvm::StringRef name,
                      llvm::StringRef type, llvm::ArrayRef<int64_t> shape) {
  const TensorType &tensorType = *findTensorType(type);
  std::vector<uint8_t> bytes =
      makeRandom(*tensorType.getBytes(shape), unsigned(name.size()));
  writer.addTensor(name, tensorType, shape, [bytes](llvm::raw_ostream &stream) {
    stream << llvm::toStringRef(bytes);
    return llvm::Error::success();
  });
}

inline std::string toBytes(const Writer &writer) {
  std::string bytes;
  llvm::raw_string_ostream stream(bytes);
  EXPECT_FALSE(bool(writer.write(stream)));
  return bytes;
}

/// A value of every type, nested arrays among them, and three tensors.
inline std::string makeSmallFile() {
  Writer writer;
  writer.addString("general.architecture", "test");
  writer.addU32("test.block_count", 3);
  writer.addF32("test.epsilon", 0.5f);
  writer.addBool("test.flag", true);
  writer.addStrings("tokenizer.ggml.tokens", {"a", "", "bc"});
  writer.addI32s("tokenizer.ggml.token_type", {1, -2, 3});
  writer.addF32s("tokenizer.ggml.scores", {0.25f, -1});
  addRandom(writer, "norm", "F32", {5});
  addRandom(writer, "weight", "Q4_1", {2, 64});
  addRandom(writer, "half", "F16", {3, 2, 1});
  return toBytes(writer);
}

} // namespace pare::gguf

#endif
