//===- SentencePiece.cpp - sentencepiece's .model to tables ---------------===//
#include "tests/fuzz/Table.h"

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  fuzz::checkTable(
      tokenizer::readSentencePiece(bytes, "tokenizer.model", "", ""));
  return 0;
}
