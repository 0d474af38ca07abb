//===- Softmax.h - Softmax and its logarithm --------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_SOFTMAX_H
#define PARE_BACKENDS_CPU_KERNELS_SOFTMAX_H

#include "backends/cpu/kernels/Strided.h"

namespace pare::cpu {

/// out = softmax(scale * x + mask) over one axis of a row-major f32 tensor, or
/// its logarithm. The maximum is subtracted first.
struct SoftmaxSpec {
  llvm::SmallVector<Extent> shape;
  unsigned axis = 0;
  bool log = false;
  float scale = 1;
  unsigned ptrX = 0, ptrOut = 1; ///< indices into ptrs; may be one buffer
  /// f32, added; only where `axis` is the last one.
  std::optional<unsigned> ptrMask;
  llvm::SmallVector<Product>
      maskStrides; ///< per axis of shape, 0: broadcast; 1 on the last axis
};

Grid softmaxGrid(const SoftmaxSpec &spec, const Isa &isa);
void emitSoftmax(KernelBuilder &b, const SoftmaxSpec &spec);

} // namespace pare::cpu

#endif
