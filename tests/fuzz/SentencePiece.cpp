//===- SentencePiece.cpp - sentencepiece's .model to tables ---------------===//
#include "frontend/tokenizer/Tokenizer.h"
#include "tests/fuzz/Check.h"

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  llvm::Expected<tokenizer::Description> description =
      tokenizer::readSentencePiece(bytes, "tokenizer.model", "", "");
  if (!description) {
    fuzz::checkError(description.takeError());
    return 0;
  }
  llvm::Expected<std::vector<uint8_t>> table =
      tokenizer::writeTable(*description, "tokenizer.model");
  if (!table)
    fuzz::checkError(table.takeError());
  else
    fuzz::check(!table->empty(), "a table has bytes");
  return 0;
}
