//===- JsonSteps.cpp - Normalizer and pre-tokenizer of tokenizer.json -----===//
#include "frontend/tokenizer/Charsmap.h"
#include "frontend/tokenizer/JsonReader.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Base64.h"

using namespace llvm;

namespace pare::tokenizer {

Expected<RegexNode> parsePattern(StringRef pattern) {
  Expected<RegexNode> node = parseRegex(pattern);
  if (!node)
    return createStringError(inconvertibleErrorCode(),
                             "pattern '" + pattern +
                                 "': " + toString(node.takeError()));
  return node;
}

RegexNode JsonReader::pattern(const json::Object &object, StringRef where) {
  const json::Object *body = object.getObject("pattern");
  auto literal = body ? body->getString("String") : std::nullopt;
  auto regex = body ? body->getString("Regex") : std::nullopt;
  if (!literal && !regex) {
    fail(where + ".pattern: neither String nor Regex");
    return {};
  }
  if (literal) {
    if (literal->empty())
      fail(where + ".pattern: empty");
    return literalRegex(*literal);
  }
  Expected<RegexNode> node = parsePattern(*regex);
  if (!node) {
    fail(where + "." + toString(node.takeError()));
    return {};
  }
  return std::move(*node);
}

void JsonReader::readCharsmap(const json::Object &object, Description &d) {
  std::vector<char> bytes;
  StringRef text = string(object, "precompiled_charsmap", "normalizer");
  if (Error error = decodeBase64(text, bytes)) {
    consumeError(std::move(error));
    return void(fail("normalizer: precompiled_charsmap is not base64"));
  }
  if (!d.charsmap.empty())
    return void(fail("normalizer: two Precompiled are not supported"));
  auto map = readCharsmapBlob(StringRef(bytes.data(), bytes.size()));
  if (!map)
    return void(fail("normalizer: " + toString(map.takeError())));
  d.charsmap = std::move(*map);
  d.normalizer.push_back({PARE_NORM_PRECOMPILED});
}

void JsonReader::readNormalizer(const json::Value *value, Description &d) {
  StringRef kind = type(value, "normalizer");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  auto add = [&](std::initializer_list<uint32_t> ops) {
    for (uint32_t op : ops)
      d.normalizer.push_back({op});
  };
  if (kind == "Sequence") {
    const json::Array *items = list(object, "normalizers", "normalizer");
    for (size_t i = 0; items && i < items->size(); ++i)
      readNormalizer(&(*items)[i], d);
  } else if (kind == "BertNormalizer") {
    bool lower = boolean(object, "lowercase", kind, true);
    std::vector<Step> steps =
        bertNormalizer(boolean(object, "clean_text", kind, true),
                       boolean(object, "handle_chinese_chars", kind, true),
                       boolean(object, "strip_accents", kind, lower), lower);
    d.normalizer.insert(d.normalizer.end(), steps.begin(), steps.end());
  } else if (kind == "Lowercase") {
    add({PARE_NORM_LOWERCASE});
  } else if (kind == "NFD") {
    add({PARE_NORM_NFD});
  } else if (kind == "NFC") {
    add({PARE_NORM_NFD, PARE_NORM_COMPOSE});
  } else if (kind == "NFKD") {
    add({PARE_NORM_COMPAT, PARE_NORM_NFD});
  } else if (kind == "NFKC") {
    add({PARE_NORM_COMPAT, PARE_NORM_NFD, PARE_NORM_COMPOSE});
  } else if (kind == "Nmt") {
    add({PARE_NORM_NMT});
  } else if (kind == "StripAccents") {
    add({PARE_NORM_STRIP_COMBINING});
  } else if (kind == "Strip") {
    uint32_t sides = (boolean(object, "strip_left", kind, true) ? 1u : 0u) |
                     (boolean(object, "strip_right", kind, true) ? 2u : 0u);
    d.normalizer.push_back({PARE_NORM_STRIP, sides});
  } else if (kind == "Prepend") {
    d.normalizer.push_back({PARE_NORM_PREPEND,
                            0,
                            {},
                            string(object, "prepend", "normalizer").str()});
  } else if (kind == "Replace") {
    d.normalizer.push_back({PARE_NORM_REPLACE, 0,
                            pattern(object, "normalizer.Replace"),
                            string(object, "content", "normalizer").str()});
  } else if (kind == "Precompiled") {
    if (const json::Value *map = object.get("precompiled_charsmap");
        map && !map->getAsNull())
      readCharsmap(object, d);
    else
      fail("normalizer: Precompiled without \"precompiled_charsmap\"");
  } else {
    fail("normalizer: " + kind +
         " is not supported; supported: Sequence, BertNormalizer, Lowercase, "
         "NFC, NFD, NFKC, NFKD, Nmt, StripAccents, Strip, Prepend, Replace, "
         "Precompiled");
  }
}

void JsonReader::addSplit(RegexNode pattern, StringRef behavior, bool invert,
                          StringRef where, Description &d) {
  auto flags = StringSwitch<std::optional<uint32_t>>(behavior)
                   .Case("Isolated", PARE_SPLIT_ISOLATED)
                   .Case("Removed", PARE_SPLIT_REMOVED)
                   .Case("MergedWithPrevious", PARE_SPLIT_WITH_PREVIOUS)
                   .Case("MergedWithNext", PARE_SPLIT_WITH_NEXT)
                   .Case("Contiguous", PARE_SPLIT_CONTIGUOUS)
                   .Default(std::nullopt);
  if (!flags)
    return void(fail(where + ": unknown behavior '" + behavior + "'"));
  if (invert)
    *flags |= PARE_SPLIT_INVERT;
  if (sawByteLevel)
    *flags |= PARE_SPLIT_BYTES;
  d.preTokenizer.push_back({PARE_PRE_OP_SPLIT, *flags, std::move(pattern)});
}

/// Pre-tokenizers that PARE_PRE_* bits describe. A sequence of them alone is
/// one set of bits.
void JsonReader::readRules(StringRef kind, const json::Object &object,
                           Description &d) {
  uint32_t rules = 0;
  if (kind == "BertPreTokenizer") {
    rules = PARE_PRE_REMOVE_SPACE | PARE_PRE_ISOLATE_PUNCT;
  } else if (kind == "WhitespaceSplit") {
    rules = PARE_PRE_REMOVE_SPACE;
  } else if (kind == "Whitespace") {
    rules = PARE_PRE_REMOVE_SPACE | PARE_PRE_SPLIT_WORD;
  } else {
    StringRef behavior = object.getString("behavior").value_or("Isolated");
    if (behavior == "Isolated" && !sawByteLevel) {
      rules = PARE_PRE_ISOLATE_PUNCT;
    } else if (behavior == "Removed" && !sawByteLevel) {
      rules = PARE_PRE_REMOVE_PUNCT;
    } else {
      return addSplit(RegexNode::makeSet(CharSet::punctuation()), behavior,
                      false, "pre_tokenizer.Punctuation", d);
    }
  }
  if (sawByteLevel)
    return void(
        fail("pre_tokenizer: " + kind + " behind ByteLevel is not supported"));
  if (!d.preTokenizer.empty() && d.preTokenizer.back().op == PARE_PRE_OP_RULES)
    d.preTokenizer.back().flags |= rules;
  else
    d.preTokenizer.push_back({PARE_PRE_OP_RULES, rules});
}

void JsonReader::readByteLevel(const json::Object &object, Description &d) {
  if (sawByteLevel)
    return void(fail("pre_tokenizer: ByteLevel twice is not supported"));
  if (boolean(object, "add_prefix_space", "pre_tokenizer", true))
    d.preTokenizer.push_back({PARE_PRE_OP_PREFIX_SPACE});
  if (boolean(object, "use_regex", "pre_tokenizer", true))
    addSplit(cantFail(parsePattern(gpt2Pattern)), "Isolated", false, "", d);
  sawByteLevel = true;
  d.byteLevel = true;
}

void JsonReader::readMetaspace(const json::Object &object, Description &d) {
  if (sawByteLevel)
    return void(
        fail("pre_tokenizer: Metaspace behind ByteLevel is not supported"));
  StringRef replacement = object.get("replacement")
                              ? string(object, "replacement", "pre_tokenizer")
                              : "\u2581";
  bool prefix = boolean(object, "add_prefix_space", "pre_tokenizer", true);
  StringRef scheme = object.get("prepend_scheme")
                         ? string(object, "prepend_scheme", "pre_tokenizer")
                         : StringRef(prefix ? "always" : "never");
  auto flags = StringSwitch<std::optional<uint32_t>>(scheme)
                   .Case("always", PARE_META_ALWAYS)
                   .Case("first", PARE_META_FIRST)
                   .Case("never", 0u)
                   .Default(std::nullopt);
  if (!flags || replacement.empty())
    return void(fail("pre_tokenizer: Metaspace with prepend_scheme '" + scheme +
                     "' is not supported"));
  if (boolean(object, "split", "pre_tokenizer", true))
    *flags |= PARE_META_SPLIT;
  d.preTokenizer.push_back(
      {PARE_PRE_OP_METASPACE, *flags, {}, replacement.str()});
}

void JsonReader::readPreTokenizer(const json::Value *value, Description &d) {
  StringRef kind = type(value, "pre_tokenizer");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  if (kind == "Sequence") {
    const json::Array *items = list(object, "pretokenizers", "pre_tokenizer");
    for (size_t i = 0; items && i < items->size(); ++i)
      readPreTokenizer(&(*items)[i], d);
  } else if (kind == "BertPreTokenizer" || kind == "WhitespaceSplit" ||
             kind == "Whitespace" || kind == "Punctuation") {
    readRules(kind, object, d);
  } else if (kind == "ByteLevel") {
    readByteLevel(object, d);
  } else if (kind == "Metaspace") {
    readMetaspace(object, d);
  } else if (kind == "Split") {
    addSplit(pattern(object, "pre_tokenizer.Split"),
             string(object, "behavior", "pre_tokenizer"),
             boolean(object, "invert", "pre_tokenizer", false),
             "pre_tokenizer.Split", d);
  } else if (kind == "Digits") {
    bool each = boolean(object, "individual_digits", "pre_tokenizer", false);
    addSplit(RegexNode::makeSet(CharSet::numeric()),
             each ? "Isolated" : "Contiguous", false, "pre_tokenizer.Digits",
             d);
  } else if (kind == "CharDelimiterSplit") {
    addSplit(literalRegex(string(object, "delimiter", "pre_tokenizer")),
             "Removed", false, "pre_tokenizer.CharDelimiterSplit", d);
  } else {
    fail("pre_tokenizer: " + kind +
         " is not supported; supported: Sequence, BertPreTokenizer, "
         "Whitespace, WhitespaceSplit, Punctuation, ByteLevel, Metaspace, "
         "Split, Digits, CharDelimiterSplit");
  }
}

} // namespace pare::tokenizer
