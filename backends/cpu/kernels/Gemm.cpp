//===- Gemm.cpp - Matrix multiplication kernels ---------------------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace pare::cpu;

//===----------------------------------------------------------------------===//
// Tiling
//===----------------------------------------------------------------------===//

/// Columns that every tile that `spec` can need divides.
static int64_t columnUnit(const GemmSpec &spec, const Isa &isa) {
  MicroKernel micro(isa, spec.format);
  int64_t rows = spec.m.isFixed() ? spec.m.fixed : 1, unit = kPanel;
  for (MicroTile tile : micro.tiles()) {
    if (rows >= tile.rows)
      unit = std::max<int64_t>(unit, tile.cols);
    rows = spec.m.isFixed() ? rows % tile.rows : rows;
  }
  return unit;
}

GemmTiling pare::cpu::gemmTiling(const GemmSpec &spec, const Isa &isa) {
  // Blocks of 48 rows are whole tiles of every micro-kernel.
  constexpr int64_t kRows = 48, kMaxRows = 10 * kRows;
  constexpr int64_t kMaxCols = 512;
  // Multiply-adds of a task: 2^20 are about 20 µs of f32. Fewer where that
  // would leave too few tasks to share, more where there are plenty.
  constexpr int64_t kUsualWork = 1 << 20;
  // Fewer rows than these wait for B's bytes rather than for arithmetic.
  constexpr int64_t kMinHeight = 16;

  int64_t unit = columnUnit(spec, isa);
  GemmTiling tiling{kRows, std::max<int64_t>(unit, 64), 0};
  auto blocksOf = [](int64_t total, int64_t block) {
    return int64_t(llvm::divideCeil(total, block));
  };
  int64_t work = kUsualWork;
  if (spec.m.isFixed() && spec.n.isFixed() && spec.k.isFixed())
    work = std::clamp(spec.m.fixed * spec.n.fixed * spec.k.fixed / 64,
                      kUsualWork / 2, kUsualWork * 4);
  if (spec.k.isFixed()) {
    int64_t height =
        spec.m.isFixed() ? std::clamp(spec.m.fixed, kMinHeight, kRows) : kRows;
    int64_t perColumn = std::max<int64_t>(height * spec.k.fixed, 1);
    tiling.colsPerTask = std::clamp<int64_t>(
        llvm::alignTo(blocksOf(work, perColumn), unit), unit, kMaxCols);
  }
  // Narrow products make up for it in height.
  if (spec.k.isFixed() && spec.n.isFixed() &&
      spec.n.fixed < tiling.colsPerTask) {
    int64_t perRow = std::max<int64_t>(spec.n.fixed * spec.k.fixed, 1);
    tiling.colsPerTask =
        llvm::alignTo(std::max<int64_t>(spec.n.fixed, 1), unit);
    tiling.rowsPerTask = std::clamp<int64_t>(
        llvm::alignTo(blocksOf(work, perRow), kRows), kRows, kMaxRows);
  }
  if (spec.m.isFixed()) {
    // Blocks of about equal height, whole tiles where there are several.
    int64_t m = std::max<int64_t>(spec.m.fixed, 1);
    int64_t height = blocksOf(m, blocksOf(m, tiling.rowsPerTask));
    int64_t tileRows = MicroKernel(isa, spec.format).tiles().front().rows;
    tiling.rowsPerTask = height == m ? m : llvm::alignTo(height, tileRows);
  }
  if (!spec.packedB)
    tiling.scratchBytesPerK = tiling.colsPerTask * int64_t(sizeof(float));
  return tiling;
}

//===----------------------------------------------------------------------===//
// Packing B at run time
//===----------------------------------------------------------------------===//

/// Transposes a square of vectors of 2^n lanes: butterflies that exchange ever
/// larger halves.
static void transpose(KernelBuilder &b, MutableArrayRef<Value> rows) {
  int64_t size = rows.size();
  for (int64_t half = size / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < size; ++i) {
      bool upper = i & half;
      low.push_back(upper ? size + i - half : i);
      high.push_back(upper ? size + i : i + half);
    }
    for (int64_t r = 0; r < size; ++r) {
      if (r & half)
        continue;
      Value top = rows[r], bottom = rows[r + half];
      rows[r] = b.shuffle(top, bottom, low);
      rows[r + half] = b.shuffle(top, bottom, high);
    }
  }
}

/// Writes columns [0, width) of B, which is [K, N] in memory and starts at
/// `from`, as panels at `to`. Columns beyond `width` are written as zero.
static void packRows(KernelBuilder &b, Value from, Value ldb, Value k,
                     Value width, Value to) {
  VectorType panel = b.vecF32(kPanel);
  auto copy = [&](Value col, Value count) {
    Value out = b.mul(col, k);
    b.loop(b.idx(0), k, 1, [&](Value i) {
      Value row =
          b.loadVecPartial(panel, from, b.add(b.mul(i, ldb), col), count);
      b.store(row, to, b.add(out, b.mul(i, kPanel)));
    });
  };
  Value whole = b.mul(b.divFloor(width, kPanel), kPanel);
  b.loop(b.idx(0), whole, kPanel, [&](Value col) { copy(col, nullptr); });
  b.ifThen(b.less(whole, width), [&] { copy(whole, b.sub(width, whole)); });
}

/// The same for B that is [N, K] in memory.
static void packColumns(KernelBuilder &b, Value from, Value ldb, Value k,
                        Value width, Value to) {
  Type f32 = b.getF32Type();
  int64_t square = b.isa().f32Lanes;
  VectorType vec = b.vecF32(square);
  // Of each panel one strip of `square` columns at a time. A column beyond the
  // width repeats the last one: its results are never stored.
  Value last = b.sub(width, b.idx(1));
  Value strips = b.mul(b.divCeil(width, kPanel), kPanel / square);
  b.loop(b.idx(0), strips, 1, [&](Value strip) {
    Value col = b.mul(strip, square);
    SmallVector<Value> columns;
    for (int64_t i = 0; i < square; ++i)
      columns.push_back(
          b.gep(f32, from, b.mul(b.minIdx(b.add(col, i), last), ldb)));
    Value panel = b.divFloor(col, kPanel);
    Value out = b.gep(
        f32, to, b.add(b.mul(b.mul(panel, k), kPanel), b.rem(col, kPanel)));
    Value whole = b.mul(b.divFloor(k, square), square);
    b.loop(b.idx(0), whole, square, [&](Value k0) {
      SmallVector<Value> block;
      for (Value column : columns)
        block.push_back(b.loadVec(vec, column, k0));
      transpose(b, block);
      for (int64_t i = 0; i < square; ++i)
        b.store(block[i], out, b.mul(b.add(k0, i), kPanel));
    });
    b.loop(whole, k, 1, [&](Value k0) {
      for (int64_t i = 0; i < square; ++i)
        b.store(b.load(f32, columns[i], k0), out, b.add(b.mul(k0, kPanel), i));
    });
  });
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

namespace {

/// One kernel while it is emitted.
class GemmEmitter {
public:
  GemmEmitter(KernelBuilder &b, const GemmSpec &spec)
      : b(b), spec(spec), micro(b.isa(), spec.format),
        tiling(gemmTiling(spec, b.isa())) {}

  void emit();

private:
  Value offset(const GemmSpec::OffsetFn &fn) {
    return fn ? fn(b, batch) : b.idx(0);
  }
  /// The extent of block `block` of `size` along an axis of `total`; constant
  /// where all blocks are alike.
  Value blockExtent(const Extent &total, int64_t size, Value begin);
  void rowsOf(MicroTile tile, Value begin, Value end);
  void columns(MicroTile tile, Value rowBegin, Value rowEnd, Value colBegin,
               Value colEnd, bool partial);
  void tile(MicroTile tile, Value row, ArrayRef<Value> groupPtrs, Value col,
            Value count);
  Value dequantize(Value sums, Value row, Value col);

  KernelBuilder &b;
  const GemmSpec &spec;
  MicroKernel micro;
  GemmTiling tiling;

  Value batch, rowBase, colBase; ///< the task's place
  Value width;                   ///< its columns
  Value steps;                   ///< of kGroup() values of k
  Value ptrA, ptrB, ptrC;        ///< of the batch entry; B: of the column block
  Value lda, ldc;
};

} // namespace

Value GemmEmitter::blockExtent(const Extent &total, int64_t size, Value begin) {
  if (total.isFixed() && total.fixed % size == 0)
    return b.idx(size);
  if (total.isFixed() && total.fixed < size)
    return b.idx(total.fixed);
  return b.minIdx(b.idx(size), b.sub(b.extent(total), begin));
}

void GemmEmitter::emit() {
  assert((spec.packedB || spec.format == MicroKernel::F32) &&
         "int8 needs packed B");
  Value m = b.extent(spec.m), n = b.extent(spec.n), k = b.extent(spec.k);
  Value rowBlocks = b.divCeil(m, tiling.rowsPerTask);
  Value colBlocks = b.divCeil(n, tiling.colsPerTask);
  Value outer = b.divFloor(b.task(), rowBlocks);
  rowBase = b.mul(b.rem(b.task(), rowBlocks), tiling.rowsPerTask);
  bool single = spec.batch.isFixed() && spec.batch.fixed == 1;
  batch = single ? b.idx(0) : b.divFloor(outer, colBlocks);
  colBase = b.mul(single ? outer : b.rem(outer, colBlocks), tiling.colsPerTask);
  Value height = blockExtent(spec.m, tiling.rowsPerTask, rowBase);
  width = blockExtent(spec.n, tiling.colsPerTask, colBase);
  steps = b.divCeil(k, micro.kGroup());

  Type elemA = micro.rowElement(b), elemB = micro.groupElement(b);
  lda = b.extent(spec.lda);
  ptrA = b.gep(elemA, b.ptr(spec.ptrA), offset(spec.offsetA));
  Value matrixB = b.gep(elemB, b.ptr(spec.ptrB), offset(spec.offsetB));
  if (!spec.store) {
    ldc = b.extent(spec.ldc);
    ptrC = b.gep(b.getF32Type(), b.ptr(spec.ptrC), offset(spec.offsetC));
  }
  if (spec.packedB) {
    ptrB =
        micro.groupPtr(b, matrixB, steps, b.divFloor(colBase, micro.lanes()));
  } else {
    ptrB = b.scratch();
    Value ldb = b.extent(spec.ldb);
    Value from =
        b.gep(elemB, matrixB, spec.transB ? b.mul(colBase, ldb) : colBase);
    (spec.transB ? packColumns : packRows)(b, from, ldb, k, width, ptrB);
  }

  Value row = b.idx(0);
  for (MicroTile tile : micro.tiles()) {
    Value left = b.sub(height, row);
    Value end = b.add(row, b.mul(b.divFloor(left, tile.rows), tile.rows));
    rowsOf(tile, row, end);
    row = end;
  }
}

/// Rows [begin, end) of the block, a whole number of tiles, by all its columns.
void GemmEmitter::rowsOf(MicroTile tile, Value begin, Value end) {
  if (KernelBuilder::constant(b.sub(end, begin)) == 0)
    return;
  // Tiles that are wide for few rows leave columns to a narrow tile.
  Value whole = b.mul(b.divFloor(width, tile.cols), tile.cols);
  columns(tile, begin, end, b.idx(0), whole, /*partial=*/false);
  columns({tile.rows, micro.lanes()}, begin, end, whole, width,
          /*partial=*/true);
}

void GemmEmitter::columns(MicroTile shape, Value rowBegin, Value rowEnd,
                          Value colBegin, Value colEnd, bool partial) {
  if (KernelBuilder::constant(b.sub(colEnd, colBegin)) == 0)
    return;
  unsigned lanes = micro.lanes();
  b.loop(colBegin, colEnd, shape.cols, [&](Value col) {
    SmallVector<Value> groupPtrs;
    Value first = b.divFloor(col, lanes);
    for (unsigned g = 0; g < shape.cols / lanes; ++g)
      groupPtrs.push_back(micro.groupPtr(b, ptrB, steps, b.add(first, g)));
    bool ragged = partial && !(spec.n.isFixed() && spec.n.fixed % lanes == 0);
    Value count = ragged ? b.minIdx(b.idx(lanes), b.sub(colEnd, col)) : Value();
    b.loop(rowBegin, rowEnd, shape.rows,
           [&](Value row) { tile(shape, row, groupPtrs, col, count); });
  });
}

void GemmEmitter::tile(MicroTile tile, Value row, ArrayRef<Value> groupPtrs,
                       Value col, Value count) {
  unsigned lanes = micro.lanes();
  Value row0 = b.add(rowBase, row), col0 = b.add(colBase, col);
  SmallVector<Value> rows;
  for (unsigned r = 0; r < tile.rows; ++r)
    rows.push_back(
        b.gep(micro.rowElement(b), ptrA, b.mul(b.add(row0, r), lda)));

  auto compensation = [&](unsigned group) -> Value {
    if (!micro.needsCompensation() || spec.ptrRowZero)
      return nullptr;
    return b.loadVec(b.vecType(lanes, b.getI32Type()),
                     b.ptr(spec.ptrCompensation), b.add(col0, group * lanes));
  };
  SmallVector<Value> acc = micro.start(b, tile, compensation);
  acc = micro.accumulate(b, tile, acc, steps, {rows, groupPtrs});
  acc = micro.finish(b, tile, acc);

  for (unsigned r = 0, i = 0; r < tile.rows; ++r)
    for (unsigned g = 0; g < groupPtrs.size(); ++g, ++i) {
      GemmAt at{b.add(row0, r), b.add(col0, g * lanes), count, batch};
      Value vec = acc[i];
      if (spec.format == MicroKernel::S8)
        vec = dequantize(vec, at.row, at.col);
      if (spec.epilogue)
        vec = spec.epilogue(b, vec, at);
      if (spec.store)
        spec.store(b, vec, at);
      else
        b.storePartial(vec, ptrC, b.add(b.mul(at.row, ldc), at.col), count);
    }
}

Value GemmEmitter::dequantize(Value sums, Value row, Value col) {
  unsigned lanes = micro.lanes();
  Value rowNumber = b.add(b.mul(batch, b.extent(spec.m)), row);
  Value rowScale = b.splat(
      b.load(b.getF32Type(), b.ptr(spec.ptrRowScale), rowNumber), lanes);
  Value colScale = b.loadVec(b.vecF32(lanes), b.ptr(spec.ptrColScale), col);
  if (spec.ptrRowZero) {
    // Wraps like the sums do: the difference fits.
    Value zero = b.splat(
        b.load(b.getI32Type(), b.ptr(*spec.ptrRowZero), rowNumber), lanes);
    Value columnSums = b.loadVec(b.vecType(lanes, b.getI32Type()),
                                 b.ptr(spec.ptrColumnSums), col);
    sums = arith::SubIOp::create(b, sums,
                                 arith::MulIOp::create(b, zero, columnSums));
  }
  Value real = arith::SIToFPOp::create(b, b.vecF32(lanes), sums);
  return arith::MulFOp::create(b, arith::MulFOp::create(b, real, rowScale),
                               colScale);
}

void pare::cpu::emitGemm(KernelBuilder &b, const GemmSpec &spec) {
  GemmEmitter(b, spec).emit();
}
