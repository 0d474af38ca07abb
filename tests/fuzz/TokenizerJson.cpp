//===- TokenizerJson.cpp - tokenizer.json to tables -----------------------===//
#include "frontend/tokenizer/Tokenizer.h"
#include "tests/fuzz/Check.h"

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  llvm::Expected<tokenizer::Description> description =
      tokenizer::readTokenizerJson(text, "tokenizer.json");
  if (!description) {
    llvm::consumeError(description.takeError());
    return 0;
  }
  llvm::Expected<std::vector<uint8_t>> table =
      tokenizer::writeTable(*description, "tokenizer.json");
  if (!table)
    llvm::consumeError(table.takeError());
  else
    fuzz::check(!table->empty(), "a table has bytes");
  return 0;
}
