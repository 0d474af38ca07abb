//===- Trie.h - Builder of the table's byte tries ---------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_TRIE_H
#define PARE_FRONTEND_TOKENIZER_TRIE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace pare::tokenizer {

/// Serializes a map of distinct, possibly empty keys as the level-order trie
/// that Format.h describes. Takes about 2.5 bytes per node and value_bytes per
/// key: MiniLM's vocabulary is 167 KB, less than its vocab.txt.
std::vector<uint8_t>
buildTrie(std::vector<std::pair<llvm::StringRef, uint32_t>> entries);

} // namespace pare::tokenizer

#endif
