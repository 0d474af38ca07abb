//===- VocabText.cpp - BERT's vocab.txt with tokenizer_config.json --------===//
#include "frontend/Json.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

struct Options {
  bool lowercase = true;
  std::optional<bool> stripAccents;
  bool spaceCjk = true;
  std::string unk = "[UNK]", sep = "[SEP]", pad = "[PAD]", cls = "[CLS]",
              mask = "[MASK]";
  bool padLeft = false, truncateLeft = false;
};

Error readOptions(StringRef text, StringRef path, Options &options) {
  Expected<json::Value> root = parseJson(text, path);
  if (!root)
    return root.takeError();
  const json::Object *object = root->getAsObject();
  if (!object)
    return tokenizerError(path, "not a JSON object");

  std::string wrong;
  auto flag = [&](StringRef key, auto &out) {
    const json::Value *value = object->get(key);
    if (!value || value->getAsNull())
      return;
    if (auto boolean = value->getAsBoolean())
      out = *boolean;
    else
      wrong = (key + ": not true or false").str();
  };
  auto token = [&](StringRef key, std::string &out) {
    const json::Value *value = object->get(key);
    if (!value || value->getAsNull())
      return;
    auto text = value->getAsString();
    if (const json::Object *full = value->getAsObject())
      text = full->getString("content");
    if (text)
      out = text->str();
    else
      wrong = (key + ": not a token").str();
  };
  flag("do_lower_case", options.lowercase);
  flag("strip_accents", options.stripAccents);
  flag("tokenize_chinese_chars", options.spaceCjk);
  token("unk_token", options.unk);
  token("sep_token", options.sep);
  token("pad_token", options.pad);
  token("cls_token", options.cls);
  token("mask_token", options.mask);
  options.padLeft =
      object->getString("padding_side").value_or("right") == "left";
  options.truncateLeft =
      object->getString("truncation_side").value_or("right") == "left";
  if (!wrong.empty())
    return tokenizerError(path, wrong);
  return Error::success();
}

/// One token per line; "\n", "\r\n" and "\r" end lines.
SmallVector<StringRef> splitLines(StringRef text) {
  SmallVector<StringRef> lines;
  while (!text.empty()) {
    size_t end = text.find_first_of("\r\n");
    lines.push_back(text.substr(0, end));
    if (end == StringRef::npos)
      break;
    size_t length = text.substr(end).starts_with("\r\n") ? 2 : 1;
    text = text.drop_front(end + length);
  }
  return lines;
}

} // namespace

Expected<Description> readVocabText(StringRef text, StringRef path,
                                    StringRef config, StringRef configPath) {
  Options options;
  if (!config.empty())
    if (Error error = readOptions(config, configPath, options))
      return error;

  size_t bad = 0;
  if (!json::isUTF8(text, &bad))
    return tokenizerError(path, "byte " + Twine(bad) + " is not valid UTF-8");
  SmallVector<StringRef> lines = splitLines(text);
  if (lines.size() > size_t(INT32_MAX))
    return tokenizerError(path, "too many tokens");

  // A repeated token keeps its last line number, as in transformers.
  StringMap<int32_t> ids;
  for (size_t i = 0; i < lines.size(); ++i)
    ids[lines[i]] = int32_t(i);

  Description d;
  d.prefix = "##";
  d.config.max_word_chars = 100;
  d.config.pre_tokenizer = PARE_PRE_REMOVE_SPACE | PARE_PRE_ISOLATE_PUNCT;
  d.config.decoder = PARE_DECODER_WORDPIECE;
  d.config.pad_left = options.padLeft;
  d.config.truncate_left = options.truncateLeft;
  d.normalizer = bertNormalizer(
      true, options.spaceCjk, options.stripAccents.value_or(options.lowercase),
      options.lowercase);
  for (const auto &entry : ids)
    d.vocab.push_back({entry.getKey().str(), entry.getValue()});

  for (const std::string *name : {&options.unk, &options.sep, &options.pad,
                                  &options.cls, &options.mask}) {
    auto found = ids.find(*name);
    if (found == ids.end())
      return tokenizerError(path, "special token '" + *name +
                                      "' is not in the vocabulary");
    bool known = any_of(d.added, [&](const AddedToken &token) {
      return token.id == found->second;
    });
    if (!known)
      d.added.push_back({*name, found->second, PARE_ADDED_SPECIAL, false});
  }
  int32_t cls = ids[options.cls], sep = ids[options.sep];
  constexpr int32_t a = PARE_PIECE_SEQUENCE_A, b = PARE_PIECE_SEQUENCE_B;
  d.single = {{cls, 0}, {a, 0}, {sep, 0}};
  d.pair = {{cls, 0}, {a, 0}, {sep, 0}, {b, 1}, {sep, 1}};
  d.config.pad_id = ids[options.pad];
  if (Error error = finishVocabulary(d, options.unk, path))
    return error;
  return d;
}

} // namespace pare::tokenizer
