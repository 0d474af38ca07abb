//===- Writer.h - Writing safetensors files ---------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_SAFETENSORS_WRITER_H
#define PARE_FRONTEND_SAFETENSORS_WRITER_H

#include "mlir/IR/Types.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <functional>
#include <string>
#include <vector>

namespace pare::safetensors {

/// "F32", "BF16", …; empty where the format has no such elements.
llvm::StringRef getTypeName(mlir::Type element);

/// Writes one file: larger elements first, so that all are aligned, names in
/// order.
class Writer {
public:
  /// The bytes of a tensor, made when they are written.
  using Payload = std::function<std::string()>;
  void add(llvm::StringRef name, llvm::StringRef type,
           llvm::ArrayRef<int64_t> shape, uint64_t size, Payload payload);
  /// `bytes` must outlive write().
  void add(llvm::StringRef name, llvm::StringRef type,
           llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<uint8_t> bytes);

  void write(llvm::raw_ostream &stream);

private:
  struct Entry {
    std::string name, type;
    llvm::SmallVector<int64_t> shape;
    uint64_t size;
    llvm::ArrayRef<uint8_t> bytes;
    Payload payload; ///< in place of `bytes`
  };
  std::vector<Entry> entries;
};

} // namespace pare::safetensors

#endif
