//===- Json.h - JSON from files that nobody vouches for ---------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_JSON_H
#define PARE_FRONTEND_TOKENIZER_JSON_H

#include "llvm/Support/JSON.h"

namespace pare::tokenizer {

/// Parses `text`, whose top must be an object. `path` names it in errors.
/// Refuses nesting beyond 64 levels, since llvm::json recurses (a real
/// tokenizer.json nests 7 deep).
llvm::Expected<llvm::json::Value> parseJsonObject(llvm::StringRef text,
                                                  llvm::StringRef path);

} // namespace pare::tokenizer

#endif
