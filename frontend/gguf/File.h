//===- File.h - GGUF files --------------------------------------*- C++ -*-===//
//
// Format: magic, version, counts, metadata, tensor descriptions, then the data
// at a multiple of the alignment
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). A model may be
// one file, files `NAME-00001-of-00003.gguf` that each are a GGUF file, or one
// file cut into `NAME.gguf.part00`, `NAME.gguf.part01`, ….
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_GGUF_FILE_H
#define PARE_FRONTEND_GGUF_FILE_H

#include "frontend/gguf/Metadata.h"
#include "frontend/gguf/TensorType.h"
#include "frontend/weights/WeightStore.h"

namespace pare::gguf {

/// One tensor, checked: inside its file, of exactly the size that its shape
/// and type need, overlapping no other.
struct Tensor {
  llvm::StringRef name;
  const TensorType *type;
  llvm::SmallVector<int64_t, 4> shape; ///< row-major: the last is contiguous
  std::shared_ptr<MappedFile> file;
  uint64_t offset, size; ///< in `file`

  llvm::ArrayRef<uint8_t> bytes() const {
    return file->bytes().slice(offset, size);
  }
  uint64_t getNumElements() const;
};

/// A model's metadata and tensors. Names and values are views of mapped files,
/// which live as long as it.
class File {
public:
  /// Opens a file, any of its shards or parts, or a folder with just one such
  /// model. Errors are one line each.
  static llvm::Expected<File> open(llvm::StringRef path);

  llvm::StringRef path() const { return metadata_.path(); }
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  unsigned numShards() const { return files_.size(); }
  const Metadata &metadata() const { return metadata_; }
  /// In the order of the file; of its shards.
  llvm::ArrayRef<Tensor> tensors() const { return tensors_; }
  const Tensor *find(llvm::StringRef name) const;

  /// Adds a tensor to `store` as a view; fails on a type that pare cannot
  /// decode. Blocks keep their bytes (TensorData::storage).
  llvm::Error addTo(WeightStore &store, const Tensor &tensor,
                    mlir::MLIRContext &context) const;

private:
  explicit File(std::string path) : metadata_(std::move(path)) {}
  llvm::Error addShard(std::shared_ptr<MappedFile> file, size_t count);
  llvm::Error addShards(llvm::StringRef path);

  Metadata metadata_;
  std::vector<std::shared_ptr<MappedFile>> files_;
  std::vector<Tensor> tensors_;
  llvm::StringMap<size_t> index_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 0;
};

/// Whether the name is one of a GGUF file, shard or part.
bool isGgufName(llvm::StringRef path);

} // namespace pare::gguf

#endif
