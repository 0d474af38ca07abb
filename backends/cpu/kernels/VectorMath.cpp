//===- VectorMath.cpp - Elementary functions as generated code ------------===//
//
// Coefficients are minimax fits (Lawson-weighted least squares, rationals by
// Loeb's iteration) made for this file; the numerator and denominator of a
// rational share a factor chosen so that rounding them to f32 costs least.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace pare::cpu;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Arithmetic on values of one shape.
struct Ops {
  KernelBuilder &b;
  Type shape; ///< an f32 scalar or vector

  Ops(KernelBuilder &b, Value v) : b(b), shape(v.getType()) {}

  Type like(Type elem) const {
    if (auto v = dyn_cast<VectorType>(shape))
      return v.clone(elem);
    return elem;
  }
  Type f32() { return like(b.getF32Type()); }
  Type f64() { return like(b.getF64Type()); }
  Type i32() { return like(b.getI32Type()); }

  Value constant(TypedAttr scalar, Type type) {
    if (auto v = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(
          b, DenseElementsAttr::get(v, Attribute(scalar)));
    return arith::ConstantOp::create(b, scalar);
  }
  Value f(float v) { return constant(b.getF32FloatAttr(v), f32()); }
  Value d(double v) { return constant(b.getF64FloatAttr(v), f64()); }
  Value i(int32_t v) { return constant(b.getI32IntegerAttr(v), i32()); }

  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value neg(Value x) { return arith::NegFOp::create(b, x); }
  Value abs(Value x) { return math::AbsFOp::create(b, x); }
  Value fma(Value x, Value y, Value z) { return b.fma(x, y, z); }

  Value iadd(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value isub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value iand(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
  Value shl(Value x, int n) { return arith::ShLIOp::create(b, x, i(n)); }
  Value ashr(Value x, int n) { return arith::ShRSIOp::create(b, x, i(n)); }
  Value bits(Value x) { return arith::BitcastOp::create(b, i32(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, f32(), x); }
  Value toFloat(Value x) { return arith::SIToFPOp::create(b, f32(), x); }
  Value widen(Value x) { return arith::ExtFOp::create(b, f64(), x); }
  Value narrow(Value x) { return arith::TruncFOp::create(b, f32(), x); }

  Value cmp(CmpFPredicate p, Value x, Value y) {
    return arith::CmpFOp::create(b, p, x, y);
  }
  Value icmp(CmpIPredicate p, Value x, Value y) {
    return arith::CmpIOp::create(b, p, x, y);
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, c, x, y);
  }
  /// max(x, low) that keeps a NaN x; one instruction on x86.
  Value atLeast(Value x, Value low) {
    return select(cmp(CmpFPredicate::OGT, low, x), low, x);
  }
  Value atMost(Value x, Value high) {
    return select(cmp(CmpFPredicate::OLT, high, x), high, x);
  }
  /// c[0] + c[1] x + c[2] x^2 + …
  Value poly(Value x, ArrayRef<float> c) {
    Value r = f(c.back());
    for (float k : llvm::reverse(c.drop_back()))
      r = fma(r, x, f(k));
    return r;
  }
  Value polyF64(Value x, ArrayRef<double> c) {
    Value r = d(c.back());
    for (double k : llvm::reverse(c.drop_back()))
      r = fma(r, x, d(k));
    return r;
  }
};

/// x = n ln 2 + r with |r| <= ln 2 / 2, for |n| < 2^21.
struct ExpReduction {
  Value shifted; ///< n + 1.5 * 2^23: n in its low bits
  Value expm1;   ///< e^r - 1
};

constexpr float kShift = 12582912.0f;            // 1.5 * 2^23
constexpr double kShiftF64 = 6755399441055744.0; // 1.5 * 2^52
constexpr int32_t kShiftBits = 0x4B400000;
constexpr int32_t kOneBits = 0x3F800000;

ExpReduction reduceExp(Ops &o, Value x) {
  Value shifted = o.fma(x, o.f(1.44269504f), o.f(kShift));
  Value n = o.sub(shifted, o.f(kShift));
  Value r = o.fma(n, o.f(-0.693145752f), x);
  r = o.fma(n, o.f(-1.42860677e-6f), r);
  Value p = o.poly(r, {4.999999404e-01f, 1.666652113e-01f, 4.166838899e-02f,
                       8.368745446e-03f, 1.381454058e-03f});
  return {shifted, o.fma(p, o.mul(r, r), r)};
}

/// 2^n for n in [-127, 127]; 2^-127 reads as 0.
Value exp2Int(Ops &o, Value shiftedBits) {
  return o.fromBits(o.iadd(o.shl(shiftedBits, 23), o.i(kOneBits)));
}

/// e^x for -88 < x < 88.37, zero below.
Value expFlush(Ops &o, Value x) {
  ExpReduction e = reduceExp(o, o.atLeast(x, o.f(-88.0f)));
  Value scale = exp2Int(o, o.bits(e.shifted));
  return o.fma(e.expm1, scale, scale);
}

/// x P(x^2) / Q(x^2), on |x| <= limit.
Value oddRational(Ops &o, Value x, float limit, ArrayRef<float> p,
                  ArrayRef<float> q) {
  Value c = o.atLeast(o.atMost(x, o.f(limit)), o.f(-limit));
  Value t = o.mul(c, c);
  return o.div(o.mul(c, o.poly(t, p)), o.poly(t, q));
}

constexpr float kErfLimit = 3.80f;
constexpr float kErfP[] = {7.988854647e-01f, 1.328183264e-01f,
                           3.715699166e-02f, 2.599675907e-03f,
                           2.036172809e-04f, 1.513358939e-06f};
constexpr float kErfQ[] = {7.079938650e-01f, 3.537045121e-01f,
                           8.003409207e-02f, 1.046409830e-02f,
                           8.132046205e-04f, 2.770528954e-05f};

Value sigmoid(Ops &o, Value x) {
  Value e = expFlush(o, o.atMost(o.neg(x), o.f(88.0f)));
  return o.div(o.f(1.0f), o.add(e, o.f(1.0f)));
}

/// log(x) for finite x >= 2^-126.
Value logNormal(Ops &o, Value x, Value exponentBias) {
  // x = 2^e m with m in [sqrt 1/2, sqrt 2).
  constexpr int32_t kSqrtHalf = 0x3F3504F3;
  Value i = o.isub(o.bits(x), o.i(kSqrtHalf));
  Value e = o.toFloat(o.iadd(o.ashr(i, 23), exponentBias));
  Value m = o.fromBits(o.iadd(o.iand(i, o.i(0x7FFFFF)), o.i(kSqrtHalf)));
  Value f = o.sub(m, o.f(1.0f));
  Value f2 = o.mul(f, f);
  Value p = o.poly(f, {3.333331347e-01f, -2.500000894e-01f, 2.000211924e-01f,
                       -1.666799635e-01f, 1.421955228e-01f, -1.240558922e-01f,
                       1.188816205e-01f, -1.167565212e-01f, 6.746641546e-02f});
  Value y = o.mul(o.mul(p, f), f2);
  y = o.fma(e, o.f(-2.12194440e-4f), y);
  y = o.fma(f2, o.f(-0.5f), y);
  return o.fma(e, o.f(0.693359375f), o.add(f, y));
}

/// sin(x) for `quarter` 0, cos(x) for 1.
Value sinOrCos(Ops &o, Value x, int32_t quarter) {
  Value wide = o.widen(x);
  Value shifted =
      o.add(o.mul(wide, o.d(0.63661977236758134308)), o.d(kShiftF64));
  Value n = o.sub(shifted, o.d(kShiftF64));
  Value r = o.fma(n, o.d(-1.57079632679489655800), wide);
  r = o.narrow(o.fma(n, o.d(-6.12323399573676603587e-17), r));
  r = o.atLeast(o.atMost(r, o.f(0.7854f)), o.f(-0.7854f));
  // n modulo 2^32 is in the low bits.
  Value phase = arith::TruncIOp::create(
      o.b, o.i32(),
      arith::BitcastOp::create(o.b, o.like(o.b.getI64Type()), shifted));
  phase = o.iadd(phase, o.i(quarter));
  Value t = o.mul(r, r);
  Value s = o.fma(o.mul(r, t),
                  o.poly(t, {-1.666666716e-01f, 8.333329111e-03f,
                             -1.983932743e-04f, 2.718237283e-06f}),
                  r);
  Value c = o.poly(t, {4.166664556e-02f, -1.388736186e-03f, 2.443772973e-05f});
  c = o.fma(c, o.mul(t, t), o.fma(t, o.f(-0.5f), o.f(1.0f)));
  Value odd = o.icmp(CmpIPredicate::ne, o.iand(phase, o.i(1)), o.i(0));
  Value y = o.select(odd, c, s);
  Value sign = o.shl(o.iand(phase, o.i(2)), 30);
  y = o.fromBits(arith::XOrIOp::create(o.b, o.bits(y), sign));
  Value finite = o.cmp(CmpFPredicate::OLT, o.abs(x), o.f(kInf));
  return o.select(finite, y, o.f(kNaN));
}

} // namespace

namespace pare::cpu {

Value buildExp(KernelBuilder &b, Value x) {
  Ops o(b, x);
  // The clamped ends overflow to inf and round to 0. 2^n is applied in two
  // halves, so that n may leave the range of exponents.
  ExpReduction e =
      reduceExp(o, o.atLeast(o.atMost(x, o.f(89.0f)), o.f(-104.0f)));
  Value n = o.isub(o.bits(e.shifted), o.i(kShiftBits));
  Value half = o.ashr(n, 1);
  Value first = exp2Int(o, half), second = exp2Int(o, o.isub(n, half));
  return o.mul(o.fma(e.expm1, first, first), second);
}

Value buildExpFlush(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return expFlush(o, x);
}

Value buildExp2Flush(KernelBuilder &b, Value x) {
  Ops o(b, x);
  x = o.atLeast(x, o.f(-127.0f));
  Value shifted = o.add(x, o.f(kShift));
  Value r = o.sub(x, o.sub(shifted, o.f(kShift)));
  Value p = o.poly(r, {1.0f, 6.931470037e-01f, 2.402224243e-01f,
                       5.550733581e-02f, 9.671512991e-03f, 1.326472731e-03f});
  return o.mul(p, exp2Int(o, o.bits(shifted)));
}

Value buildExpm1(KernelBuilder &b, Value x) {
  Ops o(b, x);
  ExpReduction e =
      reduceExp(o, o.atLeast(o.atMost(x, o.f(88.72284f)), o.f(-88.0f)));
  Value n = o.isub(o.bits(e.shifted), o.i(kShiftBits));
  Value half = o.ashr(n, 1);
  Value first = exp2Int(o, half), second = exp2Int(o, o.isub(n, half));
  Value scale = o.mul(first, second);
  Value y = o.fma(e.expm1, scale, o.sub(scale, o.f(1.0f)));
  // Only n = 128 has no scale of its own.
  Value large = o.mul(o.fma(e.expm1, first, first), second);
  y = o.select(o.cmp(CmpFPredicate::OGT, x, o.f(88.0f)), large, y);
  return o.select(o.cmp(CmpFPredicate::OGT, x, o.f(88.72284f)), o.f(kInf), y);
}

Value buildLog(KernelBuilder &b, Value x) {
  Ops o(b, x);
  Value tiny = o.cmp(CmpFPredicate::OLT, x, o.f(1.17549435e-38f));
  Value scaled = o.select(tiny, o.mul(x, o.f(8388608.0f)), x);
  Value y = logNormal(o, scaled, o.select(tiny, o.i(-23), o.i(0)));
  y = o.select(o.cmp(CmpFPredicate::OLT, x, o.f(kInf)), y, x);
  Value zero = o.cmp(CmpFPredicate::OEQ, x, o.f(0.0f));
  Value special = o.select(zero, o.f(-kInf), o.f(kNaN));
  return o.select(o.cmp(CmpFPredicate::OGT, x, o.f(0.0f)), y, special);
}

Value buildLog1p(KernelBuilder &b, Value x) {
  Ops o(b, x);
  // log(u) corrected by what 1 + x lost, relative to u.
  Value u = o.add(x, o.f(1.0f));
  Value lost = o.sub(x, o.sub(u, o.f(1.0f)));
  Value y = o.add(buildLog(b, u), o.div(lost, u));
  Value plain = o.cmp(CmpFPredicate::OEQ, u, o.f(1.0f));
  y = o.select(plain, x, y);
  Value finite = o.cmp(CmpFPredicate::OLT, x, o.f(kInf));
  Value inside = o.cmp(CmpFPredicate::OGT, x, o.f(-1.0f));
  return o.select(arith::AndIOp::create(b, finite, inside), y, buildLog(b, u));
}

Value buildErf(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return oddRational(o, x, kErfLimit, kErfP, kErfQ);
}

Value buildTanh(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return oddRational(o, x, 8.5f,
                     {9.005805254e-01f, 1.207970753e-01f, 3.182674292e-03f,
                      1.913825326e-05f, 1.285055973e-08f},
                     {9.005805254e-01f, 4.209904969e-01f, 2.343557775e-02f,
                      3.015919938e-04f, 7.335327155e-07f});
}

Value buildSigmoid(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return sigmoid(o, x);
}

Value buildGelu(KernelBuilder &b, Value x) {
  Ops o(b, x);
  // erf(x / sqrt 2) / 2 as its own rational: the factors move into P and Q.
  SmallVector<float> p, q;
  double scale = 1.0;
  for (auto [cp, cq] : llvm::zip(kErfP, kErfQ)) {
    p.push_back(float(cp * scale * 0.5 * std::sqrt(0.5)));
    q.push_back(float(cq * scale));
    scale *= 0.5;
  }
  Value half = oddRational(o, x, kErfLimit * float(std::sqrt(2.0)), p, q);
  return o.mul(x, o.add(half, o.f(0.5f)));
}

Value buildGeluTanh(KernelBuilder &b, Value x) {
  Ops o(b, x);
  Value t = o.mul(x, x);
  Value u = o.mul(x, o.fma(t, o.f(0.0356774081f), o.f(0.797884561f)));
  Value half = o.mul(x, o.f(0.5f));
  return o.fma(half, buildTanh(b, u), half);
}

Value buildSilu(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return o.mul(x, sigmoid(o, x));
}

Value buildSoftplus(KernelBuilder &b, Value x) {
  Ops o(b, x);
  Value e = expFlush(o, o.neg(o.abs(x)));
  // 1 <= 1 + e <= 2: log1p without its special cases.
  Value u = o.add(e, o.f(1.0f));
  Value lost = o.sub(e, o.sub(u, o.f(1.0f)));
  Value y = o.add(logNormal(o, u, o.i(0)), o.div(lost, u));
  return o.add(y, o.atLeast(x, o.f(0.0f)));
}

Value buildPow(KernelBuilder &b, Value x, Value y) {
  Ops o(b, x);
  Value mag = o.abs(x);
  // log2 |x| in f64: e + 2 atanh((m - 1) / (m + 1)) / ln 2, m in [sqrt .5, sqrt
  // 2).
  Value tiny = o.cmp(CmpFPredicate::OLT, mag, o.f(1.17549435e-38f));
  Value scaled = o.select(tiny, o.mul(mag, o.f(8388608.0f)), mag);
  constexpr int32_t kSqrtHalf = 0x3F3504F3;
  Value i = o.isub(o.bits(scaled), o.i(kSqrtHalf));
  Value e = o.iadd(o.ashr(i, 23), o.select(tiny, o.i(-23), o.i(0)));
  Value m =
      o.widen(o.fromBits(o.iadd(o.iand(i, o.i(0x7FFFFF)), o.i(kSqrtHalf))));
  Value s = o.div(o.sub(m, o.d(1.0)), o.add(m, o.d(1.0)));
  Value log2 = o.polyF64(o.mul(s, s),
                         {2.88539008177784861e+00, 9.61796694116076267e-01,
                          5.77077941541554562e-01, 4.12209338998486885e-01,
                          3.19902007028052271e-01, 2.82954757422637870e-01});
  log2 = o.fma(log2, s, o.widen(o.toFloat(e)));
  // |x|^y = 2^n e^(f ln 2).
  Value t = o.mul(o.widen(y), log2);
  auto clampF64 = [&](Value v, double limit, CmpFPredicate p) {
    return o.select(o.cmp(p, v, o.d(limit)), o.d(limit), v);
  };
  t = clampF64(t, 130.0, CmpFPredicate::OGT);
  t = clampF64(t, -152.0, CmpFPredicate::OLT);
  Value n = o.sub(o.add(t, o.d(kShiftF64)), o.d(kShiftF64));
  Value r = o.narrow(o.mul(o.sub(t, n), o.d(0.69314718055994530942)));
  Value p = o.poly(r, {4.999999404e-01f, 1.666652113e-01f, 4.166838899e-02f,
                       8.368745446e-03f, 1.381454058e-03f});
  Value expm1 = o.fma(p, o.mul(r, r), r);
  Value ni = o.bits(o.add(o.narrow(n), o.f(kShift)));
  ni = o.isub(ni, o.i(kShiftBits));
  Value half = o.ashr(ni, 1);
  Value first = exp2Int(o, half), second = exp2Int(o, o.isub(ni, half));
  Value result = o.mul(o.fma(expm1, first, first), second);

  // |x| in {0, inf}: inf or 0 by the sign of y.
  Value zero = o.cmp(CmpFPredicate::OEQ, x, o.f(0.0f));
  Value inf = o.cmp(CmpFPredicate::OEQ, mag, o.f(kInf));
  Value yNegative = o.cmp(CmpFPredicate::OLT, y, o.f(0.0f));
  result = o.select(zero, o.select(yNegative, o.f(kInf), o.f(0.0f)), result);
  result = o.select(inf, o.select(yNegative, o.f(0.0f), o.f(kInf)), result);

  // Sign of x where y is an odd integer; NaN where a negative finite x has a
  // fractional finite y.
  Value half2 = o.mul(y, o.f(0.5f));
  Value integer = o.cmp(CmpFPredicate::OEQ, buildTrunc(b, y), y);
  Value odd = o.cmp(CmpFPredicate::ONE, buildTrunc(b, half2), half2);
  odd = arith::AndIOp::create(b, odd, integer);
  Value xSign = o.icmp(CmpIPredicate::slt, o.bits(x), o.i(0));
  Value flip = arith::AndIOp::create(b, odd, xSign);
  result = o.select(flip, o.neg(result), result);
  Value xNegative = o.cmp(CmpFPredicate::OLT, x, o.f(0.0f));
  Value xFinite = o.cmp(CmpFPredicate::ONE, mag, o.f(kInf));
  Value fraction = o.cmp(CmpFPredicate::ONE, buildTrunc(b, y), y);
  Value bad = arith::AndIOp::create(
      b, arith::AndIOp::create(b, xNegative, xFinite), fraction);
  result = o.select(bad, o.f(kNaN), result);

  Value unordered = o.cmp(CmpFPredicate::UNO, x, y);
  result = o.select(unordered, o.add(x, y), result);
  Value one = arith::OrIOp::create(b, o.cmp(CmpFPredicate::OEQ, x, o.f(1.0f)),
                                   o.cmp(CmpFPredicate::OEQ, y, o.f(0.0f)));
  // (-1)^(+-inf) is 1 as well.
  Value minusOne =
      arith::AndIOp::create(b, o.cmp(CmpFPredicate::OEQ, x, o.f(-1.0f)),
                            o.cmp(CmpFPredicate::OEQ, o.abs(y), o.f(kInf)));
  return o.select(arith::OrIOp::create(b, one, minusOne), o.f(1.0f), result);
}

Value buildSin(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return sinOrCos(o, x, 0);
}

Value buildCos(KernelBuilder &b, Value x) {
  Ops o(b, x);
  return sinOrCos(o, x, 1);
}

/// From 2^23 on every f32 is an integer.
static Value whereSmall(Ops &o, Value x, Value rounded) {
  Value small = o.cmp(CmpFPredicate::OLT, o.abs(x), o.f(8388608.0f));
  return o.select(small, math::CopySignOp::create(o.b, rounded, x), x);
}

Value buildTrunc(KernelBuilder &b, Value x) {
  if (b.isa().hasFma)
    return math::TruncOp::create(b, x);
  Ops o(b, x);
  Value i = arith::FPToSIOp::create(b, o.i32(), x);
  return whereSmall(o, x, o.toFloat(i));
}

Value buildFloor(KernelBuilder &b, Value x) {
  if (b.isa().hasFma)
    return math::FloorOp::create(b, x);
  Ops o(b, x);
  Value t = buildTrunc(b, x);
  Value above = o.cmp(CmpFPredicate::OGT, t, x);
  return o.select(above, o.sub(t, o.f(1.0f)), t);
}

Value buildCeil(KernelBuilder &b, Value x) {
  if (b.isa().hasFma)
    return math::CeilOp::create(b, x);
  Ops o(b, x);
  return o.neg(buildFloor(b, o.neg(x)));
}

Value buildRoundEven(KernelBuilder &b, Value x) {
  if (b.isa().hasFma)
    return math::RoundEvenOp::create(b, x);
  Ops o(b, x);
  Value shift = o.f(8388608.0f);
  return whereSmall(o, x, o.sub(o.add(o.abs(x), shift), shift));
}

Value buildMod(KernelBuilder &b, Value x, Value y, bool floor) {
  Ops o(b, x);
  // In f64 the product of the quotient and y is exact.
  Value wideX = o.widen(x), wideY = o.widen(y);
  Value n = o.add(o.div(wideX, wideY), o.d(kShiftF64));
  n = o.sub(n, o.d(kShiftF64));
  Value r = o.sub(wideX, o.mul(n, wideY));
  // |r| <= |y| / 2; its sign must become that of `like`.
  Value like = floor ? wideY : wideX;
  Value wrong = o.cmp(CmpFPredicate::OLT, o.mul(r, like), o.d(0.0));
  Value step = math::CopySignOp::create(b, wideY, like);
  r = o.narrow(o.select(wrong, o.add(r, step), r));
  Value keep =
      arith::AndIOp::create(b, o.cmp(CmpFPredicate::OEQ, o.abs(y), o.f(kInf)),
                            o.cmp(CmpFPredicate::OLT, o.abs(x), o.f(kInf)));
  return o.select(keep, x, r);
}

} // namespace pare::cpu
