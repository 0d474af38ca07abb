//===- AttentionChunks.h - What chunks of a cache give ----------*- C++ -*-===//
//
// What the two kernels of nn.cached_attention agree on: how rows and chunks
// fall to tasks, where the results of chunks lie, and how they are merged.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_ATTENTIONCHUNKS_H
#define PARE_BACKENDS_CPU_KERNELS_ATTENTIONCHUNKS_H

#include "backends/cpu/kernels/Cache.h"
#include <limits>

namespace pare::cpu {

/// Positions of a chunk.
constexpr int64_t kChunk = 256;
/// Tasks that kParts · getTaskRows() rows, or the chunks of a few rows, are cut
/// into.
constexpr int64_t kParts = 16;
/// Where the largest score begins.
constexpr float kLeastScore = std::numeric_limits<float>::lowest();

/// Query heads of a key head.
int64_t getGroup(const CachedAttentionSpec &spec);
/// Rows of a task at most.
int64_t getTaskRows(const CachedAttentionSpec &spec);

/// The rows that kParts tasks share.
struct RowGroup {
  mlir::Value first, rows; ///< in the run
  /// How many tasks a row's chunks are spread over; 1: a task does them all.
  mlir::Value spread;

  RowGroup(KernelBuilder &b, const CachedAttentionSpec &spec,
           mlir::Value index);
};

/// Chunks [first, end) of positions.
struct ChunkRange {
  mlir::Value first, end;

  ChunkRange(KernelBuilder &b, mlir::Value firstPosition,
             mlir::Value lastPosition);
};

/// The first position that a row sees.
mlir::Value firstSeen(KernelBuilder &b, const CachedAttentionSpec &spec,
                      mlir::Value position);

/// The element of ptrPartials at which the results of a chunk begin: the
/// weighted sum of values [headDim], the largest score, the sum of
/// exponentials. `row` counts in its group, `chunk` from the first one that the
/// row sees.
mlir::Value partialAt(KernelBuilder &b, const CachedAttentionSpec &spec,
                      mlir::Value row, mlir::Value head, mlir::Value chunk);

/// A vector's results so far, and how those of another chunk are added:
/// results · oldFactor + chunk · newFactor.
struct Merge {
  mlir::Value largest, sum, oldFactor, newFactor;

  Merge(KernelBuilder &b, mlir::Value oldLargest, mlir::Value oldSum,
        mlir::Value newLargest, mlir::Value newSum);
  /// Vectors of the weighted sums.
  static mlir::Value apply(KernelBuilder &b, mlir::Value old, mlir::Value chunk,
                           mlir::Value oldFactor, mlir::Value newFactor);
};

/// Writes results / sum to a head of a row of ptrOut.
void storeQuotient(KernelBuilder &b, const CachedAttentionSpec &spec,
                   mlir::Value results, mlir::Value sum, mlir::Value row,
                   mlir::Value head);

} // namespace pare::cpu

#endif
