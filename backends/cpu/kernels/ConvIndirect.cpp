//===- ConvIndirect.cpp - Matrix products of gathered rows ----------------===//
#include "backends/cpu/kernels/ConvIndirect.h"
#include <numeric>

using namespace mlir;
using arith::CmpIPredicate;

namespace pare::cpu {

static int64_t elementBytes(const IndirectShape &shape, const Isa &isa) {
  if (!shape.int8)
    return 4;
  return isa.codeStorage() == CodeStorage::S16 ? 2 : 1;
}

/// The register tile: the tallest, unless few columns leave it registers for
/// another shape (sums of columns that do not exist take none) or few rows are
/// left to fill it.
static MicroTile chooseTile(const MicroKernel &micro,
                            const IndirectShape &shape, const Isa &isa,
                            std::optional<int64_t> rows) {
  MicroTile tile = micro.tiles().front();
  int64_t outputs = shape.groupOutputs();
  if (!shape.int8 && isa.f32Lanes == 8) {
    if (outputs <= 8)
      tile = {8, 16};
    else if (outputs > 16 && outputs <= 24)
      tile = {4, 32};
  }
  for (MicroTile smaller : micro.tiles())
    if (rows && smaller.rows >= *rows && smaller.rows < tile.rows)
      tile = smaller;
  return tile;
}

IndirectTiling::IndirectTiling(const IndirectShape &shape, const Isa &isa,
                               std::optional<int64_t> rows) {
  MicroKernel micro(isa, shape.int8 ? MicroKernel::S8 : MicroKernel::F32);
  tile = chooseTile(micro, shape, isa, rows);
  columnBlocks =
      shape.groups * llvm::divideCeil(shape.groupOutputs(), tile.cols);

  int64_t k = shape.taps * shape.runSteps() * shape.kGroup();
  int64_t blockMacs = tile.rows * k * tile.cols;
  // Multiply-adds of a task: long against its start, short against the whole.
  constexpr int64_t mostMacs = 1 << 21, fewestMacs = 1 << 18, manyTasks = 16;
  // Row blocks that share a pass over weights which no cache close by holds.
  constexpr int64_t fewBlocks = 8, manyBlocks = 64;
  int64_t macsPerTask = mostMacs, allBlocks = 0;
  if (rows) {
    allBlocks = llvm::divideCeil(std::max<int64_t>(*rows, 1), tile.rows);
    macsPerTask = std::clamp<int64_t>(
        allBlocks * columnBlocks * blockMacs / manyTasks, fewestMacs, mostMacs);
  }
  int64_t rowBlocks = std::clamp<int64_t>(
      macsPerTask / (blockMacs * columnBlocks), fewBlocks, manyBlocks);
  if (rows && 2 * allBlocks <= 3 * fewBlocks)
    rowBlocks = allBlocks;
  else if (rows)
    rowBlocks =
        llvm::divideCeil(allBlocks, llvm::divideCeil(allBlocks, rowBlocks));
  rowsPerTask = rowBlocks * tile.rows;
  blocksPerTask = std::clamp<int64_t>(macsPerTask / (blockMacs * rowBlocks), 1,
                                      columnBlocks);
  columnTasks = llvm::divideCeil(columnBlocks, blocksPerTask);
  blocksPerTask = llvm::divideCeil(columnBlocks, columnTasks);
  columnTasks = llvm::divideCeil(columnBlocks, blocksPerTask);

  int64_t weightBytes = blocksPerTask * tile.cols * k * (shape.int8 ? 1 : 4);
  constexpr int64_t nearCache = 192 << 10;
  rowsOutermost = weightBytes <= nearCache;

  int64_t bytes = 0, elem = elementBytes(shape, isa);
  auto place = [&](int64_t size) {
    return std::exchange(bytes, bytes + int64_t(llvm::alignTo(size, 64)));
  };
  zeros = place(shape.slotLength() * elem);
  sums = place(int64_t(tile.rows) * tile.cols * 4);
  table = place(rowsPerTask * shape.taps * 8);
  slots = place(shape.copies()
                    ? rowsPerTask * shape.taps * shape.slotLength() * elem
                    : 0);
  scratchBytes = bytes;
}

IndirectProduct::IndirectProduct(KernelBuilder &kb, const IndirectShape &shape,
                                 const IndirectTiling &tiling)
    : outChannels(shape.outputs), kb(kb), shape(shape), tiling(tiling),
      micro(kb.isa(), shape.int8 ? MicroKernel::S8 : MicroKernel::F32),
      elem(micro.rowElement(kb)) {}

Value IndirectProduct::at(int64_t byteOffset) {
  return kb.gep(kb.getI8Type(), kb.scratch(), kb.idx(byteOffset));
}

/// The code of zero, or zero.
Value IndirectProduct::padding() {
  bool biased = shape.int8 && kb.isa().codeStorage() == CodeStorage::U8Plus128;
  if (biased)
    return arith::ConstantOp::create(kb, kb.getI8IntegerAttr(int8_t(-128)));
  return kb.zero(elem);
}

//===----------------------------------------------------------------------===//
// The table of pointers
//===----------------------------------------------------------------------===//

/// [row block][tap][row in block].
Value IndirectProduct::tableIndex(Value rowBlock, Value tap) {
  return kb.mul(kb.add(kb.mul(rowBlock, shape.taps), tap), tiling.tile.rows);
}

Value IndirectProduct::both(Value a, Value b) {
  return kb.createOrFold<arith::AndIOp>(a, b);
}

Value IndirectProduct::atLeast(Value a, Value b) {
  return compare(kb, CmpIPredicate::sge, a, b);
}

void IndirectProduct::fillZeros() {
  Value block = at(tiling.zeros), zeros = kb.splat(padding(), 16);
  kb.loop(kb.idx(0), kb.idx(shape.slotLength()), 16,
          [&](Value i) { kb.store(zeros, block, i); });
}

/// Whether a run may be read in place that starts at input pixel `pixel` and is
/// inside its line: what is read beyond it must be in the input.
Value IndirectProduct::readable(Value pixel) {
  int64_t beyond = llvm::divideCeil(shape.overread(), shape.channels);
  Value end = kb.add(pixel, shape.runPixels + beyond);
  return atLeast(kb.mul(kb.mul(rows.n, rows.h), rows.w), end);
}

void IndirectProduct::gather(Value rowBlock, Value lastRow) {
  int64_t count = tiling.tile.rows;
  Value first = kb.add(firstRow, kb.mul(rowBlock, count));
  Pixel pixel = decodePixel(kb, first, rows.lines, rows.columns);
  RowGeometry::Bounds bounds = rows.bounds(pixel);
  int64_t distance = (count - 1) * rows.columnStep;
  Value zero = kb.idx(0);

  Value interior = atLeast(rows.columns, kb.add(pixel.x, count));
  interior = both(interior, atLeast(bounds.xFirst, zero));
  interior = both(interior, atLeast(bounds.yFirst, zero));
  interior = both(interior, kb.less(kb.add(bounds.xLast, distance), rows.w));
  interior = both(interior, kb.less(bounds.yLast, rows.h));
  if (shape.overread() > 0) {
    Value line = kb.add(kb.mul(pixel.n, rows.h), bounds.yLast);
    Value last = kb.add(kb.mul(line, rows.w), kb.add(bounds.xLast, distance));
    interior = both(interior, readable(last));
  }
  kb.ifThen(
      interior, [&] { gatherInterior(rowBlock, pixel); },
      [&] {
        // Rows that complete the last tile repeat the last row and are not
        // stored.
        kb.loop(zero, kb.idx(count), 1, [&](Value r) {
          gatherRow(rowBlock, r, kb.minIdx(kb.add(first, r), lastRow));
        });
      });
}

/// Rows of one line whose runs are all inside: they lie at equal distances.
void IndirectProduct::gatherInterior(Value rowBlock, const Pixel &pixel) {
  Value image = kb.mul(pixel.n, rows.h), table = at(tiling.table);
  rows.forEachRun(pixel, [&](Value tap, Value iy, Value ix) {
    Value at = kb.add(kb.mul(kb.add(image, iy), rows.w), ix);
    Value run = kb.gep(elem, in, kb.mul(at, shape.channels));
    Value entry = kb.gep(in.getType(), table, tableIndex(rowBlock, tap));
    for (unsigned r = 0; r < tiling.tile.rows; ++r)
      kb.store(kb.gep(elem, run, kb.idx(r * rows.columnStep * shape.channels)),
               entry, kb.idx(r));
  });
}

void IndirectProduct::gatherRow(Value rowBlock, Value r, Value row) {
  Pixel pixel = decodePixel(kb, row, rows.lines, rows.columns);
  Value image = kb.mul(pixel.n, rows.h), table = at(tiling.table);
  rows.forEachRun(pixel, [&](Value tap, Value iy, Value ix) {
    Value index = kb.add(tableIndex(rowBlock, tap), r);
    Value lineInside = compare(kb, CmpIPredicate::ult, iy, rows.h);
    Value start = kb.add(kb.mul(kb.add(image, iy), rows.w), ix);
    Value there = kb.gep(elem, in, kb.mul(start, shape.channels));
    if (!shape.copies()) {
      Value inside =
          both(lineInside, compare(kb, CmpIPredicate::ult, ix, rows.w));
      kb.store(select(kb, inside, there, at(tiling.zeros)), table, index);
      return;
    }
    Value whole = both(lineInside, atLeast(ix, kb.idx(0)));
    whole = both(whole, atLeast(rows.w, kb.add(ix, shape.runPixels)));
    if (shape.overread() > 0)
      whole = both(whole, readable(start));
    kb.ifThen(
        whole, [&] { kb.store(there, table, index); },
        [&] {
          kb.ifThen(
              lineInside,
              [&] {
                Value copy = kb.gep(elem, at(tiling.slots),
                                    kb.mul(index, shape.slotLength()));
                copyRun(copy, there, ix);
                kb.store(copy, table, index);
              },
              [&] { kb.store(at(tiling.zeros), table, index); });
        });
  });
}

/// Copies the run of a line at `from`, column `ix`, with padding where it is
/// outside.
void IndirectProduct::copyRun(Value to, Value from, Value ix) {
  kb.loop(kb.idx(0), kb.idx(shape.runPixels), 1, [&](Value p) {
    Value inside = compare(kb, CmpIPredicate::ult, kb.add(ix, p), rows.w);
    Value offset = kb.mul(p, shape.channels);
    auto forEachValue = [&](llvm::function_ref<Value(Value)> value) {
      kb.loop(kb.idx(0), kb.idx(shape.channels), 1, [&](Value c) {
        Value i = kb.add(offset, c);
        kb.store(value(i), to, i);
      });
    };
    kb.ifThen(
        inside,
        [&] { forEachValue([&](Value i) { return kb.load(elem, from, i); }); },
        [&] { forEachValue([&](Value i) { return padding(); }); });
  });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

void IndirectProduct::emit(Value first, Value last, Value columnTask) {
  firstRow = first;
  fillZeros();
  Value count = kb.maxIdx(kb.sub(last, first), kb.idx(0));
  Value rowBlocks = kb.divCeil(count, tiling.tile.rows);
  Value lastRow = kb.sub(last, kb.idx(1));
  kb.loop(kb.idx(0), rowBlocks, 1,
          [&](Value rowBlock) { gather(rowBlock, lastRow); });

  auto [begin, end] = taskRange(kb, columnTask, tiling.blocksPerTask,
                                kb.idx(tiling.columnBlocks));
  if (tiling.columnTasks == 1) {
    begin = kb.idx(0);
    end = kb.idx(tiling.columnBlocks);
  }
  auto block = [&](Value rowBlock, Value columnBlock) {
    Value left = kb.sub(count, kb.mul(rowBlock, tiling.tile.rows));
    emitBlock(rowBlock, left, columnBlock);
  };
  auto forRows = [&](llvm::function_ref<void(Value)> body) {
    kb.loop(kb.idx(0), rowBlocks, 1, body);
  };
  auto forColumns = [&, begin = begin,
                     end = end](llvm::function_ref<void(Value)> body) {
    kb.loop(begin, end, 1, body);
  };
  if (tiling.rowsOutermost)
    forRows([&](Value r) { forColumns([&](Value c) { block(r, c); }); });
  else
    forColumns([&](Value c) { forRows([&](Value r) { block(r, c); }); });
}

void IndirectProduct::emitBlock(Value rowBlock, Value rowsLeft, Value block) {
  int64_t width = tiling.tile.cols, outputs = shape.groupOutputs();
  int64_t perGroup = llvm::divideCeil(outputs, width);
  int64_t rest = outputs - (perGroup - 1) * width;
  Value group = shape.groups == 1 ? kb.idx(0) : kb.divFloor(block, perGroup);
  Value within = shape.groups == 1 ? block : kb.rem(block, perGroup);
  Value column = kb.mul(within, width);
  if (rest == width || perGroup == 1)
    return emitTile(rowBlock, rowsLeft, group, column, rest);
  kb.ifThen(
      kb.less(within, kb.idx(perGroup - 1)),
      [&] { emitTile(rowBlock, rowsLeft, group, column, width); },
      [&] { emitTile(rowBlock, rowsLeft, group, column, rest); });
}

void IndirectProduct::emitTile(Value rowBlock, Value rowsLeft, Value group,
                               Value column, int64_t columns) {
  unsigned lanes = micro.lanes();
  unsigned vectors = llvm::divideCeil(columns, lanes);
  MicroTile tile{tiling.tile.rows, vectors * lanes};
  Value steps = kb.idx(shape.runSteps());
  Value packed = kb.gep(micro.groupElement(kb), weights,
                        kb.mul(group, shape.groupWeights()));
  SmallVector<Value> groupPtrs;
  for (unsigned v = 0; v < vectors; ++v)
    groupPtrs.push_back(micro.groupPtr(kb, packed,
                                       kb.idx(shape.taps * shape.runSteps()),
                                       kb.add(kb.divFloor(column, lanes), v)));

  auto compensated = [&](unsigned v) -> Value {
    Value at = kb.add(kb.mul(group, shape.panels() * kPanel), column);
    return kb.loadVec(kb.vecType(lanes, kb.getI32Type()), compensation,
                      kb.add(at, v * lanes));
  };
  SmallVector<Value> acc = micro.needsCompensation()
                               ? micro.start(kb, tile, compensated)
                               : micro.start(kb, tile);

  Type pointer = in.getType();
  Value table = at(tiling.table);
  auto addTap = [&](Value tap, ValueRange sums) {
    Value index = tableIndex(rowBlock, tap);
    SmallVector<Value> rowPtrs, taps;
    for (unsigned r = 0; r < tile.rows; ++r) {
      Value row = kb.load(pointer, table, kb.add(index, r));
      rowPtrs.push_back(
          kb.gep(elem, row, kb.mul(group, shape.channels / shape.groups)));
    }
    Value skip = kb.mul(tap, shape.runSteps() * kPanel * shape.kGroup());
    for (Value p : groupPtrs)
      taps.push_back(kb.gep(micro.groupElement(kb), p, skip));
    return micro.accumulate(kb, tile, sums, steps, {rowPtrs, taps, {}, {}});
  };
  if (shape.taps == 1 && !tapCount)
    acc = addTap(kb.idx(0), acc);
  else
    acc = kb.loop(kb.idx(0), tapCount ? tapCount : kb.idx(shape.taps), 1, acc,
                  addTap);

  // The sums go through memory, so that there is one copy of the epilogue.
  Value sums = at(tiling.sums);
  for (auto [i, result] : llvm::enumerate(micro.finish(kb, tile, acc))) {
    unsigned r = i / vectors, v = i % vectors;
    unsigned valid = std::min<int64_t>(lanes, columns - v * lanes);
    kb.store(kb.slice(result, 0, valid), sums,
             kb.idx(r * tile.cols + v * lanes));
  }
  kb.loop(kb.idx(0), kb.minIdx(rowsLeft, kb.idx(tile.rows)), 1, [&](Value r) {
    Value row = kb.add(firstRow, kb.add(kb.mul(rowBlock, tile.rows), r));
    storeRow(row, kb.mul(r, tile.cols), group, column, columns);
  });
}

/// Stores one row's sums from element `offset` of the tile on.
void IndirectProduct::storeRow(Value row, Value offset, Value group,
                               Value column, int64_t columns) {
  Value sums = at(tiling.sums);
  int64_t lanes = kb.isa().f32Lanes;
  if (placeColumns > 0)
    lanes = std::gcd(lanes, placeColumns);
  Value groupColumn = kb.add(kb.mul(group, shape.groupOutputs()), column);
  for (int64_t c = 0; c < columns; c += lanes) {
    unsigned width = std::min(lanes, columns - c);
    Value from = kb.add(offset, c), to = kb.add(groupColumn, c);
    Place target = place ? place(row, to) : Place{row, to, {}};
    auto store = [&] {
      Value vec;
      if (shape.int8) {
        Value sum = kb.loadVec(kb.vecType(width, kb.getI32Type()), sums, from);
        Value scale = kb.loadVec(kb.vecF32(width), scales, target.channel);
        vec = arith::SIToFPOp::create(kb, kb.vecF32(width), sum);
        vec = arith::MulFOp::create(kb, vec, scale);
      } else {
        vec = kb.loadVec(kb.vecF32(width), sums, from);
      }
      storeChannels(kb, epilogue, vec, width, out, target.pixel, target.channel,
                    outChannels);
    };
    if (target.exists)
      kb.ifThen(target.exists, store);
    else
      store();
  }
}

} // namespace pare::cpu
