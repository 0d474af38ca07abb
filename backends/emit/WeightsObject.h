//===- WeightsObject.h - Weights as a relocatable object --------*- C++ -*-===//
//
// Writes an ELF object straight to disk, tensor by tensor, so that memory is
// bounded by the largest tensor and not by the model. It holds the weights in
// a page-aligned read-only section, and the final graph in one that is not
// loaded; both reach the executable through the linker, which compresses the
// graph (`readelf -z -p .pare.graph FILE` shows its text).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_EMIT_WEIGHTSOBJECT_H
#define PARE_BACKENDS_EMIT_WEIGHTSOBJECT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"
#include <array>
#include <memory>

namespace pare::emit {

inline constexpr llvm::StringLiteral kWeightsSection = ".pare.weights";
inline constexpr llvm::StringLiteral kGraphSection = ".pare.graph";

class WeightsObject {
public:
  /// `machine` is an ELF EM_* number, `symbol` names the first weight byte.
  static llvm::Expected<std::unique_ptr<WeightsObject>>
  create(llvm::StringRef path, uint16_t machine, llvm::StringRef symbol);

  /// Appends bytes at the next multiple of 64; returns their offset.
  llvm::Expected<uint64_t> append(llvm::ArrayRef<uint8_t> bytes);

  /// Writes the graph's text and the object's tables. Nothing may follow.
  llvm::Error finish(llvm::StringRef graph);

  uint64_t weightBytes() const { return weightBytes_; }
  /// SHA-256 of all weight bytes; after finish.
  std::array<uint8_t, 32> hash() const { return hash_; }

private:
  WeightsObject(std::unique_ptr<llvm::raw_fd_ostream> stream, std::string path,
                uint16_t machine, llvm::StringRef symbol);
  llvm::Error checkStream();
  void padTo(uint64_t alignment);

  std::unique_ptr<llvm::raw_fd_ostream> stream_;
  std::string path_;
  uint16_t machine_;
  std::string symbol_;
  uint64_t weightBytes_ = 0;
  llvm::SHA256 hasher_;
  std::array<uint8_t, 32> hash_{};
};

} // namespace pare::emit

#endif
