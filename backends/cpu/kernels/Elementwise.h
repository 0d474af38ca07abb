//===- Elementwise.h - Fused chains over broadcast operands -----*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_ELEMENTWISE_H
#define PARE_BACKENDS_CPU_KERNELS_ELEMENTWISE_H

#include "backends/cpu/kernels/Strided.h"
#include "backends/cpu/kernels/Vectors.h"
#include <functional>

namespace pare::cpu {

/// One input or output of an elementwise kernel.
struct ElementwiseOperand {
  unsigned ptr = 0; ///< index into ptrs
  PareDType type = PARE_F32;
  /// Elements from one index of each axis of the shape to the next: see
  /// denseStrides. 0 where broadcast; any stride is legal, 1 or 0 on the
  /// innermost axis is fast.
  llvm::SmallVector<Product> strides;
};

/// out[i] = body(in0[i], in1[i], …) over a shape.
struct ElementwiseSpec {
  llvm::SmallVector<Extent> shape;
  llvm::SmallVector<ElementwiseOperand> inputs;
  ElementwiseOperand output;
  /// Computes `lanes` results. Values and the result are vectors of the
  /// operands' compute types (Vectors.h): f32 for every small float, i1 for
  /// bool, signless integers.
  std::function<mlir::Value(KernelBuilder &b,
                            llvm::ArrayRef<mlir::Value> values, unsigned lanes)>
      body;

  /// Adds an input that is row-major, broadcast on the axes that say so.
  void addInput(unsigned ptr, PareDType type,
                llvm::ArrayRef<bool> broadcast = {});
  /// Makes the output row-major.
  void setOutput(unsigned ptr, PareDType type);
};

/// Tasks: blocks of rows x blocks of the innermost axis. An output may be the
/// buffer of an input of the same strides and element size.
Grid elementwiseGrid(const ElementwiseSpec &spec);
void emitElementwise(KernelBuilder &b, const ElementwiseSpec &spec);

} // namespace pare::cpu

#endif
