//===- Softmax.cpp - Softmax and its logarithm ----------------------------===//
#include "backends/cpu/kernels/Softmax.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <limits>

using namespace mlir;
using namespace pare::cpu;

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

Product productOf(ArrayRef<Extent> extents) {
  Product p;
  for (const Extent &e : extents)
    p = p * e;
  return p;
}

bool isLast(const SoftmaxSpec &spec) {
  return productOf(ArrayRef(spec.shape).drop_front(spec.axis + 1)).is(1);
}

int64_t rowsPerTask(const SoftmaxSpec &spec) {
  const Extent &n = spec.shape[spec.axis];
  return n.isFixed()
             ? std::clamp<int64_t>(4096 / std::max<int64_t>(n.fixed, 1), 1, 256)
             : 8;
}

/// Columns of one task of the strided form.
int64_t columnsPerTask(const Isa &isa) { return 4 * isa.f32Lanes; }

struct Emitter {
  KernelBuilder &b;
  const SoftmaxSpec &spec;
  Value n;

  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  static unsigned widthOf(Value v) {
    return cast<VectorType>(v.getType()).getNumElements();
  }
  std::function<Value(Value, Value)> maximum = [this](Value x, Value y) {
    return maxFloat(b, x, y);
  };
  std::function<Value(Value, Value)> sum = [this](Value x, Value y) {
    return add(x, y);
  };

  /// scale * x as it is loaded.
  Value scaled(Value x) {
    return spec.scale == 1 ? x : mul(x, b.constF32(spec.scale, widthOf(x)));
  }

  /// One contiguous row at `first` of x and out, with its mask at `mask`.
  void row(Value first, Value mask) {
    unsigned lanes = b.isa().f32Lanes;
    Value x = b.ptr(spec.ptrX), out = b.ptr(spec.ptrOut);
    // What is not x itself is kept in out between passes.
    bool prepared = mask || spec.scale != 1;
    auto input = [&](Value from, Value i, unsigned width, Value count) {
      return b.loadVecPartial(b.vecF32(width), from, b.add(first, i), count);
    };
    auto maxStep = [&](Value acc, Value i, Value count) -> Value {
      unsigned width = widthOf(acc);
      Value v = scaled(input(x, i, width, count));
      if (mask)
        v = add(v, b.loadVecPartial(b.vecF32(width), b.ptr(*spec.ptrMask),
                                    b.add(mask, i), count));
      if (prepared)
        b.storePartial(v, out, b.add(first, i), count);
      return maxFloat(b, v, acc);
    };
    Value largest =
        reduceVectors(b, n, lanes, 4, b.constF32(kLowest), maxStep, maximum);
    Value from = prepared ? out : x;
    auto expStep = [&](Value acc, Value i, Value count) -> Value {
      unsigned width = widthOf(acc);
      Value e = buildExpFlush(
          b, sub(input(from, i, width, count), b.splat(largest, width)));
      if (!spec.log)
        b.storePartial(e, out, b.add(first, i), count);
      return add(acc, e);
    };
    Value total = reduceVectors(b, n, lanes, 2, b.constF32(0), expStep, sum);
    Value last = spec.log ? add(largest, buildLog(b, total))
                          : arith::DivFOp::create(b, b.constF32(1), total);
    forVectors(b, n, lanes, 4, [&](Value i, unsigned width, Value count) {
      Value v = input(spec.log ? from : out, i, width, count);
      Value by = b.splat(last, width);
      b.storePartial(spec.log ? sub(v, by) : mul(v, by), out, b.add(first, i),
                     count);
    });
  }

  /// Vectors of columns, `stride` elements from one index of the axis to the
  /// next, at `first`.
  void columns(Value first, Value stride, unsigned width, Value count) {
    Value x = b.ptr(spec.ptrX), out = b.ptr(spec.ptrOut);
    VectorType type = b.vecF32(width);
    auto at = [&](Value i) { return b.add(first, b.mul(i, stride)); };
    auto input = [&](Value i) {
      return scaled(b.loadVecPartial(type, x, at(i), count));
    };
    auto reduce = [&](float init,
                      llvm::function_ref<Value(Value, Value)> step) {
      return b.loop(b.idx(0), n, 1, ValueRange{b.constF32(init, width)},
                    [&](Value i, ValueRange acc) -> SmallVector<Value> {
                      return {step(acc[0], i)};
                    })[0];
    };
    Value largest = reduce(kLowest, [&](Value acc, Value i) {
      return maxFloat(b, input(i), acc);
    });
    Value total = reduce(0, [&](Value acc, Value i) {
      Value e = buildExpFlush(b, sub(input(i), largest));
      if (!spec.log)
        b.storePartial(e, out, at(i), count);
      return add(acc, e);
    });
    Value last = spec.log
                     ? add(largest, buildLog(b, total))
                     : arith::DivFOp::create(b, b.constF32(1, width), total);
    b.loop(b.idx(0), n, 1, [&](Value i) {
      Value v = spec.log ? sub(input(i), last)
                         : mul(b.loadVecPartial(type, out, at(i), count), last);
      b.storePartial(v, out, at(i), count);
    });
  }
};

} // namespace

Grid pare::cpu::softmaxGrid(const SoftmaxSpec &spec, const Isa &isa) {
  Product outer = productOf(ArrayRef(spec.shape).take_front(spec.axis));
  if (isLast(spec))
    return {{{outer, rowsPerTask(spec)}}};
  Product inner = productOf(ArrayRef(spec.shape).drop_front(spec.axis + 1));
  return {{{outer, 1}, {inner, columnsPerTask(isa)}}};
}

void pare::cpu::emitSoftmax(KernelBuilder &b, const SoftmaxSpec &spec) {
  Emitter e{b, spec, b.extent(spec.shape[spec.axis])};
  Value outer = productOf(ArrayRef(spec.shape).take_front(spec.axis)).value(b);
  if (isLast(spec)) {
    Space space;
    space.strides.resize(spec.ptrMask ? 1 : 0);
    for (unsigned axis = 0; axis < spec.axis; ++axis)
      space.push(spec.shape[axis],
                 spec.ptrMask ? ArrayRef<Product>(spec.maskStrides[axis])
                              : ArrayRef<Product>());
    Value begin = b.mul(b.task(), rowsPerTask(spec));
    Value end = b.minIdx(b.add(begin, rowsPerTask(spec)), outer);
    b.loop(begin, end, 1, [&](Value row) {
      Value mask;
      if (spec.ptrMask)
        mask = offsetsAt(b, space, 0, space.rank(), row)[0];
      e.row(b.mul(row, e.n), mask);
    });
    return;
  }
  assert(!spec.ptrMask && "a mask goes with the last axis");
  Value inner =
      productOf(ArrayRef(spec.shape).drop_front(spec.axis + 1)).value(b);
  int64_t perTask = columnsPerTask(b.isa());
  Value blocks = b.divCeil(inner, perTask);
  Value column = b.mul(b.rem(b.task(), blocks), perTask);
  Value first =
      b.add(b.mul(b.mul(b.divFloor(b.task(), blocks), e.n), inner), column);
  Value width = b.minIdx(b.sub(inner, column), b.idx(perTask));
  forVectors(b, width, b.isa().f32Lanes, perTask / b.isa().f32Lanes,
             [&](Value i, unsigned lanes, Value count) {
               e.columns(b.add(first, i), inner, lanes, count);
             });
}
