//===- Table.h - Tokenizers to tables ---------------------------*- C++ -*-===//
#ifndef PARE_TESTS_FUZZ_TABLE_H
#define PARE_TESTS_FUZZ_TABLE_H

#include "frontend/tokenizer/Tokenizer.h"
#include "tests/fuzz/Check.h"

namespace pare::fuzz {

/// What was read is refused in one line, or becomes a table.
inline void checkTable(llvm::Expected<tokenizer::Description> description) {
  if (!description)
    return checkError(description.takeError());
  llvm::Expected<std::vector<uint8_t>> table =
      tokenizer::writeTable(*description, "tokenizer");
  if (!table)
    return checkError(table.takeError());
  check(!table->empty(), "a table has bytes");
}

} // namespace pare::fuzz

#endif
