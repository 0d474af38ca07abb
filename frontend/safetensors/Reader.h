//===- Reader.h - safetensors files -----------------------------*- C++ -*-===//
//
// Format: u64 header length, a JSON object of name → {dtype, shape,
// data_offsets}, then the data
// (https://huggingface.co/docs/safetensors, "Format").
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_SAFETENSORS_READER_H
#define PARE_FRONTEND_SAFETENSORS_READER_H

#include "frontend/weights/WeightStore.h"

namespace pare::safetensors {

/// One tensor of a file, checked: inside the file, of exactly the size that
/// its shape and type need, overlapping no other.
struct Tensor {
  mlir::RankedTensorType type;
  std::shared_ptr<MappedFile> file;
  uint64_t offset = 0, size = 0; ///< in `file`
};

using Tensors = llvm::StringMap<Tensor>;

/// The path of a file of a folder.
std::string joinPath(llvm::StringRef folder, llvm::StringRef name);

/// Adds the tensors of one file; a name that `tensors` has is an error.
llvm::Error readFile(llvm::StringRef path, mlir::MLIRContext &context,
                     Tensors &tensors);

/// Adds the tensors of all shards of a `*.safetensors.index.json`. Missing
/// shards and tensors that the index names but its shard lacks are errors that
/// name them.
llvm::Error readIndex(llvm::StringRef path, mlir::MLIRContext &context,
                      Tensors &tensors);

/// What the name of an index ends in.
inline constexpr llvm::StringLiteral kIndexSuffix = ".safetensors.index.json";

/// The tensor file of a folder: model.safetensors, its index, or the only one.
llvm::Expected<std::string> findTensorFile(llvm::StringRef folder);

/// readFile or readIndex, by the name.
llvm::Error readTensors(llvm::StringRef file, mlir::MLIRContext &context,
                        Tensors &tensors);

} // namespace pare::safetensors

#endif
