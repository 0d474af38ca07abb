//===- Tokenizer.cpp - Choose the reader, write the table -----------------===//
#include "frontend/tokenizer/Tokenizer.h"
#include "frontend/tokenizer/Trie.h"
#include "frontend/tokenizer/Unicode.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

/// What a normalized added token looks like in normalized text.
Expected<std::string> normalizePattern(const AddedToken &token,
                                       const Description &d, StringRef path) {
  if (d.normalizer.empty())
    return token.text;
  if (!isASCII(token.text))
    return tokenizerError(path, "added_tokens: '" + token.text +
                                    "' is normalized and not ASCII, which is "
                                    "not supported");
  std::string text = token.text;
  for (uint32_t op : d.normalizer) {
    if (op == PARE_NORM_LOWERCASE) {
      text = StringRef(text).lower();
    } else if (op == PARE_NORM_CLEAN_TEXT) {
      for (char &c : text)
        c = c == '\t' || c == '\n' || c == '\r' ? ' ' : c;
      erase_if(text, [](char c) { return !isPrint(c); });
    }
  }
  if (text.empty())
    return tokenizerError(path, "added_tokens: nothing is left of token " +
                                    Twine(token.id) + " when normalized");
  return text;
}

/// The PARE_CHAR_* classes that encoding will ask for.
uint32_t usedClasses(const Description &d) {
  uint32_t mask = 0;
  for (uint32_t op : d.normalizer) {
    if (op == PARE_NORM_CLEAN_TEXT)
      mask |= PARE_CHAR_DROPPED | PARE_CHAR_SPACE;
    else if (op == PARE_NORM_SPACE_CJK)
      mask |= PARE_CHAR_CJK;
    else if (op == PARE_NORM_STRIP_NONSPACING)
      mask |= PARE_CHAR_NONSPACING;
    else if (op == PARE_NORM_STRIP_COMBINING)
      mask |= PARE_CHAR_COMBINING;
  }
  const uint32_t rules = d.config.pre_tokenizer;
  if (rules & PARE_PRE_REMOVE_SPACE)
    mask |= PARE_CHAR_SPACE;
  if (rules & (PARE_PRE_ISOLATE_PUNCT | PARE_PRE_REMOVE_PUNCT))
    mask |= PARE_CHAR_PUNCT;
  if (rules & PARE_PRE_SPLIT_WORD)
    mask |= PARE_CHAR_WORD;
  for (const AddedToken &token : d.added) {
    if (token.flags & PARE_ADDED_SINGLE_WORD)
      mask |= PARE_CHAR_WORD;
    if (token.flags & (PARE_ADDED_LSTRIP | PARE_ADDED_RSTRIP))
      mask |= PARE_CHAR_SPACE;
  }
  return mask;
}

class TableWriter {
public:
  void add(PareTokenizerTag tag, std::vector<uint8_t> bytes) {
    if (!bytes.empty())
      sections.push_back({tag, std::move(bytes)});
  }
  template <typename T> void add(PareTokenizerTag tag, ArrayRef<T> values) {
    const auto *begin = reinterpret_cast<const uint8_t *>(values.data());
    add(tag, std::vector<uint8_t>(begin, begin + values.size() * sizeof(T)));
  }

  std::vector<uint8_t> finish(PareTokenizerModel model) const {
    PareTokenizerHeader header = {PARE_TOKENIZER_MAGIC, PARE_TOKENIZER_VERSION,
                                  uint32_t(model), uint32_t(sections.size()),
                                  0};
    std::vector<PareTokenizerSection> index;
    uint64_t offset =
        sizeof(header) + sections.size() * sizeof(PareTokenizerSection);
    for (const auto &[tag, bytes] : sections) {
      index.push_back({uint32_t(tag), 0, offset, bytes.size()});
      offset += alignTo(bytes.size(), 8);
    }
    header.bytes = offset;
    std::vector<uint8_t> out;
    append(out, &header, sizeof(header));
    append(out, index.data(), index.size() * sizeof(index[0]));
    for (const auto &[tag, bytes] : sections)
      append(out, bytes.data(), bytes.size());
    return out;
  }

private:
  static void append(std::vector<uint8_t> &out, const void *data,
                     size_t bytes) {
    const auto *begin = static_cast<const uint8_t *>(data);
    out.insert(out.end(), begin, begin + bytes);
    out.resize(alignTo(out.size(), 8));
  }

  std::vector<std::pair<PareTokenizerTag, std::vector<uint8_t>>> sections;
};

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
    sys::path::append(file, "tokenizer.json");
    if (!sys::fs::exists(file)) {
      sys::path::remove_filename(file);
      sys::path::append(file, "vocab.txt");
      if (!sys::fs::exists(file))
        return tokenizerError(path, "no tokenizer.json and no vocab.txt here");
    }
  }
  Expected<std::string> text = readFile(file);
  if (!text)
    return text.takeError();
  if (!sys::path::filename(file).ends_with(".txt"))
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
  return readVocabText(*text, file, config, configPath);
}

} // namespace

Expected<std::vector<uint8_t>> writeTable(const Description &d,
                                          StringRef path) {
  using Entry = std::pair<StringRef, uint32_t>;
  std::vector<Entry> vocab, raw, normalized;
  for (const Token &token : d.vocab)
    vocab.push_back({token.text, uint32_t(token.id)});

  std::vector<PareTokenizerAdded> added;
  StringMap<uint32_t> patterns;
  for (const AddedToken &token : d.added) {
    const uint32_t index = uint32_t(added.size());
    added.push_back({token.id, token.flags});
    if (!token.normalized) {
      raw.push_back({token.text, index});
      continue;
    }
    Expected<std::string> pattern = normalizePattern(token, d, path);
    if (!pattern)
      return pattern.takeError();
    auto [entry, isNew] = patterns.try_emplace(*pattern, index);
    if (!isNew)
      return tokenizerError(path, "added_tokens: two tokens read '" + *pattern +
                                      "' when normalized");
    normalized.push_back({entry->getKey(), index});
  }

  TableWriter table;
  table.add(PARE_TOK_CONFIG, ArrayRef(d.config));
  table.add(PARE_TOK_NORMALIZER, ArrayRef(d.normalizer));
  table.add(PARE_TOK_TEMPLATE_SINGLE, ArrayRef(d.single));
  table.add(PARE_TOK_TEMPLATE_PAIR, ArrayRef(d.pair));
  table.add(PARE_TOK_VOCAB, buildTrie(std::move(vocab)));
  table.add(PARE_TOK_PREFIX, ArrayRef(d.prefix.data(), d.prefix.size()));
  table.add(PARE_TOK_ADDED, ArrayRef(added));
  if (!raw.empty())
    table.add(PARE_TOK_ADDED_RAW, buildTrie(std::move(raw)));
  if (!normalized.empty())
    table.add(PARE_TOK_ADDED_NORMALIZED, buildTrie(std::move(normalized)));
  if (uint32_t classes = usedClasses(d))
    table.add(PARE_TOK_CLASSES, characterClasses(classes));
  if (is_contained(d.normalizer, PARE_NORM_NFD)) {
    table.add(PARE_TOK_COMBINING, combiningClasses());
    table.add(PARE_TOK_DECOMPOSE, decompositions(/*wide=*/false));
    table.add(PARE_TOK_DECOMPOSE_WIDE, decompositions(/*wide=*/true));
  }
  if (is_contained(d.normalizer, PARE_NORM_COMPOSE))
    table.add(PARE_TOK_COMPOSE, compositions());
  if (is_contained(d.normalizer, PARE_NORM_LOWERCASE))
    table.add(PARE_TOK_LOWERCASE, lowercaseRuns());
  return table.finish(d.model);
}

Expected<std::vector<uint8_t>> buildTokenizerTable(StringRef path) {
  SmallString<256> file;
  Expected<Description> description = readDescription(path, file);
  if (!description)
    return description.takeError();
  return writeTable(*description, file);
}

} // namespace pare::tokenizer
