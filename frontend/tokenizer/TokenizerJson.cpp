//===- TokenizerJson.cpp - tokenizer.json of the `tokenizers` library -----===//
#include "frontend/Json.h"
#include "frontend/tokenizer/JsonReader.h"
#include "frontend/tokenizer/Tokenizer.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace pare::tokenizer {

StringRef JsonReader::type(const json::Value *value, StringRef where) {
  if (!value || value->getAsNull())
    return "";
  const json::Object *object = value->getAsObject();
  auto type = object ? object->getString("type") : std::nullopt;
  if (!type)
    fail(where + ": not an object with a \"type\"");
  return type.value_or("");
}

int64_t JsonReader::integer(const json::Object &object, StringRef key,
                            StringRef where, int64_t max) {
  auto value = object.getInteger(key);
  if (!value || *value < 0 || *value > max) {
    fail(where + "." + key + ": not an integer in [0, " + Twine(max) + "]");
    return 0;
  }
  return *value;
}

StringRef JsonReader::string(const json::Object &object, StringRef key,
                             StringRef where) {
  auto value = object.getString(key);
  if (!value)
    fail(where + "." + key + ": not a string");
  return value.value_or("");
}

StringRef JsonReader::optionalString(const json::Object &object, StringRef key,
                                     StringRef where) {
  const json::Value *value = object.get(key);
  if (!value || value->getAsNull())
    return "";
  return string(object, key, where);
}

bool JsonReader::boolean(const json::Object &object, StringRef key,
                         StringRef where, bool missing) {
  const json::Value *value = object.get(key);
  if (!value || value->getAsNull())
    return missing;
  auto flag = value->getAsBoolean();
  if (!flag)
    fail(where + "." + key + ": not true or false");
  return flag.value_or(missing);
}

const json::Array *JsonReader::list(const json::Object &object, StringRef key,
                                    StringRef where) {
  const json::Array *items = object.getArray(key);
  if (!items)
    fail(where + ": Sequence without \"" + key + "\"");
  return items;
}

std::optional<int32_t> JsonReader::namedId(const json::Object &processor,
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

void JsonReader::readTemplate(const json::Object &processor, StringRef key,
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

void JsonReader::readPostProcessor(const json::Value *value, Description &d) {
  StringRef kind = type(value, "post_processor");
  if (kind.empty())
    return;
  const json::Object &object = *value->getAsObject();
  constexpr int32_t a = PARE_PIECE_SEQUENCE_A, b = PARE_PIECE_SEQUENCE_B;
  if (kind == "ByteLevel")
    return; // offsets only
  if (kind == "Sequence") {
    const json::Array *items = list(object, "processors", "post_processor");
    for (size_t i = 0; items && i < items->size(); ++i)
      readPostProcessor(&(*items)[i], d);
    return;
  }
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
                     " is not supported; supported: Sequence, ByteLevel, "
                     "TemplateProcessing, BertProcessing, RobertaProcessing"));
  }
  auto count = [&](int32_t id) {
    return llvm::count_if(d.single,
                          [&](auto &piece) { return piece.id == id; });
  };
  if (!failed() && (count(a) != 1 || count(b) != 0))
    fail("post_processor.single: must hold sequence A exactly once");
}

void JsonReader::readLengths(const json::Object &root, Description &d) {
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

void JsonReader::readAddedTokens(const json::Value *value, Description &d) {
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

Expected<Description> readTokenizerJson(StringRef text, StringRef path) {
  Expected<json::Value> root = parseJson(text, path);
  if (!root)
    return root.takeError();
  const json::Object *object = root->getAsObject();
  if (!object)
    return tokenizerError(path, "not a JSON object");

  Description d;
  JsonReader reader(path);
  std::string unk = reader.readModel(object->get("model"), d);
  reader.readNormalizer(object->get("normalizer"), d);
  reader.readPreTokenizer(object->get("pre_tokenizer"), d);
  reader.readPostProcessor(object->get("post_processor"), d);
  reader.readLengths(*object, d);
  reader.readAddedTokens(object->get("added_tokens"), d);
  if (reader.failed())
    return reader.takeError();
  if (Error error = finishVocabulary(d, unk, path))
    return std::move(error);
  reader.readDecoder(object->get("decoder"), d);
  if (reader.failed())
    return reader.takeError();
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
