//===- OnnxEdit.h - ONNX files with other nodes and weights -----*- C++ -*-===//
//
// A file is edited where it is serialized: nodes and weights that change are
// written anew, all other bytes of the model are the source's.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_EXPORT_ONNXEDIT_H
#define PARE_BACKENDS_EXPORT_ONNXEDIT_H

#include "frontend/onnx/OnnxFile.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <map>

namespace pare::exporting {

/// Attributes of a node; `fallback` where there is none of this name.
int64_t getInt(const onnx::NodeProto &node, llvm::StringRef name,
               int64_t fallback);
float getFloat(const onnx::NodeProto &node, llvm::StringRef name,
               float fallback);
void addInt(onnx::NodeProto &node, const char *name, int64_t value);
/// Whether a Gemm is x·W + bias, W transposed or not: no transA, alpha or beta.
bool isPlainGemm(const onnx::NodeProto &node);
/// Whether the operator is ONNX's own.
bool isStandard(const onnx::NodeProto &node);

class OnnxEdit {
public:
  /// Of a node of the main graph, by its index.
  struct Use {
    int node, input;
  };
  /// Before the first node.
  static constexpr int kStart = -1;

  static llvm::Expected<std::unique_ptr<OnnxEdit>> open(llvm::StringRef path);

  onnximport::OnnxFile &file() { return *file_; }
  const onnx::GraphProto &graph() const { return file_->graph(); }
  llvm::ArrayRef<Use> uses(llvm::StringRef tensor) const;
  /// Whether the tensor is an output of the model or used by an inner graph.
  bool isUsedElsewhere(llvm::StringRef tensor) const {
    return elsewhere_.contains(tensor);
  }
  /// An initializer, or the value of a Constant node; null: neither. Its raw
  /// bytes are read with file().
  const onnx::TensorProto *findTensor(llvm::StringRef name) const;
  /// An error about a tensor, on one line.
  llvm::Error fail(llvm::StringRef tensor, const llvm::Twine &why) const;

  /// A name that nothing has yet.
  std::string makeName(const llvm::Twine &wanted);
  /// Adds an initializer; its name, `wanted` or one like it.
  std::string addTensor(const llvm::Twine &wanted, int type,
                        llvm::ArrayRef<int64_t> shape, std::string bytes);
  /// Leaves a tensor of findTensor() out.
  void drop(llvm::StringRef tensor);
  /// Puts nodes in the place of one.
  void replaceNode(int index, llvm::ArrayRef<onnx::NodeProto> nodes);
  /// Adds a node behind one, or at kStart, and behind what was added there.
  void addNode(int after, const onnx::NodeProto &node);
  /// Nodes are of this operator set too.
  void useDomain(const char *domain, int version);

  /// Writes the result; its bytes. Weights in external files come into it.
  llvm::Expected<uint64_t> write(llvm::StringRef output);

private:
  OnnxEdit() = default;
  void listUses(const onnx::GraphProto &graph, bool isMain);
  llvm::Error embed(const onnx::TensorProto &tensor,
                    std::vector<struct FileSegment> &out);

  std::unique_ptr<onnximport::OnnxFile> file_;
  std::shared_ptr<MappedFile> bytes_;
  llvm::StringMap<llvm::SmallVector<Use, 1>> uses_;
  llvm::StringSet<> elsewhere_, names_, dropped_;
  llvm::StringMap<const onnx::TensorProto *> tensors_;
  llvm::StringMap<int> constants_; ///< Constant nodes by what they make
  std::map<int, std::string> replaced_, added_; ///< serialized fields
  std::string newTensors_;                      ///< serialized fields
  std::map<std::string, int> domains_;
};

} // namespace pare::exporting

#endif
