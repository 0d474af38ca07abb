//===- Description.h - What a tokenizer file says ---------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_DESCRIPTION_H
#define PARE_FRONTEND_TOKENIZER_DESCRIPTION_H

#include "frontend/tokenizer/Format.h"
#include "frontend/tokenizer/Regex.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <utility>
#include <vector>

namespace pare::tokenizer {

struct Token {
  std::string text;
  int32_t id;
};

struct AddedToken {
  std::string text;
  int32_t id;
  uint32_t flags;  ///< PARE_ADDED_*
  bool normalized; ///< matched in the normalized text, not in the raw one
};

/// An operation of the normalizer or the pre-tokenizer.
struct Step {
  uint32_t op = 0; ///< PARE_NORM_* or PARE_PRE_OP_*
  uint32_t flags = 0;
  RegexNode pattern = {}; ///< of operations that look for one
  std::string text = {};  ///< of operations that insert some
};

/// A pair of BPE that becomes one token; ranked by its place in the list.
struct Merge {
  int32_t left, right, result;
};

/// What the decoder shows of a token.
struct TokenText {
  uint8_t kind = PARE_TEXT_HIDDEN; ///< PARE_TEXT_*
  std::string bytes;
};

/// A tokenizer, whatever file it came from.
struct Description {
  PareTokenizerModel model = PARE_TOKENIZER_WORDPIECE;
  PareTokenizerConfig config = {};
  std::vector<Step> normalizer;
  std::vector<Step> preTokenizer; ///< empty: config.pre_tokenizer says all
  std::vector<PareTokenizerPiece> single = {{PARE_PIECE_SEQUENCE_A, 0}};
  std::vector<PareTokenizerPiece> pair = {{PARE_PIECE_SEQUENCE_A, 0},
                                          {PARE_PIECE_SEQUENCE_B, 1}};
  std::vector<Token> vocab; ///< ascending ids; the files' spelling
  std::vector<AddedToken> added;
  std::string prefix; ///< of pieces inside a word
  std::string suffix; ///< of a word's last symbol (BPE)
  /// BPE: tokens are spelled in GPT-2's byte alphabet.
  bool byteLevel = false;
  std::vector<Merge> merges;
  std::vector<int32_t> byteIds; ///< 256 ids of single bytes, -1: none; or empty
  std::vector<double> scores;   ///< by id, or empty
  std::vector<int32_t> reserved; ///< ascending ids that no text gives
  std::vector<Token> user;       ///< sentencepiece's user defined symbols
  /// Replacements of the Precompiled and sentencepiece normalizers.
  std::vector<std::pair<std::string, std::string>> charsmap;
  std::vector<TokenText> texts; ///< by id; empty: it does not decode
};

/// Checks `vocab` and `added` against each other, sorts `vocab` by id, and
/// fills `config.vocab_size` and `config.unk_id`. Errors: ids that repeat, are
/// out of range or leave more holes than there are tokens; an added token
/// whose id is not the one that the vocabulary gives it; a missing `unk`,
/// which may be empty where the model needs none.
llvm::Error finishVocabulary(Description &description, llvm::StringRef unk,
                             llvm::StringRef path);

/// The id of each text of `description.vocab`.
llvm::StringMap<int32_t> idsOf(const Description &description);

/// The merge of two tokens, whose result has `right` without `prefix` (of
/// pieces inside a word); the error names the token that `ids` lacks.
llvm::Expected<Merge> mergeOf(llvm::StringRef left, llvm::StringRef right,
                              llvm::StringRef prefix,
                              const llvm::StringMap<int32_t> &ids);

/// Fills `byteIds` with the tokens <0x00> to <0xFF>, as many as there are.
void findByteTokens(Description &description,
                    const llvm::StringMap<int32_t> &ids);

/// The byte that a token like <0x0A> stands for.
std::optional<uint8_t> byteToken(llvm::StringRef text);

/// The operations of BERT's normalizer, in its order.
std::vector<Step> bertNormalizer(bool cleanText, bool spaceCjk,
                                 bool stripAccents, bool lowercase);

/// `path: message` as an error on one line.
llvm::Error tokenizerError(llvm::StringRef path, const llvm::Twine &message);

} // namespace pare::tokenizer

#endif
