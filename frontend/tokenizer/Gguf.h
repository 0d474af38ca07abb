//===- Gguf.h - Tokenizers of GGUF files ------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_GGUF_H
#define PARE_FRONTEND_TOKENIZER_GGUF_H

#include "frontend/tokenizer/Description.h"

#include <optional>
#include <string>
#include <vector>

namespace pare::tokenizer {

/// The keys tokenizer.ggml.* of a GGUF file, named as there. Whoever reads the
/// file fills in what it has.
struct GgufVocabulary {
  std::string model;               ///< "gpt2", "llama", "t5" or "bert"
  std::string pre;                 ///< names the pattern of "gpt2"
  std::vector<std::string> tokens; ///< by id
  std::vector<float> scores;       ///< by id; empty: all 0
  std::vector<int32_t> types;      ///< by id (llama_token_type); empty: all 1
  std::vector<std::string> merges; ///< "left right", in order of rank
  int64_t bos = -1, eos = -1, unk = -1, sep = -1, pad = -1, cls = -1;
  std::optional<bool> addBos, addEos, addSep;
  std::optional<bool> addSpacePrefix, removeExtraWhitespaces;
  std::string precompiledCharsmap;
};

/// The tokenizer that `vocabulary` describes; `path` names the file in errors,
/// which also name the key: a list of another length than `tokens`, an id
/// beyond it, a merge of tokens that are not there, an unknown `model` or
/// `pre`. Patterns are those that llama.cpp publishes for `pre`, Unicode
/// normalization that of the models' own tokenizer.json.
llvm::Expected<Description> readGgufVocabulary(const GgufVocabulary &vocabulary,
                                               llvm::StringRef path);

/// What `tokenizer.ggml.pre` says about splitting text.
struct GgufPreTokenizer {
  std::vector<Step> normalizer, preTokenizer;
  bool ignoreMerges = false;
  bool addBos = false; ///< where the file does not say
};

/// Nothing for a name that is not known.
std::optional<GgufPreTokenizer> ggufPreTokenizer(llvm::StringRef pre);

} // namespace pare::tokenizer

#endif
