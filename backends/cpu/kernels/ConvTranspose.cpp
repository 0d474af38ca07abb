//===- ConvTranspose.cpp - Transposed convolution, NHWC f32 ---------------===//
//
// Output pixels whose coordinates are congruent modulo the stride, a phase,
// are reached by the same taps of the filter: each phase is a convolution of
// stride 1 with every stride-th tap, and its outputs lie a stride apart. Where
// the kernel is as large as the stride, each phase has one tap.
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

static IndirectShape indirectShape(const ConvTransposeSpec &spec) {
  IndirectShape shape;
  shape.taps = verticalAxis(spec).maxTaps() * horizontalAxis(spec).maxTaps();
  shape.channels = spec.c;
  shape.outputs = spec.o;
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
  return {spec.strideH, spec.strideW, tiling.rowsPerTask, tiling.columnTasks,
          tiling.scratchBytes};
}

void emitConvTranspose(KernelBuilder &kb, const ConvTransposeSpec &spec) {
  IndirectShape shape = indirectShape(spec);
  IndirectTiling tiling = indirectTiling(spec, kb.isa());
  Value n = kb.extent(spec.n), h = kb.extent(spec.h), w = kb.extent(spec.w);
  Value oh = kb.extent(spec.oh), ow = kb.extent(spec.ow);
  Value phaseRows = kb.divCeil(oh, spec.strideH);
  Value phaseCols = kb.divCeil(ow, spec.strideW);
  Value rows = kb.mul(kb.mul(n, phaseRows), phaseCols);

  // task = ((phaseY * strideW + phaseX) * rowTasks + rowTask) * columnTasks
  //        + columnTask
  Value rowTasks = kb.divCeil(rows, tiling.rowsPerTask);
  Value task = kb.divFloor(kb.task(), tiling.columnTasks);
  Value phase = kb.divFloor(task, rowTasks);
  Value phaseY = kb.divFloor(phase, spec.strideW);
  Value phaseX = kb.rem(phase, spec.strideW);
  PhaseValues vertical(kb, verticalAxis(spec), phaseY);
  PhaseValues horizontal(kb, horizontalAxis(spec), phaseX);

  IndirectProduct product(kb, shape, tiling);
  product.in = kb.ptr(spec.in);
  product.out = kb.ptr(spec.out);
  product.weights = kb.gep(kb.getF32Type(), kb.ptr(spec.weights),
                           kb.mul(phase, shape.groups * shape.groupWeights()));
  product.tapCount = kb.mul(vertical.taps, horizontal.taps);
  product.epilogue = spec.epilogue;
  RowGeometry &grid = product.rows;
  grid.n = n;
  grid.h = h;
  grid.w = w;
  grid.lines = phaseRows;
  grid.columns = phaseCols;
  grid.bounds = [&](const Pixel &row) -> RowGeometry::Bounds {
    Value y = kb.add(row.y, vertical.shift);
    Value x = kb.add(row.x, horizontal.shift);
    return {kb.add(kb.sub(y, vertical.taps), 1), y,
            kb.add(kb.sub(x, horizontal.taps), 1), x};
  };
  grid.forEachRun = [&](const Pixel &row, RowGeometry::RunFn run) {
    kb.loop(kb.idx(0), vertical.taps, 1, [&](Value ty) {
      Value iy = kb.sub(kb.add(row.y, vertical.shift), ty);
      kb.loop(kb.idx(0), horizontal.taps, 1, [&](Value tx) {
        run(kb.add(kb.mul(ty, horizontal.taps), tx), iy,
            kb.sub(kb.add(row.x, horizontal.shift), tx));
      });
    });
  };
  product.outputRow = [&](Value row) -> std::pair<Value, Value> {
    Pixel pixel = decodePixel(kb, row, phaseRows, phaseCols);
    Value oy = kb.add(kb.mul(pixel.y, spec.strideH), phaseY);
    Value ox = kb.add(kb.mul(pixel.x, spec.strideW), phaseX);
    Value exists =
        kb.createOrFold<arith::AndIOp>(kb.less(oy, oh), kb.less(ox, ow));
    return {kb.add(kb.mul(kb.add(kb.mul(pixel.n, oh), oy), ow), ox), exists};
  };

  auto [first, last] =
      taskRange(kb, kb.rem(task, rowTasks), tiling.rowsPerTask, rows);
  product.emit(first, last, kb.rem(kb.task(), tiling.columnTasks));
}

int64_t packedConvSize(const ConvTransposeSpec &spec) {
  return spec.strideH * spec.strideW * spec.groups *
         indirectShape(spec).groupWeights();
}

llvm::SmallVector<float, 0>
packConvTransposeF32(const ConvTransposeSpec &spec,
                     llvm::ArrayRef<float> filters) {
  IndirectShape shape = indirectShape(spec);
  PhasedAxis vertical = verticalAxis(spec), horizontal = horizontalAxis(spec);
  int64_t channels = shape.runLength();
  llvm::SmallVector<float, 0> packed;
  for (int64_t py = 0; py < spec.strideH; ++py)
    for (int64_t px = 0; px < spec.strideW; ++px) {
      int64_t tapsX = horizontal.tapCount(px);
      int64_t taps = vertical.tapCount(py) * tapsX;
      packed.append(packIndirect<float>(
          shape, [&](int64_t o, int64_t tap, int64_t c) -> float {
            if (tap >= taps)
              return 0;
            int64_t ky = vertical.firstTap(py) + tap / tapsX * spec.strideH;
            int64_t kx = horizontal.firstTap(px) + tap % tapsX * spec.strideW;
            if (ky % spec.dilationH || kx % spec.dilationW)
              return 0;
            ky /= spec.dilationH;
            kx /= spec.dilationW;
            return filters[((o * spec.kernelH + ky) * spec.kernelW + kx) *
                               channels +
                           c];
          }));
    }
  return packed;
}

} // namespace pare::cpu
