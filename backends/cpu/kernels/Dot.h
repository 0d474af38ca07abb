//===- Dot.h - The multiply-add instruction of a micro-kernel ---*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_DOT_H
#define PARE_BACKENDS_CPU_KERNELS_DOT_H

#include "backends/cpu/kernels/MicroKernel.h"

namespace pare::cpu {

/// One way to multiply a broadcast group of k values of A with the same k
/// values of several columns of B and to accumulate. A result vector of `lanes`
/// columns is held in `parts` native accumulators.
class Dot {
public:
  virtual ~Dot() = default;

  unsigned kGroup = 1;
  unsigned lanes = kPanel;
  unsigned parts = 1;
  unsigned maxUnroll = 4; ///< steps of k in one turn of the loop
  llvm::SmallVector<MicroTile, 4> tiles;

  /// Of one native accumulator.
  virtual mlir::VectorType accType(KernelBuilder &b) const = 0;
  virtual mlir::Type rowElement(mlir::OpBuilder &b) const = 0;
  virtual mlir::Type groupElement(mlir::OpBuilder &b) const = 0;
  /// A's group at `from`, repeated over a native vector.
  virtual mlir::Value broadcastA(KernelBuilder &b, mlir::Value from) const = 0;
  /// B's columns of accumulator `part` of the group at `from`.
  virtual mlir::Value loadB(KernelBuilder &b, mlir::Value from,
                            unsigned part) const = 0;
  /// acc[i] += a · columns[i], for the accumulators of one row.
  virtual void accumulate(KernelBuilder &b,
                          llvm::MutableArrayRef<mlir::Value> acc, mlir::Value a,
                          llvm::ArrayRef<mlir::Value> columns) const = 0;
  /// Accumulator `part` that starts at the columns' values in `init`.
  virtual mlir::Value start(KernelBuilder &b, mlir::Value init,
                            unsigned part) const;
  /// One result vector of its accumulators.
  virtual mlir::Value finish(KernelBuilder &b,
                             llvm::ArrayRef<mlir::Value> parts) const;
};

std::unique_ptr<Dot> makeF32Dot(const Isa &isa);
std::unique_ptr<Dot> makeS8Dot(const Isa &isa);

} // namespace pare::cpu

#endif
