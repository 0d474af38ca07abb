//===- OpTable.h - The registry of ONNX ops ---------------------*- C++ -*-===//
//
// One entry per op. A new op costs one function in the file of its kind and one
// line in that file's table.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_ONNX_OPTABLE_H
#define PARE_FRONTEND_ONNX_OPTABLE_H

#include "frontend/onnx/Node.h"

namespace pare::onnximport {

struct OpEntry {
  llvm::StringLiteral name;
  void (*import)(const Node &node);
  /// What of this node is not supported ("" for nothing), as far as attributes
  /// tell; null: everything is.
  std::string (*check)(const onnx::NodeProto &node, int opset) = nullptr;
  int since = 1; ///< first opset with the op
};

llvm::ArrayRef<OpEntry> getConvOps();
llvm::ArrayRef<OpEntry> getElementwiseOps();
llvm::ArrayRef<OpEntry> getMatMulOps();
llvm::ArrayRef<OpEntry> getMovementOps();
llvm::ArrayRef<OpEntry> getNormOps();
llvm::ArrayRef<OpEntry> getQuantOps();
llvm::ArrayRef<OpEntry> getReduceOps();
llvm::ArrayRef<OpEntry> getResizeOps();
llvm::ArrayRef<OpEntry> getShapeOps();
llvm::ArrayRef<OpEntry> getSliceOps();

/// The entry of an op of the default domain, or null.
const OpEntry *findOp(llvm::StringRef name, int opset);

/// Everything of a graph that import would refuse, by name, counted.
std::vector<Unsupported> findUnsupported(const onnx::GraphProto &graph,
                                         int opset);

/// For checks: a string attribute, or `fallback`.
llvm::StringRef getStringAttribute(const onnx::NodeProto &node,
                                   llvm::StringRef name,
                                   llvm::StringRef fallback);
int64_t getIntAttribute(const onnx::NodeProto &node, llvm::StringRef name,
                        int64_t fallback);

/// Computes the node's outputs where all its inputs are known (Contents);
/// false where it does not.
bool evaluate(const Node &node);
/// Known elements under another element type; nullopt where they are not
/// expressible.
std::optional<Contents> castContents(const Node &node, Contents contents,
                                     mlir::Type to);

} // namespace pare::onnximport

#endif
