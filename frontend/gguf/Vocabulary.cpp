//===- Vocabulary.cpp - The tokenizer of a GGUF file ----------------------===//
#include "frontend/gguf/Vocabulary.h"
#include "frontend/chat/Template.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <limits>
#include <set>

using namespace llvm;

namespace pare::gguf {
namespace {

constexpr StringLiteral prefix = "tokenizer.ggml.";

/// Reads keys; the first error is kept.
class Reader {
public:
  explicit Reader(const Metadata &metadata) : metadata(metadata) {}

  void text(StringRef key, std::string &out) {
    take(metadata.getString((prefix + key).str(), ""),
         [&](StringRef value) { out = value.str(); });
  }
  void texts(StringRef key, std::vector<std::string> &out) {
    take(metadata.getStrings((prefix + key).str()),
         [&](const std::vector<StringRef> &values) {
           out.assign(values.begin(), values.end());
         });
  }
  void numbers(StringRef key, std::vector<float> &out) {
    take(metadata.getNumbers((prefix + key).str()),
         [&](const std::vector<double> &values) {
           out.assign(values.begin(), values.end());
         });
  }
  void integers(StringRef key, std::vector<int32_t> &out) {
    take(metadata.getIntegers((prefix + key).str()),
         [&](const std::vector<int64_t> &values) {
           for (int64_t value : values) // what does not fit is no type
             out.push_back(value == int32_t(value) ? int32_t(value) : -1);
         });
  }
  void id(StringRef key, int64_t &out) {
    take(metadata.getInteger((prefix + key).str(), -1,
                             std::numeric_limits<uint32_t>::max(), -1),
         [&](int64_t value) { out = value; });
  }
  void flag(StringRef key, std::optional<bool> &out) {
    if (metadata.find((prefix + key).str()))
      take(metadata.getBool((prefix + key).str(), false),
           [&](bool value) { out = value; });
  }
  /// An array of bytes.
  void blob(StringRef key, std::string &out) {
    take(metadata.getIntegers((prefix + key).str()),
         [&](const std::vector<int64_t> &values) {
           for (int64_t value : values)
             out.push_back(char(value));
         });
  }

  Error takeError() { return std::move(error); }

private:
  template <typename T, typename Use> void take(Expected<T> value, Use use) {
    if (value)
      use(*value);
    else if (!error)
      error = value.takeError();
    else
      consumeError(value.takeError());
  }

  const Metadata &metadata;
  Error error = Error::success();
};

} // namespace

Expected<tokenizer::GgufVocabulary> readVocabulary(const Metadata &metadata) {
  tokenizer::GgufVocabulary v;
  Reader reader(metadata);
  reader.text("model", v.model);
  reader.text("pre", v.pre);
  reader.texts("tokens", v.tokens);
  reader.texts("merges", v.merges);
  reader.numbers("scores", v.scores);
  reader.integers("token_type", v.types);
  reader.id("bos_token_id", v.bos);
  reader.id("eos_token_id", v.eos);
  reader.id("unknown_token_id", v.unk);
  reader.id("seperator_token_id", v.sep); // spelt so in the format
  reader.id("padding_token_id", v.pad);
  reader.id("cls_token_id", v.cls);
  reader.flag("add_bos_token", v.addBos);
  reader.flag("add_eos_token", v.addEos);
  reader.flag("add_sep_token", v.addSep);
  reader.flag("add_space_prefix", v.addSpacePrefix);
  reader.flag("remove_extra_whitespaces", v.removeExtraWhitespaces);
  reader.blob("precompiled_charsmap", v.precompiledCharsmap);
  if (Error error = reader.takeError())
    return std::move(error);
  return v;
}

Expected<std::vector<uint8_t>>
buildTokenizerTable(const Metadata &metadata, tokenizer::TableOptions options) {
  auto vocabulary = readVocabulary(metadata);
  if (!vocabulary)
    return vocabulary.takeError();
  auto description =
      tokenizer::readGgufVocabulary(*vocabulary, metadata.path());
  if (!description)
    return description.takeError();
  return tokenizer::writeTable(*description, metadata.path(), options);
}

Expected<std::vector<uint8_t>> buildChatTemplate(const Metadata &metadata) {
  Expected<StringRef> source =
      metadata.getString("tokenizer.chat_template", "");
  if (!source)
    return source.takeError();
  if (source->empty())
    return std::vector<uint8_t>();
  Expected<std::vector<StringRef>> tokens =
      metadata.getStrings("tokenizer.ggml.tokens");
  if (!tokens)
    return tokens.takeError();
  static constexpr std::pair<const char *, StringLiteral> special[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"sep_token", "tokenizer.ggml.seperator_token_id"},
      {"pad_token", "tokenizer.ggml.padding_token_id"},
      {"cls_token", "tokenizer.ggml.cls_token_id"}};
  chat::Variables variables;
  for (const auto &[name, key] : special) {
    Expected<int64_t> id =
        metadata.getInteger(key, -1, std::numeric_limits<uint32_t>::max(), -1);
    if (!id)
      return id.takeError();
    if (*id >= 0 && uint64_t(*id) < tokens->size())
      variables.emplace_back(name, (*tokens)[size_t(*id)]);
  }
  return chat::compileTemplate(*source, metadata.path(), variables);
}

Expected<std::vector<int32_t>> readStops(const Metadata &metadata) {
  constexpr int32_t control = 3; // llama_token_type
  static constexpr StringLiteral known[] = {
      "<|im_end|>",    "<|eot_id|>",      "<|eom_id|>",
      "<end_of_turn>", "<|endoftext|>",   "<|end_of_text|>",
      "<|end|>",       "<|end_of_turn|>", "<|return|>",
      "</s>",          "<|eot|>",         "<EOT>"};
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  int64_t ids[] = {-1, -1, -1};
  Reader reader(metadata);
  reader.id("eos_token_id", ids[0]);
  reader.id("eot_token_id", ids[1]);
  reader.id("eom_token_id", ids[2]);
  reader.texts("tokens", tokens);
  reader.integers("token_type", types);
  if (Error error = reader.takeError())
    return std::move(error);
  std::set<int32_t> stops;
  for (int64_t id : ids)
    if (id >= 0 && id < int64_t(tokens.size()))
      stops.insert(int32_t(id));
  for (size_t id = 0; id < std::min(tokens.size(), types.size()); ++id)
    if (types[id] == control && is_contained(known, tokens[id]))
      stops.insert(int32_t(id));
  return std::vector<int32_t>(stops.begin(), stops.end());
}

} // namespace pare::gguf
