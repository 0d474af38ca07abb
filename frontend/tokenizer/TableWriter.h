//===- TableWriter.h - Pieces of the serialized table -----------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_TABLEWRITER_H
#define PARE_FRONTEND_TOKENIZER_TABLEWRITER_H

#include "frontend/tokenizer/Description.h"

#include "llvm/ADT/StringMap.h"

#include <utility>
#include <vector>

namespace pare::tokenizer {

/// Bytes that grow by 8-byte aligned arrays.
struct Blob {
  std::vector<uint8_t> bytes;

  template <typename T> void append(llvm::ArrayRef<T> values) {
    const auto *begin = reinterpret_cast<const uint8_t *>(values.data());
    bytes.insert(bytes.end(), begin, begin + values.size() * sizeof(T));
    bytes.resize((bytes.size() + 7) & ~size_t(7));
  }
  /// In as few bytes as all values fit: 2 (if `narrow`) or 4 each.
  void appendNarrow(llvm::ArrayRef<uint32_t> values, bool narrow);
};

class TableWriter {
public:
  void add(PareTokenizerTag tag, std::vector<uint8_t> bytes) {
    if (!bytes.empty())
      sections.push_back({tag, std::move(bytes)});
  }
  template <typename T>
  void add(PareTokenizerTag tag, llvm::ArrayRef<T> values) {
    const auto *begin = reinterpret_cast<const uint8_t *>(values.data());
    add(tag, std::vector<uint8_t>(begin, begin + values.size() * sizeof(T)));
  }
  std::vector<uint8_t> finish(PareTokenizerModel model) const;

private:
  std::vector<std::pair<PareTokenizerTag, std::vector<uint8_t>>> sections;
};

/// PARE_TOK_STRINGS.
class StringPool {
public:
  /// `text` has at most 65535 bytes.
  uint32_t offsetOf(llvm::StringRef text);
  std::vector<uint8_t> bytes;

private:
  llvm::StringMap<uint32_t> offsets;
};

/// Lays out the steps of a normalizer and a pre-tokenizer with what they use.
class StepWriter {
public:
  explicit StepWriter(StringPool &strings) : strings(strings) {}

  /// The error fits behind "path: ".
  llvm::Expected<std::vector<PareTokenizerStep>>
  write(llvm::ArrayRef<Step> steps);
  /// PARE_TOK_PATTERNS, or nothing.
  std::vector<uint8_t> patterns() const;

private:
  StringPool &strings;
  std::vector<std::pair<Automaton, bool>> automata; ///< bool: it reads bytes
};

/// PARE_TOK_MERGES.
std::vector<uint8_t> mergeTable(llvm::ArrayRef<Merge> merges);
/// PARE_TOK_TEXTS.
std::vector<uint8_t> textTable(llvm::ArrayRef<TokenText> texts);

/// config.model_flags, with what follows from the vocabulary.
uint32_t modelFlags(const Description &description);

/// The sections of the model: vocabulary, merges, scores. The error fits
/// behind "path: ".
llvm::Error writeModel(const Description &description, TableWriter &table);

} // namespace pare::tokenizer

#endif
