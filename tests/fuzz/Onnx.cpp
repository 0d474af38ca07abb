//===- Onnx.cpp - ONNX files to graphs ------------------------------------===//
#include "frontend/onnx/OnnxImporter.h"
#include "mlir/IR/MLIRContext.h"
#include "tests/fuzz/Check.h"
#include "tests/fuzz/MemoryFile.h"

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz::MemoryFile input(data, size);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::ScopedDiagnosticHandler silent(
      &context, [](mlir::Diagnostic &) { return mlir::success(); });
  llvm::Expected<Model> model =
      getOnnxImporter().import(input.path(), ImportOptions(), context);
  if (!model) {
    fuzz::checkError(model.takeError());
    return 0;
  }
  fuzz::check(mlir::succeeded(model->module->verify()),
              "imported graphs are valid");
  return 0;
}
