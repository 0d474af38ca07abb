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

std::optional<std::string> warnOfUnused(llvm::StringRef path,
                                        std::vector<std::string> unused) {
  static constexpr llvm::StringLiteral buffers[] = {
      "inv_freq",         "position_ids",   "attn.bias",
      "attn.masked_bias", "attention.bias", "attention.masked_bias",
      "rope_freqs.weight"};
  llvm::erase_if(unused, [](llvm::StringRef name) {
    return llvm::any_of(buffers, [&](llvm::StringRef buffer) {
      return name == buffer || name.ends_with(("." + buffer).str());
    });
  });
  if (unused.empty())
    return std::nullopt;
  llvm::sort(unused);
  constexpr size_t shown = 3;
  std::string text =
      (path + ": " + llvm::Twine(unused.size()) +
       (unused.size() == 1 ? " tensor is" : " tensors are") + " not used: ")
          .str();
  for (size_t i = 0; i < std::min(shown, unused.size()); ++i)
    text += (i ? ", '" : "'") + unused[i] + "'";
  return onOneLine(text + (unused.size() > shown ? ", …" : ""));
}

std::string printShape(llvm::ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleave(shape, stream, "x");
  return text;
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
