//===- TokenizerJson.cpp - tokenizer.json of the `tokenizers` library -----===//
#include "frontend/Json.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <limits>

using namespace llvm;

namespace pare::tokenizer {
namespace {

/// Reads fields of JSON objects; the first thing wrong is kept as the error.
class Reader {
public:
  Reader(StringRef path) : path(path) {}

  bool failed() const { return !message.empty(); }
  Error takeError() const { return tokenizerError(path, message); }
  std::nullopt_t fail(const Twine &text) {
    if (message.empty())
      message = text.str();
    return std::nullopt;
  }

  /// A component's "type", or empty when the component is absent or null.
  StringRef type(const json::Value *value, StringRef where) {
    if (!value || value->getAsNull())
      return "";
    const json::Object *object = value->getAsObject();
    auto type = object ? object->getString("type") : std::nullopt;
    if (!type)
      fail(where + ": not an object with a \"type\"");
    return type.value_or("");
  }

  int64_t integer(const json::Object &object, StringRef key, StringRef where,
                  int64_t max) {
    auto value = object.getInteger(key);
    if (!value || *value < 0 || *value > max) {
      fail(where + "." + key + ": not an integer in [0, " + Twine(max) + "]");
      return 0;
    }
    return *value;
  }

  StringRef string(const json::Object &object, StringRef key, StringRef where) {
    auto value = object.getString(key);
    if (!value)
      fail(where + "." + key + ": not a string");
    return value.value_or("");
  }

  bool boolean(const json::Object &object, StringRef key, StringRef where,
               bool missing) {
    const json::Value *value = object.get(key);
    if (!value)
      return missing;
    auto flag = value->getAsBoolean();
    if (!flag)
      fail(where + "." + key + ": not true or false");
    return flag.value_or(missing);
  }

  void readNormalizer(const json::Value *value, Description &d);
  void readPreTokenizer(const json::Value *value, Description &d);
  void readPostProcessor(const json::Value *value, Description &d);
  void readLengths(const json::Object &root, Description &d);
  void readAddedTokens(const json::Value *value, Description &d);
  StringRef readModel(const json::Value *value, Description &d);

private:
  void readTemplate(const json::Object &processor, StringRef key,
                    std::vector<PareTokenizerPiece> &out);
  std::optional<int32_t> namedId(const json::Object &processor, StringRef key);

  StringRef path;
  std::string message;
};

constexpr int64_t maxId = std::numeric_limits<int32_t>::max();

void Reader::readNormalizer(const json::Value *value, Description &d) {
  StringRef kind = type(value, "normalizer");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  auto add = [&](std::initializer_list<uint32_t> ops) {
    d.normalizer.insert(d.normalizer.end(), ops);
  };
  if (kind == "Sequence") {
    const json::Array *list = object.getArray("normalizers");
    if (!list)
      return void(fail("normalizer: Sequence without \"normalizers\""));
    for (const json::Value &item : *list)
      readNormalizer(&item, d);
  } else if (kind == "BertNormalizer") {
    bool lower = boolean(object, "lowercase", kind, true);
    const json::Value *accents = object.get("strip_accents");
    bool strip = accents && !accents->getAsNull()
                     ? boolean(object, "strip_accents", kind, lower)
                     : lower;
    std::vector<uint32_t> ops = bertNormalizer(
        boolean(object, "clean_text", kind, true),
        boolean(object, "handle_chinese_chars", kind, true), strip, lower);
    d.normalizer.insert(d.normalizer.end(), ops.begin(), ops.end());
  } else if (kind == "Lowercase") {
    add({PARE_NORM_LOWERCASE});
  } else if (kind == "NFD") {
    add({PARE_NORM_NFD});
  } else if (kind == "NFC") {
    add({PARE_NORM_NFD, PARE_NORM_COMPOSE});
  } else if (kind == "StripAccents") {
    add({PARE_NORM_STRIP_COMBINING});
  } else {
    fail("normalizer: " + kind +
         " is not supported; supported: Sequence, "
         "BertNormalizer, Lowercase, NFD, NFC, StripAccents");
  }
}

void Reader::readPreTokenizer(const json::Value *value, Description &d) {
  StringRef kind = type(value, "pre_tokenizer");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  uint32_t &rules = d.config.pre_tokenizer;
  if (kind == "Sequence") {
    const json::Array *list = object.getArray("pretokenizers");
    if (!list)
      return void(fail("pre_tokenizer: Sequence without \"pretokenizers\""));
    for (const json::Value &item : *list)
      readPreTokenizer(&item, d);
  } else if (kind == "BertPreTokenizer") {
    rules |= PARE_PRE_REMOVE_SPACE | PARE_PRE_ISOLATE_PUNCT;
  } else if (kind == "WhitespaceSplit") {
    rules |= PARE_PRE_REMOVE_SPACE;
  } else if (kind == "Whitespace") {
    rules |= PARE_PRE_REMOVE_SPACE | PARE_PRE_SPLIT_WORD;
  } else if (kind == "Punctuation") {
    StringRef behavior = object.getString("behavior").value_or("Isolated");
    if (behavior == "Isolated")
      rules |= PARE_PRE_ISOLATE_PUNCT;
    else if (behavior == "Removed")
      rules |= PARE_PRE_REMOVE_PUNCT;
    else
      fail("pre_tokenizer: Punctuation with behavior " + behavior +
           " is not supported; supported: Isolated, Removed");
  } else {
    fail("pre_tokenizer: " + kind +
         " is not supported; supported: Sequence, "
         "BertPreTokenizer, Whitespace, WhitespaceSplit, Punctuation");
  }
}

std::optional<int32_t> Reader::namedId(const json::Object &processor,
                                       StringRef key) {
  const json::Array *pair = processor.getArray(key);
  if (!pair || pair->size() != 2 || !(*pair)[1].getAsInteger())
    return fail("post_processor." + key + ": not a [token, id] pair");
  int64_t id = *(*pair)[1].getAsInteger();
  if (id < 0 || id > maxId)
    return fail("post_processor." + key + ": id " + Twine(id) +
                " is out of range");
  return int32_t(id);
}

void Reader::readTemplate(const json::Object &processor, StringRef key,
                          std::vector<PareTokenizerPiece> &out) {
  const std::string where = ("post_processor." + key).str();
  const json::Array *list = processor.getArray(key);
  const json::Object *specials = processor.getObject("special_tokens");
  if (!list || !specials)
    return void(fail(where + ": TemplateProcessing needs lists \"single\" and "
                             "\"pair\" and a map \"special_tokens\""));
  out.clear();
  for (const json::Value &item : *list) {
    const json::Object *piece = item.getAsObject();
    const json::Object *sequence =
        piece ? piece->getObject("Sequence") : nullptr;
    const json::Object *special =
        piece ? piece->getObject("SpecialToken") : nullptr;
    if (!sequence && !special)
      return void(fail(where + ": a piece is neither Sequence nor "
                               "SpecialToken"));
    const json::Object &body = sequence ? *sequence : *special;
    StringRef name = string(body, "id", where);
    uint32_t typeId = uint32_t(integer(body, "type_id", where, maxId));
    if (failed())
      return;
    if (sequence) {
      if (name != "A" && name != "B")
        return void(fail(where + ": unknown sequence '" + name + "'"));
      out.push_back(
          {name == "A" ? PARE_PIECE_SEQUENCE_A : PARE_PIECE_SEQUENCE_B,
           typeId});
      continue;
    }
    const json::Object *token = specials->getObject(name);
    const json::Array *ids = token ? token->getArray("ids") : nullptr;
    if (!ids)
      return void(fail(where + ": special token '" + name +
                       "' is not in special_tokens"));
    for (const json::Value &id : *ids) {
      auto number = id.getAsInteger();
      if (!number || *number < 0 || *number > maxId)
        return void(fail(where + ": special token '" + name +
                         "' has an id that is no integer in range"));
      out.push_back({int32_t(*number), typeId});
    }
  }
}

void Reader::readPostProcessor(const json::Value *value, Description &d) {
  StringRef kind = type(value, "post_processor");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  constexpr int32_t a = PARE_PIECE_SEQUENCE_A, b = PARE_PIECE_SEQUENCE_B;
  if (kind == "TemplateProcessing") {
    readTemplate(object, "single", d.single);
    readTemplate(object, "pair", d.pair);
  } else if (kind == "BertProcessing" || kind == "RobertaProcessing") {
    auto cls = namedId(object, "cls"), sep = namedId(object, "sep");
    if (!cls || !sep)
      return;
    d.single = {{*cls, 0}, {a, 0}, {*sep, 0}};
    if (kind == "BertProcessing")
      d.pair = {{*cls, 0}, {a, 0}, {*sep, 0}, {b, 1}, {*sep, 1}};
    else
      d.pair = {{*cls, 0}, {a, 0}, {*sep, 0}, {*sep, 0}, {b, 0}, {*sep, 0}};
  } else {
    return void(fail("post_processor: " + kind +
                     " is not supported; supported: TemplateProcessing, "
                     "BertProcessing, RobertaProcessing"));
  }
  auto count = [&](int32_t id) {
    return llvm::count_if(d.single,
                          [&](auto &piece) { return piece.id == id; });
  };
  if (!failed() && (count(a) != 1 || count(b) != 0))
    fail("post_processor.single: must hold sequence A exactly once");
}

void Reader::readLengths(const json::Object &root, Description &d) {
  d.config.pad_id = -1;
  if (const json::Object *truncation = root.getObject("truncation")) {
    d.config.max_length =
        uint32_t(integer(*truncation, "max_length", "truncation", maxId));
    d.config.truncate_left =
        truncation->getString("direction").value_or("Right") == "Left";
  }
  if (const json::Object *padding = root.getObject("padding")) {
    d.config.pad_id = int32_t(integer(*padding, "pad_id", "padding", maxId));
    d.config.pad_type_id =
        uint32_t(integer(*padding, "pad_type_id", "padding", maxId));
    d.config.pad_left =
        padding->getString("direction").value_or("Right") == "Left";
  }
}

void Reader::readAddedTokens(const json::Value *value, Description &d) {
  if (!value || value->getAsNull())
    return;
  const json::Array *list = value->getAsArray();
  if (!list)
    return void(fail("added_tokens: not a list"));
  for (const json::Value &item : *list) {
    const json::Object *object = item.getAsObject();
    if (!object)
      return void(fail("added_tokens: an entry is not an object"));
    AddedToken token = {};
    token.text = string(*object, "content", "added_tokens").str();
    token.id = int32_t(integer(*object, "id", "added_tokens", maxId));
    const std::pair<StringRef, uint32_t> flags[] = {
        {"single_word", PARE_ADDED_SINGLE_WORD},
        {"lstrip", PARE_ADDED_LSTRIP},
        {"rstrip", PARE_ADDED_RSTRIP},
        {"special", PARE_ADDED_SPECIAL}};
    for (auto [key, bit] : flags)
      if (boolean(*object, key, "added_tokens", false))
        token.flags |= bit;
    token.normalized = boolean(*object, "normalized", "added_tokens",
                               !(token.flags & PARE_ADDED_SPECIAL));
    if (failed())
      return;
    d.added.push_back(std::move(token));
  }
}

StringRef Reader::readModel(const json::Value *value, Description &d) {
  const json::Object *model = value ? value->getAsObject() : nullptr;
  if (!model) {
    fail("model: missing; is this a tokenizer.json?");
    return "";
  }
  // Old files do not say the type.
  StringRef kind = model->getString("type").value_or(
      model->get("merges") ? "BPE" : "WordPiece");
  if (kind != "WordPiece") {
    fail("model: " + kind + " is not supported; supported: WordPiece");
    return "";
  }
  d.model = PARE_TOKENIZER_WORDPIECE;
  d.prefix = string(*model, "continuing_subword_prefix", "model").str();
  d.config.max_word_chars = uint32_t(std::min<int64_t>(
      maxId, integer(*model, "max_input_chars_per_word", "model",
                     std::numeric_limits<int64_t>::max())));
  const json::Object *vocab = model->getObject("vocab");
  if (!vocab)
    fail("model.vocab: not a map of tokens to ids");
  if (failed())
    return "";
  d.vocab.reserve(vocab->size());
  for (const auto &entry : *vocab) {
    auto id = entry.second.getAsInteger();
    if (!id || *id < 0 || *id > maxId) {
      fail("model.vocab: the id of '" + entry.first.str() +
           "' is not an integer in [0, " + Twine(maxId) + "]");
      return "";
    }
    d.vocab.push_back({entry.first.str(), int32_t(*id)});
  }
  return string(*model, "unk_token", "model");
}

} // namespace

Expected<Description> readTokenizerJson(StringRef text, StringRef path) {
  Expected<json::Value> root = parseJson(text, path);
  if (!root)
    return root.takeError();
  const json::Object *object = root->getAsObject();
  if (!object)
    return tokenizerError(path, "not a JSON object");

  Description d;
  Reader reader(path);
  StringRef unk = reader.readModel(object->get("model"), d);
  reader.readNormalizer(object->get("normalizer"), d);
  reader.readPreTokenizer(object->get("pre_tokenizer"), d);
  reader.readPostProcessor(object->get("post_processor"), d);
  reader.readLengths(*object, d);
  reader.readAddedTokens(object->get("added_tokens"), d);
  if (const json::Object *decoder = object->getObject("decoder"))
    if (decoder->getString("type") == "WordPiece")
      d.config.decoder = PARE_DECODER_WORDPIECE;
  if (reader.failed())
    return reader.takeError();
  if (Error error = finishVocabulary(d, unk, path))
    return error;
  for (const auto *pieces : {&d.single, &d.pair})
    for (const PareTokenizerPiece &piece : *pieces)
      if (piece.id >= 0 && uint32_t(piece.id) >= d.config.vocab_size)
        return tokenizerError(path, "post_processor: special token id " +
                                        Twine(piece.id) +
                                        " is beyond the vocabulary's " +
                                        Twine(d.config.vocab_size) + " ids");
  return d;
}

} // namespace pare::tokenizer
