//===- ImportError.cpp - What importers say alike -------------------------===//
#include "frontend/Importer.h"
#include "llvm/Support/Path.h"

namespace pare {

llvm::Error makeUnsupportedError(llvm::StringRef path,
                                 llvm::ArrayRef<Unsupported> unsupported) {
  std::string list;
  for (const Unsupported &item : unsupported) {
    list += list.empty() ? "" : ", ";
    list += item.op;
    if (item.count > 1)
      list += " x" + std::to_string(item.count);
    if (!item.why.empty())
      list += " (" + item.why + ")";
  }
  return llvm::createStringError(path + ": not supported: " + list);
}

std::string onOneLine(llvm::StringRef text) {
  std::string line = text.str();
  for (char &c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return line;
}

llvm::Error onOneLine(llvm::Error error) {
  if (!error)
    return error;
  return llvm::createStringError(onOneLine(llvm::toString(std::move(error))));
}

std::string getModelName(llvm::StringRef path) {
  path = path.rtrim('/');
  llvm::StringRef name = llvm::sys::path::filename(path);
  for (llvm::StringRef suffix :
       {".index.json", ".safetensors", ".gguf", ".onnx"})
    name.consume_back(suffix);
  return name.empty() || name == "." ? "model" : name.str();
}

} // namespace pare
