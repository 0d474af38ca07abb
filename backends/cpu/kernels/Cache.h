//===- Cache.h - Keys and values of earlier positions -----------*- C++ -*-===//
//
// Kernels of nn.cache_append and nn.cached_attention. Caches lie as
// backends/cpu/CacheLayout.h says.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CACHE_H
#define PARE_BACKENDS_CPU_KERNELS_CACHE_H

#include "backends/cpu/kernels/Strided.h"
#include "backends/cpu/kernels/Vectors.h"

namespace pare::cpu {

/// Where a layer's keys and values are, and which rows are at work.
struct CacheSpec {
  Extent rows;
  int64_t kvHeads = 1, headDim = 0;
  PareDType type = PARE_F16; ///< of keys and values in the cache
  Extent offset;           ///< bytes; PareCacheRegion::offset of the first key
  int64_t regionBytes = 0; ///< from one head's region to the next
  int64_t capacity = 0;    ///< positions; a multiple of kCacheBlock

  unsigned ptrCaches = 0;    ///< void *[]: bases by sequence
  unsigned ptrPositions = 0; ///< i32 [rows]
  unsigned ptrSequences = 0; ///< i32 [rows]
};

struct CacheAppendSpec : CacheSpec {
  unsigned ptrKey = 0, ptrValue = 0; ///< f32 [rows, kvHeads, headDim]
};

/// One task: a block of rows.
Grid cacheAppendGrid(const CacheAppendSpec &spec);
void emitCacheAppend(KernelBuilder &b, const CacheAppendSpec &spec);

struct CachedAttentionSpec : CacheSpec {
  int64_t heads = 1; ///< a multiple of kvHeads
  float scale = 1, softCap = 0;
  int64_t window = 0;
  unsigned ptrQuery = 0, ptrOut = 0; ///< f32 [rows, heads, headDim]
};

/// One task: a block of rows by the query heads of a key head, or by half of
/// them. Keys are visited in blocks with a running maximum, as in
/// kernels/Attention.h; a row's result is bit for bit what the row alone gives.
Grid cachedAttentionGrid(const CachedAttentionSpec &spec);
int64_t cachedAttentionScratchBytes(const CachedAttentionSpec &spec);
void emitCachedAttention(KernelBuilder &b, const CachedAttentionSpec &spec);

} // namespace pare::cpu

#endif
