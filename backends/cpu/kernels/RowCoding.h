//===- RowCoding.h - Codes of a row of activations --------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_ROWCODING_H
#define PARE_BACKENDS_CPU_KERNELS_ROWCODING_H

#include "backends/cpu/kernels/KernelBuilder.h"

namespace pare::cpu {

/// How a row of f32 becomes codes, stored as Isa::codeStorage() says unless
/// another storage is given: nn.dynamic_quantize, where a row whose largest
/// magnitude is below 2^-100 counts as zero. Numbers are f32.
struct RowCoding {
  mlir::Value scale;   ///< 0 for a row of zeros
  mlir::Value inverse; ///< 1 / scale, or 0
  mlir::Value zero;    ///< the zero point of codes without offset; null: none
  CodeStorage storage; ///< of codes

  static RowCoding symmetric(KernelBuilder &b, mlir::Value largest,
                             CodeStorage storage);
  static RowCoding symmetric(KernelBuilder &b, mlir::Value largest) {
    return symmetric(b, largest, b.isa().codeStorage());
  }
  /// For 8-bit codes.
  static RowCoding asymmetric(KernelBuilder &b, mlir::Value low,
                              mlir::Value high);
  /// Of the `k` values at `x`.
  static RowCoding ofRow(KernelBuilder &b, mlir::Value x, mlir::Value k,
                         bool asymmetric);

  /// The largest magnitude of the `k` values at `x`.
  static mlir::Value largest(KernelBuilder &b, mlir::Value x, mlir::Value k);

  /// Writes element `row` of f32 scales and of i32 zero points.
  void store(KernelBuilder &b, mlir::Value row, mlir::Value scales,
             mlir::Value zeroPoints) const;
  /// Codes of a vector of the row.
  mlir::Value encode(KernelBuilder &b, mlir::Value x) const;
};

} // namespace pare::cpu

#endif
