//===- Gguf.cpp - Tokenizers of GGUF files --------------------------------===//
#include "frontend/tokenizer/Gguf.h"
#include "frontend/tokenizer/SentencePiece.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

using Piece = SentencePieceModel;

class GgufReader {
public:
  GgufReader(const GgufVocabulary &v, StringRef path) : v(v), path(path) {}

  Expected<Description> read() {
    if (Error error = check())
      return std::move(error);
    if (v.model == "llama" || v.model == "t5")
      return readSentencePieces();
    if (v.model == "gpt2")
      return readBpe();
    if (v.model == "bert")
      return readWordPiece();
    return fail("tokenizer.ggml.model: '" + v.model +
                "' is not supported; supported: gpt2, llama, t5, bert");
  }

private:
  Error fail(const Twine &text) const { return tokenizerError(path, text); }

  int32_t typeOf(size_t id) const {
    return v.types.empty() ? int32_t(Piece::Normal) : v.types[id];
  }

  Error check() const {
    if (v.tokens.empty())
      return fail("tokenizer.ggml.tokens: missing or empty");
    if (v.tokens.size() > size_t(INT32_MAX))
      return fail("tokenizer.ggml.tokens: too many");
    if (!v.scores.empty() && v.scores.size() != v.tokens.size())
      return fail("tokenizer.ggml.scores: " + Twine(v.scores.size()) + " for " +
                  Twine(v.tokens.size()) + " tokens");
    if (!v.types.empty() && v.types.size() != v.tokens.size())
      return fail("tokenizer.ggml.token_type: " + Twine(v.types.size()) +
                  " for " + Twine(v.tokens.size()) + " tokens");
    for (auto [name, id] :
         {std::pair("bos", v.bos), std::pair("eos", v.eos),
          std::pair("unknown", v.unk), std::pair("seperator", v.sep),
          std::pair("padding", v.pad), std::pair("cls", v.cls)})
      if (id < -1 || id >= int64_t(v.tokens.size()))
        return fail(Twine("tokenizer.ggml.") + name +
                    "_token_id: " + Twine(id) + " is beyond the " +
                    Twine(v.tokens.size()) + " tokens");
    for (size_t i = 0; i < v.tokens.size(); ++i)
      if (!json::isUTF8(v.tokens[i]))
        return fail("tokenizer.ggml.tokens[" + Twine(i) + "]: not valid UTF-8");
    return Error::success();
  }

  Expected<Description> readSentencePieces() const {
    SentencePieceModel model;
    model.isUnigram = v.model == "t5";
    for (size_t id = 0; id < v.tokens.size(); ++id)
      model.pieces.push_back(
          {v.tokens[id], v.scores.empty() ? 0.0f : v.scores[id], typeOf(id)});
    model.bos = v.bos;
    model.eos = v.eos;
    model.pad = v.pad;
    model.byteFallback = llvm::any_of(model.pieces, [](const auto &piece) {
      return piece.type == Piece::Byte;
    });
    model.addPrefix = v.addSpacePrefix.value_or(true);
    model.removeExtra = v.removeExtraWhitespaces.value_or(false);
    model.addBos = v.addBos.value_or(!model.isUnigram) && v.bos >= 0;
    model.addEos = v.addEos.value_or(model.isUnigram) && v.eos >= 0;
    model.charsmap = v.precompiledCharsmap;
    return describe(model, path, "tokenizer.ggml.tokens");
  }

  /// Control tokens and user defined ones as added tokens.
  void addSpecials(Description &d) const {
    for (size_t id = 0; id < v.tokens.size(); ++id) {
      const bool control =
          typeOf(id) == Piece::Control || typeOf(id) == Piece::Unknown;
      if ((control || typeOf(id) == Piece::UserDefined) &&
          !v.tokens[id].empty())
        d.added.push_back({v.tokens[id], int32_t(id),
                           control ? uint32_t(PARE_ADDED_SPECIAL) : 0u, false});
    }
  }

  std::string unknownToken() const {
    return v.unk < 0 ? std::string() : v.tokens[size_t(v.unk)];
  }

  void frame(int64_t before, int64_t after, Description &d) const {
    d.single.clear();
    if (before >= 0)
      d.single.push_back({int32_t(before), 0});
    d.single.push_back({PARE_PIECE_SEQUENCE_A, 0});
    if (after >= 0)
      d.single.push_back({int32_t(after), 0});
    d.pair = d.single;
    d.pair.push_back({PARE_PIECE_SEQUENCE_B, 1});
    if (after >= 0)
      d.pair.push_back({int32_t(after), 1});
    d.config.pad_id = int32_t(v.pad);
  }

  Expected<Description> readBpe() const {
    std::optional<GgufPreTokenizer> pre = ggufPreTokenizer(v.pre);
    if (!pre)
      return fail("tokenizer.ggml.pre: '" + v.pre + "' is not known");
    Description d;
    d.model = PARE_TOKENIZER_BPE;
    d.byteLevel = true;
    d.normalizer = std::move(pre->normalizer);
    d.preTokenizer = std::move(pre->preTokenizer);
    if (pre->ignoreMerges)
      d.config.model_flags |= PARE_BPE_IGNORE_MERGES;
    for (size_t id = 0; id < v.tokens.size(); ++id)
      d.vocab.push_back({v.tokens[id], int32_t(id)});
    addSpecials(d);
    // Bytes that the vocabulary lacks give nothing, whatever unknown_token_id.
    if (Error error = finishVocabulary(d, "", path))
      return std::move(error);
    if (Error error = readMerges(d))
      return std::move(error);

    d.texts.resize(d.config.vocab_size);
    for (const Token &token : d.vocab) {
      const size_t id = size_t(token.id);
      const int32_t type = typeOf(id);
      d.texts[id] = {
          uint8_t(type == Piece::Control ? PARE_TEXT_SPECIAL : PARE_TEXT_PLAIN),
          token.text};
      if (type == Piece::Normal || type == Piece::Unused)
        if (auto bytes = fromAlphabet(token.text))
          d.texts[id].bytes = std::move(*bytes);
    }
    d.config.decoder = PARE_DECODER_BYTES;
    frame(v.addBos.value_or(pre->addBos) ? v.bos : -1,
          v.addEos.value_or(false)   ? v.eos
          : v.addSep.value_or(false) ? v.sep
                                     : -1,
          d);
    return d;
  }

  Error readMerges(Description &d) const {
    if (v.merges.empty())
      return fail("tokenizer.ggml.merges: missing or empty");
    const StringMap<int32_t> ids = idsOf(d);
    for (size_t i = 0; i < v.merges.size(); ++i) {
      StringRef text = v.merges[i];
      const size_t at = text.find(' ', 1);
      StringRef left = text.take_front(at),
                right = text.drop_front(at == StringRef::npos ? text.size()
                                                              : at + 1);
      if (left.empty() || right.empty())
        return fail("tokenizer.ggml.merges[" + Twine(i) + "]: not two tokens");
      Expected<Merge> merge = mergeOf(left, right, /*prefix=*/"", ids);
      if (!merge)
        return fail("tokenizer.ggml.merges[" + Twine(i) +
                    "]: " + toString(merge.takeError()));
      d.merges.push_back(*merge);
    }
    return Error::success();
  }

  /// Words begin with U+2581 here, and not with ## inside.
  Expected<Description> readWordPiece() const {
    if (v.unk < 0)
      return fail("tokenizer.ggml.unknown_token_id: missing");
    Description d;
    d.prefix = "##";
    d.config.max_word_chars = 100;
    d.config.pre_tokenizer = PARE_PRE_REMOVE_SPACE | PARE_PRE_ISOLATE_PUNCT;
    d.config.decoder = PARE_DECODER_WORDPIECE;
    d.normalizer = bertNormalizer(true, true, true, true);
    for (size_t id = 0; id < v.tokens.size(); ++id) {
      StringRef text = v.tokens[id];
      TokenText shown = {PARE_TEXT_PLAIN, (" " + text).str()};
      if (typeOf(id) == Piece::Control || typeOf(id) == Piece::Unknown) {
        shown.kind = PARE_TEXT_SPECIAL;
        d.vocab.push_back({text.str(), int32_t(id)});
      } else if (text.consume_front("\u2581")) {
        shown.bytes = (" " + text).str();
        d.vocab.push_back({text.str(), int32_t(id)});
      } else {
        shown = {PARE_TEXT_BYTE, text.str()};
        d.vocab.push_back({("##" + text).str(), int32_t(id)});
      }
      d.texts.push_back(std::move(shown));
    }
    addSpecials(d);
    if (Error error = finishVocabulary(d, unknownToken(), path))
      return std::move(error);
    const int64_t cls = v.cls >= 0 ? v.cls : v.bos;
    const int64_t sep = v.sep >= 0 ? v.sep : v.eos;
    frame(v.addBos.value_or(true) ? cls : -1,
          v.addEos.value_or(true) ? sep : -1, d);
    return d;
  }

  const GgufVocabulary &v;
  StringRef path;
};

} // namespace

Expected<Description> readGgufVocabulary(const GgufVocabulary &vocabulary,
                                         StringRef path) {
  return GgufReader(vocabulary, path).read();
}

} // namespace pare::tokenizer
