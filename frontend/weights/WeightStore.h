//===- WeightStore.h - The bytes of weights, outside the IR -----*- C++ -*-===//
//
// Tensors by name. A tensor is a view into a mapped file wherever the file
// holds it as the graph wants it; bytes that a pass made are owned by the
// store.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_WEIGHTS_WEIGHTSTORE_H
#define PARE_FRONTEND_WEIGHTS_WEIGHTSTORE_H

#include "frontend/weights/BlockFormat.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <optional>
#include <vector>

namespace pare {

/// A file, memory-mapped read-only for as long as the object lives.
class MappedFile {
public:
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  /// Fails with one line: path and reason (missing, a directory, unreadable).
  static llvm::Expected<std::shared_ptr<MappedFile>> open(llvm::StringRef path);
  /// Pieces of one file, in order, as that file. They are mapped one after the
  /// other; where a piece other than the last does not end on a page, all are
  /// read into memory.
  static llvm::Expected<std::shared_ptr<MappedFile>>
  openParts(llvm::ArrayRef<std::string> paths);
  ~MappedFile();

  llvm::StringRef path() const { return path_; }
  uint64_t size() const { return bytes_.size(); }
  /// The bytes [offset, offset + size), or an error that names `what`, the
  /// file, the offset and the file's size.
  llvm::Expected<llvm::ArrayRef<uint8_t>> range(uint64_t offset, uint64_t size,
                                                llvm::StringRef what) const;
  llvm::ArrayRef<uint8_t> bytes() const { return bytes_; }
  /// Says that a part of bytes() is not needed soon: memory that holds it may
  /// be given to something else. It is read from the file again when it is.
  void release(llvm::ArrayRef<uint8_t> part) const;

private:
  MappedFile(llvm::StringRef path, llvm::ArrayRef<uint8_t> bytes)
      : path_(path), bytes_(bytes) {}

  std::string path_;
  llvm::ArrayRef<uint8_t> bytes_;
  bool isCopy_ = false; ///< in memory: there is nothing to read again
};

/// Bytes of a dense tensor (i1 takes a byte); nullopt where a dimension is
/// negative or the size does not fit 63 bits.
std::optional<uint64_t> getTensorBytes(llvm::ArrayRef<int64_t> shape,
                                       mlir::Type element);

/// One tensor of the store.
struct TensorData {
  mlir::RankedTensorType type;   ///< static shape
  llvm::ArrayRef<uint8_t> bytes; ///< row-major, little-endian, exactly the
                                 ///< type's or the blocks' size; may be
                                 ///< unaligned

  /// Where not null, `bytes` are blocks of this storage, `type` has f32
  /// elements, which they decode to, and rows are whole blocks.
  const BlockStorage *storage = nullptr;

  /// Where not empty, the tensor was stacked of these (WeightStore::stack), one
  /// per index of the first axis, and `bytes` is empty.
  std::vector<llvm::ArrayRef<uint8_t>> pieces = {};

  /// Where not null, f16 or bf16: `bytes` are elements of this type, `type` has
  /// f32 elements, which they are read as (WeightStore::addWidened).
  mlir::Type narrow = {};

  /// Whether `bytes` are something else than elements of `type`.
  bool isEncoded() const { return storage || narrow; }
  /// What is at index `i` of the first axis, as a tensor of the other axes.
  TensorData at(int64_t i) const;
  /// Copies the bytes, in order, to `out`, which has exactly their size.
  void copyTo(llvm::MutableArrayRef<uint8_t> out) const;

  /// Element `i` as a double; integers and bf16/f16 are converted.
  double get(int64_t i) const;
  /// All elements as f32.
  std::vector<float> toF32() const;
  /// The same, to `out`, which has as many elements.
  void toF32(llvm::MutableArrayRef<float> out) const;
};

class WeightStore {
public:
  /// Adds a view of `file`. The name must be new (error otherwise); the size
  /// must be the type's.
  llvm::Error addView(llvm::StringRef name, mlir::RankedTensorType type,
                      std::shared_ptr<MappedFile> file, uint64_t offset,
                      uint64_t size);
  /// Adds a view of blocks; `type` has f32 elements and rows of whole blocks.
  llvm::Error addBlocks(llvm::StringRef name, mlir::RankedTensorType type,
                        const BlockStorage &storage,
                        std::shared_ptr<MappedFile> file, uint64_t offset,
                        uint64_t size);
  /// Adds owned bytes; returns the name used: `name`, or `name` with a numeric
  /// suffix where it is taken.
  std::string addOwned(llvm::StringRef name, mlir::RankedTensorType type,
                       std::vector<uint8_t> bytes);
  std::string addOwned(llvm::StringRef name, mlir::RankedTensorType type,
                       llvm::ArrayRef<float> values);

  /// Adds owned blocks; `type` and bytes as in addBlocks, which must fit here.
  std::string addOwnedBlocks(llvm::StringRef name, mlir::RankedTensorType type,
                             const BlockStorage &storage,
                             std::vector<uint8_t> bytes);

  /// Adds the f32 values of `of`, of f16 or bf16, over the same bytes of its
  /// file; returns the name used, as addOwned does. Nothing where `of` is no
  /// plain view of a file.
  std::optional<std::string> addWidened(llvm::StringRef name,
                                        llvm::StringRef of);

  /// Makes the tensors `parts`, all of one type, one tensor `name` with a new
  /// first axis, over the same bytes; the parts are then gone. Fails where two
  /// differ in type or blocks, by name.
  llvm::Error stack(llvm::StringRef name, llvm::ArrayRef<std::string> parts);

  bool contains(llvm::StringRef name) const { return tensors_.contains(name); }
  /// The tensor; asserts that it exists (graphs refer only to what importers
  /// and passes added).
  const TensorData &get(llvm::StringRef name) const;
  /// `name`, or `name` with a numeric suffix where it is taken.
  std::string getUnusedName(llvm::StringRef name) const;
  /// Says that a tensor's bytes are not needed soon: what of them is mapped
  /// from files takes no memory until it is read again.
  void release(llvm::StringRef name) const;
  /// Forgets a tensor that no weight refers to any more; frees owned bytes.
  void erase(llvm::StringRef name);

  /// Counts NaN and infinite values of all float tensors, per tensor, in name
  /// order.
  struct NonFinite {
    std::string name;
    uint64_t nan, inf;
  };
  std::vector<NonFinite> findNonFinite() const;

private:
  std::string addOwnedData(llvm::StringRef name, TensorData data,
                           std::vector<uint8_t> bytes);
  llvm::Error addData(llvm::StringRef name, TensorData data,
                      std::shared_ptr<MappedFile> file, uint64_t offset,
                      uint64_t size);
  struct Entry {
    TensorData data;
    std::shared_ptr<MappedFile> file; ///< of a view
    std::unique_ptr<std::vector<uint8_t>> owned;
    std::vector<Entry> parts; ///< of a stack, which keep its bytes alive
    void release() const;
  };
  llvm::StringMap<Entry> tensors_;
};

} // namespace pare

#endif
