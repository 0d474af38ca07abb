//===- Unicode.h - Character properties for the table -----------*- C++ -*-===//
//
// The properties as the `tokenizers` library sees them (gen_unicode.py), in
// the layouts of Format.h.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_TOKENIZER_UNICODE_H
#define PARE_FRONTEND_TOKENIZER_UNICODE_H

#include "frontend/tokenizer/Format.h"

#include <vector>

namespace pare::tokenizer {

/// PARE_TOK_CLASSES, reduced to the classes in `mask` (PARE_CHAR_* bits).
std::vector<uint8_t> characterClasses(uint32_t mask);
/// PARE_TOK_COMBINING.
std::vector<uint8_t> combiningClasses();
/// PARE_TOK_LOWERCASE.
std::vector<uint8_t> lowercaseRuns();
/// PARE_TOK_DECOMPOSE and PARE_TOK_DECOMPOSE_WIDE.
std::vector<uint8_t> decompositions(bool wide);
/// PARE_TOK_COMPOSE.
std::vector<uint8_t> compositions();

} // namespace pare::tokenizer

#endif
