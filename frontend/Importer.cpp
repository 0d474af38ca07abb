//===- Importer.cpp - The registry of formats -----------------------------===//
#include "frontend/Importer.h"
#include "frontend/gguf/GgufImporter.h"
#include "frontend/onnx/OnnxImporter.h"
#include "frontend/safetensors/SafetensorsImporter.h"
#include "llvm/Support/FileSystem.h"

namespace pare {

llvm::Expected<const Importer *> findImporter(llvm::StringRef path) {
  const Importer *const importers[] = {&getSafetensorsImporter(),
                                       &getGgufImporter(), &getOnnxImporter()};
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(path, status))
    return llvm::createStringError("cannot read '" + path +
                                   "': " + error.message());
  for (const Importer *importer : importers)
    if (importer->recognizes(path))
      return importer;
  std::string known;
  for (const Importer *importer : importers)
    known += (known.empty() ? "" : ", ") + importer->name().str();
  return llvm::createStringError(
      "'" + path + "' is not a model of a known format (" + known + ")");
}

} // namespace pare
