//===- Norm.h - Layer and RMS normalization ---------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_NORM_H
#define PARE_BACKENDS_CPU_KERNELS_NORM_H

#include "backends/cpu/kernels/Strided.h"
#include <functional>

namespace pare::cpu {

/// y = (x + residual - mean) / sqrt(variance + epsilon) * scale + bias over
/// rows of f32, or without the mean (RMS normalization). Mean and variance are
/// taken in two passes over a row that is in cache.
///
/// The result is stored as f32, as codes with one scale per row (RowCoding.h;
/// rows of codes padded to a multiple of 4 by the code of zero), or both.
struct NormSpec {
  Extent rows;    ///< all axes but the last
  Extent columns; ///< the last axis
  bool rms = false;
  float epsilon = 1e-5f;
  unsigned ptrX = 0; ///< index into ptrs, as below
  std::optional<unsigned> ptrResidual;
  std::optional<unsigned> ptrSum;            ///< output: x + residual
  std::optional<unsigned> ptrScale, ptrBias; ///< f32 [columns]
  std::optional<unsigned> ptrOut;            ///< output; may be x or residual
  std::optional<unsigned> ptrCodes, ptrRowScale; ///< outputs
  std::optional<unsigned> ptrRowZero; ///< output; given: asymmetric codes
  /// Optional: maps a vector of results at column `col` of row `row`.
  std::function<mlir::Value(KernelBuilder &b, mlir::Value vec, mlir::Value row,
                            mlir::Value col, mlir::Value count)>
      epilogue;
};

Grid normGrid(const NormSpec &spec);
/// Bytes of scratch that a task uses.
Product normScratchBytes(const NormSpec &spec);
void emitNorm(KernelBuilder &b, const NormSpec &spec);

} // namespace pare::cpu

#endif
