//===- Vocabulary.h - The tokenizer of a GGUF file --------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_VOCABULARY_H
#define PARE_FRONTEND_GGUF_VOCABULARY_H

#include "frontend/gguf/Metadata.h"
#include "frontend/tokenizer/Gguf.h"
#include "frontend/tokenizer/Tokenizer.h"

namespace pare::gguf {

/// The keys tokenizer.ggml.*; an error names the file and a key of another
/// kind than it should be.
llvm::Expected<tokenizer::GgufVocabulary>
readVocabulary(const Metadata &metadata);

/// The tokenizer's table (frontend/tokenizer/Format.h) from the metadata.
llvm::Expected<std::vector<uint8_t>>
buildTokenizerTable(const Metadata &metadata,
                    tokenizer::TableOptions options = {});

/// The chat template's table (frontend/chat/Format.h), with the texts of the
/// special tokens; empty: the file has no template.
llvm::Expected<std::vector<uint8_t>>
buildChatTemplate(const Metadata &metadata);

/// Tokens that end a text, in order: those of the metadata (eos, eot, eom) and
/// control tokens that are known for it by their text, such as <|im_end|> and
/// <end_of_turn>, which files often fail to name.
llvm::Expected<std::vector<int32_t>> readStops(const Metadata &metadata);

} // namespace pare::gguf

#endif
