//===- Reduce.cpp - Reductions over any set of axes -----------------------===//
#include "backends/cpu/kernels/Reduce.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <limits>

using namespace mlir;
using namespace pare::cpu;

namespace {

/// The shape with neighbouring axes merged, kept ones apart from reduced ones.
struct Layout {
  Space kept;    ///< one operand: the input's strides
  Space reduced; ///< likewise
  bool innerReduced;

  explicit Layout(const ReduceSpec &spec) {
    SmallVector<Product> strides = denseStrides(spec.shape);
    kept.strides.resize(1);
    reduced.strides.resize(1);
    innerReduced = false;
    for (auto [axis, extent] : llvm::enumerate(spec.shape)) {
      if (Product(extent).is(1))
        continue;
      innerReduced = spec.reduced[axis];
      (innerReduced ? reduced : kept).push(extent, strides[axis]);
    }
    if (reduced.rank() != 0)
      reduced.collapse();
    if (kept.rank() != 0)
      kept.collapse();
  }
  /// Where the innermost axis is kept: the axes outside it.
  unsigned outer() const { return kept.rank() - 1; }
};

constexpr unsigned kUnroll = 4;

/// Results (rows) of one task where the innermost axis is reduced.
int64_t rowsPerTask(const Layout &layout) {
  auto n = layout.reduced.size(0, layout.reduced.rank()).constant();
  return n ? std::clamp<int64_t>(8192 / std::max<int64_t>(*n, 1), 1, 1024) : 8;
}

struct Emitter {
  KernelBuilder &b;
  const ReduceSpec &spec;
  const Layout &layout;
  bool isFloat;

  Type elem() { return computeType(b, spec.type); }

  Value scalar(double real, int64_t integer) {
    if (isFloat)
      return b.constF32(float(real));
    return arith::ConstantIntOp::create(b, elem(), integer);
  }
  Value neutral() {
    int64_t bits = elem().getIntOrFloatBitWidth();
    switch (spec.kind) {
    case ReduceKind::Max:
      return scalar(-std::numeric_limits<double>::infinity(),
                    llvm::minIntN(bits));
    case ReduceKind::Min:
      return scalar(std::numeric_limits<double>::infinity(),
                    llvm::maxIntN(bits));
    case ReduceKind::Prod:
      return scalar(1, 1);
    default:
      return scalar(0, 0);
    }
  }
  bool squares() const {
    return spec.kind == ReduceKind::SumSquare || spec.kind == ReduceKind::L2;
  }

  Value combine(Value acc, Value x) {
    switch (spec.kind) {
    case ReduceKind::Max:
      return isFloat ? maxFloat(b, x, acc)
                     : Value(arith::MaxSIOp::create(b, x, acc));
    case ReduceKind::Min:
      return isFloat ? minFloat(b, x, acc)
                     : Value(arith::MinSIOp::create(b, x, acc));
    case ReduceKind::Prod:
      return isFloat ? Value(arith::MulFOp::create(b, acc, x))
                     : Value(arith::MulIOp::create(b, acc, x));
    default:
      return isFloat ? Value(arith::AddFOp::create(b, acc, x))
                     : Value(arith::AddIOp::create(b, acc, x));
    }
  }
  /// Adds elements, as loaded.
  Value accumulate(Value acc, Value x) {
    if (!squares())
      return combine(acc, x);
    if (isFloat)
      return b.fma(x, x, acc);
    return arith::AddIOp::create(b, acc, arith::MulIOp::create(b, x, x));
  }
  Value finish(Value v) {
    if (spec.kind == ReduceKind::Mean) {
      Value n = b.toI32(layout.reduced.size(0, layout.reduced.rank()).value(b));
      Value count = arith::SIToFPOp::create(b, b.getF32Type(), n);
      if (auto vector = dyn_cast<VectorType>(v.getType()))
        count = b.splat(count, vector.getNumElements());
      v = arith::DivFOp::create(b, v, count);
    }
    if (spec.kind == ReduceKind::L2)
      v = math::SqrtOp::create(b, v);
    return spec.epilogue ? spec.epilogue(b, v) : v;
  }

  /// Loops over reduced axes [axis, last) from `offset`, carrying `acc`.
  Value nest(unsigned axis, unsigned last, Value offset, Value acc,
             llvm::function_ref<Value(Value acc, Value offset)> body) {
    if (axis == last)
      return body(acc, offset);
    const Space &r = layout.reduced;
    return b.loop(b.idx(0), r.extents[axis].value(b), 1, ValueRange{acc},
                  [&](Value i, ValueRange carried) -> SmallVector<Value> {
                    Value at =
                        b.add(offset, b.mul(i, r.strides[0][axis].value(b)));
                    return {nest(axis + 1, last, at, carried[0], body)};
                  })[0];
  }

  /// Combines `acc` with the elements of the innermost reduced axis from
  /// `offset`, first a few among themselves: one long chain of sums would lose
  /// bits that differences of means, as in a variance, need.
  Value inBlocks(Value acc, Value none, Value offset,
                 llvm::function_ref<Value(Value acc, Value offset)> add) {
    constexpr int64_t kBlock = 16;
    const Space &r = layout.reduced;
    unsigned inner = r.rank() - 1;
    Value n = r.extents[inner].value(b);
    Value stride = r.strides[0][inner].value(b);
    auto sum = [&](Value begin, Value end, Value first) {
      return b.loop(begin, end, 1, ValueRange{first},
                    [&](Value i, ValueRange carried) -> SmallVector<Value> {
                      return {add(carried[0], b.add(offset, b.mul(i, stride)))};
                    })[0];
    };
    return b.loop(b.idx(0), n, kBlock, ValueRange{acc},
                  [&](Value begin, ValueRange carried) -> SmallVector<Value> {
                    Value end = b.minIdx(b.add(begin, kBlock), n);
                    return {combine(carried[0], sum(begin, end, none))};
                  })[0];
  }

  unsigned lanes() {
    return b.isa().f32Lanes * 4 / std::max(4u, elementBytes(spec.type));
  }

  /// One result; the innermost reduced axis is contiguous.
  void row(Value index) {
    Value offset = offsetsAt(b, layout.kept, 0, layout.kept.rank(), index)[0];
    const Space &r = layout.reduced;
    unsigned inner = r.rank() - 1;
    Value n = r.extents[inner].value(b);
    Value result = nest(0, inner, offset, neutral(), [&](Value acc, Value at) {
      auto step = [&](Value acc, Value i, Value count) {
        unsigned width = cast<VectorType>(acc.getType()).getNumElements();
        return accumulate(acc, loadAs(b, spec.type, b.ptr(spec.ptrIn),
                                      b.add(at, i), width, count));
      };
      Value part =
          reduceVectors(b, n, lanes(), kUnroll, neutral(), step,
                        [&](Value x, Value y) { return combine(x, y); });
      return inner == 0 ? part : combine(acc, part);
    });
    storeAs(b, spec.type, b.splat(finish(result), 1), b.ptr(spec.ptrOut),
            index);
  }

  /// Results [column, column + count) of the innermost kept axis.
  void columns(Value offset, Value out, Value column, unsigned width,
               Value count) {
    const Space &r = layout.reduced;
    Value none = b.splat(neutral(), width);
    auto add = [&](Value acc, Value at) {
      return accumulate(
          acc, loadAs(b, spec.type, b.ptr(spec.ptrIn), at, width, count));
    };
    unsigned inner = std::max(1u, r.rank()) - 1;
    Value acc =
        nest(0, inner, b.add(offset, column), none, [&](Value acc, Value at) {
          return r.rank() == 0 ? add(acc, at) : inBlocks(acc, none, at, add);
        });
    storeAs(b, spec.type, finish(acc), b.ptr(spec.ptrOut), b.add(out, column),
            count);
  }
};

} // namespace

Grid pare::cpu::reduceGrid(const ReduceSpec &spec, const Isa &isa) {
  Layout layout(spec);
  if (layout.innerReduced || layout.kept.rank() == 0)
    return {{{layout.kept.size(0, layout.kept.rank()), rowsPerTask(layout)}}};
  return {{{layout.kept.size(0, layout.outer()), 1},
           {layout.kept.extents.back(), int64_t(kUnroll) * isa.f32Lanes}}};
}

void pare::cpu::emitReduce(KernelBuilder &b, const ReduceSpec &spec) {
  Layout layout(spec);
  Emitter e{b, spec, layout, isa<FloatType>(computeType(b, spec.type))};
  if (layout.innerReduced || layout.kept.rank() == 0) {
    // A tensor of one element reduces like a row of it.
    if (layout.reduced.rank() == 0)
      layout.reduced.push(Product(1), {Product(1)});
    Value begin = b.mul(b.task(), rowsPerTask(layout));
    Value rows = layout.kept.size(0, layout.kept.rank()).value(b);
    Value end = b.minIdx(b.add(begin, rowsPerTask(layout)), rows);
    b.loop(begin, end, 1, [&](Value row) { e.row(row); });
    return;
  }
  int64_t perTask = int64_t(kUnroll) * b.isa().f32Lanes;
  Value inner = layout.kept.extents.back().value(b);
  Value blocks = b.divCeil(inner, perTask);
  Value outer = b.divFloor(b.task(), blocks);
  Value column = b.mul(b.rem(b.task(), blocks), perTask);
  Value width = b.minIdx(b.sub(inner, column), b.idx(perTask));
  Value offset = offsetsAt(b, layout.kept, 0, layout.outer(), outer)[0];
  forVectors(b, width, e.lanes(), perTask / e.lanes(),
             [&](Value i, unsigned lanes, Value count) {
               e.columns(offset, b.mul(outer, inner), b.add(column, i), lanes,
                         count);
             });
}
