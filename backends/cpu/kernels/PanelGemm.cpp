//===- PanelGemm.cpp - Rows by panels of weights --------------------------===//
#include "backends/cpu/kernels/PanelGemm.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace pare;
using namespace pare::cpu;

int64_t pare::cpu::rowsPerTask(const BlockGemmSpec &spec) {
  return spec.m.isFixed() ? std::clamp<int64_t>(spec.m.fixed, 1, kRowsPerTask)
                          : kRowsPerTask;
}

int64_t pare::cpu::panelBytes(const BlockGemmSpec &spec) {
  return spec.format ? BlockLayout(*spec.format).panelBytes(spec.k)
                     : spec.k * kPanel * int64_t(elementBytes(spec.plain));
}

static int64_t panelsOf(const BlockGemmSpec &spec) {
  return llvm::divideCeil(spec.n, kPanel);
}

int64_t pare::cpu::packedBytes(const BlockGemmSpec &spec) {
  int64_t matrix = panelsOf(spec) * panelBytes(spec);
  return spec.experts ? spec.experts->count * matrix : matrix;
}

void PanelGemmEmitter::emit() {
  Value m = b.extent(spec.m), rowBlocks = b.divCeil(m, tiling.rowsPerTask);
  int64_t perTask = tiling.colsPerTask / kPanel;
  Value firstRow = b.mul(b.rem(b.task(), rowBlocks), tiling.rowsPerTask);
  Value rows = b.minIdx(b.idx(tiling.rowsPerTask), b.sub(m, firstRow));
  Value first = b.mul(b.divFloor(b.task(), rowBlocks), perTask);
  Value end = b.minIdx(b.add(first, perTask), b.idx(panelsOf(spec)));
  if (!spec.experts) {
    rowBase = firstRow;
    height = rows;
    return panels(b.ptr(spec.ptrW), first, end);
  }
  Type i32 = b.getI32Type();
  Value starts = b.ptr(spec.experts->ptrStarts),
        lastRow = b.add(firstRow, rows);
  b.loop(b.idx(0), b.idx(spec.experts->count), 1, [&](Value expert) {
    Value begin = b.toIndex(b.load(i32, starts, expert)),
          next = b.toIndex(b.load(i32, starts, b.add(expert, 1)));
    rowBase = b.maxIdx(begin, firstRow);
    height = b.sub(b.minIdx(next, lastRow), rowBase);
    b.ifThen(b.less(b.idx(0), height), [&] {
      panels(b.gep(i8, b.ptr(spec.ptrW),
                   b.mul(expert, panelsOf(spec) * panelBytes(spec))),
             first, end);
    });
  });
}

/// The rows at hand by panels [first, end) of a matrix.
void PanelGemmEmitter::panels(Value matrix, Value first, Value end) {
  auto packedAt = [&](Value number) {
    return b.gep(i8, matrix, b.mul(number, panelBytes(spec)));
  };
  // What comes before the weights' use hides their latency.
  b.prefetch(packedAt(first), kPrefetchAhead);
  begin();
  b.loop(first, end, 1,
         [&](Value number) { panel(packedAt(number), b.mul(number, kPanel)); });
}

Value PanelGemmEmitter::rowAt(Value i) {
  Value position = b.add(rowBase, i);
  if (!spec.experts)
    return position;
  return b.toIndex(
      b.load(b.getI32Type(), b.ptr(spec.experts->ptrOrder), position));
}

Value PanelGemmEmitter::rowOfX(Value rowOfC) {
  return spec.experts ? b.divFloor(rowOfC, spec.experts->slotsPerRow) : rowOfC;
}

void PanelGemmEmitter::store(ArrayRef<Value> parts, Value row, Value col) {
  Value count;
  if (spec.n % kPanel != 0)
    count = b.minIdx(b.idx(kPanel), b.sub(b.idx(spec.n), col));
  Value vec = b.concat(parts);
  if (spec.store)
    return spec.store(b, vec, {row, col, count, b.idx(0)});
  b.storePartial(vec, b.ptr(spec.ptrC), b.add(b.mul(row, spec.n), col), count);
}

void PanelGemmEmitter::multiply(const MicroKernel &micro, Value panel,
                                Value col) {
  Value begin = b.idx(0);
  unsigned groups = kPanel / micro.lanes();
  for (MicroTile widest : micro.tiles()) {
    MicroTile tile{widest.rows, unsigned(kPanel)};
    Value end = b.add(
        begin, b.mul(b.divFloor(b.sub(height, begin), tile.rows), tile.rows));
    b.loop(begin, end, tile.rows, [&](Value first) {
      SmallVector<Value> numbers, rows, columns;
      for (unsigned r = 0; r < tile.rows; ++r) {
        numbers.push_back(rowAt(b.add(first, r)));
        rows.push_back(b.gep(b.getF32Type(), b.ptr(spec.ptrX),
                             b.mul(rowOfX(numbers.back()), spec.k)));
      }
      for (unsigned g = 0; g < groups; ++g)
        columns.push_back(micro.groupPtr(b, panel, b.idx(spec.k), b.idx(g)));
      SmallVector<Value> sums =
          micro.finish(b, tile,
                       micro.accumulate(b, tile, micro.start(b, tile),
                                        b.idx(spec.k), {rows, columns}));
      for (unsigned r = 0; r < tile.rows; ++r)
        store(ArrayRef(sums).slice(r * groups, groups), numbers[r], col);
    });
    begin = end;
  }
}
