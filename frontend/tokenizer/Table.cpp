//===- Table.cpp - Write the table ----------------------------------------===//
#include "frontend/tokenizer/TableWriter.h"
#include "frontend/tokenizer/Tokenizer.h"
#include "frontend/tokenizer/Trie.h"
#include "frontend/tokenizer/Unicode.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

using Entry = std::pair<StringRef, uint32_t>;

bool uses(ArrayRef<Step> steps, uint32_t op) {
  return llvm::any_of(steps, [&](const Step &step) { return step.op == op; });
}

/// `text` with every match of `pattern` replaced by `with`.
Expected<std::string> replaceMatches(StringRef text, const RegexNode &pattern,
                                     StringRef with) {
  Expected<Automaton> automaton = compileRegex(pattern);
  if (!automaton)
    return automaton.takeError();
  std::string out;
  while (!text.empty()) {
    if (size_t n = automaton->match(text)) {
      out += with;
      text = text.drop_front(n);
    } else {
      StringRef before = text;
      takeCodePoint(text);
      out += before.drop_back(text.size());
    }
  }
  return out;
}

/// The normalizer's operations on an added token; those that need Unicode's
/// properties only on ASCII.
Expected<std::string> normalizeAdded(const AddedToken &token,
                                     const Description &d, StringRef path) {
  std::string text = token.text;
  for (const Step &step : d.normalizer) {
    switch (step.op) {
    case PARE_NORM_REPLACE: {
      Expected<std::string> replaced =
          replaceMatches(text, step.pattern, step.text);
      if (!replaced)
        return tokenizerError(path, toString(replaced.takeError()));
      text = std::move(*replaced);
      continue;
    }
    case PARE_NORM_PREPEND:
      if (!text.empty())
        text.insert(0, step.text);
      continue;
    default:
      break;
    }
    if (!isASCII(text))
      return tokenizerError(path, "added_tokens: '" + token.text +
                                      "' is normalized and not ASCII, which "
                                      "is not supported");
    if (step.op == PARE_NORM_LOWERCASE) {
      text = StringRef(text).lower();
    } else if (step.op == PARE_NORM_CLEAN_TEXT) {
      for (char &c : text)
        c = c == '\t' || c == '\n' || c == '\r' ? ' ' : c;
      erase_if(text, [](char c) { return !isPrint(c); });
    } else if (step.op == PARE_NORM_STRIP) {
      constexpr StringLiteral space = " \t\n\v\f\r";
      StringRef rest = text;
      if (step.flags & 1)
        rest = rest.ltrim(space);
      if (step.flags & 2)
        rest = rest.rtrim(space);
      text = rest.str();
    } else if (step.op == PARE_NORM_PRECOMPILED || step.op == PARE_NORM_NMT) {
      const Replacements nmt =
          step.op == PARE_NORM_NMT ? nmtMappings() : Replacements();
      std::string out;
      for (char c : text) {
        StringRef one(&c, 1), with = one;
        for (const auto &[from, to] :
             step.op == PARE_NORM_NMT ? nmt : d.charsmap)
          if (from == one)
            with = to;
        out += with;
      }
      text = std::move(out);
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
  for (const Step &step : d.normalizer) {
    if (step.op == PARE_NORM_CLEAN_TEXT)
      mask |= PARE_CHAR_DROPPED | PARE_CHAR_SPACE;
    else if (step.op == PARE_NORM_SPACE_CJK)
      mask |= PARE_CHAR_CJK;
    else if (step.op == PARE_NORM_STRIP_NONSPACING)
      mask |= PARE_CHAR_NONSPACING;
    else if (step.op == PARE_NORM_STRIP_COMBINING)
      mask |= PARE_CHAR_COMBINING;
    else if (step.op == PARE_NORM_STRIP)
      mask |= PARE_CHAR_SPACE;
  }
  uint32_t rules = d.config.pre_tokenizer;
  for (const Step &step : d.preTokenizer)
    if (step.op == PARE_PRE_OP_RULES)
      rules |= step.flags;
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

/// A trie from texts to the offsets of their replacements.
std::vector<uint8_t> replacementTrie(const Replacements &map,
                                     StringPool &strings) {
  std::vector<Entry> entries;
  for (const auto &[from, to] : map)
    entries.push_back({from, strings.offsetOf(to)});
  return entries.empty() ? std::vector<uint8_t>() : buildTrie(entries);
}

Error writeAdded(const Description &d, StringRef path, TableWriter &table) {
  std::vector<Entry> raw, normalized;
  std::vector<PareTokenizerAdded> added;
  StringMap<uint32_t> patterns;
  for (const AddedToken &token : d.added) {
    const uint32_t index = uint32_t(added.size());
    added.push_back({token.id, token.flags});
    if (!token.normalized) {
      raw.push_back({token.text, index});
      continue;
    }
    Expected<std::string> pattern = normalizeAdded(token, d, path);
    if (!pattern)
      return pattern.takeError();
    auto [entry, isNew] = patterns.try_emplace(*pattern, index);
    if (!isNew)
      return tokenizerError(path, "added_tokens: two tokens read '" + *pattern +
                                      "' when normalized");
    normalized.push_back({entry->getKey(), index});
  }
  table.add(PARE_TOK_ADDED, ArrayRef(added));
  if (!raw.empty())
    table.add(PARE_TOK_ADDED_RAW, buildTrie(std::move(raw)));
  if (!normalized.empty())
    table.add(PARE_TOK_ADDED_NORMALIZED, buildTrie(std::move(normalized)));
  return Error::success();
}

void writeUnicode(const Description &d, StringPool &strings,
                  TableWriter &table) {
  if (uint32_t classes = usedClasses(d))
    table.add(PARE_TOK_CLASSES, characterClasses(classes));
  if (uses(d.normalizer, PARE_NORM_NFD)) {
    table.add(PARE_TOK_COMBINING, combiningClasses());
    table.add(PARE_TOK_DECOMPOSE, decompositions(/*wide=*/false));
    table.add(PARE_TOK_DECOMPOSE_WIDE, decompositions(/*wide=*/true));
  }
  if (uses(d.normalizer, PARE_NORM_COMPOSE))
    table.add(PARE_TOK_COMPOSE, compositions());
  if (uses(d.normalizer, PARE_NORM_LOWERCASE))
    table.add(PARE_TOK_LOWERCASE, lowercaseRuns());
  if (uses(d.normalizer, PARE_NORM_COMPAT))
    table.add(PARE_TOK_COMPAT,
              replacementTrie(compatibilityMappings(), strings));
  if (uses(d.normalizer, PARE_NORM_NMT))
    table.add(PARE_TOK_NMT, replacementTrie(nmtMappings(), strings));
  if (uses(d.normalizer, PARE_NORM_PRECOMPILED))
    table.add(PARE_TOK_GRAPHEMES, graphemeBreaks());
  table.add(PARE_TOK_CHARSMAP, replacementTrie(d.charsmap, strings));
}

} // namespace

Expected<std::vector<uint8_t>> writeTable(const Description &d, StringRef path,
                                          TableOptions options) {
  PareTokenizerConfig config = d.config;
  config.model_flags = modelFlags(d);
  std::vector<Step> preTokenizer = d.preTokenizer;
  if (preTokenizer.size() == 1 &&
      preTokenizer[0].op == PARE_PRE_OP_RULES) { // needs no steps
    config.pre_tokenizer = preTokenizer[0].flags;
    preTokenizer.clear();
  }
  for (const TokenText &text : d.texts) {
    if (text.bytes.size() > 0xffff)
      return tokenizerError(path, "a token is longer than 65535 bytes");
    config.max_text_bytes =
        std::max(config.max_text_bytes, uint32_t(text.bytes.size()));
  }

  StringPool strings;
  StepWriter steps(strings);
  auto normalizer = steps.write(d.normalizer);
  if (!normalizer)
    return tokenizerError(path, toString(normalizer.takeError()));
  auto pre = steps.write(preTokenizer);
  if (!pre)
    return tokenizerError(path, toString(pre.takeError()));

  TableWriter table;
  table.add(PARE_TOK_CONFIG, ArrayRef(config));
  table.add(PARE_TOK_NORMALIZER, ArrayRef(*normalizer));
  table.add(PARE_TOK_PRE, ArrayRef(*pre));
  table.add(PARE_TOK_PATTERNS, steps.patterns());
  table.add(PARE_TOK_TEMPLATE_SINGLE, ArrayRef(d.single));
  table.add(PARE_TOK_TEMPLATE_PAIR, ArrayRef(d.pair));
  if (Error error = writeModel(d, table))
    return tokenizerError(path, toString(std::move(error)));
  if (Error error = writeAdded(d, path, table))
    return std::move(error);
  writeUnicode(d, strings, table);
  table.add(PARE_TOK_STRINGS, strings.bytes);
  if (options.decodes)
    table.add(PARE_TOK_TEXTS, textTable(d.texts));
  return table.finish(d.model);
}

std::vector<const char *> runtimeParts(ArrayRef<uint8_t> table) {
  const auto &header =
      *reinterpret_cast<const PareTokenizerHeader *>(table.data());
  const auto *sections =
      reinterpret_cast<const PareTokenizerSection *>(&header + 1);
  std::vector<const char *> parts;
  if (header.model == PARE_TOKENIZER_WORDPIECE)
    parts.push_back("pare_tokenizer_wordpiece");
  if (header.model == PARE_TOKENIZER_BPE)
    parts.push_back("pare_tokenizer_bpe");
  if (header.model == PARE_TOKENIZER_BPE_SCORES)
    parts.push_back("pare_tokenizer_bpe_scores");
  if (header.model == PARE_TOKENIZER_UNIGRAM)
    parts.push_back("pare_tokenizer_unigram");
  bool splits = false, rewrites = false;
  for (uint32_t i = 0; i < header.num_sections; ++i) {
    const auto *steps = reinterpret_cast<const PareTokenizerStep *>(
        table.data() + sections[i].offset);
    splits |= sections[i].tag == PARE_TOK_PRE;
    if (sections[i].tag == PARE_TOK_NORMALIZER)
      for (size_t n = sections[i].bytes / sizeof(*steps); n-- > 0;)
        rewrites |= steps[n].op >= PARE_NORM_COMPAT;
  }
  if (splits)
    parts.push_back("pare_tokenizer_split");
  if (rewrites)
    parts.push_back("pare_tokenizer_rewrite");
  return parts;
}

} // namespace pare::tokenizer
