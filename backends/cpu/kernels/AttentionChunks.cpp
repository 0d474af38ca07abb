//===- AttentionChunks.cpp - Merges what chunks of a cache give -----------===//
#include "backends/cpu/kernels/AttentionChunks.h"
#include "backends/cpu/kernels/CacheAccess.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pare::cpu {

/// Query vectors of a task at most, unless one row has more.
static constexpr int64_t kVectors = 48;
/// Rows whose chunks may be computed by several tasks.
static constexpr int64_t kSplitRows = 4;

int64_t getGroup(const CachedAttentionSpec &spec) {
  return spec.heads / spec.kvHeads;
}

int64_t getTaskRows(const CachedAttentionSpec &spec) {
  return std::max<int64_t>(1, kVectors / getGroup(spec));
}

/// Floats of a chunk's results for one row and head, in whole cache lines where
/// the head is.
static int64_t partialSize(const CachedAttentionSpec &spec) {
  return spec.headDim + PARE_ALIGN / int64_t(sizeof(float));
}

RowGroup::RowGroup(KernelBuilder &b, const CachedAttentionSpec &spec,
                   Value index) {
  int64_t most = kParts * getTaskRows(spec);
  first = b.mul(index, most);
  rows = b.minIdx(b.sub(b.extent(spec.rows), first), b.idx(most));
  spread = b.idx(1);
  if (spec.partialFloats() > 0)
    spread = arith::SelectOp::create(b, b.less(b.idx(kSplitRows), rows), spread,
                                     b.divFloor(b.idx(kParts), rows));
}

ChunkRange::ChunkRange(KernelBuilder &b, Value firstPosition,
                       Value lastPosition)
    : first(b.divFloor(firstPosition, kChunk)),
      end(b.add(b.divFloor(lastPosition, kChunk), 1)) {}

Value firstSeen(KernelBuilder &b, const CachedAttentionSpec &spec,
                Value position) {
  if (spec.window == 0)
    return b.idx(0);
  return b.maxIdx(b.idx(0), b.sub(position, b.idx(spec.window - 1)));
}

Value partialAt(KernelBuilder &b, const CachedAttentionSpec &spec, Value row,
                Value head, Value chunk) {
  Value index = b.add(b.mul(row, spec.heads), head);
  index = b.add(b.mul(index, spec.chunks()), chunk);
  return b.mul(index, partialSize(spec));
}

Merge::Merge(KernelBuilder &b, Value oldLargest, Value oldSum, Value newLargest,
             Value newSum)
    : largest(maxFloat(b, oldLargest, newLargest)) {
  auto factor = [&](Value from) {
    return buildExp2Flush(b, arith::SubFOp::create(b, from, largest));
  };
  oldFactor = factor(oldLargest);
  newFactor = factor(newLargest);
  sum = b.fma(oldSum, oldFactor, arith::MulFOp::create(b, newSum, newFactor));
}

Value Merge::apply(KernelBuilder &b, Value old, Value chunk, Value oldFactor,
                   Value newFactor) {
  unsigned lanes = cast<VectorType>(old.getType()).getNumElements();
  return b.fma(old, b.splat(oldFactor, lanes),
               arith::MulFOp::create(b, chunk, b.splat(newFactor, lanes)));
}

void storeQuotient(KernelBuilder &b, const CachedAttentionSpec &spec,
                   Value results, Value sum, Value row, Value head) {
  Value to = b.mul(b.add(b.mul(row, spec.heads), head), spec.headDim);
  forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
             [&](Value i, unsigned width, Value count) {
               Value x = b.loadVecPartial(b.vecF32(width), results, i, count);
               x = arith::DivFOp::create(b, x, b.splat(sum, width));
               b.storePartial(x, b.ptr(spec.ptrOut), b.add(to, i), count);
             });
}

int64_t CachedAttentionSpec::chunks() const {
  if (window > 0 && window < capacity)
    return (window + kChunk - 2) / kChunk + 1; // wherever it begins
  return int64_t(llvm::divideCeil(capacity, kChunk));
}

int64_t CachedAttentionSpec::partialFloats() const {
  if (chunks() <= 1)
    return 0;
  return kSplitRows * heads * chunks() * partialSize(*this);
}

//===----------------------------------------------------------------------===//
// Merging
//===----------------------------------------------------------------------===//

Grid attentionMergeGrid(const CachedAttentionSpec &spec) {
  return {{{spec.heads, 1}}};
}

int64_t attentionMergeScratchBytes(const CachedAttentionSpec &spec) {
  return spec.headDim * int64_t(sizeof(float));
}

void emitAttentionMerge(KernelBuilder &b, const CachedAttentionSpec &spec) {
  CacheAccess cache(b, spec);
  // Rows before the last group are never so few.
  Value groups = b.divCeil(b.extent(spec.rows), kParts * getTaskRows(spec));
  RowGroup rows(b, spec, b.sub(groups, b.idx(1)));
  Value isSpread = b.less(b.idx(1), rows.spread);
  Value count = arith::SelectOp::create(b, isSpread, rows.rows, b.idx(0));
  auto forColumns = [&](llvm::function_ref<void(Value, unsigned, Value)> body) {
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1, body);
  };
  b.loop(b.idx(0), count, 1, [&](Value rowInGroup) {
    Value row = b.add(rows.first, rowInGroup);
    Value position = cache.position(row);
    ChunkRange chunks(b, firstSeen(b, spec, position), position);
    Value number = b.sub(chunks.end, chunks.first);
    b.ifThen(b.less(b.idx(1), number), [&] {
      forColumns([&](Value i, unsigned width, Value) {
        b.store(b.constF32(0, width), b.scratch(), i);
      });
      SmallVector<Value> state = {b.constF32(kLeastScore), b.constF32(0)};
      state = b.loop(
          b.idx(0), number, 1, state,
          [&](Value chunk, ValueRange so) -> SmallVector<Value> {
            Value partial =
                b.gep(b.getF32Type(), b.ptr(spec.ptrPartials),
                      partialAt(b, spec, rowInGroup, b.task(), chunk));
            auto load = [&](int64_t i) {
              return b.load(b.getF32Type(), partial, b.idx(i));
            };
            Merge merge(b, so[0], so[1], load(spec.headDim),
                        load(spec.headDim + 1));
            forColumns([&](Value i, unsigned width, Value count) {
              Value old =
                  b.loadVecPartial(b.vecF32(width), b.scratch(), i, count);
              Value chunkSum =
                  b.loadVecPartial(b.vecF32(width), partial, i, count);
              b.storePartial(Merge::apply(b, old, chunkSum, merge.oldFactor,
                                          merge.newFactor),
                             b.scratch(), i, count);
            });
            return {merge.largest, merge.sum};
          });
      storeQuotient(b, spec, b.scratch(), state[1], row, b.task());
    });
  });
}

} // namespace pare::cpu
