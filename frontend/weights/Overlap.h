//===- Overlap.h - Tensors that share bytes of a file -----------*- C++ -*-===//
#ifndef PARE_FRONTEND_WEIGHTS_OVERLAP_H
#define PARE_FRONTEND_WEIGHTS_OVERLAP_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>

namespace pare {

/// Where a tensor is in its file.
struct TensorRange {
  llvm::StringRef name;
  uint64_t offset, size;
};

/// Fails where two tensors of the file at `path` share bytes; the error names
/// them. Of tensors at one offset, the one that `ranges` has first is the
/// first. Every range is within the file.
llvm::Error checkOverlap(llvm::StringRef path,
                         llvm::ArrayRef<TensorRange> ranges);

} // namespace pare

#endif
