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

} // namespace pare::gguf

#endif
