//===- DataMovement.cpp - Kernels that rearrange elements -----------------===//
#include "backends/cpu/kernels/DataMovement.h"
#include "backends/cpu/kernels/Elementwise.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace pare::cpu;

/// Integers of the size of an element.
static PareDType integerOf(unsigned bytes) {
  switch (bytes) {
  case 1:
    return PARE_I8;
  case 2:
    return PARE_I16;
  case 4:
    return PARE_I32;
  default:
    assert(bytes == 8 && "elements have 1, 2, 4 or 8 bytes");
    return PARE_I64;
  }
}

//===----------------------------------------------------------------------===//
// Copy
//===----------------------------------------------------------------------===//

namespace {

/// A copy as transpositions of matrices: `row` is contiguous in the input,
/// `column` (the innermost axis) in the output.
struct Transposition {
  Space outer; ///< the other axes
  Product rows, columns, inStride, outStride;
  static constexpr int64_t kColumns = 512; ///< of one task, at most
  /// Rows of one task: with few columns, as many more.
  int64_t rowsPerTask() const {
    int64_t width =
        std::clamp<int64_t>(columns.constant().value_or(kColumns), 1, kColumns);
    return llvm::alignTo(64 * kColumns / width, 64);
  }
  /// Whether the output interleaves a few rows of the input, as channels of
  /// pixels.
  bool interleaves() const {
    auto n = columns.constant();
    return n && *n >= 2 && *n <= 4 && outStride.is(*n);
  }
};

enum Operand { In, Out };

std::optional<Transposition> asTransposition(const CopySpec &spec) {
  Space space;
  for (const Extent &e : spec.shape)
    space.extents.push_back(e);
  space.strides = {spec.inStrides, spec.outStrides};
  space.collapse();
  unsigned inner = space.rank() - 1;
  if (!space.strides[Out][inner].is(1) || space.strides[In][inner].is(1) ||
      space.strides[In][inner].is(0))
    return std::nullopt;
  Transposition t;
  t.outer.strides.resize(2);
  bool found = false;
  for (unsigned axis = 0; axis < inner; ++axis) {
    SmallVector<Product> strides = {space.strides[In][axis],
                                    space.strides[Out][axis]};
    auto extent = space.extents[axis].constant();
    // With fewer rows, vectors of the output are gathered.
    if (!found && strides[In].is(1) && (!extent || *extent >= 4)) {
      found = true;
      t.rows = space.extents[axis];
      t.outStride = strides[Out];
      continue;
    }
    t.outer.push(space.extents[axis], strides);
  }
  t.columns = space.extents[inner];
  t.inStride = space.strides[In][inner];
  return found ? std::optional(t) : std::nullopt;
}

ElementwiseSpec asElementwise(const CopySpec &spec) {
  ElementwiseSpec e;
  e.shape = spec.shape;
  PareDType type = integerOf(spec.elementBytes);
  e.inputs.push_back({spec.ptrIn, type, spec.inStrides});
  e.output = {spec.ptrOut, type, spec.outStrides};
  e.body = [](KernelBuilder &, ArrayRef<Value> values, unsigned) {
    return values[0];
  };
  return e;
}

/// One square tile at (row, column) of the matrices at in and out.
void transposeTile(KernelBuilder &b, const Transposition &t, Type elem,
                   unsigned edge, Value in, Value out, Value row, Value rows,
                   Value column, Value columns, bool whole) {
  Value inStride = t.inStride.value(b), outStride = t.outStride.value(b);
  Value rowCount = whole ? Value() : b.sub(rows, row),
        columnCount = whole ? Value() : b.sub(columns, column);
  Value lastColumn = b.sub(columns, b.idx(1));
  SmallVector<Value> tile;
  for (unsigned i = 0; i < edge; ++i) {
    Value c = b.add(column, i);
    if (!whole)
      c = b.minIdx(c, lastColumn);
    tile.push_back(b.loadVecPartial(b.vecType(edge, elem), in,
                                    b.add(b.mul(c, inStride), row), rowCount));
  }
  tile = transposeInRegisters(b, tile);
  for (unsigned i = 0; i < edge; ++i) {
    Value r = b.add(row, i);
    auto store = [&] {
      b.storePartial(tile[i], out, b.add(b.mul(r, outStride), column),
                     columnCount);
    };
    if (whole)
      store();
    else
      b.ifThen(b.less(r, rows), store);
  }
}

/// Rows [row, lastRow) of columns that lie one behind the other in the output.
void interleave(KernelBuilder &b, const Transposition &t, Type elem,
                unsigned edge, Value in, Value out, Value row, Value lastRow) {
  unsigned n = *t.columns.constant();
  SmallVector<int64_t> order;
  for (unsigned i = 0; i < edge * n; ++i)
    order.push_back(i % n * edge + i / n);
  Value stride = t.inStride.value(b);
  forVectors(b, b.sub(lastRow, row), edge, 1,
             [&](Value i, unsigned width, Value count) {
               SmallVector<Value> columns;
               Value r = b.add(row, i);
               for (unsigned c = 0; c < llvm::bit_ceil(n); ++c)
                 columns.push_back(
                     c < n ? b.loadVecPartial(b.vecType(edge, elem), in,
                                              b.add(b.mul(stride, c), r), count)
                           : columns[0]);
               Value all = b.concat(columns);
               b.storePartial(b.shuffle(all, all, order), out, b.mul(r, n),
                              count ? b.mul(count, n) : Value());
             });
}

void emitTransposition(KernelBuilder &b, const CopySpec &spec,
                       const Transposition &t) {
  Type elem = b.getIntegerType(8 * spec.elementBytes);
  // Registers of one row of the tile.
  unsigned edge = std::min(
      8u, std::max(4u, b.isa().f32Lanes * 4 / std::max(spec.elementBytes, 2u)));
  Value rows = t.rows.value(b), columns = t.columns.value(b);
  Value columnBlocks = b.divCeil(columns, t.kColumns),
        rowBlocks = b.divCeil(rows, t.rowsPerTask());
  Value blocks = b.divFloor(b.task(), columnBlocks);
  Value column = b.mul(b.rem(b.task(), columnBlocks), t.kColumns);
  Value row = b.mul(b.rem(blocks, rowBlocks), t.rowsPerTask());
  SmallVector<Value> offsets =
      offsetsAt(b, t.outer, 0, t.outer.rank(), b.divFloor(blocks, rowBlocks));
  Value in = b.gep(elem, b.ptr(spec.ptrIn), offsets[In]),
        out = b.gep(elem, b.ptr(spec.ptrOut), offsets[Out]);
  Value lastRow = b.minIdx(b.add(row, t.rowsPerTask()), rows),
        lastColumn = b.minIdx(b.add(column, t.kColumns), columns);
  if (t.interleaves())
    return interleave(b, t, elem, edge, in, out, row, lastRow);
  b.loop(row, lastRow, edge, [&](Value r) {
    b.loop(column, lastColumn, edge, [&](Value c) {
      Value fits = arith::AndIOp::create(b, b.less(b.add(r, edge - 1), rows),
                                         b.less(b.add(c, edge - 1), columns));
      b.ifThen(
          fits,
          [&] {
            transposeTile(b, t, elem, edge, in, out, r, rows, c, columns, true);
          },
          [&] {
            transposeTile(b, t, elem, edge, in, out, r, rows, c, columns,
                          false);
          });
    });
  });
}

} // namespace

CopySpec CopySpec::transpose(ArrayRef<Extent> shape,
                             ArrayRef<int64_t> permutation,
                             unsigned elementBytes) {
  CopySpec spec;
  spec.elementBytes = elementBytes;
  SmallVector<Product> strides = denseStrides(shape);
  for (int64_t axis : permutation) {
    spec.shape.push_back(shape[axis]);
    spec.inStrides.push_back(strides[axis]);
  }
  spec.outStrides = denseStrides(spec.shape);
  return spec;
}

Grid pare::cpu::copyGrid(const CopySpec &spec) {
  if (auto t = asTransposition(spec))
    return {{{t->outer.size(0, t->outer.rank()), 1},
             {t->rows, t->rowsPerTask()},
             {t->columns, t->kColumns}}};
  return elementwiseGrid(asElementwise(spec));
}

void pare::cpu::emitCopy(KernelBuilder &b, const CopySpec &spec) {
  if (auto t = asTransposition(spec))
    return emitTransposition(b, spec, *t);
  emitElementwise(b, asElementwise(spec));
}

/// Copies `n` elements between pointers.
static void copyRun(KernelBuilder &b, PareDType type, Value in, Value out,
                    Value n) {
  forVectors(b, n, b.isa().f32Lanes * 4 / elementBytes(type), 2,
             [&](Value i, unsigned width, Value count) {
               storeAs(b, type, loadAs(b, type, in, i, width, count), out, i,
                       count);
             });
}

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

namespace {

/// Padding with the unpadded inner axes merged into runs of elements.
struct PadLayout {
  unsigned inner; ///< the innermost padded axis
  Product run;    ///< elements inside it

  explicit PadLayout(const PadSpec &spec) : inner(spec.inShape.size() - 1) {
    while (inner > 0 && spec.low[inner] == 0 && spec.high[inner] == 0)
      run = run * spec.inShape[inner--];
  }
  Product rows(const PadSpec &spec) const {
    Product rows;
    for (const Extent &e : ArrayRef(spec.outShape).take_front(inner))
      rows = rows * e;
    return rows;
  }
};

struct PadEmitter {
  KernelBuilder &b;
  const PadSpec &spec;
  PadLayout layout;
  PareDType type = integerOf(spec.elementBytes);
  Type elem = storageType(b, type);
  Value run = layout.run.value(b);

  /// Input index of output index `at` on `axis`, inside the input whatever it
  /// is.
  Value source(unsigned axis, Value at) {
    Value n = b.extent(spec.inShape[axis]), zero = b.idx(0),
          last = b.sub(n, b.idx(1));
    Value i = b.sub(at, b.idx(spec.low[axis]));
    if (spec.kind == PadKind::Reflect) {
      i = b.maxIdx(i, b.sub(zero, i));
      i = b.minIdx(i, b.sub(b.mul(last, 2), i));
    }
    return b.maxIdx(zero, b.minIdx(i, last));
  }
  /// Whether output index `at` is not padding.
  Value inside(unsigned axis, Value at) {
    Value i = b.sub(at, b.idx(spec.low[axis]));
    return arith::AndIOp::create(b, b.less(b.idx(-1), i),
                                 b.less(i, b.extent(spec.inShape[axis])));
  }

  void fill(Value out, Value n) {
    Value value = arith::ConstantIntOp::create(b, elem, int64_t(spec.value));
    forVectors(b, n, b.isa().f32Lanes * 4 / spec.elementBytes, 2,
               [&](Value i, unsigned width, Value count) {
                 storeAs(b, type, b.splat(value, width), out, i, count);
               });
  }
  Value at(Value base, Value index) {
    return b.gep(elem, base, b.mul(index, run));
  }

  void row(Value flat) {
    unsigned axis = layout.inner;
    Value n = b.extent(spec.inShape[axis]),
          outN = b.extent(spec.outShape[axis]);
    Value out = at(b.ptr(spec.ptrOut), b.mul(flat, outN));
    Value isInside, offset = b.idx(0), stride = n, rest = flat;
    for (unsigned i = axis; i-- > 0;) {
      Value extent = b.extent(spec.outShape[i]);
      Value index = i == 0 ? rest : b.rem(rest, extent);
      rest = b.divFloor(rest, extent);
      if (spec.kind == PadKind::Constant &&
          (spec.low[i] != 0 || spec.high[i] != 0)) {
        Value here = inside(i, index);
        isInside =
            isInside ? Value(arith::AndIOp::create(b, isInside, here)) : here;
      }
      offset = b.add(offset, b.mul(source(i, index), stride));
      stride = b.mul(stride, b.extent(spec.inShape[i]));
    }
    Value in = at(b.ptr(spec.ptrIn), offset);
    auto copy = [&] { line(in, out, n, outN); };
    if (isInside)
      b.ifThen(isInside, copy, [&] { fill(out, b.mul(outN, run)); });
    else
      copy();
  }

  /// One line of the innermost padded axis.
  void line(Value in, Value out, Value n, Value outN) {
    int64_t low = spec.low[layout.inner], high = spec.high[layout.inner];
    int64_t before = std::max<int64_t>(low, 0),
            after = std::max<int64_t>(high, 0);
    Value first = b.idx(before), last = b.sub(outN, b.idx(after));
    auto pad = [&](Value from, Value to) {
      if (spec.kind == PadKind::Constant)
        return fill(at(out, from), b.mul(b.sub(to, from), run));
      b.loop(from, to, 1, [&](Value i) {
        copyRun(b, type, at(in, source(layout.inner, i)), at(out, i), run);
      });
    };
    if (before != 0)
      pad(b.idx(0), first);
    copyRun(b, type, at(in, b.idx(std::max<int64_t>(-low, 0))), at(out, first),
            b.mul(b.sub(last, first), run));
    if (after != 0)
      pad(last, outN);
  }
};

constexpr int64_t kPadRowsPerTask = 16;

} // namespace

Grid pare::cpu::padGrid(const PadSpec &spec) {
  return {{{PadLayout(spec).rows(spec), kPadRowsPerTask}}};
}

void pare::cpu::emitPad(KernelBuilder &b, const PadSpec &spec) {
  PadLayout layout(spec);
  Value begin = b.mul(b.task(), kPadRowsPerTask);
  Value end =
      b.minIdx(b.add(begin, kPadRowsPerTask), layout.rows(spec).value(b));
  PadEmitter emitter{b, spec, layout};
  b.loop(begin, end, 1, [&](Value row) { emitter.row(row); });
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

static int64_t rowsPerTask(const GatherSpec &spec) {
  return spec.inner.isFixed()
             ? std::clamp<int64_t>(
                   8192 / std::max<int64_t>(spec.inner.fixed, 1), 1, 1024)
             : 32;
}

Grid pare::cpu::gatherGrid(const GatherSpec &spec) {
  return {{{Product(spec.outer) * spec.count, rowsPerTask(spec)}}};
}

void pare::cpu::emitGather(KernelBuilder &b, const GatherSpec &spec) {
  Value count = b.extent(spec.count), n = b.extent(spec.axis),
        inner = b.extent(spec.inner);
  Value begin = b.mul(b.task(), rowsPerTask(spec));
  Value end = b.minIdx(b.add(begin, rowsPerTask(spec)),
                       b.mul(b.extent(spec.outer), count));
  Type dataElem = storageType(b, spec.dataType),
       outElem = storageType(b, spec.outType);
  unsigned widest =
      std::max(elementBytes(spec.dataType), elementBytes(spec.outType));
  b.loop(begin, end, 1, [&](Value row) {
    Value outer = b.divFloor(row, count), at = b.rem(row, count);
    Value index = b.toIndex(
        b.load(storageType(b, spec.indexType), b.ptr(spec.ptrIndices), at));
    Value wrapped = b.add(index, n);
    index = arith::SelectOp::create(b, b.less(index, b.idx(0)), wrapped, index);
    index = b.maxIdx(b.minIdx(index, b.sub(n, b.idx(1))), b.idx(0));
    Value in = b.gep(dataElem, b.ptr(spec.ptrData),
                     b.mul(b.add(b.mul(outer, n), index), inner));
    Value out = b.gep(outElem, b.ptr(spec.ptrOut), b.mul(row, inner));
    Value scale = spec.ptrRowScale
                      ? b.load(b.getF32Type(), b.ptr(*spec.ptrRowScale), index)
                      : Value();
    forVectors(b, inner, b.isa().f32Lanes * 4 / widest, 2,
               [&](Value i, unsigned width, Value lanes) {
                 Value v = loadAs(b, spec.dataType, in, i, width, lanes);
                 if (spec.outType == PARE_F32 &&
                     isa<IntegerType>(getElementTypeOrSelf(v)) &&
                     spec.dataType != PARE_F32)
                   v = arith::SIToFPOp::create(b, b.vecF32(width), v);
                 if (scale)
                   v = arith::MulFOp::create(b, v, b.splat(scale, width));
                 storeAs(b, spec.outType, v, out, i, lanes);
               });
  });
}
