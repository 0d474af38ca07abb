//===- Layout.h - The files of one GGUF model -------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_LAYOUT_H
#define PARE_FRONTEND_GGUF_LAYOUT_H

#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace pare::gguf {

/// The files that a path stands for, all of which exist.
struct Layout {
  /// One whole GGUF file each: more than one where the model is in shards.
  std::vector<std::string> shards;
  /// Pieces of one GGUF file, to be read as one; then `shards` is empty.
  std::vector<std::string> parts;
};

/// `path` is a file, any shard `NAME-00002-of-00003.gguf`, any part
/// `NAME.part01`, or a folder with one such model. Errors name what is missing.
llvm::Expected<Layout> findLayout(llvm::StringRef path);

/// The name that shard `index`, from 0, of `count` must have beside `path`.
std::string getShardName(llvm::StringRef stem, unsigned index, unsigned count);

} // namespace pare::gguf

#endif
