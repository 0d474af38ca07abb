//===- CachedAttention.cpp - Attention to earlier positions ---------------===//
//
// The query vectors of a task, those of a key head's query heads for some rows,
// are worked on in tiles that share the loads of keys and values. Many vectors
// share the conversion of a chunk to f32 as well.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/AttentionChunks.h"
#include "backends/cpu/kernels/CacheAccess.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace pare::cpu;

namespace {

/// Positions of a vector of scores.
constexpr int64_t kLanes = kCacheBlock;
/// Registers of keys or values that a tile is multiplied with, at most.
constexpr int64_t kMaxParts = 8;

/// Bytes of keys between a read and the prefetch at the same time.
constexpr int64_t kPrefetched = 4096;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2e = 1.44269504f;

/// What a task works with, as offsets in floats of its scratch.
struct Scratch {
  int64_t vectors;
  int64_t queries, scores, results; ///< [vectors][headDim or kChunk]
  int64_t maxima, sums;             ///< [vectors], so far
  int64_t oldFactors, newFactors;   ///< [vectors], of a merge
  int64_t positions, firsts;        ///< i32 [vectors]: what a vector sees
  int64_t keys, values;             ///< a block, 16 columns of a chunk, as f32
  int64_t floats;

  explicit Scratch(const CachedAttentionSpec &spec)
      : vectors(getTaskRows(spec) * getGroup(spec)) {
    int64_t next = 0;
    auto take = [&](int64_t count) {
      int64_t at = next;
      next += int64_t(llvm::alignTo(count, kLanes));
      return at;
    };
    queries = take(vectors * spec.headDim);
    scores = take(vectors * kChunk);
    results = take(vectors * spec.headDim);
    for (int64_t *each :
         {&maxima, &sums, &oldFactors, &newFactors, &positions, &firsts})
      *each = take(vectors);
    keys = take(kLanes * spec.headDim);
    values = take(kLanes * kChunk);
    floats = next;
  }
};

class Attention {
public:
  Attention(KernelBuilder &b, const CachedAttentionSpec &spec)
      : b(b), spec(spec), cache(b, spec), at(spec), group(getGroup(spec)),
        width(b.isa().f32Lanes), f32(b.getF32Type()) {
    while (largestTile > 1 && !fits(largestTile, kLanes / width))
      --largestTile;
  }

  void emit();

private:
  /// Registers of columns of values from `first` on; a single one may end
  /// after `count` lanes.
  struct Columns {
    Value first;
    int64_t parts;
    Value count;
  };

  void rowsOfOneSequence(const RowGroup &rows, Value part, Value row,
                         Value end);
  void prepareVectors(Value row);
  void resetResults();
  void chunk(Value index, Value first, Value last);
  SmallVector<Value> addProducts(ValueRange acc, int64_t size,
                                 llvm::function_ref<Value(int64_t)> left,
                                 llvm::function_ref<Value(int64_t)> right);
  void scores(Value from, Value to);
  void scoresOfConverted(Value from, Value to);
  void scoresOfBlocks(Value vector, int64_t size, Value position,
                      int64_t blocks, Value converted);
  void prefetchBehind(Value keys, Value d, int64_t blocks);
  void softmax(Value from, Value to);
  void softmaxOfVector(Value vector, Value from, Value to);
  void values(Value from, Value to);
  void valuesOfConverted(Value from, Value to);
  SmallVector<Value> forPositions(
      Value from, Value to, ValueRange init,
      llvm::function_ref<SmallVector<Value>(Value block, Value position,
                                            ValueRange carried)>
          body);
  Value loadValue(Value block, Value position, const Columns &columns,
                  int64_t part);
  void valuesOfTile(Value vector, int64_t size, Value from, Value to,
                    const Columns &columns, Value converted);
  void storePartials(Value rowInGroup, Value chunkNumber);
  void storeResults(Value row);

  //===--- Helpers --------------------------------------------------------===//

  Value addF(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value mulF(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value equal(Value x, Value y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
  }
  Value lessEqual(Value x, Value y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, x, y);
  }
  Value roundDown(Value x, int64_t multiple) {
    return b.mul(b.divFloor(x, multiple), multiple);
  }
  Value scratch(int64_t floats) {
    return b.gep(f32, b.scratch(), b.idx(floats));
  }
  Value load(int64_t array, Value vector) {
    return b.load(f32, scratch(array), vector);
  }
  void store(Value x, int64_t array, Value vector) {
    b.store(x, scratch(array), vector);
  }
  Value loadNumber(int64_t array, Value vector) {
    return b.load(b.getI32Type(), scratch(array), vector);
  }
  /// Where in `scores` a position of the chunk at work is.
  Value scoreAt(Value vector, Value position) {
    return b.add(b.mul(vector, kChunk), b.sub(position, chunkStart));
  }
  Value laneNumbers() {
    auto numbers = llvm::to_vector(llvm::seq<int32_t>(0, kLanes));
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(VectorType::get(kLanes, b.getI32Type()),
                                  ArrayRef(numbers)));
  }
  /// Elements of a block of the cache as f32, without their scales.
  Value loadElements(Value block, Value offset, unsigned lanes,
                     Value count = {}) {
    Value elements = loadAs(b, spec.type, block, offset, lanes, count);
    if (!cache.hasScales())
      return elements;
    return arith::SIToFPOp::create(b, b.vecF32(lanes), elements);
  }
  Value loadScales(Value region, Value position) {
    return b.loadVec(b.vecF32(kLanes),
                     cache.scales(cache.block(region, position)), b.idx(0));
  }

  /// Calls `body(vector, size)` for tiles that cover all vectors.
  void forTiles(llvm::function_ref<void(Value vector, int64_t size)> body) {
    SmallVector<int64_t> sizes = {std::min(largestTile, at.vectors)};
    for (int64_t size : {group % largestTile, int64_t(1)})
      if (size > 0 && size < sizes.back())
        sizes.push_back(size);
    Value done = b.idx(0);
    for (int64_t size : sizes) {
      Value end = b.add(done, roundDown(b.sub(vectors, done), size));
      b.loop(done, end, size, [&](Value vector) { body(vector, size); });
      done = end;
    }
  }
  /// Whether a product of `size` scalars by `parts` registers has its sums and
  /// what it reads in registers, and `left` more.
  bool fits(int64_t size, int64_t parts, int64_t left = 1) const {
    int64_t used = size * parts + std::min(size, parts) + 1;
    return used + left <= b.isa().vectorRegs;
  }
  /// Registers of a row that a tile of `size` vectors is multiplied with.
  int64_t partsOf(int64_t size) const {
    int64_t parts = 1;
    while (parts < kMaxParts && fits(size, parts + 1))
      ++parts;
    return parts;
  }
  /// The positions of [from, to) that some vector of a tile sees.
  std::pair<Value, Value> seenBy(Value vector, int64_t size, Value from,
                                 Value to) {
    Value last = loadNumber(at.positions, vector),
          first = loadNumber(at.firsts, vector);
    for (int64_t v = 1; v < size; ++v) {
      last = arith::MaxSIOp::create(b, last,
                                    loadNumber(at.positions, b.add(vector, v)));
      first = arith::MinSIOp::create(b, first,
                                     loadNumber(at.firsts, b.add(vector, v)));
    }
    return {b.maxIdx(from, b.toIndex(first)),
            b.minIdx(to, b.add(b.toIndex(last), 1))};
  }

  KernelBuilder &b;
  const CachedAttentionSpec &spec;
  CacheAccess cache;
  Scratch at;
  int64_t group;
  int64_t width; ///< f32 lanes of a register
  int64_t largestTile = 12;
  Type f32;
  // Of the rows at work.
  Value keyRegion, valueRegion, firstHead, vectors;
  Value chunkStart; ///< position
};

void Attention::emit() {
  Value groups = b.divCeil(b.extent(spec.rows), kParts * getTaskRows(spec));
  RowGroup rows(b, spec, b.rem(b.task(), groups));
  Value rest = b.divFloor(b.task(), groups);
  Value part = b.rem(rest, kParts), kvHead = b.divFloor(rest, kParts);
  firstHead = b.mul(kvHead, group);

  Value each = b.divCeil(rows.rows, kParts);
  Value begin = b.mul(b.divFloor(part, rows.spread), each);
  Value end = b.add(rows.first, b.minIdx(b.add(begin, each), rows.rows));
  begin = b.add(rows.first, begin);
  b.loop(begin, end, 1, [&](Value row) {
    // Neighbouring rows of one sequence are taken at once, with the first.
    Value sequence = cache.sequence(row);
    Value before = b.maxIdx(begin, b.sub(row, b.idx(1)));
    Value isFirst = arith::OrIOp::create(
        b, equal(row, begin),
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne, sequence,
                              cache.sequence(before)));
    b.ifThen(isFirst, [&] {
      Value next = b.add(row, 1);
      Value last = b.loop(
          next, end, 1, next,
          [&](Value other, ValueRange reached) -> SmallVector<Value> {
            Value joins =
                arith::AndIOp::create(b, equal(other, reached[0]),
                                      equal(sequence, cache.sequence(other)));
            return {
                arith::SelectOp::create(b, joins, b.add(other, 1), reached[0])};
          })[0];
      keyRegion = cache.keys(sequence, kvHead);
      valueRegion = cache.values(sequence, kvHead);
      rowsOfOneSequence(rows, b.rem(part, rows.spread), row, last);
    });
  });
}

/// Rows [row, end); of their chunks, where they are spread, those of one part.
void Attention::rowsOfOneSequence(const RowGroup &rows, Value part, Value row,
                                  Value end) {
  vectors = b.mul(b.sub(end, row), group);
  SmallVector<Value> seen =
      b.loop(row, end, 1, {b.idx(INT32_MAX), b.idx(0)},
             [&](Value r, ValueRange so) -> SmallVector<Value> {
               Value position = cache.position(r);
               return {b.minIdx(so[0], firstSeen(b, spec, position)),
                       b.maxIdx(so[1], position)};
             });
  Value first = seen[0], last = b.add(seen[1], 1);
  ChunkRange chunks(b, first, seen[1]);
  Value count = b.sub(chunks.end, chunks.first);
  Value own =
      b.divFloor(b.add(count, b.sub(rows.spread, b.idx(1))), rows.spread);
  b.ifThen(b.less(b.mul(part, own), count), [&] {
    // A single chunk is the result.
    Value isSpread = arith::AndIOp::create(b, b.less(b.idx(1), rows.spread),
                                           b.less(b.idx(1), count));
    prepareVectors(row);
    resetResults();
    Value begin = b.mul(part, own);
    b.loop(begin, b.minIdx(b.add(begin, own), count), 1, [&](Value number) {
      chunk(b.add(chunks.first, number), first, last);
      b.ifThen(isSpread, [&] {
        storePartials(b.sub(row, rows.first), number);
        resetResults();
      });
    });
    b.ifThen(isSpread, [] {}, [&] { storeResults(row); });
  });
}

/// Scales the queries and notes what each may see.
void Attention::prepareVectors(Value row) {
  float scale = spec.scale;
  scale *= spec.softCap > 0 ? 1 / spec.softCap : kLog2e;
  b.loop(b.idx(0), vectors, 1, [&](Value v) {
    Value own = b.add(row, b.divFloor(v, group));
    Value head = b.add(firstHead, b.rem(v, group));
    Value position = cache.position(own);
    b.store(b.toI32(position), scratch(at.positions), v);
    b.store(b.toI32(firstSeen(b, spec, position)), scratch(at.firsts), v);
    Value from = b.mul(b.add(b.mul(own, spec.heads), head), spec.headDim);
    Value to = b.mul(v, spec.headDim);
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 Value query =
                     b.loadVecPartial(b.vecF32(width), b.ptr(spec.ptrQuery),
                                      b.add(from, i), count);
                 b.storePartial(mulF(query, b.constF32(scale, width)),
                                scratch(at.queries), b.add(to, i), count);
               });
  });
}

void Attention::resetResults() {
  b.loop(b.idx(0), vectors, 1, [&](Value v) {
    store(b.constF32(kLeastScore), at.maxima, v);
    store(b.constF32(0), at.sums, v);
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 b.storePartial(b.constF32(0, width), scratch(at.results),
                                b.add(b.mul(v, spec.headDim), i), count);
               });
  });
}

/// Adds what positions [first, last) of a chunk give to the results.
void Attention::chunk(Value index, Value first, Value last) {
  chunkStart = b.mul(index, kChunk);
  Value from = b.maxIdx(chunkStart, first),
        to = b.minIdx(b.add(chunkStart, kChunk), last);
  if (spec.type == PARE_F32) {
    scores(from, to);
    softmax(from, to);
    values(from, to);
    return;
  }
  Value isMany = b.less(b.idx(2 * largestTile), vectors);
  b.ifThen(
      isMany, [&] { scoresOfConverted(from, to); }, [&] { scores(from, to); });
  softmax(from, to);
  b.ifThen(
      isMany, [&] { valuesOfConverted(from, to); }, [&] { values(from, to); });
}

/// acc + Σ left(v) · right(i): sums of `size` scalars, in all lanes, by each
/// part of a row. What is used more often stays in registers.
SmallVector<Value>
Attention::addProducts(ValueRange acc, int64_t size,
                       llvm::function_ref<Value(int64_t)> left,
                       llvm::function_ref<Value(int64_t)> right) {
  SmallVector<Value> sums(acc);
  int64_t parts = int64_t(acc.size()) / size;
  if (parts < size) {
    SmallVector<Value> row;
    for (int64_t i = 0; i < parts; ++i)
      row.push_back(right(i));
    for (int64_t v = 0; v < size; ++v) {
      Value scalar = left(v);
      for (int64_t i = 0; i < parts; ++i)
        sums[v * parts + i] = b.fma(scalar, row[i], sums[v * parts + i]);
    }
    return sums;
  }
  SmallVector<Value> scalars;
  for (int64_t v = 0; v < size; ++v)
    scalars.push_back(left(v));
  scalars = b.inOrder(scalars);
  for (int64_t i = 0; i < parts; ++i) {
    Value part = b.inOrder(right(i)).front();
    for (int64_t v = 0; v < size; ++v)
      sums[v * parts + i] = b.fma(scalars[v], part, sums[v * parts + i]);
  }
  return sums;
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// Reads keys where they lie.
void Attention::scores(Value from, Value to) {
  forTiles([&](Value vector, int64_t size) {
    auto [first, last] = seenBy(vector, size, from, to);
    int64_t blocks = 1;
    while (2 * blocks * kLanes <= kMaxParts * width &&
           fits(size, 2 * blocks * kLanes / width, /*left=*/0))
      blocks *= 2;
    b.loop(roundDown(first, blocks * kLanes), last, blocks * kLanes,
           [&](Value position) {
             scoresOfBlocks(vector, size, position, blocks, Value());
           });
  });
}

/// Converts each block of keys once for all tiles.
void Attention::scoresOfConverted(Value from, Value to) {
  b.loop(roundDown(from, kLanes), to, kLanes, [&](Value position) {
    Value block = cache.block(keyRegion, position), keys = scratch(at.keys);
    b.loop(b.idx(0), b.idx(kLanes * spec.headDim), kLanes,
           [&](Value i) { b.store(loadElements(block, i, kLanes), keys, i); });
    forTiles([&](Value vector, int64_t size) {
      auto [first, last] = seenBy(vector, size, from, to);
      Value isSeen = arith::AndIOp::create(
          b, b.less(position, last), b.less(first, b.add(position, kLanes)));
      b.ifThen(isSeen,
               [&] { scoresOfBlocks(vector, size, position, 1, keys); });
    });
  });
}

/// A single stream of reads gets half of what memory gives: while keys are
/// multiplied, later keys and the values of the same positions are asked for.
void Attention::prefetchBehind(Value keys, Value d, int64_t blocks) {
  int64_t bytes = blocks * kLanes * elementBytes(spec.type);
  Value later = b.gep(b.getI8Type(), keys, b.mul(d, bytes));
  b.prefetch(b.gep(b.getI8Type(), later, b.idx(kPrefetched)), bytes);
  b.prefetch(
      b.gep(b.getI8Type(), later, b.idx(spec.kvHeads * spec.regionBytes)),
      bytes);
}

/// Scores of a tile by the blocks of 16 keys from `position` on, in units of
/// log 2. `converted`: the one block as f32, or null.
void Attention::scoresOfBlocks(Value vector, int64_t size, Value position,
                               int64_t blocks, Value converted) {
  SmallVector<Value> starts, keys, queries;
  for (int64_t k = 0; k < blocks; ++k) {
    starts.push_back(b.add(position, k * kLanes));
    keys.push_back(converted ? converted
                             : cache.block(keyRegion, starts.back()));
  }
  for (int64_t v = 0; v < size; ++v)
    queries.push_back(b.mul(b.add(vector, v), spec.headDim));
  int64_t parts = kLanes / width;
  SmallVector<Value> zeros(size * blocks * parts, b.constF32(0, width));
  SmallVector<Value> sums =
      b.loop(b.idx(0), b.idx(spec.headDim), 1, zeros,
             [&](Value d, ValueRange acc) -> SmallVector<Value> {
               if (!converted)
                 prefetchBehind(keys.front(), d, blocks);
               auto loadKey = [&](int64_t i) {
                 Value offset =
                     b.add(b.mul(d, kLanes), b.idx(i % parts * width));
                 Value block = keys[i / parts];
                 return converted ? b.loadVec(b.vecF32(width), block, offset)
                                  : loadElements(block, offset, width);
               };
               auto loadQuery = [&](int64_t v) {
                 return loadSplat(b, PARE_F32, scratch(at.queries),
                                  b.add(queries[v], d), width);
               };
               return addProducts(acc, size, loadQuery, loadKey);
             });
  SmallVector<Value> dots;
  for (int64_t i = 0; i < size * blocks; ++i)
    dots.push_back(b.concat(ArrayRef(sums).slice(i * parts, parts)));
  for (int64_t k = 0; k < blocks; ++k) {
    Value numbers = arith::AddIOp::create(
        b, b.splat(b.toI32(starts[k]), kLanes), laneNumbers());
    Value scales =
        cache.hasScales() ? loadScales(keyRegion, starts[k]) : Value();
    for (int64_t v = 0; v < size; ++v) {
      Value score = dots[v * blocks + k];
      if (scales)
        score = mulF(score, scales);
      if (spec.softCap > 0)
        score = mulF(buildTanh(b, score),
                     b.constF32(spec.softCap * kLog2e, kLanes));
      Value own = b.add(vector, v);
      Value seen =
          lessEqual(numbers, b.splat(loadNumber(at.positions, own), kLanes));
      if (spec.window > 0)
        seen = arith::AndIOp::create(
            b, seen,
            lessEqual(b.splat(loadNumber(at.firsts, own), kLanes), numbers));
      score = arith::SelectOp::create(b, seen, score,
                                      b.constF32(-kInfinity, kLanes));
      b.store(score, scratch(at.scores), scoreAt(own, starts[k]));
    }
  }
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

void Attention::softmax(Value from, Value to) {
  forTiles([&](Value vector, int64_t size) {
    auto [first, last] = seenBy(vector, size, from, to);
    first = roundDown(first, kLanes);
    b.loop(vector, b.add(vector, size), 1,
           [&](Value own) { softmaxOfVector(own, first, last); });
  });
}

/// Powers of two in place of the scores of [from, to), times the scales of
/// values where they have such.
void Attention::softmaxOfVector(Value vector, Value from, Value to) {
  auto scoreVector = [&](Value position) {
    return b.loadVec(b.vecF32(kLanes), scratch(at.scores),
                     scoreAt(vector, position));
  };
  Value largest = b.loop(from, to, kLanes, b.constF32(kLeastScore, kLanes),
                         [&](Value p, ValueRange acc) -> SmallVector<Value> {
                           return {maxFloat(b, scoreVector(p), acc[0])};
                         })[0];
  largest = foldLanes(b, largest, 0,
                      [&](Value x, Value y) { return maxFloat(b, x, y); });
  Value maximum = b.splat(largest, kLanes);
  Value sum =
      b.loop(from, to, kLanes, b.constF32(0, kLanes),
             [&](Value p, ValueRange acc) -> SmallVector<Value> {
               Value power = buildExp2Flush(
                   b, arith::SubFOp::create(b, scoreVector(p), maximum));
               Value weight = cache.hasScales()
                                  ? mulF(power, loadScales(valueRegion, p))
                                  : power;
               b.store(weight, scratch(at.scores), scoreAt(vector, p));
               return {addF(acc[0], power)};
             })[0];
  sum = foldLanes(b, sum, 0, [&](Value x, Value y) { return addF(x, y); });
  Merge merge(b, load(at.maxima, vector), load(at.sums, vector), largest, sum);
  store(merge.largest, at.maxima, vector);
  store(merge.sum, at.sums, vector);
  store(merge.oldFactor, at.oldFactors, vector);
  store(merge.newFactor, at.newFactors, vector);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Reads values where they lie.
void Attention::values(Value from, Value to) {
  forTiles([&](Value vector, int64_t size) {
    auto [first, last] = seenBy(vector, size, from, to);
    auto visit = [&](Value column, int64_t parts, Value count) {
      valuesOfTile(vector, size, first, last, {column, parts, count}, Value());
    };
    // Passes over the positions that are of nearly one width.
    int64_t whole = spec.headDim / width;
    int64_t most = partsOf(size);
    int64_t passes = int64_t(llvm::divideCeil(whole, most));
    int64_t parts = passes ? int64_t(llvm::divideCeil(whole, passes)) : 0;
    int64_t done = parts ? whole / parts * parts : 0;
    if (done > 0)
      b.loop(b.idx(0), b.idx(done * width), parts * width,
             [&](Value column) { visit(column, parts, Value()); });
    if (done < whole)
      visit(b.idx(done * width), whole - done, Value());
    if (int64_t rest = spec.headDim % width)
      visit(b.idx(whole * width), 1, b.idx(rest));
  });
}

/// Converts some columns of values once for all tiles.
void Attention::valuesOfConverted(Value from, Value to) {
  auto visit = [&](Value column, int64_t parts, Value count) {
    Columns columns{column, parts, count};
    Value panel = scratch(at.values);
    forPositions(from, to, {},
                 [&](Value block, Value p, ValueRange) -> SmallVector<Value> {
                   for (int64_t i = 0; i < parts; ++i)
                     b.store(
                         loadValue(block, p, columns, i), panel,
                         b.add(b.mul(b.sub(p, chunkStart), kLanes), i * width));
                   return {};
                 });
    forTiles([&](Value vector, int64_t size) {
      auto [first, last] = seenBy(vector, size, from, to);
      valuesOfTile(vector, size, first, last, columns, panel);
    });
  };
  int64_t whole = spec.headDim / kLanes * kLanes;
  if (whole > 0)
    b.loop(b.idx(0), b.idx(whole), kLanes,
           [&](Value column) { visit(column, kLanes / width, Value()); });
  for (int64_t i = whole; i < spec.headDim; i += width)
    visit(b.idx(i), 1, b.idx(std::min(width, spec.headDim - i)));
}

/// Visits positions [from, to) with the blocks of values that they are in.
SmallVector<Value> Attention::forPositions(
    Value from, Value to, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value block, Value position,
                                          ValueRange carried)>
        body) {
  return b.loop(roundDown(from, kLanes), to, kLanes, init,
                [&](Value start, ValueRange outer) -> SmallVector<Value> {
                  Value block = cache.block(valueRegion, start);
                  return b.loop(b.maxIdx(start, from),
                                b.minIdx(b.add(start, kLanes), to), 1, outer,
                                [&](Value p, ValueRange inner) {
                                  return body(block, p, inner);
                                });
                });
}

/// Part `i` of the columns of a position.
Value Attention::loadValue(Value block, Value position, const Columns &columns,
                           int64_t i) {
  Value row = b.mul(cache.lane(position), spec.headDim);
  Value column = b.add(columns.first, i * width);
  return loadElements(block, b.add(row, column), width, columns.count);
}

/// Weighted sums of values over [from, to), merged into the results.
/// `converted`: the columns as f32 by position of the chunk, or null.
void Attention::valuesOfTile(Value vector, int64_t size, Value from, Value to,
                             const Columns &columns, Value converted) {
  int64_t parts = columns.parts;
  SmallVector<Value> zeros(size * parts, b.constF32(0, width));
  auto add = [&](Value block, Value position, ValueRange acc) {
    auto loadPart = [&](int64_t i) -> Value {
      if (!converted)
        return loadValue(block, position, columns, i);
      Value row = b.mul(b.sub(position, chunkStart), kLanes);
      return b.loadVec(b.vecF32(width), converted, b.add(row, i * width));
    };
    auto loadWeight = [&](int64_t v) {
      return loadSplat(b, PARE_F32, scratch(at.scores),
                       scoreAt(b.add(vector, v), position), width);
    };
    return addProducts(acc, size, loadWeight, loadPart);
  };
  SmallVector<Value> sums;
  if (converted)
    sums = b.loop(from, to, 1, zeros, [&](Value p, ValueRange acc) {
      return add(Value(), p, acc);
    });
  else
    sums = forPositions(from, to, zeros, add);
  for (int64_t v = 0; v < size; ++v) {
    Value own = b.add(vector, v);
    Value oldFactor = load(at.oldFactors, own),
          newFactor = load(at.newFactors, own);
    for (int64_t i = 0; i < parts; ++i) {
      Value place =
          b.add(b.mul(own, spec.headDim), b.add(columns.first, i * width));
      Value old = b.loadVecPartial(b.vecF32(width), scratch(at.results), place,
                                   columns.count);
      b.storePartial(
          Merge::apply(b, old, sums[v * parts + i], oldFactor, newFactor),
          scratch(at.results), place, columns.count);
    }
  }
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void Attention::storeResults(Value row) {
  b.loop(b.idx(0), vectors, 1, [&](Value v) {
    Value results = b.gep(f32, scratch(at.results), b.mul(v, spec.headDim));
    storeQuotient(b, spec, results, load(at.sums, v),
                  b.add(row, b.divFloor(v, group)),
                  b.add(firstHead, b.rem(v, group)));
  });
}

/// The results of one chunk, of the one row at work.
void Attention::storePartials(Value rowInGroup, Value chunkNumber) {
  b.loop(b.idx(0), vectors, 1, [&](Value v) {
    Value to = partialAt(b, spec, rowInGroup, b.add(firstHead, v), chunkNumber);
    Value partial = b.gep(f32, b.ptr(spec.ptrPartials), to);
    Value from = b.mul(v, spec.headDim);
    forVectors(b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 Value x =
                     b.loadVecPartial(b.vecF32(width), scratch(at.results),
                                      b.add(from, i), count);
                 b.storePartial(x, partial, i, count);
               });
    b.store(load(at.maxima, v), partial, b.idx(spec.headDim));
    b.store(load(at.sums, v), partial, b.idx(spec.headDim + 1));
  });
}

} // namespace

Grid pare::cpu::cachedAttentionGrid(const CachedAttentionSpec &spec) {
  return {
      {{spec.rows, kParts * getTaskRows(spec)}, {spec.kvHeads * kParts, 1}}};
}

int64_t
pare::cpu::cachedAttentionScratchBytes(const CachedAttentionSpec &spec) {
  return Scratch(spec).floats * int64_t(sizeof(float));
}

void pare::cpu::emitCachedAttention(KernelBuilder &b,
                                    const CachedAttentionSpec &spec) {
  Attention(b, spec).emit();
}
