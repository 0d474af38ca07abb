//===- GraphImporter.h - One ONNX graph into an nn entry --------*- C++ -*-===//
#ifndef PARE_FRONTEND_ONNX_GRAPHIMPORTER_H
#define PARE_FRONTEND_ONNX_GRAPHIMPORTER_H

#include "frontend/onnx/Node.h"
#include "llvm/ADT/StringSet.h"

namespace pare::onnximport {

class GraphImporter {
public:
  GraphImporter(OnnxFile &file, const ImportOptions &options,
                GraphBuilder &graph)
      : file_(file), options_(options), graph_(graph) {}

  /// Imports the whole graph.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> run();

  //===--------------------------------------------------------------------===//
  // For nodes
  //===--------------------------------------------------------------------===//

  int getOpset() const { return file_.opset(); }
  GraphBuilder &getGraph() { return graph_; }
  /// Defines a value of the graph; empty names are dropped.
  void define(llvm::StringRef name, ImportedValue value);
  /// The value of a name that has been defined.
  const ImportedValue *find(llvm::StringRef name) const;
  /// Whether a node or the graph's outputs read this name.
  bool isUsed(llvm::StringRef name) const { return used_.contains(name); }
  mlir::Value getValue(llvm::StringRef name);
  mlir::RankedTensorType getType(llvm::StringRef name);
  /// Elements of a small tensor that are known at import, or null.
  const Contents *getContents(llvm::StringRef name);
  llvm::Expected<TensorBytes> readTensor(const onnx::TensorProto &tensor,
                                         llvm::StringRef what) {
    return file_.read(tensor, what, *graph_.getContext());
  }

private:
  llvm::Error defineInitializers();
  llvm::Error defineInputs();
  llvm::Expected<mlir::RankedTensorType>
  getInputType(const onnx::ValueInfoProto &info);
  nn::Shape parseDims(const onnx::ValueInfoProto &info,
                      llvm::ArrayRef<DimSpec> specs);
  void setDefaultBounds();
  /// Orders nodes so that every value is defined before its use; fails on
  /// cycles, undefined and doubly defined values.
  llvm::Expected<std::vector<const onnx::NodeProto *>> sortNodes();
  void importNode(const onnx::NodeProto &proto);
  /// The error of the graph, with advice where dimensions are open.
  llvm::Error takeError();
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> finish();
  /// An output's shape as the model declares it against the inferred one.
  llvm::Error checkOutput(const onnx::ValueInfoProto &info,
                          mlir::RankedTensorType type);
  mlir::Value materialize(llvm::StringRef name, TensorBytes &tensor);
  mlir::Value materialize(llvm::StringRef name, const Contents &contents);

  OnnxFile &file_;
  const ImportOptions &options_;
  GraphBuilder &graph_;
  llvm::StringMap<ImportedValue> values_;
  llvm::StringSet<> used_;         ///< names that nodes or outputs read
  std::vector<size_t> symbolAxes_; ///< where each symbol appears first
  bool overridesStatic_ = false;   ///< a shape option changes a fixed dimension
};

/// "node 'conv_1' (Conv)"; unnamed nodes by their first output.
std::string describeNode(const onnx::NodeProto &node);

} // namespace pare::onnximport

#endif
