//===- JsonModel.cpp - The model of tokenizer.json ------------------------===//
#include "frontend/tokenizer/JsonReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <cmath>

using namespace llvm;

namespace pare::tokenizer {

void JsonReader::readVocab(const json::Object &model, Description &d) {
  const json::Object *vocab = model.getObject("vocab");
  if (!vocab)
    return void(fail("model.vocab: not a map of tokens to ids"));
  d.vocab.reserve(vocab->size());
  for (const auto &entry : *vocab) {
    auto id = entry.second.getAsInteger();
    if (!id || *id < 0 || *id > maxId)
      return void(fail("model.vocab: the id of '" + entry.first.str() +
                       "' is not an integer in [0, " + Twine(maxId) + "]"));
    d.vocab.push_back({entry.first.str(), int32_t(*id)});
  }
}

std::string JsonReader::readWordPiece(const json::Object &model,
                                      Description &d) {
  d.model = PARE_TOKENIZER_WORDPIECE;
  d.prefix = string(model, "continuing_subword_prefix", "model").str();
  d.config.max_word_chars = uint32_t(std::min<int64_t>(
      maxId, integer(model, "max_input_chars_per_word", "model",
                     std::numeric_limits<int64_t>::max())));
  readVocab(model, d);
  return string(model, "unk_token", "model").str();
}

/// Merges are pairs or, in older files, texts with a space between the two.
void JsonReader::readMerges(const json::Object &model,
                            const StringMap<int32_t> &ids, Description &d) {
  const json::Array *merges = model.getArray("merges");
  if (!merges)
    return void(fail("model.merges: not a list"));
  for (size_t i = 0; i < merges->size(); ++i) {
    StringRef left, right;
    if (auto text = (*merges)[i].getAsString()) {
      if (text->starts_with("#version"))
        continue;
      std::tie(left, right) = text->split(' ');
      if (right.contains(' '))
        left = "";
    } else if (const json::Array *pair = (*merges)[i].getAsArray();
               pair && pair->size() == 2) {
      left = (*pair)[0].getAsString().value_or("");
      right = (*pair)[1].getAsString().value_or("");
    }
    if (left.empty() || right.empty())
      return void(fail("model.merges[" + Twine(i) + "]: not two tokens"));
    Expected<Merge> merge = mergeOf(left, right, d.prefix, ids);
    if (!merge)
      return void(fail("model.merges[" + Twine(i) +
                       "]: " + toString(merge.takeError())));
    d.merges.push_back(*merge);
  }
}

std::string JsonReader::readBpe(const json::Object &model, Description &d) {
  d.model = PARE_TOKENIZER_BPE;
  d.prefix = optionalString(model, "continuing_subword_prefix", "model").str();
  d.suffix = optionalString(model, "end_of_word_suffix", "model").str();
  uint32_t &flags = d.config.model_flags;
  if (boolean(model, "fuse_unk", "model", false))
    flags |= PARE_BPE_FUSE_UNK;
  if (boolean(model, "byte_fallback", "model", false))
    flags |= PARE_MODEL_BYTE_FALLBACK;
  if (boolean(model, "ignore_merges", "model", false))
    flags |= PARE_BPE_IGNORE_MERGES;
  readVocab(model, d);
  if (!failed()) {
    const StringMap<int32_t> ids = idsOf(d);
    readMerges(model, ids, d);
    if (flags & PARE_MODEL_BYTE_FALLBACK)
      findByteTokens(d, ids);
  }
  return optionalString(model, "unk_token", "model").str();
}

std::string JsonReader::readUnigram(const json::Object &model, Description &d) {
  d.model = PARE_TOKENIZER_UNIGRAM;
  const json::Array *vocab = model.getArray("vocab");
  if (!vocab)
    return fail("model.vocab: not a list of tokens with scores"), "";
  double smallest = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < vocab->size(); ++i) {
    const json::Array *pair = (*vocab)[i].getAsArray();
    auto text =
        pair && pair->size() == 2 ? (*pair)[0].getAsString() : std::nullopt;
    auto score = text ? (*pair)[1].getAsNumber() : std::nullopt;
    if (!score || !std::isfinite(*score))
      return fail("model.vocab[" + Twine(i) + "]: not a token with its score"),
             "";
    d.vocab.push_back({text->str(), int32_t(i)});
    d.scores.push_back(*score);
    smallest = std::min(smallest, *score);
  }
  constexpr double unknownPenalty = 10;
  d.config.unk_score = smallest - unknownPenalty;
  d.config.model_flags |= PARE_BPE_FUSE_UNK;
  if (boolean(model, "byte_fallback", "model", false)) {
    d.config.model_flags |= PARE_MODEL_BYTE_FALLBACK;
    findByteTokens(d, idsOf(d));
  }
  const json::Value *unk = model.get("unk_id");
  if (!unk || unk->getAsNull())
    return "";
  int64_t id = integer(model, "unk_id", "model", maxId);
  if (id >= int64_t(vocab->size()))
    return fail("model.unk_id: " + Twine(id) + " is beyond the vocabulary"), "";
  return d.vocab[size_t(id)].text;
}

std::string JsonReader::readModel(const json::Value *value, Description &d) {
  const json::Object *model = value ? value->getAsObject() : nullptr;
  if (!model)
    return fail("model: missing; is this a tokenizer.json?"), "";
  // Old files do not say the type.
  StringRef kind = model->getString("type").value_or(
      model->get("merges")       ? "BPE"
      : model->getArray("vocab") ? "Unigram"
                                 : "WordPiece");
  if (kind == "WordPiece")
    return readWordPiece(*model, d);
  if (kind == "BPE")
    return readBpe(*model, d);
  if (kind == "Unigram")
    return readUnigram(*model, d);
  return fail("model: " + kind +
              " is not supported; supported: WordPiece, BPE, Unigram"),
         "";
}

} // namespace pare::tokenizer
