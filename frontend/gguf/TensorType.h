//===- TensorType.h - Element and block types of GGUF files -----*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_TENSORTYPE_H
#define PARE_FRONTEND_GGUF_TENSORTYPE_H

#include "frontend/weights/BlockFormat.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>

namespace pare::gguf {

/// A type of tensors: ggml's number and name, and how its blocks are stored.
/// Blocks run along a row (the last dimension) and never cross rows.
struct TensorType {
  uint32_t id;
  llvm::StringLiteral name; ///< "Q4_K"
  unsigned elements, bytes; ///< per block; 1 element for plain types
  /// How blocks are taken apart; null for plain types and for those that pare
  /// knows the size of only.
  const BlockStorage *storage = nullptr;

  bool isPlain() const { return elements == 1; }
  /// Whether tensors of it can be imported.
  bool isSupported() const { return isPlain() || storage; }
  /// The element of a plain type; f32, which blocks decode to, otherwise.
  mlir::Type getElementType(mlir::MLIRContext &context) const;
  /// Bytes of a tensor; nullopt where rows are not whole blocks, a dimension is
  /// negative or the size does not fit 63 bits.
  std::optional<uint64_t> getBytes(llvm::ArrayRef<int64_t> shape) const;
};

/// The type with ggml's number `id`, or null.
const TensorType *findTensorType(uint32_t id);
/// The type of this name, in any case, or null.
const TensorType *findTensorType(llvm::StringRef name);
llvm::ArrayRef<TensorType> getTensorTypes();

} // namespace pare::gguf

#endif
