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
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Arithmetic on values of one shape.
struct Ops {
  ImplicitLocOpBuilder &b;
  Type shape; ///< an f32 scalar or vector

  Ops(ImplicitLocOpBuilder &b, Value v) : b(b), shape(v.getType()) {}

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
  Value fma(Value x, Value y, Value z) {
    return math::FmaOp::create(b, x, y, z);
  }
  Value round(Value x) { return math::RoundEvenOp::create(b, x); }
  Value trunc(Value x) { return math::TruncOp::create(b, x); }

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

constexpr float kShift = 12582912.0f; // 1.5 * 2^23
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

constexpr float kErfLimit = 3.84f;
constexpr float kErfP[] = {1.722329855e+00f, 2.885228395e-01f,
                           8.033858240e-02f, 5.684602074e-03f,
                           4.383158812e-04f, 3.211396233e-06f};
constexpr float kErfQ[] = {1.526375175e+00f, 7.644869685e-01f,
                           1.733957827e-01f, 2.271912619e-02f,
                           1.768183545e-03f, 5.917037561e-05f};

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
  Value n = o.round(o.mul(wide, o.d(0.63661977236758134308)));
  Value r = o.fma(n, o.d(-1.57079632679489655800), wide);
  r = o.narrow(o.fma(n, o.d(-6.12323399573676603587e-17), r));
  r = o.atLeast(o.atMost(r, o.f(0.7854f)), o.f(-0.7854f));
  // n mod 4, so that any n fits an integer.
  Value fours = math::FloorOp::create(o.b, o.mul(n, o.d(0.25)));
  Value phase =
      arith::FPToSIOp::create(o.b, o.i32(), o.fma(fours, o.d(-4.0), n));
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

Value buildExp(ImplicitLocOpBuilder &b, Value x) {
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

Value buildExpFlush(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return expFlush(o, x);
}

Value buildExpm1(ImplicitLocOpBuilder &b, Value x) {
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

Value buildLog(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  Value tiny = o.cmp(CmpFPredicate::OLT, x, o.f(1.17549435e-38f));
  Value scaled = o.select(tiny, o.mul(x, o.f(8388608.0f)), x);
  Value y = logNormal(o, scaled, o.select(tiny, o.i(-23), o.i(0)));
  y = o.select(o.cmp(CmpFPredicate::OLT, x, o.f(kInf)), y, x);
  Value zero = o.cmp(CmpFPredicate::OEQ, x, o.f(0.0f));
  Value special = o.select(zero, o.f(-kInf), o.f(kNaN));
  return o.select(o.cmp(CmpFPredicate::OGT, x, o.f(0.0f)), y, special);
}

Value buildLog1p(ImplicitLocOpBuilder &b, Value x) {
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

Value buildErf(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return oddRational(o, x, kErfLimit, kErfP, kErfQ);
}

Value buildTanh(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return oddRational(o, x, 8.5f,
                     {9.005805254e-01f, 1.207970753e-01f, 3.182674292e-03f,
                      1.913825326e-05f, 1.285055973e-08f},
                     {9.005805254e-01f, 4.209904969e-01f, 2.343557775e-02f,
                      3.015919938e-04f, 7.335327155e-07f});
}

Value buildSigmoid(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return sigmoid(o, x);
}

Value buildGelu(ImplicitLocOpBuilder &b, Value x) {
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

Value buildGeluTanh(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  Value t = o.mul(x, x);
  Value u = o.mul(x, o.fma(t, o.f(0.0356774081f), o.f(0.797884561f)));
  Value half = o.mul(x, o.f(0.5f));
  return o.fma(half, buildTanh(b, u), half);
}

Value buildSilu(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return o.mul(x, sigmoid(o, x));
}

Value buildSoftplus(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  Value e = expFlush(o, o.neg(o.abs(x)));
  // 1 <= 1 + e <= 2: log1p without its special cases.
  Value u = o.add(e, o.f(1.0f));
  Value lost = o.sub(e, o.sub(u, o.f(1.0f)));
  Value y = o.add(logNormal(o, u, o.i(0)), o.div(lost, u));
  return o.add(y, o.atLeast(x, o.f(0.0f)));
}

Value buildPow(ImplicitLocOpBuilder &b, Value x, Value y) {
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
  Value n = o.round(t);
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
  Value integer = o.cmp(CmpFPredicate::OEQ, o.trunc(y), y);
  Value odd = o.cmp(CmpFPredicate::ONE, o.trunc(half2), half2);
  odd = arith::AndIOp::create(b, odd, integer);
  Value xSign = o.icmp(CmpIPredicate::slt, o.bits(x), o.i(0));
  Value flip = arith::AndIOp::create(b, odd, xSign);
  result = o.select(flip, o.neg(result), result);
  Value xNegative = o.cmp(CmpFPredicate::OLT, x, o.f(0.0f));
  Value xFinite = o.cmp(CmpFPredicate::ONE, mag, o.f(kInf));
  Value fraction = o.cmp(CmpFPredicate::ONE, o.trunc(y), y);
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

Value buildSin(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return sinOrCos(o, x, 0);
}

Value buildCos(ImplicitLocOpBuilder &b, Value x) {
  Ops o(b, x);
  return sinOrCos(o, x, 1);
}

Value buildMod(ImplicitLocOpBuilder &b, Value x, Value y, bool floor) {
  Ops o(b, x);
  Value q = o.trunc(o.div(x, y));
  Value r = o.fma(o.neg(q), y, x);
  // A quotient that rounded to the next integer leaves r on the wrong side.
  Value absY = o.abs(y);
  Value wrong =
      o.cmp(CmpFPredicate::OLT,
            o.mul(r, math::CopySignOp::create(b, o.f(1.0f), x)), o.f(0.0f));
  r = o.select(wrong, o.add(r, math::CopySignOp::create(b, absY, x)), r);
  if (floor) {
    Value differs = o.cmp(CmpFPredicate::OLT, o.mul(r, y), o.f(0.0f));
    r = o.select(differs, o.add(r, y), r);
  } else {
    r = math::CopySignOp::create(b, r, x);
  }
  Value infY =
      arith::AndIOp::create(b, o.cmp(CmpFPredicate::OEQ, absY, o.f(kInf)),
                            o.cmp(CmpFPredicate::OLT, o.abs(x), o.f(kInf)));
  return o.select(infY, x, r);
}

} // namespace pare::cpu
