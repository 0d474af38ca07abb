//===- TableModel.cpp - The sections of the model -------------------------===//
#include "frontend/tokenizer/TableWriter.h"
#include "frontend/tokenizer/Trie.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <cmath>

using namespace llvm;

namespace pare::tokenizer {
namespace {

using Entry = std::pair<StringRef, uint32_t>;

/// The tokens that text can give as the runtime compares them: bytes where the
/// vocabulary is byte-level.
std::vector<Token> spellings(const Description &d) {
  std::vector<Token> out;
  for (const Token &token : d.vocab) {
    if (std::binary_search(d.reserved.begin(), d.reserved.end(), token.id))
      continue;
    if (!d.byteLevel)
      out.push_back(token);
    else if (auto bytes = fromAlphabet(token.text))
      out.push_back({std::move(*bytes), token.id});
  }
  return out;
}

std::vector<uint8_t> trieOf(ArrayRef<Token> tokens) {
  std::vector<Entry> entries;
  for (const Token &token : tokens)
    entries.push_back({token.text, uint32_t(token.id)});
  return buildTrie(std::move(entries));
}

/// Is `text` one symbol from which BPE starts: a character or a byte, with or
/// without the prefix and the suffix?
bool isSymbol(StringRef text, const Description &d, StringRef prefix,
              StringRef suffix) {
  auto isOne = [&](StringRef rest) {
    if (rest.empty())
      return false;
    if (d.byteLevel)
      return rest.size() == 1;
    takeCodePoint(rest);
    return rest.empty();
  };
  StringRef noPrefix = text, noSuffix = text;
  noPrefix.consume_front(prefix);
  noSuffix.consume_back(suffix);
  StringRef neither = noPrefix;
  neither.consume_back(suffix);
  return isOne(text) || isOne(noPrefix) || isOne(noSuffix) || isOne(neither);
}

/// Is U+2581 a token, and does it follow nothing but itself in the others?
/// Then BPE on a text is BPE on the parts that begin with it.
bool spacesStart(ArrayRef<Token> tokens) {
  constexpr StringLiteral space = "\u2581";
  if (llvm::none_of(tokens,
                    [&](const Token &token) { return token.text == space; }))
    return false;
  for (const Token &token : tokens) {
    StringRef rest = token.text;
    while (rest.consume_front(space))
      ;
    if (rest.contains(space))
      return false;
  }
  return true;
}

/// Bytes of a prefix or suffix in the spelling of `spellings`.
Expected<std::string> spell(StringRef text, const Description &d) {
  if (!d.byteLevel)
    return text.str();
  if (auto bytes = fromAlphabet(text))
    return std::move(*bytes);
  return createStringError(inconvertibleErrorCode(),
                           "model: '" + text +
                               "' has characters outside the byte alphabet");
}

Error writeBpe(const Description &d, TableWriter &table) {
  const std::vector<Token> tokens = spellings(d);
  Expected<std::string> prefix = spell(d.prefix, d);
  if (!prefix)
    return prefix.takeError();
  Expected<std::string> suffix = spell(d.suffix, d);
  if (!suffix)
    return suffix.takeError();
  table.add(PARE_TOK_PREFIX, ArrayRef(prefix->data(), prefix->size()));
  table.add(PARE_TOK_SUFFIX, ArrayRef(suffix->data(), suffix->size()));

  std::vector<int32_t> bytes = d.byteIds;
  if (d.byteLevel) {
    bytes.assign(256, -1);
    for (const Token &token : tokens)
      if (token.text.size() == 1)
        bytes[uint8_t(token.text[0])] = token.id;
  }
  table.add(PARE_TOK_BYTES, ArrayRef(bytes));

  const bool whole = d.config.model_flags & PARE_BPE_IGNORE_MERGES ||
                     d.model == PARE_TOKENIZER_BPE_SCORES;
  const bool plainBytes = d.byteLevel && prefix->empty() && suffix->empty();
  if (whole || !plainBytes) {
    std::vector<Token> keys;
    for (const Token &token : tokens)
      if (whole || isSymbol(token.text, d, *prefix, *suffix))
        keys.push_back(token);
    table.add(PARE_TOK_VOCAB, trieOf(keys));
  }
  if (d.model == PARE_TOKENIZER_BPE)
    table.add(PARE_TOK_MERGES, mergeTable(d.merges));
  return Error::success();
}

/// Scores in float where that keeps their values.
void writeScores(const Description &d, TableWriter &table) {
  if (d.scores.empty())
    return;
  std::vector<double> wide(d.scores);
  wide.resize(d.config.vocab_size, d.config.unk_score);
  std::vector<float> narrow(wide.begin(), wide.end());
  auto isSame = [](double a, float b) {
    return a == double(b) || std::isnan(a);
  };
  if (std::equal(wide.begin(), wide.end(), narrow.begin(), isSame))
    table.add(PARE_TOK_SCORES, ArrayRef(narrow));
  else
    table.add(PARE_TOK_SCORES, ArrayRef(wide));
}

} // namespace

uint32_t modelFlags(const Description &d) {
  uint32_t flags = d.config.model_flags;
  const bool bpe =
      d.model == PARE_TOKENIZER_BPE || d.model == PARE_TOKENIZER_BPE_SCORES;
  if (bpe && d.byteLevel)
    flags |= PARE_BPE_BYTES;
  if (bpe && !d.byteLevel && d.user.empty() && d.prefix.empty() &&
      d.suffix.empty() && !(flags & PARE_BPE_IGNORE_MERGES) &&
      spacesStart(spellings(d)))
    flags |= PARE_BPE_SPACE_STARTS;
  return flags;
}

Error writeModel(const Description &d, TableWriter &table) {
  if (d.byteLevel && d.model != PARE_TOKENIZER_BPE)
    return createStringError(inconvertibleErrorCode(),
                             "ByteLevel is supported for BPE only");
  if (!d.user.empty())
    table.add(PARE_TOK_USER, trieOf(d.user));
  writeScores(d, table);
  if (d.model == PARE_TOKENIZER_BPE || d.model == PARE_TOKENIZER_BPE_SCORES)
    return writeBpe(d, table);
  table.add(PARE_TOK_VOCAB, trieOf(spellings(d)));
  table.add(PARE_TOK_PREFIX, ArrayRef(d.prefix.data(), d.prefix.size()));
  table.add(PARE_TOK_BYTES, ArrayRef(d.byteIds));
  return Error::success();
}

} // namespace pare::tokenizer
