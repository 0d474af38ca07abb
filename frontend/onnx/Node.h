//===- Node.h - What the import of one ONNX node sees -----------*- C++ -*-===//
//
// Every access checks; the first error is kept by the GraphBuilder, after which
// nothing is created. Import functions therefore check for null only before
// they look into a value themselves.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_ONNX_NODE_H
#define PARE_FRONTEND_ONNX_NODE_H

#include "frontend/onnx/Contents.h"
#include "frontend/onnx/OnnxFile.h"

namespace pare::onnximport {

class GraphImporter;

/// A value of the ONNX graph. At least one of the three is there; the others
/// are made when asked for.
struct ImportedValue {
  mlir::Value value;
  std::optional<Contents> contents;
  std::shared_ptr<TensorBytes> tensor; ///< initializer or Constant
};

/// `axis` counted from the front; nullopt where it is not an axis of `rank`.
std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank);

class Node {
public:
  Node(GraphImporter &importer, const onnx::NodeProto &proto)
      : importer_(importer), proto_(proto) {}

  const onnx::NodeProto &getProto() const { return proto_; }
  llvm::StringRef getOp() const { return proto_.op_type(); }
  int getOpset() const;
  GraphBuilder &getGraph() const;
  mlir::OpBuilder &getBuilder() const { return getGraph().getBuilder(); }
  mlir::MLIRContext *getContext() const { return getGraph().getContext(); }
  /// Named after the first output.
  mlir::Location getLoc() const;
  nn::Dim dim(int64_t value) const { return getGraph().constantDim(value); }
  mlir::Value fail(const llvm::Twine &message) const {
    return getGraph().fail(message);
  }

  //===--------------------------------------------------------------------===//
  // Inputs
  //===--------------------------------------------------------------------===//

  unsigned getNumInputs() const { return proto_.input_size(); }
  unsigned getNumOutputs() const { return proto_.output_size(); }
  llvm::StringRef getInputName(unsigned i) const {
    return proto_.input(int(i));
  }
  bool hasInput(unsigned i) const {
    return i < getNumInputs() && !proto_.input(int(i)).empty();
  }
  /// Whether anything reads output `i`.
  bool isUsed(unsigned i) const;
  /// The input as a graph value; fails where it is absent.
  mlir::Value getInput(unsigned i) const;
  /// Null where it is absent.
  mlir::Value getOptionalInput(unsigned i) const {
    return hasInput(i) ? getInput(i) : mlir::Value();
  }
  /// Shape and element type without making a graph value of a constant.
  mlir::RankedTensorType getInputType(unsigned i) const;
  /// The elements of an input where they are known, else null.
  const Contents *getContents(unsigned i) const;
  /// The elements of an input that must be known; fails where they are not.
  std::optional<nn::Shape> getDims(unsigned i) const;
  /// As getDims, but values may be beyond any size, as the ends of slices are.
  std::optional<nn::Shape> getIndices(unsigned i) const;
  std::optional<llvm::SmallVector<int64_t>> getIntegers(unsigned i) const;
  std::optional<llvm::SmallVector<double>> getNumbers(unsigned i) const;

  //===--------------------------------------------------------------------===//
  // Attributes
  //===--------------------------------------------------------------------===//

  bool hasAttribute(llvm::StringRef name) const { return findAttribute(name); }
  int64_t getInt(llvm::StringRef name, int64_t fallback) const;
  float getFloat(llvm::StringRef name, float fallback) const;
  std::string getString(llvm::StringRef name, llvm::StringRef fallback) const;
  llvm::SmallVector<int64_t>
  getInts(llvm::StringRef name, llvm::ArrayRef<int64_t> fallback = {}) const;
  const onnx::AttributeProto *findAttribute(llvm::StringRef name) const;
  /// An axis attribute, counted from the front; fails where it is none of
  /// `rank` axes.
  int64_t getAxis(llvm::StringRef name, int64_t fallback, int64_t rank) const;
  /// Axes from the attribute `axes`, or from input `input` from opset `since`
  /// on; sorted as given, counted from the front. Nullopt where neither is
  /// there or an error was recorded.
  std::optional<llvm::SmallVector<int64_t>> getAxes(unsigned input, int since,
                                                    int64_t rank) const;
  /// An element type attribute (`to`, `dtype`).
  mlir::Type getTypeAttribute(llvm::StringRef name, int fallback) const;

  //===--------------------------------------------------------------------===//
  // Results
  //===--------------------------------------------------------------------===//

  void setResult(unsigned i, mlir::Value value) const;
  void setResult(mlir::Value value) const { setResult(0, value); }
  void setContents(unsigned i, Contents contents) const;
  void setTensor(unsigned i, TensorBytes tensor) const;
  /// Output i is input j.
  void forward(unsigned i, unsigned j) const;
  llvm::Expected<TensorBytes> readTensor(const onnx::TensorProto &tensor,
                                         llvm::StringRef what) const;

  //===--------------------------------------------------------------------===//
  // Ops at this node's location
  //===--------------------------------------------------------------------===//

  template <typename OpT, typename... Args>
  mlir::Value create(Args &&...args) const {
    return getGraph().create<OpT>(getLoc(), std::forward<Args>(args)...);
  }
  template <typename OpT, typename... Args>
  mlir::Value createTyped(mlir::RankedTensorType type, Args &&...args) const {
    return getGraph().createTyped<OpT>(getLoc(), type,
                                       std::forward<Args>(args)...);
  }
  mlir::Value reshape(mlir::Value x, llvm::ArrayRef<nn::Dim> shape) const {
    return getGraph().createReshape(getLoc(), x, shape);
  }
  mlir::Value unary(nn::UnaryKind kind, mlir::Value x,
                    std::optional<float> alpha = {},
                    std::optional<float> beta = {}) const;
  mlir::Value binary(nn::BinaryKind kind, mlir::Value a, mlir::Value b) const {
    return create<nn::BinaryOp>(kind, a, b);
  }
  /// `x` with its axes permuted; `x` itself for the identity.
  mlir::Value transpose(mlir::Value x,
                        llvm::ArrayRef<int64_t> permutation) const;
  /// A rank-0 constant of x's element type.
  mlir::Value scalarLike(mlir::Value x, double value) const;
  mlir::Value slice(mlir::Value x, llvm::ArrayRef<nn::Dim> starts,
                    llvm::ArrayRef<nn::Dim> sizes,
                    llvm::ArrayRef<int64_t> steps) const;

private:
  const ImportedValue *lookUp(unsigned i) const;

  GraphImporter &importer_;
  const onnx::NodeProto &proto_;
};

/// Channels first to channels last and back, for the layout of nn's spatial
/// ops. Null in, null out.
mlir::Value toChannelsLast(const Node &node, mlir::Value x);
mlir::Value toChannelsFirst(const Node &node, mlir::Value x);

} // namespace pare::onnximport

#endif
