//===- Cache.cpp - Keys and values of earlier positions -------------------===//
#include "backends/cpu/kernels/Cache.h"
#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include <limits>

using namespace mlir;
using namespace pare::cpu;

namespace {

constexpr int64_t kAppendRows = 4;
/// Rows of one task of attention.
constexpr int64_t kRowBlock = 8;
/// Positions whose scores are held at once. Blocks begin at multiples of it, so
/// that they do not depend on where a row's window begins.
constexpr int64_t kKeyBlock = 256;
/// Query vectors that share the loads of a tile.
constexpr int64_t kMaxTile = 6;
/// Columns of values that a tile accumulates at once.
constexpr int64_t kValueLanes = 16;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kLog2e = 1.44269504f;

/// The cache that rows see, as pointers.
class CacheAt {
public:
  CacheAt(KernelBuilder &b, const CacheSpec &spec) : b(b), spec(spec) {}

  /// An i32 of a row as an index.
  Value number(unsigned ptr, Value row) {
    return b.toIndex(b.load(b.getI32Type(), b.ptr(ptr), row));
  }
  /// The keys of a head of a row's sequence.
  Value keys(Value sequence, Value head) { return region(sequence, head); }
  Value values(Value sequence, Value head) {
    return region(sequence, b.add(head, spec.kvHeads));
  }
  /// Where positions go on after capacity: at the start.
  Value wrap(Value position) { return b.rem(position, spec.capacity); }

private:
  Value region(Value sequence, Value index) {
    Type pointer = LLVM::LLVMPointerType::get(b.getContext());
    Value base = b.load(pointer, b.ptr(spec.ptrCaches), sequence);
    Value bytes = b.add(b.extent(spec.offset), b.mul(index, spec.regionBytes));
    return b.gep(b.getI8Type(), base, bytes);
  }

  KernelBuilder &b;
  const CacheSpec &spec;
};

} // namespace

//===----------------------------------------------------------------------===//
// Append
//===----------------------------------------------------------------------===//

Grid pare::cpu::cacheAppendGrid(const CacheAppendSpec &spec) {
  return {{{spec.rows, kAppendRows}}};
}

void pare::cpu::emitCacheAppend(KernelBuilder &b, const CacheAppendSpec &spec) {
  CacheAt cache(b, spec);
  unsigned lanes = b.isa().f32Lanes;
  Value first = b.mul(b.task(), kAppendRows);
  Value last = b.minIdx(b.add(first, kAppendRows), b.extent(spec.rows));
  b.loop(first, last, 1, [&](Value row) {
    Value sequence = cache.number(spec.ptrSequences, row);
    Value position = cache.wrap(cache.number(spec.ptrPositions, row));
    Value block = b.divFloor(position, kCacheBlock),
          lane = b.rem(position, kCacheBlock);
    Value key = b.add(b.mul(block, kCacheBlock * spec.headDim), lane),
          value = b.mul(position, spec.headDim);
    b.loop(b.idx(0), b.idx(spec.kvHeads), 1, [&](Value head) {
      Value keys = cache.keys(sequence, head),
            values = cache.values(sequence, head);
      Value from = b.mul(b.add(b.mul(row, spec.kvHeads), head), spec.headDim);
      forVectors(b, b.idx(spec.headDim), lanes, 1,
                 [&](Value i, unsigned width, Value count) {
                   auto load = [&](unsigned ptr) {
                     return b.loadVecPartial(b.vecF32(width), b.ptr(ptr),
                                             b.add(from, i), count);
                   };
                   storeStrided(b, spec.type, load(spec.ptrKey), keys,
                                b.add(key, b.mul(i, kCacheBlock)),
                                b.idx(kCacheBlock), count);
                   storeAs(b, spec.type, load(spec.ptrValue), values,
                           b.add(value, i), count);
                 });
    });
  });
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

namespace {

/// How the query heads of a key head fall into tasks and tiles.
struct HeadSplit {
  int64_t perTask; ///< query heads of one task
  int64_t tasks;   ///< per key head

  explicit HeadSplit(const CachedAttentionSpec &spec) {
    int64_t group = spec.heads / spec.kvHeads;
    // A single key head is work for two threads still.
    perTask = spec.kvHeads > 1 ? group : (group + 1) / 2;
    tasks = (group + perTask - 1) / perTask;
  }
  int64_t tileRows() const { return std::max<int64_t>(1, kMaxTile / perTask); }
};

/// Query vectors that are worked on together: heads [firstHead, + heads) of
/// rows [row, + rows), all of one sequence.
struct Tile {
  Value row, firstHead; ///< firstHead: among all query heads
  int64_t rows, heads;
  int64_t size() const { return rows * heads; }
};

class Attention {
public:
  Attention(KernelBuilder &b, const CachedAttentionSpec &spec)
      : b(b), spec(spec), cache(b, spec), split(spec) {}

  void emit();

private:
  void rowsOfOneSequence(Value begin, Value end, Value firstHead, Value heads);
  void tile(const Tile &tile);
  SmallVector<Value> scores(const Tile &tile, Value from, Value to,
                            Value blockStart, ArrayRef<Value> largest);
  void addValues(const Tile &tile, Value from, Value to, Value blockStart,
                 ArrayRef<Value> corrections);

  Value addF(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value subF(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mulF(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value lessEqual(Value x, Value y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, x, y);
  }

  /// Scratch: scores [tile][kKeyBlock], then results [tile][headDim].
  Value scoreAt(int64_t vector, Value position) {
    return b.add(position, vector * kKeyBlock);
  }
  Value resultAt(int64_t vector, Value column) {
    return b.add(column, kMaxTile * kKeyBlock + vector * spec.headDim);
  }
  /// Element of the query, and of the result, at which a vector begins.
  Value vectorAt(const Tile &tile, int64_t vector) {
    Value row = b.add(tile.row, vector / tile.heads),
          head = b.add(tile.firstHead, vector % tile.heads);
    return b.mul(b.add(b.mul(row, spec.heads), head), spec.headDim);
  }

  KernelBuilder &b;
  const CachedAttentionSpec &spec;
  CacheAt cache;
  HeadSplit split;
  // Of the tile at work.
  Value keys, values;
  SmallVector<Value> positions, firsts; ///< of its rows
};

void Attention::emit() {
  Value blocks = b.divCeil(b.extent(spec.rows), kRowBlock);
  Value begin = b.mul(b.rem(b.task(), blocks), kRowBlock);
  Value end = b.minIdx(b.add(begin, kRowBlock), b.extent(spec.rows));
  Value part = b.divFloor(b.task(), blocks);
  Value kvHead = b.divFloor(part, split.tasks);
  int64_t group = spec.heads / spec.kvHeads;
  Value inGroup = b.mul(b.rem(part, split.tasks), split.perTask);
  Value firstHead = b.add(b.mul(kvHead, group), inGroup);
  Value heads = b.minIdx(b.idx(split.perTask), b.sub(b.idx(group), inGroup));

  // Neighbouring rows share a tile where their sequence is the same.
  int64_t most = split.tileRows();
  auto sequenceOf = [&](Value row) {
    return cache.number(spec.ptrSequences, row);
  };
  auto headsOf = [&](Value row, int64_t rows) {
    Value sequence = sequenceOf(row);
    keys = cache.keys(sequence, kvHead);
    values = cache.values(sequence, kvHead);
    int64_t perTile = std::min(split.perTask, kMaxTile);
    b.loop(b.idx(0), b.divFloor(heads, perTile), 1, [&](Value t) {
      tile({row, b.add(firstHead, b.mul(t, perTile)), rows, perTile});
    });
    if (perTile == 1)
      return;
    Value done = b.mul(b.divFloor(heads, perTile), perTile);
    b.loop(done, heads, 1,
           [&](Value h) { tile({row, b.add(firstHead, h), rows, 1}); });
  };
  if (most == 1) {
    b.loop(begin, end, 1, [&](Value row) { headsOf(row, 1); });
    return;
  }
  // Whole tiles while their rows are of one sequence; then row by row.
  b.loop(begin, end, most, [&](Value row) {
    Value tileEnd = b.minIdx(b.add(row, most), end);
    Value last = b.sub(tileEnd, b.idx(1));
    Value isWhole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                          b.sub(tileEnd, row), b.idx(most));
    Value same = isWhole;
    for (int64_t i = 1; i < most; ++i) {
      Value other = b.minIdx(b.add(row, i), last);
      same = arith::AndIOp::create(
          b, same,
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, sequenceOf(row),
                                sequenceOf(other)));
    }
    b.ifThen(
        same, [&] { headsOf(row, most); },
        [&] {
          b.loop(row, tileEnd, 1, [&](Value single) { headsOf(single, 1); });
        });
  });
}

void Attention::tile(const Tile &t) {
  positions.clear();
  firsts.clear();
  for (int64_t i = 0; i < t.rows; ++i) {
    Value position = cache.number(spec.ptrPositions, b.add(t.row, i));
    positions.push_back(position);
    firsts.push_back(
        spec.window == 0
            ? b.idx(0)
            : b.maxIdx(b.idx(0), b.sub(position, b.idx(spec.window - 1))));
  }
  Value first = firsts.front(), last = positions.front();
  for (int64_t i = 1; i < t.rows; ++i) {
    first = b.minIdx(first, firsts[i]);
    last = b.maxIdx(last, positions[i]);
  }
  Value end = b.add(last, 1);

  Value zero = b.constF32(0, b.isa().f32Lanes);
  for (int64_t v = 0; v < t.size(); ++v)
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 b.storePartial(
                     width == b.isa().f32Lanes ? zero : b.constF32(0, width),
                     b.scratch(), resultAt(v, i), count);
               });

  // Running maxima and sums of each vector.
  SmallVector<Value> state;
  for (int64_t v = 0; v < t.size(); ++v)
    state.push_back(b.constF32(-kLargest));
  for (int64_t v = 0; v < t.size(); ++v)
    state.push_back(b.constF32(0));
  Value firstBlock = b.mul(b.divFloor(first, kKeyBlock), kKeyBlock);
  SmallVector<Value> final = b.loop(
      firstBlock, end, kKeyBlock, state,
      [&](Value block, ValueRange iters) -> SmallVector<Value> {
        Value to = b.minIdx(b.add(block, kKeyBlock), end);
        Value from =
            b.maxIdx(block, b.mul(b.divFloor(first, kCacheBlock), kCacheBlock));
        SmallVector<Value> old(iters.begin(), iters.begin() + t.size()),
            sums(iters.begin() + t.size(), iters.end());
        SmallVector<Value> largest = scores(t, from, to, block, old);
        SmallVector<Value> corrections, result(largest);
        for (int64_t v = 0; v < t.size(); ++v) {
          corrections.push_back(buildExp2Flush(b, subF(old[v], largest[v])));
          // Powers of two in place of the scores, and their sum.
          Value maximum = b.splat(largest[v], kCacheBlock);
          SmallVector<Value> total =
              b.loop(from, to, kCacheBlock, b.constF32(0, kCacheBlock),
                     [&](Value p, ValueRange acc) -> SmallVector<Value> {
                       Value at = scoreAt(v, b.sub(p, block));
                       Value score =
                           b.loadVec(b.vecF32(kCacheBlock), b.scratch(), at);
                       Value power = buildExp2Flush(b, subF(score, maximum));
                       b.store(power, b.scratch(), at);
                       return {addF(acc[0], power)};
                     });
          Value sum = foldLanes(b, total[0], 0,
                                [&](Value x, Value y) { return addF(x, y); });
          sums[v] = b.fma(sums[v], corrections[v], sum);
        }
        addValues(t, b.maxIdx(block, first), to, block, corrections);
        result.append(sums);
        return result;
      });

  for (int64_t v = 0; v < t.size(); ++v) {
    Value sum = final[t.size() + v];
    Value out = vectorAt(t, v);
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 Value x = b.loadVecPartial(b.vecF32(width), b.scratch(),
                                            resultAt(v, i), count);
                 x = arith::DivFOp::create(b, x, b.splat(sum, width));
                 b.storePartial(x, b.ptr(spec.ptrOut), b.add(out, i), count);
               });
  }
}

/// Scores of positions [from, to), in units of log 2, into scratch; returns the
/// maxima so far. `from` begins a block of the cache.
SmallVector<Value> Attention::scores(const Tile &t, Value from, Value to,
                                     Value blockStart,
                                     ArrayRef<Value> largest) {
  SmallVector<Value> queries, init;
  for (int64_t v = 0; v < t.size(); ++v) {
    queries.push_back(vectorAt(t, v));
    init.push_back(b.splat(largest[v], kCacheBlock));
  }
  auto laneNumbers = llvm::to_vector(llvm::seq<int32_t>(0, kCacheBlock));
  Value lanes = arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get(kCacheBlock, b.getI32Type()),
                                ArrayRef(laneNumbers)));
  SmallVector<Value> maxima = b.loop(
      from, to, kCacheBlock, init,
      [&](Value p, ValueRange running) -> SmallVector<Value> {
        Value block = b.mul(cache.wrap(p), spec.headDim);
        SmallVector<Value> start(t.size(), b.constF32(0, kCacheBlock));
        SmallVector<Value> dots =
            b.loop(b.idx(0), b.idx(spec.headDim), 1, start,
                   [&](Value d, ValueRange acc) -> SmallVector<Value> {
                     Value key = loadAs(b, spec.type, keys,
                                        b.add(block, b.mul(d, kCacheBlock)),
                                        kCacheBlock);
                     SmallVector<Value> next;
                     for (int64_t v = 0; v < t.size(); ++v)
                       next.push_back(
                           b.fma(loadSplat(b, PARE_F32, b.ptr(spec.ptrQuery),
                                           b.add(queries[v], d), kCacheBlock),
                                 key, acc[v]));
                     return next;
                   });
        Value numbers =
            arith::AddIOp::create(b, b.splat(b.toI32(p), kCacheBlock), lanes);
        SmallVector<Value> next;
        for (int64_t v = 0; v < t.size(); ++v) {
          int64_t row = v / t.heads;
          Value score = dots[v];
          if (spec.softCap > 0) {
            score =
                mulF(score, b.constF32(spec.scale / spec.softCap, kCacheBlock));
            score = mulF(buildTanh(b, score),
                         b.constF32(spec.softCap * kLog2e, kCacheBlock));
          } else {
            score = mulF(score, b.constF32(spec.scale * kLog2e, kCacheBlock));
          }
          Value seen =
              lessEqual(numbers, b.splat(b.toI32(positions[row]), kCacheBlock));
          if (spec.window > 0)
            seen = arith::AndIOp::create(
                b, seen,
                lessEqual(b.splat(b.toI32(firsts[row]), kCacheBlock), numbers));
          score = arith::SelectOp::create(b, seen, score,
                                          b.constF32(-kInfinity, kCacheBlock));
          b.store(score, b.scratch(), scoreAt(v, b.sub(p, blockStart)));
          next.push_back(maxFloat(b, score, running[v]));
        }
        return next;
      });
  SmallVector<Value> result;
  for (Value maximum : maxima)
    result.push_back(foldLanes(
        b, maximum, 0, [&](Value x, Value y) { return maxFloat(b, x, y); }));
  return result;
}

/// results = results · correction + Σ power · value over positions [from, to).
void Attention::addValues(const Tile &t, Value from, Value to, Value blockStart,
                          ArrayRef<Value> corrections) {
  forVectors(
      b, b.idx(spec.headDim), kValueLanes, 1,
      [&](Value column, unsigned width, Value count) {
        SmallVector<Value> init;
        for (int64_t v = 0; v < t.size(); ++v)
          init.push_back(mulF(b.loadVecPartial(b.vecF32(width), b.scratch(),
                                               resultAt(v, column), count),
                              b.splat(corrections[v], width)));
        // Positions of one block of the cache do not wrap.
        Value firstBlock = b.mul(b.divFloor(from, kCacheBlock), kCacheBlock);
        SmallVector<Value> sums = b.loop(
            firstBlock, to, kCacheBlock, init,
            [&](Value block, ValueRange outer) -> SmallVector<Value> {
              Value place = b.sub(cache.wrap(block), block);
              return b.loop(
                  b.maxIdx(block, from),
                  b.minIdx(b.add(block, kCacheBlock), to), 1, outer,
                  [&](Value p, ValueRange acc) -> SmallVector<Value> {
                    Value value = loadAs(
                        b, spec.type, values,
                        b.add(b.mul(b.add(place, p), spec.headDim), column),
                        width, count);
                    SmallVector<Value> next;
                    for (int64_t v = 0; v < t.size(); ++v)
                      next.push_back(b.fma(
                          loadSplat(b, PARE_F32, b.scratch(),
                                    scoreAt(v, b.sub(p, blockStart)), width),
                          value, acc[v]));
                    return next;
                  });
            });
        for (int64_t v = 0; v < t.size(); ++v)
          b.storePartial(sums[v], b.scratch(), resultAt(v, column), count);
      });
}

} // namespace

Grid pare::cpu::cachedAttentionGrid(const CachedAttentionSpec &spec) {
  return {{{spec.rows, kRowBlock}, {spec.kvHeads * HeadSplit(spec).tasks, 1}}};
}

int64_t
pare::cpu::cachedAttentionScratchBytes(const CachedAttentionSpec &spec) {
  return kMaxTile * (kKeyBlock + spec.headDim) * int64_t(sizeof(float));
}

void pare::cpu::emitCachedAttention(KernelBuilder &b,
                                    const CachedAttentionSpec &spec) {
  Attention(b, spec).emit();
}
