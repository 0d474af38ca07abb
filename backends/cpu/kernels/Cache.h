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
  PareDType type = PARE_F16; ///< of keys and values in the cache: f32, f16, i8
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

/// One task: a block of rows. Codes of 8 bits are symmetric, with one scale per
/// row, head and side.
Grid cacheAppendGrid(const CacheAppendSpec &spec);
void emitCacheAppend(KernelBuilder &b, const CacheAppendSpec &spec);

/// Attention of rows to their sequences' caches. Keys are visited in chunks
/// that begin at multiples of 256 positions. What a chunk gives a row, the
/// largest score, the sum of its exponentials and the weighted sum of values
/// (Dao et al., FlashAttention; Flash-Decoding), is merged in the order of
/// chunks: a row's result is bit for bit the same in any batch and wherever its
/// chunks are computed.
struct CachedAttentionSpec : CacheSpec {
  int64_t heads = 1; ///< a multiple of kvHeads
  float scale = 1, softCap = 0;
  int64_t window = 0;
  unsigned ptrQuery = 0, ptrOut = 0; ///< f32 [rows, heads, headDim]
  /// f32 [partialFloats()]: what chunks give, between the two kernels.
  unsigned ptrPartials = 0;

  /// Chunks that a row can see.
  int64_t chunks() const;
  /// 0: one kernel does it all.
  int64_t partialFloats() const;
};

/// One task: some rows by the query heads of a key head or, of a few rows with
/// several chunks, some chunks of one.
Grid cachedAttentionGrid(const CachedAttentionSpec &spec);
int64_t cachedAttentionScratchBytes(const CachedAttentionSpec &spec);
void emitCachedAttention(KernelBuilder &b, const CachedAttentionSpec &spec);

/// Merges the chunks of rows whose chunks are in ptrPartials; the others are
/// done. One task: a query head. Reads ptrPositions, ptrPartials and writes
/// ptrOut.
Grid attentionMergeGrid(const CachedAttentionSpec &spec);
int64_t attentionMergeScratchBytes(const CachedAttentionSpec &spec);
void emitAttentionMerge(KernelBuilder &b, const CachedAttentionSpec &spec);

} // namespace pare::cpu

#endif
