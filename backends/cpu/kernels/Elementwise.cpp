//===- Elementwise.cpp - Fused chains over broadcast operands -------------===//
#include "backends/cpu/kernels/Elementwise.h"

using namespace mlir;
using namespace pare::cpu;

void ElementwiseSpec::addInput(unsigned ptr, PareDType type,
                               llvm::ArrayRef<bool> broadcast) {
  inputs.push_back({ptr, type, denseStrides(shape, broadcast)});
}

void ElementwiseSpec::setOutput(unsigned ptr, PareDType type) {
  output = {ptr, type, denseStrides(shape)};
}

namespace {

/// How the collapsed shape is cut: tasks of `rows` rows x `columns` columns.
struct Tiling {
  Space space; ///< strides: the inputs', then the output's
  int64_t rows, columns;

  explicit Tiling(const ElementwiseSpec &spec) {
    for (const Extent &e : spec.shape)
      space.extents.push_back(e);
    for (const ElementwiseOperand &input : spec.inputs)
      space.strides.push_back(input.strides);
    space.strides.push_back(spec.output.strides);
    space.collapse();
    // About 8 Ki elements a task: some microseconds, well above the cost of
    // dealing one.
    constexpr int64_t kPerTask = 8192, kLongRow = 32768;
    auto inner = space.extents.back().constant();
    columns =
        inner && *inner <= kLongRow ? std::max<int64_t>(*inner, 1) : kPerTask;
    rows = space.rank() == 1 ? 1
           : inner           ? std::max<int64_t>(kPerTask / columns, 1)
                             : 16;
  }
  unsigned inner() const { return space.rank() - 1; }
};

} // namespace

Grid pare::cpu::elementwiseGrid(const ElementwiseSpec &spec) {
  Tiling t(spec);
  return {{{t.space.size(0, t.inner()), t.rows},
           {t.space.extents.back(), t.columns}}};
}

void pare::cpu::emitElementwise(KernelBuilder &b, const ElementwiseSpec &spec) {
  Tiling t(spec);
  unsigned inner = t.inner();
  Value innerExtent = t.space.extents[inner].value(b);
  Value rows = t.space.size(0, inner).value(b);
  Value columnBlocks = b.divCeil(innerExtent, t.columns);
  Value firstRow = b.mul(b.divFloor(b.task(), columnBlocks), t.rows);
  Value lastRow = b.minIdx(b.add(firstRow, t.rows), rows);
  Value column = b.mul(b.rem(b.task(), columnBlocks), t.columns);
  Value columns = b.minIdx(b.sub(innerExtent, column), b.idx(t.columns));

  unsigned widest = elementBytes(spec.output.type);
  for (const ElementwiseOperand &input : spec.inputs) {
    widest = std::max(widest, elementBytes(input.type));
    if (isa<FloatType>(computeType(b, input.type)))
      widest = std::max(widest, 4u);
  }
  unsigned lanes = b.isa().f32Lanes * 4 / widest;

  auto isInvariant = [&](unsigned i, unsigned axes) {
    return llvm::all_of(ArrayRef(t.space.strides[i]).take_back(axes),
                        [](const Product &p) { return p.is(0); });
  };
  unsigned n = spec.inputs.size();
  auto loadOne = [&](unsigned i, Value offset) {
    return loadSplat(b, spec.inputs[i].type, b.ptr(spec.inputs[i].ptr), offset,
                     1);
  };
  SmallVector<Value> fixed(n);
  for (unsigned i = 0; i < n; ++i)
    if (isInvariant(i, t.space.rank()))
      fixed[i] = loadOne(i, b.idx(0));

  auto row = [&](Value, ArrayRef<Value> rowOffsets) {
    SmallVector<Value> offsets(rowOffsets);
    SmallVector<Value> perRow(fixed);
    for (unsigned i = 0; i < n; ++i)
      if (!perRow[i] && isInvariant(i, 1))
        perRow[i] = loadOne(i, offsets[i]);
    for (auto [i, offset] : llvm::enumerate(offsets))
      offset = b.add(offset, b.mul(column, t.space.strides[i][inner].value(b)));
    forVectors(b, columns, lanes, 2, [&](Value c, unsigned width, Value count) {
      SmallVector<Value> values;
      for (unsigned i = 0; i < n; ++i) {
        const ElementwiseOperand &input = spec.inputs[i];
        const Product &stride = t.space.strides[i][inner];
        if (perRow[i]) {
          SmallVector<int64_t> zeros(width, 0);
          values.push_back(b.shuffle(perRow[i], perRow[i], zeros));
        } else if (stride.is(1)) {
          values.push_back(loadAs(b, input.type, b.ptr(input.ptr),
                                  b.add(offsets[i], c), width, count));
        } else {
          Value step = stride.value(b);
          values.push_back(loadStrided(b, input.type, b.ptr(input.ptr),
                                       b.add(offsets[i], b.mul(c, step)), step,
                                       width, count));
        }
      }
      Value result = spec.body(b, values, width);
      Value out = b.ptr(spec.output.ptr);
      const Product &stride = t.space.strides[n][inner];
      if (stride.is(1)) {
        storeAs(b, spec.output.type, result, out, b.add(offsets[n], c), count);
      } else {
        Value step = stride.value(b);
        storeStrided(b, spec.output.type, result, out,
                     b.add(offsets[n], b.mul(c, step)), step, count);
      }
    });
  };
  forPositions(b, t.space, inner, firstRow, lastRow, row);
}
