//===- Json.h - Reading JSON from files that may be damaged -----*- C++ -*-===//
#ifndef PARE_FRONTEND_JSON_H
#define PARE_FRONTEND_JSON_H

#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

namespace pare {

/// Parses `text`; an error names `where`, line and column. Nesting is bounded,
/// since LLVM's parser recurses.
llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text,
                                            llvm::StringRef where);

/// Reads a file whose top level is an object.
llvm::Expected<llvm::json::Object> readJsonObject(llvm::StringRef path);

/// A path inside `folder` that a file names: relative, without `..`, and, once
/// symbolic links are followed, still inside. An error says which rule it
/// breaks; `what` says who named it.
llvm::Expected<std::string> resolveInside(llvm::StringRef folder,
                                          llvm::StringRef relative,
                                          llvm::StringRef what);

} // namespace pare

#endif
