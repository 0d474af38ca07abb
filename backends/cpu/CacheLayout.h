//===- CacheLayout.h - Where a sequence's cache holds what ------*- C++ -*-===//
//
// A sequence's cache is one block of memory. For each nn.cache of the module,
// in order, it has one region per head for keys, then one per head for values:
//
//   keys    [capacity / 16][head_dim][16]   16 positions side by side, so that
//                                           scores need no horizontal sums
//   values  [capacity][head_dim]
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_CACHELAYOUT_H
#define PARE_BACKENDS_CPU_CACHELAYOUT_H

#include "backends/runtime/Abi.h"
#include "frontend/ir/NN.h"
#include <vector>

namespace pare::cpu {

/// Positions that lie side by side in a region of keys; capacities are rounded
/// up to a multiple of it.
constexpr int64_t kCacheBlock = 16;

/// One nn.cache.
struct CachePlace {
  int64_t offset;      ///< bytes, of the first head's keys
  int64_t regionBytes; ///< from one head to the next, and from keys to values
                       ///< after all heads
  int64_t capacity;    ///< positions
};

class CacheLayout {
public:
  explicit CacheLayout(mlir::ModuleOp module);
  CachePlace get(nn::CacheOp cache) const;
  uint64_t bytes() const { return bytes_; }
  llvm::ArrayRef<PareCacheRegion> regions() const { return regions_; }

private:
  llvm::DenseMap<mlir::Operation *, CachePlace> places_;
  std::vector<PareCacheRegion> regions_;
  uint64_t bytes_ = 0;
};

} // namespace pare::cpu

#endif
