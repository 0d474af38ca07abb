//===- Tokenizer.h - Tokenizer files to the serialized table ----*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_TOKENIZER_H
#define PARE_FRONTEND_TOKENIZER_TOKENIZER_H

#include "frontend/tokenizer/Description.h"

#include <cstdint>
#include <vector>

namespace pare::tokenizer {

/// Reads a tokenizer and returns its table (Format.h), 8-byte aligned data.
///
/// `path` is a tokenizer.json, a vocab.txt, or a folder with one of them
/// (tokenizer.json first). A vocab.txt is read with the options of the
/// tokenizer_config.json beside it (do_lower_case, strip_accents,
/// tokenize_chinese_chars, special tokens), which default to BERT's. An error
/// is one line that names the file and the component: what is malformed,
/// contradicts itself, or is not supported. Equal files give equal bytes.
llvm::Expected<std::vector<uint8_t>> buildTokenizerTable(llvm::StringRef path);

/// The two readers behind it. `text` is the whole file, `path` names it in
/// errors; `config` is the text of tokenizer_config.json, or empty.
llvm::Expected<Description> readTokenizerJson(llvm::StringRef text,
                                              llvm::StringRef path);
llvm::Expected<Description> readVocabText(llvm::StringRef text,
                                          llvm::StringRef path,
                                          llvm::StringRef config,
                                          llvm::StringRef configPath);

/// Serializes `description`; `path` names it in errors.
llvm::Expected<std::vector<uint8_t>> writeTable(const Description &description,
                                                llvm::StringRef path);

} // namespace pare::tokenizer

namespace pare {
using tokenizer::buildTokenizerTable;
} // namespace pare

#endif
