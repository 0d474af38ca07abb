//===- Writer.h - Writing GGUF files ----------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_WRITER_H
#define PARE_FRONTEND_GGUF_WRITER_H

#include "frontend/gguf/File.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <functional>

namespace pare::gguf {

/// Writes a GGUF v3 file: metadata and tensors in the order that they are
/// added. Reading a file and writing what was read gives the same bytes.
class Writer {
public:
  void addValue(llvm::StringRef key, const Value &value);
  void addString(llvm::StringRef key, llvm::StringRef value);
  void addStrings(llvm::StringRef key, llvm::ArrayRef<llvm::StringRef> values);
  void addU32(llvm::StringRef key, uint32_t value);
  void addF32(llvm::StringRef key, float value);
  void addBool(llvm::StringRef key, bool value);
  void addI32s(llvm::StringRef key, llvm::ArrayRef<int32_t> values);
  void addF32s(llvm::StringRef key, llvm::ArrayRef<float> values);
  /// A power of two; also adds the key general.alignment where it is not 32
  /// and no value of that key was added.
  void setAlignment(uint32_t alignment) { alignment_ = alignment; }

  /// Writes exactly a tensor's bytes to the stream.
  using Payload = std::function<llvm::Error(llvm::raw_ostream &)>;
  /// `shape` is row-major; rows must be whole blocks of `type` (asserted).
  void addTensor(llvm::StringRef name, const TensorType &type,
                 llvm::ArrayRef<int64_t> shape, Payload payload);
  /// `bytes` must outlive write().
  void addTensor(llvm::StringRef name, const TensorType &type,
                 llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<uint8_t> bytes);

  /// Writes header and data; payloads run one after the other, so that memory
  /// is bounded by the largest.
  llvm::Error write(llvm::raw_ostream &stream) const;
  /// The same to a file, which is replaced only when all is written.
  llvm::Error write(llvm::StringRef path) const;

private:
  void addKey(llvm::StringRef key, ValueType type);

  struct Entry {
    std::string name;
    const TensorType *type;
    llvm::SmallVector<int64_t, 4> shape;
    uint64_t size;
    Payload payload;
  };
  std::string metadata_; ///< encoded
  uint64_t numKeys_ = 0;
  bool hasAlignment_ = false;
  uint32_t alignment_ = 32;
  std::vector<Entry> tensors_;
};

} // namespace pare::gguf

#endif
