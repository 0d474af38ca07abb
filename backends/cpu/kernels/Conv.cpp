//===- Conv.cpp - Convolution kernels, NHWC -------------------------------===//
#include "backends/cpu/kernels/Conv.h"
#include "backends/cpu/kernels/ConvIndirect.h"

using namespace mlir;

namespace pare::cpu {

/// Few channels make short runs: a line of the filter is then one run, because
/// neighbouring pixels are neighbours in memory.
static bool joinsPixels(const ConvSpec &spec) {
  if (spec.kernelW == 1 || spec.dilationW != 1 || spec.groups != 1)
    return false;
  return spec.c < 16 || (spec.int8 && spec.c % 4 != 0);
}

static IndirectShape indirectShape(const ConvSpec &spec) {
  IndirectShape shape;
  bool joins = joinsPixels(spec);
  shape.taps = spec.kernelH * (joins ? 1 : spec.kernelW);
  shape.runPixels = joins ? spec.kernelW : 1;
  shape.channels = spec.c;
  shape.outputs = spec.o;
  shape.groups = spec.groups;
  shape.int8 = spec.int8;
  return shape;
}

static IndirectTiling indirectTiling(const ConvSpec &spec, const Isa &isa) {
  std::optional<int64_t> rows;
  if (spec.n.isFixed() && spec.oh.isFixed() && spec.ow.isFixed())
    rows = spec.n.fixed * spec.oh.fixed * spec.ow.fixed;
  return IndirectTiling(indirectShape(spec), isa, rows);
}

ConvTiling convTiling(const ConvSpec &spec, const Isa &isa) {
  IndirectTiling tiling = indirectTiling(spec, isa);
  return {1, 1, tiling.rowsPerTask, tiling.columnTasks, tiling.scratchBytes};
}

void emitConv(KernelBuilder &kb, const ConvSpec &spec) {
  IndirectShape shape = indirectShape(spec);
  IndirectTiling tiling = indirectTiling(spec, kb.isa());
  Value n = kb.extent(spec.n), h = kb.extent(spec.h), w = kb.extent(spec.w);
  Value oh = kb.extent(spec.oh), ow = kb.extent(spec.ow);

  IndirectProduct product(kb, shape, tiling);
  product.in = kb.ptr(spec.in);
  product.out = kb.ptr(spec.out);
  product.weights = kb.ptr(spec.weights);
  if (spec.int8) {
    product.scales = kb.ptr(spec.scales);
    product.compensation = kb.ptr(spec.compensation);
  }
  product.epilogue = spec.epilogue;

  auto start = [&](const Pixel &row) -> std::pair<Value, Value> {
    return {kb.sub(kb.mul(row.y, spec.strideH), kb.idx(spec.padT)),
            kb.sub(kb.mul(row.x, spec.strideW), kb.idx(spec.padL))};
  };
  RowGeometry &rows = product.rows;
  rows.n = n;
  rows.h = h;
  rows.w = w;
  rows.lines = oh;
  rows.columns = ow;
  rows.columnStep = spec.strideW;
  rows.bounds = [&](const Pixel &row) -> RowGeometry::Bounds {
    auto [y, x] = start(row);
    return {y, kb.add(y, (spec.kernelH - 1) * spec.dilationH), x,
            kb.add(x, (spec.kernelW - 1) * spec.dilationW)};
  };
  rows.forEachRun = [&](const Pixel &row, RowGeometry::RunFn run) {
    auto [y, x] = start(row);
    int64_t runs = spec.kernelW / shape.runPixels;
    kb.loop(kb.idx(0), kb.idx(spec.kernelH), 1, [&, y = y, x = x](Value ky) {
      Value iy = kb.add(y, kb.mul(ky, spec.dilationH));
      kb.loop(kb.idx(0), kb.idx(runs), 1, [&](Value kx) {
        run(kb.add(kb.mul(ky, runs), kx), iy,
            kb.add(x, kb.mul(kx, spec.dilationW)));
      });
    });
  };

  Value task = kb.divFloor(kb.task(), tiling.columnTasks);
  auto [first, last] =
      taskRange(kb, task, tiling.rowsPerTask, kb.mul(kb.mul(n, oh), ow));
  product.emit(first, last, kb.rem(kb.task(), tiling.columnTasks));
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

int64_t packedConvSize(const ConvSpec &spec) {
  return spec.groups * indirectShape(spec).groupWeights();
}

int64_t packedCompensationSize(const ConvSpec &spec) {
  return spec.groups * indirectShape(spec).panels() * kPanel;
}

llvm::SmallVector<float, 0> packConvF32(const ConvSpec &spec,
                                        llvm::ArrayRef<float> filters) {
  IndirectShape shape = indirectShape(spec);
  return packIndirect<float>(shape, [&](int64_t o, int64_t tap, int64_t i) {
    return filters[(o * shape.taps + tap) * shape.runLength() + i];
  });
}

PackedConvS8 packConvS8(const ConvSpec &spec, llvm::ArrayRef<int8_t> filters) {
  IndirectShape shape = indirectShape(spec);
  assert(shape.int8 && "the layout is that of int8");
  PackedConvS8 packed;
  packed.weights =
      packIndirect<int8_t>(shape, [&](int64_t o, int64_t tap, int64_t i) {
        return filters[(o * shape.taps + tap) * shape.runLength() + i];
      });
  int64_t filterLength = shape.taps * shape.runLength();
  int64_t columns = shape.panels() * kPanel;
  packed.compensation.assign(shape.groups * columns, 0);
  for (int64_t o = 0; o < shape.outputs; ++o) {
    int32_t sum = 0;
    for (int8_t code : filters.slice(o * filterLength, filterLength))
      sum += code;
    int64_t group = o / shape.groupOutputs(), column = o % shape.groupOutputs();
    packed.compensation[group * columns + column] = -128 * sum;
  }
  return packed;
}

} // namespace pare::cpu
