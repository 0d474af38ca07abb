//===- ConvTranspose.cpp - Transposed convolution, NHWC f32 ---------------===//
//
// Output pixels whose coordinates are congruent modulo the stride, a phase,
// are reached by the same taps of the filter: each phase is a convolution of
// stride 1 with every stride-th tap, and its outputs lie a stride apart. Where
// the kernel is no larger than the stride, and nothing is cut off, all phases
// read the same pixel: they are columns of one matrix product.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Conv.h"
#include "backends/cpu/kernels/ConvIndirect.h"

using namespace mlir;

namespace pare::cpu {

/// One axis of the filter as seen by the phases.
namespace {
struct PhasedAxis {
  int64_t kernel; ///< with the zeros that dilation inserts
  int64_t stride, pad;

  /// The first tap that reaches outputs of phase `phase`; others follow a
  /// stride apart.
  int64_t firstTap(int64_t phase) const { return (phase + pad) % stride; }
  int64_t tapCount(int64_t phase) const {
    return (kernel - firstTap(phase) + stride - 1) / stride;
  }
  int64_t maxTaps() const { return llvm::divideCeil(kernel, stride); }
};

/// The same, of a phase known when the kernel runs.
struct PhaseValues {
  Value taps;
  Value shift; ///< input position of tap 0 minus the index within the phase

  PhaseValues(KernelBuilder &kb, const PhasedAxis &axis, Value phase) {
    Value padded = kb.add(phase, axis.pad);
    Value firstTap = kb.rem(padded, axis.stride);
    shift = kb.divFloor(padded, axis.stride);
    taps = kb.divFloor(kb.sub(kb.idx(axis.kernel + axis.stride - 1), firstTap),
                       axis.stride);
  }
};
} // namespace

static PhasedAxis verticalAxis(const ConvTransposeSpec &spec) {
  return {(spec.kernelH - 1) * spec.dilationH + 1, spec.strideH, spec.padT};
}

static PhasedAxis horizontalAxis(const ConvTransposeSpec &spec) {
  return {(spec.kernelW - 1) * spec.dilationW + 1, spec.strideW, spec.padL};
}

static bool joinsPhases(const ConvTransposeSpec &spec) {
  return verticalAxis(spec).maxTaps() == 1 &&
         horizontalAxis(spec).maxTaps() == 1 && spec.padT == 0 &&
         spec.padL == 0 && spec.groups == 1;
}

static int64_t phaseCount(const ConvTransposeSpec &spec) {
  return spec.strideH * spec.strideW;
}

static IndirectShape indirectShape(const ConvTransposeSpec &spec) {
  IndirectShape shape;
  shape.taps = verticalAxis(spec).maxTaps() * horizontalAxis(spec).maxTaps();
  shape.channels = spec.c;
  shape.outputs = spec.o * (joinsPhases(spec) ? phaseCount(spec) : 1);
  shape.groups = spec.groups;
  return shape;
}

static IndirectTiling indirectTiling(const ConvTransposeSpec &spec,
                                     const Isa &isa) {
  std::optional<int64_t> rows;
  if (spec.n.isFixed() && spec.oh.isFixed() && spec.ow.isFixed())
    rows = spec.n.fixed * llvm::divideCeil(spec.oh.fixed, spec.strideH) *
           llvm::divideCeil(spec.ow.fixed, spec.strideW);
  return IndirectTiling(indirectShape(spec), isa, rows);
}

ConvTiling convTiling(const ConvTransposeSpec &spec, const Isa &isa) {
  IndirectTiling tiling = indirectTiling(spec, isa);
  // Tasks are counted per phase: where phases are joined, as many tasks share
  // the rows.
  int64_t share = joinsPhases(spec) ? phaseCount(spec) : 1;
  return {spec.strideH, spec.strideW, tiling.rowsPerTask * share,
          tiling.columnTasks, tiling.scratchBytes};
}

namespace {
/// The outputs of a transposed convolution as a grid of [N, lines, columns]
/// cells of one pixel for each phase.
struct PhaseGrid {
  KernelBuilder &kb;
  const ConvTransposeSpec &spec;
  Value n, h, w, oh, ow, lines, columns, rows;

  PhaseGrid(KernelBuilder &kb, const ConvTransposeSpec &spec)
      : kb(kb), spec(spec), n(kb.extent(spec.n)), h(kb.extent(spec.h)),
        w(kb.extent(spec.w)), oh(kb.extent(spec.oh)), ow(kb.extent(spec.ow)),
        lines(kb.divCeil(oh, spec.strideH)),
        columns(kb.divCeil(ow, spec.strideW)),
        rows(kb.mul(kb.mul(n, lines), columns)) {}

  void describe(IndirectProduct &product) const {
    product.in = kb.ptr(spec.in);
    product.out = kb.ptr(spec.out);
    product.weights = kb.ptr(spec.weights);
    product.epilogue = spec.epilogue;
    product.outChannels = spec.o;
    product.rows.n = n;
    product.rows.h = h;
    product.rows.w = w;
    product.rows.lines = lines;
    product.rows.columns = columns;
  }

  /// Whether every cell is whole.
  bool isWhole() const {
    return spec.oh.isFixed() && spec.ow.isFixed() &&
           spec.oh.fixed % spec.strideH == 0 &&
           spec.ow.fixed % spec.strideW == 0;
  }

  IndirectProduct::Place place(Value row, Value phaseY, Value phaseX,
                               Value channel) const {
    Pixel cell = decodePixel(kb, row, lines, columns);
    Value y = kb.add(kb.mul(cell.y, spec.strideH), phaseY);
    Value x = kb.add(kb.mul(cell.x, spec.strideW), phaseX);
    Value exists;
    if (!isWhole())
      exists = kb.createOrFold<arith::AndIOp>(kb.less(y, oh), kb.less(x, ow));
    Value line = kb.add(kb.mul(cell.n, oh), y);
    return {kb.add(kb.mul(line, ow), x), channel, exists};
  }
};
} // namespace

/// All phases at once: column (phaseY * strideW + phaseX) * O + o.
static void emitJoined(KernelBuilder &kb, const ConvTransposeSpec &spec) {
  IndirectTiling tiling = indirectTiling(spec, kb.isa());
  IndirectProduct product(kb, indirectShape(spec), tiling);
  PhaseGrid grid(kb, spec);
  grid.describe(product);
  product.rows.bounds = [&](const Pixel &cell) -> RowGeometry::Bounds {
    return {cell.y, cell.y, cell.x, cell.x};
  };
  product.rows.forEachRun = [&](const Pixel &cell, RowGeometry::RunFn run) {
    run(kb.idx(0), cell.y, cell.x);
  };
  product.placeColumns = spec.o;
  product.place = [&](Value row, Value column) {
    Value phase = kb.divFloor(column, spec.o);
    return grid.place(row, kb.divFloor(phase, spec.strideW),
                      kb.rem(phase, spec.strideW), kb.rem(column, spec.o));
  };
  auto [first, last] = taskRange(kb, kb.divFloor(kb.task(), tiling.columnTasks),
                                 tiling.rowsPerTask, grid.rows);
  product.emit(first, last, kb.rem(kb.task(), tiling.columnTasks));
}

/// task = (phase * rowTasks + rowTask) * columnTasks + columnTask
static void emitPhased(KernelBuilder &kb, const ConvTransposeSpec &spec) {
  IndirectShape shape = indirectShape(spec);
  IndirectTiling tiling = indirectTiling(spec, kb.isa());
  PhaseGrid grid(kb, spec);
  Value rowTasks = kb.divCeil(grid.rows, tiling.rowsPerTask);
  Value task = kb.divFloor(kb.task(), tiling.columnTasks);
  Value phase = kb.divFloor(task, rowTasks);
  Value phaseY = kb.divFloor(phase, spec.strideW);
  Value phaseX = kb.rem(phase, spec.strideW);
  PhaseValues vertical(kb, verticalAxis(spec), phaseY);
  PhaseValues horizontal(kb, horizontalAxis(spec), phaseX);

  IndirectProduct product(kb, shape, tiling);
  grid.describe(product);
  product.weights = kb.gep(kb.getF32Type(), product.weights,
                           kb.mul(phase, shape.groups * shape.groupWeights()));
  product.tapCount = kb.mul(vertical.taps, horizontal.taps);
  product.rows.bounds = [&](const Pixel &cell) -> RowGeometry::Bounds {
    Value y = kb.add(cell.y, vertical.shift);
    Value x = kb.add(cell.x, horizontal.shift);
    return {kb.add(kb.sub(y, vertical.taps), 1), y,
            kb.add(kb.sub(x, horizontal.taps), 1), x};
  };
  product.rows.forEachRun = [&](const Pixel &cell, RowGeometry::RunFn run) {
    kb.loop(kb.idx(0), vertical.taps, 1, [&](Value ty) {
      Value iy = kb.sub(kb.add(cell.y, vertical.shift), ty);
      kb.loop(kb.idx(0), horizontal.taps, 1, [&](Value tx) {
        run(kb.add(kb.mul(ty, horizontal.taps), tx), iy,
            kb.sub(kb.add(cell.x, horizontal.shift), tx));
      });
    });
  };
  product.place = [&](Value row, Value column) {
    return grid.place(row, phaseY, phaseX, column);
  };
  auto [first, last] =
      taskRange(kb, kb.rem(task, rowTasks), tiling.rowsPerTask, grid.rows);
  product.emit(first, last, kb.rem(kb.task(), tiling.columnTasks));
}

void emitConvTranspose(KernelBuilder &kb, const ConvTransposeSpec &spec) {
  joinsPhases(spec) ? emitJoined(kb, spec) : emitPhased(kb, spec);
}

int64_t packedConvSize(const ConvTransposeSpec &spec) {
  IndirectShape shape = indirectShape(spec);
  int64_t copies = joinsPhases(spec) ? 1 : phaseCount(spec);
  return copies * shape.groups * shape.groupWeights();
}

llvm::SmallVector<float, 0>
packConvTransposeF32(const ConvTransposeSpec &spec,
                     llvm::ArrayRef<float> filters) {
  IndirectShape shape = indirectShape(spec);
  PhasedAxis vertical = verticalAxis(spec), horizontal = horizontalAxis(spec);
  // Value c of tap `tap` of phase `phase`; zero where there is none.
  auto weight = [&](int64_t phase, int64_t o, int64_t tap, int64_t c) -> float {
    int64_t py = phase / spec.strideW, px = phase % spec.strideW;
    int64_t tapsX = horizontal.tapCount(px);
    if (tap >= vertical.tapCount(py) * tapsX)
      return 0;
    int64_t ky = vertical.firstTap(py) + tap / tapsX * spec.strideH;
    int64_t kx = horizontal.firstTap(px) + tap % tapsX * spec.strideW;
    if (ky % spec.dilationH || kx % spec.dilationW)
      return 0;
    int64_t filter = (o * spec.kernelH + ky / spec.dilationH) * spec.kernelW +
                     kx / spec.dilationW;
    return filters[filter * shape.runLength() + c];
  };
  if (joinsPhases(spec))
    return packIndirect<float>(
        shape, [&](int64_t column, int64_t tap, int64_t c) {
          return weight(column / spec.o, column % spec.o, tap, c);
        });
  llvm::SmallVector<float, 0> packed;
  for (int64_t phase = 0; phase < phaseCount(spec); ++phase)
    packed.append(
        packIndirect<float>(shape, [&](int64_t o, int64_t tap, int64_t c) {
          return weight(phase, o, tap, c);
        }));
  return packed;
}

} // namespace pare::cpu
