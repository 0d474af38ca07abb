//===- CacheLayout.h - Where a sequence's cache holds what ------*- C++ -*-===//
//
// A sequence's cache is one block of memory. For each nn.cache of the module,
// in order, it has one region per head for keys, then one per head for values.
// A region is one block for every 16 positions, one behind the other:
//
//   keys    [head_dim][16]   positions side by side, so that scores need no
//                            horizontal sums
//   values  [16][head_dim]
//
// Where elements are codes of 8 bits, 16 f32 scales follow: an element is code
// times the scale of its position.
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

/// Bytes of a block of a region.
constexpr int64_t getCacheBlockBytes(int64_t headDim, int64_t elementBytes) {
  int64_t scaleBytes = elementBytes == 1 ? sizeof(float) : 0;
  return kCacheBlock * (headDim * elementBytes + scaleBytes);
}

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
