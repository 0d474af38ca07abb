//===- PanelGemm.h - Rows by panels of weights ------------------*- C++ -*-===//
//
// What all products of BlockGemm.h share: which rows and panels a task has,
// with or without experts, and f32 rows by an f32 panel.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_PANELGEMM_H
#define PARE_BACKENDS_CPU_KERNELS_PANELGEMM_H

#include "backends/cpu/kernels/BlockGemm.h"

namespace pare::cpu {

/// Rows of one task at most: whole tiles of all targets.
constexpr int64_t kRowsPerTask = 120;
/// Bytes of weights between what one row is multiplied with and what is asked
/// for: caches of their own accord do not look beyond a page.
constexpr int64_t kPrefetchAhead = 3072;
int64_t rowsPerTask(const BlockGemmSpec &spec);
/// Bytes of one packed panel.
int64_t panelBytes(const BlockGemmSpec &spec);

class PanelGemmEmitter {
public:
  PanelGemmEmitter(KernelBuilder &b, const BlockGemmSpec &spec)
      : b(b), spec(spec), tiling(blockGemmTiling(spec, b.isa())),
        i8(b.getI8Type()) {}
  virtual ~PanelGemmEmitter() = default;

  void emit();

protected:
  /// Before the panels of some rows: `height` of them, of one matrix.
  virtual void begin() {}
  /// These rows by the panel at `packed`, columns from `col`.
  virtual void panel(mlir::Value packed, mlir::Value col) = 0;

  /// The row of C that is the `i`-th of those at hand.
  mlir::Value rowAt(mlir::Value i);
  /// The row of X that a row of C is of.
  mlir::Value rowOfX(mlir::Value rowOfC);
  /// Stores results of one row, parts of a panel's columns from `col`.
  void store(llvm::ArrayRef<mlir::Value> parts, mlir::Value row,
             mlir::Value col);
  /// Stores the f32 rows at hand by an f32 panel [K][16].
  void multiply(const MicroKernel &micro, mlir::Value panel, mlir::Value col);
  mlir::Value at(mlir::Value base, int64_t bytes) {
    return b.gep(i8, base, b.idx(bytes));
  }

  KernelBuilder &b;
  const BlockGemmSpec &spec;
  BlockGemmTiling tiling;
  mlir::Type i8;
  mlir::Value rowBase, height;

private:
  void panels(mlir::Value matrix, mlir::Value first, mlir::Value end);
};

} // namespace pare::cpu

#endif
