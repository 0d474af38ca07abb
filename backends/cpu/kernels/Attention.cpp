//===- Attention.cpp - Fused scaled dot-product attention -----------------===//
//
// Everything is computed transposed, queries across lanes: scores are
// K . Q^T, a tile of keys x queries, and results V^T . P^T, a tile of value
// elements x queries. So keys and values are read where they lie (each a row
// operand of the micro-kernel), only a block of queries is repacked, and the
// softmax runs down the lanes without horizontal reductions.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Attention.h"
#include "backends/cpu/kernels/MicroKernel.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <limits>

using namespace mlir;
using namespace pare::cpu;

namespace {

/// Keys whose scores are held at once: 16 KiB per 16 queries.
constexpr int64_t kKeyBlock = 256;
/// Query panels of one task.
constexpr int64_t kPanelsPerTask = 2;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
/// Scores are kept in units of log 2, so that the softmax is made of powers of
/// two.
constexpr float kLog2e = 1.44269504f;

/// What every task works with. Scratch, in floats:
/// packed queries [groups][D][16], scores [groups][keyBlock][16], results
/// [Dv][lanes].
struct Layout {
  MicroKernel micro;
  MicroTile tile;
  int64_t lanes;    ///< queries of one panel
  int64_t keyBlock; ///< keys of one block
  int64_t queries, scores, results, floats;

  Layout(const AttentionSpec &spec, const Isa &isa)
      : micro(isa, MicroKernel::F32), tile(micro.tiles().front()),
        lanes(tile.cols) {
    keyBlock = spec.keys.isFixed()
                   ? std::min(kKeyBlock, std::max<int64_t>(spec.keys.fixed, 1))
                   : kKeyBlock;
    queries = 0;
    scores = queries + spec.headDim * lanes;
    results = scores + keyBlock * lanes;
    floats = results + spec.valueDim * lanes;
  }
  int64_t queriesPerTask() const { return kPanelsPerTask * lanes; }
};

class Emitter {
public:
  Emitter(KernelBuilder &b, const AttentionSpec &spec)
      : b(b), spec(spec), at(spec, b.isa()), lanes(at.lanes),
        vec(b.vecF32(lanes)), keys(b.extent(spec.keys)),
        queries(b.extent(spec.queries)) {}

  void emit() {
    Value blocks = b.divCeil(queries, at.queriesPerTask());
    Value first = b.mul(b.rem(b.task(), blocks), at.queriesPerTask());
    Value heads = b.divFloor(b.task(), blocks);
    batch = b.divFloor(heads, spec.heads);
    head = b.rem(heads, spec.heads);
    Value kvHead = b.divFloor(head, spec.heads / spec.kvHeads);
    strideK = b.extent(spec.strideK);
    strideV = b.extent(spec.strideV);
    auto tensor = [&](unsigned ptr, Value tokens, const Extent &stride,
                      Value part, int64_t dim) {
      return b.gep(b.getF32Type(), b.ptr(ptr),
                   b.add(b.mul(b.mul(batch, tokens), b.extent(stride)),
                         b.mul(part, dim)));
    };
    q = tensor(spec.ptrQ, queries, spec.strideQ, head, spec.headDim);
    k = tensor(spec.ptrK, keys, spec.strideK, kvHead, spec.headDim);
    v = tensor(spec.ptrV, keys, spec.strideV, kvHead, spec.valueDim);
    out = tensor(spec.ptrOut, queries, spec.strideOut, head, spec.valueDim);
    if (spec.ptrMask)
      mask = b.gep(b.getF32Type(), b.ptr(*spec.ptrMask),
                   b.add(b.mul(batch, spec.maskStrides[0].value(b)),
                         b.mul(head, spec.maskStrides[1].value(b))));
    Value last = b.minIdx(b.add(first, at.queriesPerTask()), queries);
    b.loop(first, last, lanes, [&](Value query) { panel(query); });
  }

private:
  Value addF(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value subF(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mulF(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value scratch(int64_t floats) {
    return b.gep(b.getF32Type(), b.scratch(), b.idx(floats));
  }

  /// Position of a vector of all lanes in a block of rows [group][rows][16].
  Value loadLanes(Value base, Value rows, Value row) {
    SmallVector<Value> groups;
    for (int64_t g = 0; g < lanes / kPanel; ++g)
      groups.push_back(
          b.loadVec(b.vecF32(kPanel), base, panelOffset(rows, row, g)));
    return b.concat(groups);
  }
  void storeLanes(Value vector, Value base, Value rows, Value row) {
    for (int64_t g = 0; g < lanes / kPanel; ++g)
      b.store(b.slice(vector, g * kPanel, kPanel), base,
              panelOffset(rows, row, g));
  }
  Value panelOffset(Value rows, Value row, int64_t group) {
    return b.add(b.mul(b.mul(rows, group), kPanel), b.mul(row, kPanel));
  }

  /// Pointers to the micro-kernel's column groups in [group][rows][16].
  SmallVector<Value> groupPtrs(Value base, Value rows) {
    SmallVector<Value> ptrs;
    for (unsigned g = 0; g < at.tile.cols / at.micro.lanes(); ++g)
      ptrs.push_back(at.micro.groupPtr(b, base, rows, b.idx(g)));
    return ptrs;
  }

  /// A tile of `rows` rows of A against all lanes: one vector per row.
  SmallVector<Value> product(ArrayRef<Value> rows, Value rowStep, Value columns,
                             Value columnRows, Value steps) {
    MicroTile tile{unsigned(rows.size()), at.tile.cols};
    SmallVector<Value> groups = groupPtrs(columns, columnRows);
    SmallVector<Value> acc = at.micro.start(b, tile);
    acc = at.micro.accumulate(b, tile, acc, steps,
                              {rows, groups, rowStep, nullptr});
    SmallVector<Value> parts = at.micro.finish(b, tile, acc), results;
    unsigned n = groups.size();
    for (unsigned r = 0; r < rows.size(); ++r)
      results.push_back(b.concat(ArrayRef(parts).slice(r * n, n)));
    return results;
  }

  using TileBody =
      llvm::function_ref<Value(Value first, unsigned rows, Value carried)>;
  /// Calls `body` for tiles of rows that cover [0, n), carrying a value (which
  /// may be null) from one to the next.
  Value forTiles(Value n, Value carried, TileBody body) {
    auto cover = [&](Value from, Value to, unsigned rows) {
      auto lo = KernelBuilder::constant(from), hi = KernelBuilder::constant(to);
      if (lo && hi && *lo >= *hi)
        return;
      SmallVector<Value> init;
      if (carried)
        init.push_back(carried);
      SmallVector<Value> last =
          b.loop(from, to, rows, init,
                 [&](Value first, ValueRange values) -> SmallVector<Value> {
                   Value next =
                       body(first, rows, carried ? values[0] : Value());
                   if (!carried)
                     return {};
                   return {next};
                 });
      if (carried)
        carried = last[0];
    };
    if (auto known = KernelBuilder::constant(n)) {
      // Tiles of nearly one size: some of `small` + 1 rows, then of `small`.
      int64_t tiles = llvm::divideCeil(*known, at.tile.rows);
      int64_t small = *known / std::max<int64_t>(tiles, 1);
      Value end = b.idx((*known - tiles * small) * (small + 1));
      cover(b.idx(0), end, small + 1);
      if (small > 0)
        cover(end, n, small);
      return carried;
    }
    Value done = b.idx(0);
    for (unsigned rows = at.tile.rows; rows > 0;
         rows = rows > 2 ? 2 : rows - 1) {
      Value end = b.add(done, b.mul(b.divFloor(b.sub(n, done), rows), rows));
      cover(done, end, rows);
      done = end;
    }
    return carried;
  }

  /// Packs queries [query, query + lanes) as [D][lanes]; those beyond the last
  /// repeat it.
  void packQueries(Value query) {
    int64_t dim = spec.headDim;
    Value packed = scratch(at.queries), stride = b.extent(spec.strideQ);
    Value last = b.sub(queries, b.idx(1));
    Value factor = b.constF32(spec.scale * kLog2e, block());
    for (int64_t i = 0; i < lanes; i += block()) {
      SmallVector<Value> rows;
      for (unsigned r = 0; r < block(); ++r)
        rows.push_back(
            b.gep(b.getF32Type(), q,
                  b.mul(b.minIdx(b.add(query, i + r), last), stride)));
      auto transpose = [&](Value d, unsigned count) {
        SmallVector<Value> tile;
        for (Value row : rows)
          tile.push_back(
              mulF(b.loadVecPartial(b.vecF32(block()), row, d, b.idx(count)),
                   factor));
        tile = transposeInRegisters(b, tile);
        for (unsigned j = 0; j < count; ++j)
          b.store(tile[j], packed,
                  b.add(panelOffset(b.idx(dim), b.add(d, j), i / kPanel),
                        i % kPanel));
      };
      forBlocks(dim, transpose);
    }
  }
  /// Edge of the square tiles that are transposed in registers.
  unsigned block() const { return b.isa().f32Lanes; }
  /// Calls `body(first, count)` for the tiles that cover [0, n).
  void forBlocks(int64_t n,
                 llvm::function_ref<void(Value first, unsigned count)> body) {
    int64_t whole = n / block() * block();
    if (whole != 0)
      b.loop(b.idx(0), b.idx(whole), block(),
             [&](Value first) { body(first, block()); });
    if (whole != n)
      body(b.idx(whole), n - whole);
  }

  /// A mask value or vector in the units of scores. What was finite stays so:
  /// queries that are masked alike by the lowest number see their keys alike.
  Value maskUnits(Value mask) {
    auto same = [&](float v) -> Value {
      auto vector = dyn_cast<VectorType>(mask.getType());
      return b.constF32(v, vector ? vector.getNumElements() : 0);
    };
    Value infinite = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, mask,
                                           same(-kInfinity));
    Value scaled = maxFloat(b, same(-kLargest), mulF(mask, same(kLog2e)));
    return arith::SelectOp::create(b, infinite, mask, scaled);
  }

  /// The score vector of key `key` with its masks applied.
  Value masked(Value score, Value key, Value query) {
    if (spec.ptrMask) {
      Value at = spec.maskPerKey ? key : b.idx(0);
      const Product &perQuery = spec.maskStrides[2];
      if (perQuery.is(0)) {
        Value value = maskUnits(b.load(b.getF32Type(), mask, at));
        score = addF(score, b.splat(value, lanes));
      } else {
        Value stride = perQuery.value(b);
        Value values =
            loadStrided(b, PARE_F32, mask, b.add(at, b.mul(query, stride)),
                        stride, lanes, b.sub(queries, query));
        score = addF(score, maskUnits(values));
      }
    }
    if (!spec.causal)
      return score;
    // Lane l sees `key` if key <= query + l + keys - queries.
    Value hidden = b.sub(key, b.sub(b.add(query, keys), queries));
    SmallVector<int32_t> numbers;
    for (int64_t i = 0; i < lanes; ++i)
      numbers.push_back(i);
    VectorType type = b.vecType(lanes, b.getI32Type());
    Value lane = arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
    Value sees = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, lane,
                                       b.splat(b.toI32(hidden), lanes));
    return arith::SelectOp::create(b, sees, score,
                                   b.constF32(-kInfinity, lanes));
  }

  /// Whether the loop over blocks of keys always makes exactly one turn.
  bool oneBlock() const {
    return spec.keys.isFixed() && spec.keys.fixed == at.keyBlock &&
           !spec.causal;
  }

  /// Results of queries [query, query + lanes).
  void panel(Value query) {
    packQueries(query);
    if (!oneBlock())
      b.loop(b.idx(0), b.idx(spec.valueDim), 1, [&](Value d) {
        b.store(b.zero(vec), scratch(at.results), b.mul(d, lanes));
      });
    Value visible = keys;
    if (spec.causal) {
      // The last query of the panel sees the most keys.
      Value end = b.sub(b.add(b.add(query, lanes), keys), queries);
      visible = b.maxIdx(b.minIdx(end, keys), b.idx(0));
    }
    // The running maximum starts finite, so that differences of -inf never
    // meet.
    Value lowest = b.constF32(-kLargest, lanes);
    auto state =
        b.loop(b.idx(0), visible, at.keyBlock, ValueRange{lowest, b.zero(vec)},
               [&](Value key, ValueRange carried) -> SmallVector<Value> {
                 return keyBlock(query, key, visible, carried[0], carried[1]);
               });
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, state[1],
                                       b.zero(vec));
    Value inverse = arith::DivFOp::create(b, b.constF32(1, lanes), state[1]);
    inverse = arith::SelectOp::create(b, some, inverse, b.zero(vec));
    writeResults(query, inverse);
  }

  /// Adds keys [key, key + keyBlock) to the results; returns the new maximum
  /// and sum.
  SmallVector<Value> keyBlock(Value query, Value key, Value visible,
                              Value maximum, Value sum) {
    Value scores = scratch(at.scores), rows = b.idx(at.keyBlock);
    Value n = oneBlock() ? rows : b.minIdx(b.sub(visible, key), rows);
    Value keyRows = b.gep(b.getF32Type(), k, b.mul(key, strideK));
    Value packed = scratch(at.queries), dim = b.idx(spec.headDim);
    Value next =
        forTiles(n, maximum, [&](Value first, unsigned count, Value largest) {
          SmallVector<Value> a;
          for (unsigned r = 0; r < count; ++r)
            a.push_back(b.gep(b.getF32Type(), keyRows,
                              b.mul(b.add(first, r), strideK)));
          for (auto [r, score] :
               llvm::enumerate(product(a, nullptr, packed, dim, dim))) {
            Value row = b.add(first, r);
            score = masked(score, b.add(key, row), query);
            storeLanes(score, scores, rows, row);
            largest = maxFloat(b, score, largest);
          }
          return largest;
        });
    Value decay = buildExp2Flush(b, subF(maximum, next));
    sum = b.loop(b.idx(0), n, 1, ValueRange{mulF(sum, decay)},
                 [&](Value i, ValueRange s) -> SmallVector<Value> {
                   Value p = buildExp2Flush(
                       b, subF(loadLanes(scores, rows, i), next));
                   storeLanes(p, scores, rows, i);
                   return {addF(s[0], p)};
                 })[0];

    Value results = scratch(at.results),
          values = b.gep(b.getF32Type(), v, b.mul(key, strideV));
    forTiles(b.idx(spec.valueDim), nullptr,
             [&](Value first, unsigned count, Value) {
               SmallVector<Value> a;
               for (unsigned r = 0; r < count; ++r)
                 a.push_back(b.gep(b.getF32Type(), values, b.add(first, r)));
               for (auto [r, part] :
                    llvm::enumerate(product(a, strideV, scores, rows, n))) {
                 Value offset = b.mul(b.add(first, r), lanes);
                 if (!oneBlock())
                   part = b.fma(b.loadVec(vec, results, offset), decay, part);
                 b.store(part, results, offset);
               }
               return Value();
             });
    return {next, sum};
  }

  /// Stores results [Dv][lanes] times `inverse` to the queries' rows.
  void writeResults(Value query, Value inverse) {
    Value results = scratch(at.results), stride = b.extent(spec.strideOut);
    for (int64_t i = 0; i < lanes; i += block()) {
      Value factor = b.slice(inverse, i, block());
      auto transpose = [&](Value d, unsigned count) {
        SmallVector<Value> tile(block(), b.zero(b.vecF32(block())));
        for (unsigned j = 0; j < count; ++j)
          tile[j] = mulF(b.loadVec(b.vecF32(block()), results,
                                   b.add(b.mul(b.add(d, j), lanes), i)),
                         factor);
        tile = transposeInRegisters(b, tile);
        for (unsigned r = 0; r < block(); ++r) {
          Value row = b.add(query, i + r);
          b.ifThen(b.less(row, queries), [&] {
            b.storePartial(tile[r], out, b.add(b.mul(row, stride), d),
                           b.idx(count));
          });
        }
      };
      forBlocks(spec.valueDim, transpose);
    }
  }

  KernelBuilder &b;
  const AttentionSpec &spec;
  Layout at;
  int64_t lanes;
  VectorType vec;
  Value keys, queries;
  Value batch, head, strideK, strideV, q, k, v, out, mask;
};

} // namespace

Grid pare::cpu::attentionGrid(const AttentionSpec &spec, const Isa &isa) {
  return {{{Product(spec.batch) * spec.heads, 1},
           {spec.queries, Layout(spec, isa).queriesPerTask()}}};
}

int64_t pare::cpu::attentionScratchBytes(const AttentionSpec &spec,
                                         const Isa &isa) {
  return 4 * Layout(spec, isa).floats;
}

void pare::cpu::emitAttention(KernelBuilder &b, const AttentionSpec &spec) {
  Emitter(b, spec).emit();
}
