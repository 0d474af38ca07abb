//===- Description.h - What a tokenizer file says ---------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_DESCRIPTION_H
#define PARE_FRONTEND_TOKENIZER_DESCRIPTION_H

#include "frontend/tokenizer/Format.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
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

/// A tokenizer, whatever file it came from.
struct Description {
  PareTokenizerModel model = PARE_TOKENIZER_WORDPIECE;
  PareTokenizerConfig config = {};
  std::vector<uint32_t> normalizer; ///< PareTokenizerNormalizer, in order
  std::vector<PareTokenizerPiece> single = {{PARE_PIECE_SEQUENCE_A, 0}};
  std::vector<PareTokenizerPiece> pair = {{PARE_PIECE_SEQUENCE_A, 0},
                                          {PARE_PIECE_SEQUENCE_B, 1}};
  std::vector<Token> vocab; ///< ascending ids
  std::vector<AddedToken> added;
  std::string prefix; ///< of pieces inside a word
};

/// Checks `vocab` and `added` against each other, sorts `vocab` by id, and
/// fills `config.vocab_size` and `config.unk_id`. Errors: ids that repeat, are
/// out of range or leave more holes than there are tokens; an added token
/// whose id is not the one that the vocabulary gives it; a missing `unk`.
llvm::Error finishVocabulary(Description &description, llvm::StringRef unk,
                             llvm::StringRef path);

/// The operations of BERT's normalizer, in its order.
std::vector<uint32_t> bertNormalizer(bool cleanText, bool spaceCjk,
                                     bool stripAccents, bool lowercase);

/// `path: message` as an error.
llvm::Error tokenizerError(llvm::StringRef path, const llvm::Twine &message);

} // namespace pare::tokenizer

#endif
