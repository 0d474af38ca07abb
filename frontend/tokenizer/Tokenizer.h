//===- Tokenizer.h - Tokenizer files to the serialized table ----*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_TOKENIZER_H
#define PARE_FRONTEND_TOKENIZER_TOKENIZER_H

#include "frontend/tokenizer/Description.h"

#include <cstdint>
#include <vector>

namespace pare::tokenizer {

struct TableOptions {
  bool decodes = false; ///< the texts of tokens, for the decoder
};

/// Reads a tokenizer and returns its table (Format.h), 8-byte aligned data.
///
/// `path` is a tokenizer.json, a sentencepiece .model, a vocab.txt, or a folder
/// with one of them (in this order; tokenizer.model, spiece.model,
/// sentencepiece.bpe.model). A vocab.txt is read with the options of the
/// tokenizer_config.json beside it (do_lower_case, strip_accents,
/// tokenize_chinese_chars, special tokens), which default to BERT's. An error
/// is one line that names the file and the component: what is malformed,
/// contradicts itself, or is not supported. Equal files give equal bytes.
llvm::Expected<std::vector<uint8_t>>
buildTokenizerTable(llvm::StringRef path, TableOptions options = {});

/// The readers behind it. `text` is the whole file, `path` names it in
/// errors; `config` is the text of tokenizer_config.json, or empty.
llvm::Expected<Description> readTokenizerJson(llvm::StringRef text,
                                              llvm::StringRef path);
llvm::Expected<Description> readVocabText(llvm::StringRef text,
                                          llvm::StringRef path,
                                          llvm::StringRef config,
                                          llvm::StringRef configPath);

/// Reads a sentencepiece model: BPE or unigram, with the options of the
/// tokenizer_config.json beside it (add_bos_token, add_eos_token).
llvm::Expected<Description> readSentencePiece(llvm::StringRef file,
                                              llvm::StringRef path,
                                              llvm::StringRef config,
                                              llvm::StringRef configPath);

/// Serializes `description`; `path` names it in errors.
llvm::Expected<std::vector<uint8_t>> writeTable(const Description &description,
                                                llvm::StringRef path,
                                                TableOptions options = {});

/// Names of the parts of the runtime that read `table` (Tokenizer.h there):
/// symbols to link in, in a fixed order.
std::vector<const char *> runtimeParts(llvm::ArrayRef<uint8_t> table);

} // namespace pare::tokenizer

namespace pare {
using tokenizer::buildTokenizerTable;
} // namespace pare

#endif
