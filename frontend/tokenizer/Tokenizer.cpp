//===- Tokenizer.cpp - Choose the reader ----------------------------------===//
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

Expected<std::string> readFile(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return tokenizerError(path,
                          "cannot be read: " + buffer.getError().message());
  if ((*buffer)->getBufferSize() > (uint64_t(1) << 30))
    return tokenizerError(path, "larger than 1 GiB; not a tokenizer");
  return (*buffer)->getBuffer().str();
}

/// Reads the file that `path` means, and sets `file` to it.
Expected<Description> readDescription(StringRef path, SmallString<256> &file) {
  file = path;
  if (sys::fs::is_directory(path)) {
    bool found = false;
    for (StringRef name : {"tokenizer.json", "tokenizer.model", "spiece.model",
                           "sentencepiece.bpe.model", "vocab.txt"}) {
      file = path;
      sys::path::append(file, name);
      if ((found = sys::fs::exists(file)))
        break;
    }
    if (!found)
      return tokenizerError(
          path, "no tokenizer.json, no tokenizer.model and no vocab.txt here");
  }
  Expected<std::string> text = readFile(file);
  if (!text)
    return text.takeError();
  const bool isModel = sys::path::filename(file).ends_with(".model");
  if (!isModel && !sys::path::filename(file).ends_with(".txt"))
    return readTokenizerJson(*text, file);

  SmallString<256> configPath(file);
  sys::path::remove_filename(configPath);
  sys::path::append(configPath, "tokenizer_config.json");
  std::string config;
  if (sys::fs::exists(configPath)) {
    Expected<std::string> content = readFile(configPath);
    if (!content)
      return content.takeError();
    config = std::move(*content);
  }
  if (isModel)
    return readSentencePiece(*text, file, config, configPath);
  return readVocabText(*text, file, config, configPath);
}

} // namespace

Expected<std::vector<uint8_t>> buildTokenizerTable(StringRef path,
                                                   TableOptions options) {
  SmallString<256> file;
  Expected<Description> description = readDescription(path, file);
  if (!description)
    return description.takeError();
  return writeTable(*description, file, options);
}

} // namespace pare::tokenizer
