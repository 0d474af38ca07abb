//===- Unicode.h - Character properties for the table -----------*- C++ -*-===//
//
// The properties as the `tokenizers` library sees them (gen_unicode.py), in
// the layouts of Format.h.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_TOKENIZER_UNICODE_H
#define PARE_FRONTEND_TOKENIZER_UNICODE_H

#include "frontend/tokenizer/Format.h"

#include "llvm/ADT/ArrayRef.h"

#include <string>
#include <utility>
#include <vector>

namespace pare::tokenizer {

/// Functions of the code point that are constant on runs, ascending: first
/// code point << 8 | value. Values: PARE_CHAR_* bits; general category, script
/// (numbered as in CharSet::property); bit 0 `\w`, bit 1 numeric, and from bit
/// 2 on the grapheme break (GraphemeBreak).
llvm::ArrayRef<uint32_t> getClassRuns();
llvm::ArrayRef<uint32_t> getCategoryRuns();
llvm::ArrayRef<uint32_t> getScriptRuns();
llvm::ArrayRef<uint32_t> getFlagRuns();

/// A code point in UTF-8 and what replaces it.
using Replacements = std::vector<std::pair<std::string, std::string>>;
/// NFKD of the code points where it is not their NFD.
Replacements compatibilityMappings();
/// The Nmt normalizer.
Replacements nmtMappings();

/// PareTokenizerRuns of `source`, each value reduced to the bits in `mask`.
std::vector<uint8_t> makeRuns(llvm::ArrayRef<uint32_t> source, uint32_t mask);

/// PARE_TOK_CLASSES, reduced to the classes in `mask` (PARE_CHAR_* bits).
std::vector<uint8_t> characterClasses(uint32_t mask);
/// PARE_TOK_GRAPHEMES.
std::vector<uint8_t> graphemeBreaks();
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
