//===- SentencePiece.h - Vocabularies of sentencepiece ----------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_SENTENCEPIECE_H
#define PARE_FRONTEND_TOKENIZER_SENTENCEPIECE_H

#include "frontend/tokenizer/Description.h"

#include <vector>

namespace pare::tokenizer {

/// A sentencepiece model, from a .model file or from GGUF metadata.
struct SentencePieceModel {
  enum Type { // as both files number them
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
  };
  struct Piece {
    std::string text;
    float score = 0;
    int type = Normal;
  };

  bool isUnigram = true;
  std::vector<Piece> pieces; ///< by id
  int64_t bos = -1, eos = -1, pad = -1;
  bool byteFallback = false;
  bool addPrefix = true, removeExtra = true, escape = true, suffix = false;
  bool addBos = false, addEos = false;
  std::string charsmap;                 ///< precompiled_charsmap, or empty
  std::string unknownText = " \u2047 "; ///< what decodes from unknown pieces
};

/// The tokenizer that `model` describes, with sentencepiece's arithmetic.
/// Control and unknown pieces are special tokens in text, unless
/// PARE_TOKENIZER_PLAIN is asked for. `where` names the list of pieces in
/// errors ("model.pieces").
llvm::Expected<Description> describe(const SentencePieceModel &model,
                                     llvm::StringRef path,
                                     llvm::StringRef where);

} // namespace pare::tokenizer

#endif
