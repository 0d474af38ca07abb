//===- SentencePiece.cpp - Vocabularies of sentencepiece ------------------===//
#include "frontend/tokenizer/SentencePiece.h"
#include "frontend/tokenizer/Charsmap.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <cmath>
#include <limits>

using namespace llvm;

namespace pare::tokenizer {
namespace {

constexpr StringLiteral space = "\u2581";

std::string withSpaces(StringRef text) {
  std::string out;
  while (!text.empty()) {
    if (text.consume_front(space)) {
      out.push_back(' ');
    } else {
      out.push_back(text.front());
      text = text.drop_front();
    }
  }
  return out;
}

/// What the decoder shows of a piece.
Expected<TokenText> textOf(const SentencePieceModel &model,
                           const SentencePieceModel::Piece &piece) {
  switch (piece.type) {
  case SentencePieceModel::Unknown:
    return TokenText{PARE_TEXT_PLAIN, model.unknownText};
  case SentencePieceModel::Control:
    return TokenText{PARE_TEXT_SPECIAL, piece.text};
  case SentencePieceModel::Byte:
    if (auto byte = byteToken(piece.text))
      return TokenText{PARE_TEXT_BYTE, std::string(1, char(*byte))};
    return createStringError(inconvertibleErrorCode(),
                             "'" + piece.text + "' is no byte like <0x0A>");
  default:
    return TokenText{PARE_TEXT_PLAIN, withSpaces(piece.text)};
  }
}

void addUnigramScores(const SentencePieceModel &model, Description &d) {
  float smallest = std::numeric_limits<float>::max();
  // No score is above 0, so this is the largest: so it is in sentencepiece.
  float largest = std::numeric_limits<float>::min();
  for (const auto &piece : model.pieces) {
    const bool isUser = piece.type == SentencePieceModel::UserDefined;
    d.scores.push_back(isUser ? std::numeric_limits<float>::quiet_NaN()
                              : piece.score);
    if (piece.type == SentencePieceModel::Normal) {
      smallest = std::min(smallest, piece.score);
      largest = std::max(largest, piece.score);
    }
  }
  constexpr float unknownPenalty = 10;
  d.config.unk_score = smallest - unknownPenalty;
  d.config.user_score = largest;
  d.config.model_flags |= PARE_UNIGRAM_FLOAT;
}

/// The template with the tokens that frame a text.
Error addTemplate(const SentencePieceModel &model, StringRef path,
                  Description &d) {
  auto special = [&](bool wanted, int64_t id, const char *name) -> Error {
    if (!wanted)
      return Error::success();
    if (id < 0 || uint64_t(id) >= model.pieces.size())
      return tokenizerError(path, Twine("it adds a ") + name +
                                      " token, but id " + Twine(id) +
                                      " is not in the vocabulary");
    d.single.push_back({int32_t(id), 0});
    return Error::success();
  };
  d.single.clear();
  if (Error error = special(model.addBos, model.bos, "BOS"))
    return error;
  d.single.push_back({PARE_PIECE_SEQUENCE_A, 0});
  if (Error error = special(model.addEos, model.eos, "EOS"))
    return error;
  d.pair = d.single;
  d.pair.push_back({PARE_PIECE_SEQUENCE_B, 1});
  return Error::success();
}

} // namespace

Expected<Description> describe(const SentencePieceModel &model, StringRef path,
                               StringRef where) {
  using Model = SentencePieceModel;
  Description d;
  d.model =
      model.isUnigram ? PARE_TOKENIZER_UNIGRAM : PARE_TOKENIZER_BPE_SCORES;
  std::string unk;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Model::Piece &piece = model.pieces[id];
    auto fail = [&](const Twine &what) {
      return tokenizerError(path, where + "[" + Twine(id) + "]: " + what);
    };
    if (!json::isUTF8(piece.text))
      return fail("not valid UTF-8");
    if (piece.text.empty())
      return fail("an empty token");
    if (!std::isfinite(piece.score))
      return fail("a score that is no number");
    if (piece.type < Model::Normal || piece.type > Model::Byte)
      return fail("unknown type " + Twine(piece.type));
    Expected<TokenText> text = textOf(model, piece);
    if (!text)
      return fail(toString(text.takeError()));
    d.texts.push_back(std::move(*text));
    const int32_t number = int32_t(id);
    d.vocab.push_back({piece.text, number});
    if (piece.type == Model::UserDefined)
      d.user.push_back({piece.text, number});
    else if (piece.type != Model::Normal)
      d.reserved.push_back(number);
    if (piece.type == Model::Control || piece.type == Model::Unknown)
      d.added.push_back({piece.text, number, PARE_ADDED_SPECIAL, false});
    if (piece.type == Model::Unknown && !unk.empty())
      return fail("a second unknown token");
    if (piece.type == Model::Unknown)
      unk = piece.text;
  }
  if (Error error = finishVocabulary(d, unk, path))
    return std::move(error);

  if (model.isUnigram)
    addUnigramScores(model, d);
  else
    for (const Model::Piece &piece : model.pieces)
      d.scores.push_back(piece.score);
  d.config.model_flags |= PARE_BPE_FUSE_UNK;
  if (model.byteFallback) {
    d.config.model_flags |= PARE_MODEL_BYTE_FALLBACK;
    findByteTokens(d, idsOf(d));
  }
  if (!model.charsmap.empty()) {
    auto map = readCharsmapBlob(model.charsmap);
    if (!map)
      return tokenizerError(path, "normalizer: " + toString(map.takeError()));
    d.charsmap = std::move(*map);
  }
  d.normalizer.push_back({PARE_NORM_SENTENCEPIECE,
                          (model.addPrefix ? PARE_SP_PREFIX : 0) |
                              (model.removeExtra ? PARE_SP_REMOVE_EXTRA : 0) |
                              (model.escape ? PARE_SP_ESCAPE : 0) |
                              (model.suffix ? PARE_SP_SUFFIX : 0)});
  d.config.decoder = PARE_DECODER_SENTENCEPIECE;
  d.config.decode_first = model.removeExtra ? PARE_FIRST_EACH_SPACE
                          : model.addPrefix ? PARE_FIRST_SPACE
                                            : PARE_FIRST_KEEP;
  d.config.pad_id = model.pad >= 0 && model.pad < int64_t(d.vocab.size())
                        ? int32_t(model.pad)
                        : -1;
  if (Error error = addTemplate(model, path, d))
    return std::move(error);
  return d;
}

} // namespace pare::tokenizer
