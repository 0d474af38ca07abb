//===- OnnxFile.h - An ONNX file and its tensors ----------------*- C++ -*-===//
#ifndef PARE_FRONTEND_ONNX_ONNXFILE_H
#define PARE_FRONTEND_ONNX_ONNXFILE_H

#include "frontend/weights/WeightStore.h"
#include "onnx.pb.h"

namespace pare::onnximport {

/// The bytes of a TensorProto: a view of a mapped file, or owned where the
/// file spreads them over typed fields.
struct TensorBytes {
  mlir::RankedTensorType type;
  std::shared_ptr<MappedFile> file; ///< null: owned
  uint64_t offset = 0, size = 0;    ///< in `file`
  std::vector<uint8_t> owned;

  llvm::ArrayRef<uint8_t> bytes() const {
    return file ? file->bytes().slice(offset, size)
                : llvm::ArrayRef<uint8_t>(owned);
  }
};

/// The element type of a TensorProto::DataType; null where there is none
/// (strings, complex numbers, 4-bit types).
mlir::Type getElementType(int dataType, mlir::MLIRContext &context);
/// Whether getElementType has one.
bool isSupportedType(int dataType);
/// "float16" for FLOAT16, "type 99" for what the schema does not know.
std::string getTypeName(int dataType);

class OnnxFile {
public:
  /// Maps and parses; checks that it is an ONNX model with one graph and a
  /// known opset.
  static llvm::Expected<std::unique_ptr<OnnxFile>> open(llvm::StringRef path);

  llvm::StringRef path() const { return file_->path(); }
  const onnx::GraphProto &graph() const { return model_.graph(); }
  const onnx::ModelProto &model() const { return model_; }
  /// Version of the default operator set, kMinOpset … kMaxOpset.
  int opset() const { return opset_; }

  static constexpr int kMinOpset = 10, kMaxOpset = 22;

  /// The bytes of a tensor of this model; `what` names it in errors. Every
  /// offset and size is checked; external data stays in the model's folder.
  llvm::Expected<TensorBytes> read(const onnx::TensorProto &tensor,
                                   llvm::StringRef what,
                                   mlir::MLIRContext &context);

private:
  OnnxFile() = default;
  llvm::Error check();
  llvm::Error readExternal(const onnx::TensorProto &tensor,
                           llvm::StringRef what, uint64_t size,
                           TensorBytes &bytes);

  std::shared_ptr<MappedFile> file_;
  onnx::ModelProto model_;
  int opset_ = 0;
  llvm::StringMap<std::shared_ptr<MappedFile>> external_;
};

} // namespace pare::onnximport

#endif
