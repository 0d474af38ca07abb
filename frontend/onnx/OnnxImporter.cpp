//===- OnnxImporter.cpp - ONNX models -------------------------------------===//
#include "frontend/onnx/OnnxImporter.h"
#include "frontend/onnx/GraphImporter.h"
#include "frontend/onnx/OpTable.h"

using namespace pare::onnximport;

namespace pare {
namespace {

class OnnxImporter : public Importer {
public:
  llvm::StringRef name() const override { return "onnx"; }

  bool recognizes(llvm::StringRef path) const override {
    if (path.ends_with(".onnx"))
      return true;
    llvm::Expected<std::shared_ptr<MappedFile>> file = MappedFile::open(path);
    if (!file) {
      llvm::consumeError(file.takeError());
      return false;
    }
    // Field 1 of ModelProto, ir_version, is small; field 2 is a string.
    llvm::ArrayRef<uint8_t> bytes = (*file)->bytes();
    return bytes.size() > 3 && bytes[0] == 0x08 && bytes[1] < 0x20 &&
           bytes[2] == 0x12;
  }

  llvm::Expected<std::vector<Unsupported>>
  findUnsupported(llvm::StringRef path) const override {
    llvm::Expected<std::unique_ptr<OnnxFile>> file = OnnxFile::open(path);
    if (!file)
      return file.takeError();
    return onnximport::findUnsupported((*file)->graph(), (*file)->opset());
  }

  llvm::Expected<Model> import(llvm::StringRef path,
                               const ImportOptions &options,
                               mlir::MLIRContext &context) const override {
    if (!options.adapters.empty())
      return llvm::createStringError(
          path + ": --adapter is for folders with safetensors and for GGUF "
                 "files, whose layers have names");
    llvm::Expected<std::unique_ptr<OnnxFile>> file = OnnxFile::open(path);
    if (!file)
      return file.takeError();
    if (std::vector<Unsupported> unsupported =
            onnximport::findUnsupported((*file)->graph(), (*file)->opset());
        !unsupported.empty())
      return onOneLine(makeUnsupportedError(path, unsupported));
    Model model;
    model.name = getModelName(path);
    model.format = name().str();
    model.weights = std::make_shared<WeightStore>();
    GraphBuilder graph(context, model.weights);
    auto module = GraphImporter(**file, options, graph).run();
    if (!module)
      return onOneLine(llvm::createStringError(
          path + ": " + llvm::toString(module.takeError())));
    model.module = std::move(*module);
    model.warnings = graph.takeWarnings();
    return model;
  }
};

} // namespace

const Importer &getOnnxImporter() {
  static const OnnxImporter importer;
  return importer;
}

} // namespace pare
