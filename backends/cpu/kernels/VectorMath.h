//===- VectorMath.h - Elementary functions as generated code ----*- C++ -*-===//
//
// Each function takes an f32 scalar or an f32 vector of any number of lanes
// and returns the same type, made of arith and fused multiply-adds (two
// operations where the target has none) alone: no calls, no tables, no
// branches. Errors are maxima over dense sampling of the whole range
// (tests/unit/kernels/VectorMathTest.cpp). NaN gives NaN.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_VECTORMATH_H
#define PARE_BACKENDS_CPU_KERNELS_VECTORMATH_H

#include "backends/cpu/kernels/KernelBuilder.h"

namespace pare::cpu {

/// e^x, 1 ulp, subnormal results included. Reduction by ln 2 in two parts (Cody
/// and Waite), minimax polynomial of degree 4 for (e^r - 1 - r) / r^2.
mlir::Value buildExp(KernelBuilder &b, mlir::Value x);

/// e^x for x <= 88 where results below 2^-126 need not be kept: they round to
/// zero somewhere below it. exp(-inf) is 0. 1 ulp, 14 operations: what softmax
/// wants.
mlir::Value buildExpFlush(KernelBuilder &b, mlir::Value x);

/// 2^x for x <= 127; as buildExpFlush, 2.5 ulp, 12 operations.
mlir::Value buildExp2Flush(KernelBuilder &b, mlir::Value x);

/// e^x - 1; absolute error 1 ulp of max(1, e^x), relative error 3 ulp for
/// x in [-0.34, 0.34].
mlir::Value buildExpm1(KernelBuilder &b, mlir::Value x);

/// Natural logarithm, 2 ulp; log(0) = -inf, log(x < 0) = NaN. Minimax
/// polynomial around 1, the scheme of Cephes' logf.
mlir::Value buildLog(KernelBuilder &b, mlir::Value x);

/// log(1 + x), x >= -1, 3 ulp.
mlir::Value buildLog1p(KernelBuilder &b, mlir::Value x);

/// Error function, absolute error 3e-7: x P(x^2) / Q(x^2), both of degree 5,
/// minimax on |x| <= 3.8, beyond which it is 1.
mlir::Value buildErf(KernelBuilder &b, mlir::Value x);

/// Hyperbolic tangent, 5 ulp: x P(x^2) / Q(x^2), both of degree 4, minimax in
/// relative error on |x| <= 8.5, where f32 stops telling tanh from 1.
mlir::Value buildTanh(KernelBuilder &b, mlir::Value x);

/// 1 / (1 + e^-x), 3 ulp where the result is normal.
mlir::Value buildSigmoid(KernelBuilder &b, mlir::Value x);

/// x (1 + erf(x / sqrt 2)) / 2, error 3e-7 max(1, |x|).
mlir::Value buildGelu(KernelBuilder &b, mlir::Value x);

/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, error 3e-7 max(1, |x|).
mlir::Value buildGeluTanh(KernelBuilder &b, mlir::Value x);

/// x sigmoid(x).
mlir::Value buildSilu(KernelBuilder &b, mlir::Value x);

/// log(1 + e^x), 3 ulp where the result is normal.
mlir::Value buildSoftplus(KernelBuilder &b, mlir::Value x);

/// x^y as C's powf: negative x with an integer y, zeros and infinities
/// included; 2 ulp. The logarithm is taken in f64.
mlir::Value buildPow(KernelBuilder &b, mlir::Value x, mlir::Value y);

/// Sine and cosine, absolute error 1.2e-7 for |x| <= 1e9 (argument reduction in
/// f64); larger arguments give some value of [-1, 1], infinities NaN.
mlir::Value buildSin(KernelBuilder &b, mlir::Value x);
mlir::Value buildCos(KernelBuilder &b, mlir::Value x);

/// The nearest integer below, above, towards zero, or nearest with ties to
/// even.
mlir::Value buildFloor(KernelBuilder &b, mlir::Value x);
mlir::Value buildCeil(KernelBuilder &b, mlir::Value x);
mlir::Value buildTrunc(KernelBuilder &b, mlir::Value x);
mlir::Value buildRoundEven(KernelBuilder &b, mlir::Value x);

/// x - trunc(x / y) y with the sign of x (`fmod`), or of y where `floor` (ONNX
/// Mod); exact while |x / y| < 2^29.
mlir::Value buildMod(KernelBuilder &b, mlir::Value x, mlir::Value y,
                     bool floor);

} // namespace pare::cpu

#endif
