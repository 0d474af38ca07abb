//===- Utf8.h - UTF-8 and the byte alphabet of GPT-2 ------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_UTF8_H
#define PARE_FRONTEND_TOKENIZER_UTF8_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>

namespace pare::tokenizer {

/// Appends `codePoint` (not a surrogate, at most 0x10ffff).
void appendUtf8(uint32_t codePoint, std::string &out);

/// Takes the first code point off `text`, which is not empty. A byte that is
/// not valid UTF-8 reads as U+FFFD and is taken alone.
uint32_t takeCodePoint(llvm::StringRef &text);

/// The code point that stands for `byte` in byte-level vocabularies (Radford
/// et al., "Language models are unsupervised multitask learners", 2019).
uint32_t alphabetOf(uint8_t byte);

/// The bytes that `text` stands for, or nothing where it has a code point
/// outside that alphabet.
std::optional<std::string> fromAlphabet(llvm::StringRef text);

} // namespace pare::tokenizer

#endif
