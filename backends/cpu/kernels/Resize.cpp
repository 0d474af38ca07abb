//===- Resize.cpp - Resampling kernels, NHWC f32 --------------------------===//
#include "backends/cpu/kernels/Resize.h"

using namespace mlir;

namespace pare::cpu {

namespace {
/// Scalar f32 arithmetic on a kernel's builder.
struct FloatMath {
  KernelBuilder &kb;

  Value constant(float v) { return kb.constF32(v); }
  Value add(Value a, Value b) { return kb.createOrFold<arith::AddFOp>(a, b); }
  Value sub(Value a, Value b) { return kb.createOrFold<arith::SubFOp>(a, b); }
  Value mul(Value a, Value b) { return kb.createOrFold<arith::MulFOp>(a, b); }
  Value div(Value a, Value b) { return kb.createOrFold<arith::DivFOp>(a, b); }
  Value ofIndex(Value v) {
    return arith::SIToFPOp::create(kb, kb.getF32Type(), kb.toI32(v));
  }
  /// The largest index (possibly negative) not above `v`.
  Value floorToIndex(Value v) {
    Value truncated = arith::FPToSIOp::create(kb, kb.getI32Type(), v);
    Value below = arith::CmpFOp::create(
        kb, arith::CmpFPredicate::OLT, v,
        arith::SIToFPOp::create(kb, kb.getF32Type(), truncated));
    Value index = kb.toIndex(truncated);
    return kb.sub(index, select(kb, below, kb.idx(1), kb.idx(0)));
  }
};

/// Source positions of one output position on one axis, with their weights.
struct AxisTaps {
  SmallVector<Value, 4> positions; ///< index, inside the input
  SmallVector<Value, 4> weights;   ///< f32; none for Nearest
};

/// One axis of a resize.
struct Axis {
  const ResizeSpec &spec;
  KernelBuilder &kb;
  Value in, out; ///< extents
  Value scale;   ///< f32

  Axis(const ResizeSpec &spec, KernelBuilder &kb, const Extent &inExtent,
       const Extent &outExtent, float fixedScale)
      : spec(spec), kb(kb), in(kb.extent(inExtent)), out(kb.extent(outExtent)) {
    FloatMath f{kb};
    if (fixedScale > 0)
      scale = kb.constF32(fixedScale);
    else if (inExtent.isFixed() && outExtent.isFixed())
      scale = kb.constF32(float(outExtent.fixed) / float(inExtent.fixed));
    else
      scale = f.div(f.ofIndex(out), f.ofIndex(in));
  }

  AxisTaps taps(Value o) const;

private:
  Value coordinate(Value o) const;
  Value clamp(Value position) const {
    return kb.minIdx(kb.maxIdx(position, kb.idx(0)), kb.sub(in, kb.idx(1)));
  }
  Value roundToIndex(Value x) const;
};
} // namespace

Value Axis::coordinate(Value o) const {
  FloatMath f{kb};
  Value half = f.constant(0.5f), zero = f.constant(0.0f);
  auto halfPixel = [&] {
    return f.sub(f.div(f.add(f.ofIndex(o), half), scale), half);
  };
  Value single = compare(kb, arith::CmpIPredicate::sle, out, kb.idx(1));
  switch (spec.coordinates) {
  case ResizeCoordinates::Asymmetric:
    return f.div(f.ofIndex(o), scale);
  case ResizeCoordinates::HalfPixel:
    return halfPixel();
  case ResizeCoordinates::PytorchHalfPixel:
    return select(kb, single, zero, halfPixel());
  case ResizeCoordinates::AlignCorners: {
    Value span = kb.maxIdx(kb.sub(out, kb.idx(1)), kb.idx(1));
    return f.div(f.ofIndex(kb.mul(o, kb.sub(in, kb.idx(1)))), f.ofIndex(span));
  }
  }
  llvm_unreachable("all coordinate modes are handled");
}

Value Axis::roundToIndex(Value x) const {
  FloatMath f{kb};
  Value floor = f.floorToIndex(x);
  if (spec.rounding == ResizeRounding::Floor)
    return floor;
  Value fraction = f.sub(x, f.ofIndex(floor));
  bool ceil = spec.rounding == ResizeRounding::Ceil;
  auto predicate = spec.rounding == ResizeRounding::RoundPreferCeil
                       ? arith::CmpFPredicate::OGE
                       : arith::CmpFPredicate::OGT;
  Value up = arith::CmpFOp::create(kb, predicate, fraction,
                                   f.constant(ceil ? 0.0f : 0.5f));
  return kb.add(floor, select(kb, up, kb.idx(1), kb.idx(0)));
}

/// Keys' cubic convolution kernel with coefficient `a`, for the four taps
/// around a position `t` in [0, 1) after the second (R. Keys, 1981).
static SmallVector<Value, 4> cubicWeights(KernelBuilder &kb, Value t, float a) {
  FloatMath f{kb};
  Value one = f.constant(1.0f);
  // |d| <= 1: ((a + 2) d - (a + 3)) d d + 1
  auto near = [&](Value d) {
    Value inner = f.sub(f.mul(f.constant(a + 2), d), f.constant(a + 3));
    return f.add(f.mul(f.mul(inner, d), d), one);
  };
  // 1 < |d| < 2: ((a d - 5 a) d + 8 a) d - 4 a
  auto far = [&](Value d) {
    Value inner = f.sub(f.mul(f.constant(a), d), f.constant(5 * a));
    return f.sub(f.mul(f.add(f.mul(inner, d), f.constant(8 * a)), d),
                 f.constant(4 * a));
  };
  return {far(f.add(t, one)), near(t), near(f.sub(one, t)),
          far(f.sub(f.constant(2.0f), t))};
}

AxisTaps Axis::taps(Value o) const {
  FloatMath f{kb};
  Value x = coordinate(o);
  AxisTaps taps;
  if (spec.mode == ResizeMode::Nearest) {
    taps.positions.push_back(clamp(roundToIndex(x)));
    return taps;
  }
  Value base = f.floorToIndex(x);
  Value t = f.sub(x, f.ofIndex(base));
  int64_t before = 0;
  if (spec.mode == ResizeMode::Linear) {
    taps.weights = {f.sub(f.constant(1.0f), t), t};
  } else {
    taps.weights = cubicWeights(kb, t, spec.cubicCoefficient);
    before = 1;
  }
  for (int64_t i = 0, e = taps.weights.size(); i < e; ++i)
    taps.positions.push_back(clamp(kb.add(base, kb.idx(i - before))));
  return taps;
}

int64_t resizeLinesPerTask(const ResizeSpec &spec) {
  int64_t valuesPerLine =
      (spec.ow.isFixed() ? spec.ow.fixed : 64) * std::max<int64_t>(spec.c, 8);
  constexpr int64_t valuesPerTask = 1 << 16;
  return std::clamp<int64_t>(
      valuesPerTask / std::max<int64_t>(valuesPerLine, 1), 1, 64);
}

void emitResize(KernelBuilder &kb, const ResizeSpec &spec) {
  Value in = kb.ptr(spec.in), out = kb.ptr(spec.out);
  Axis vertical(spec, kb, spec.h, spec.oh, spec.scaleH),
      horizontal(spec, kb, spec.w, spec.ow, spec.scaleW);
  Value lines = kb.mul(kb.extent(spec.n), vertical.out);
  auto [first, last] =
      taskRange(kb, kb.task(), resizeLinesPerTask(spec), lines);

  kb.loop(first, last, 1, [&](Value line) {
    Value image = kb.mul(kb.divFloor(line, vertical.out), vertical.in);
    AxisTaps ys = vertical.taps(kb.rem(line, vertical.out));
    SmallVector<Value, 4> lineStarts;
    for (Value y : ys.positions)
      lineStarts.push_back(kb.mul(kb.add(image, y), horizontal.in));

    kb.loop(kb.idx(0), horizontal.out, 1, [&](Value ox) {
      AxisTaps xs = horizontal.taps(ox);
      Value row = kb.add(kb.mul(line, horizontal.out), ox);
      forEachChannelGroup(
          kb, spec.c, kb.isa().f32Lanes, 2,
          [&](Value col, llvm::ArrayRef<unsigned> widths) {
            for (unsigned width : widths) {
              VectorType type = kb.vecType(width, kb.getF32Type());
              auto at = [&](unsigned y, unsigned x) {
                Value pixel = kb.add(lineStarts[y], xs.positions[x]);
                return kb.loadVec(type, in, kb.add(kb.mul(pixel, spec.c), col));
              };
              Value result;
              if (spec.mode == ResizeMode::Nearest) {
                result = at(0, 0);
              } else {
                for (unsigned y = 0; y < ys.weights.size(); ++y) {
                  Value along;
                  for (unsigned x = 0; x < xs.weights.size(); ++x) {
                    Value term = arith::MulFOp::create(
                        kb, at(y, x), kb.splat(xs.weights[x], width));
                    along =
                        along
                            ? arith::AddFOp::create(kb, along, term).getResult()
                            : term;
                  }
                  Value term = arith::MulFOp::create(
                      kb, along, kb.splat(ys.weights[y], width));
                  result =
                      result
                          ? arith::AddFOp::create(kb, result, term).getResult()
                          : term;
                }
              }
              storeChannels(kb, spec.epilogue, result, width, out, row, col,
                            spec.c);
              col = kb.add(col, kb.idx(width));
            }
          });
    });
  });
}

} // namespace pare::cpu
