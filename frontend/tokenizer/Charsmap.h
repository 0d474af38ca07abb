//===- Charsmap.h - Precompiled normalizations ------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_CHARSMAP_H
#define PARE_FRONTEND_TOKENIZER_CHARSMAP_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <utility>
#include <vector>

namespace pare::tokenizer {

/// Reads sentencepiece's precompiled_charsmap: the size of a double-array trie
/// (Aoe, "An efficient digital search algorithm by using a double-array
/// structure", 1989), the trie, and the zero-terminated texts that its values
/// point to. Returns (text, what replaces it), ascending. The error fits
/// behind "normalizer: ".
llvm::Expected<std::vector<std::pair<std::string, std::string>>>
readCharsmapBlob(llvm::StringRef blob);

} // namespace pare::tokenizer

#endif
