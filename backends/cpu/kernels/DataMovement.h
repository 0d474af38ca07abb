//===- DataMovement.h - Kernels that rearrange elements ---------*- C++ -*-===//
//
// Casts and selections are elementwise kernels (Elementwise.h).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_DATAMOVEMENT_H
#define PARE_BACKENDS_CPU_KERNELS_DATAMOVEMENT_H

#include "backends/cpu/kernels/Strided.h"
#include "backends/cpu/kernels/Vectors.h"

namespace pare::cpu {

/// out[i · outStrides] = in[i · inStrides] for every index i of a shape.
///
/// One kernel is transpose (permuted input strides), slice (scaled, negative
/// for negative steps), expand and tile (0) and one input of a concatenation
/// (output strides of the whole). The pointers point at index 0: starts are
/// offsets of the buffers. Where both tensors are contiguous along some axis,
/// rows are copied or square tiles transposed in registers.
struct CopySpec {
  llvm::SmallVector<Extent> shape;
  unsigned elementBytes = 4;                        ///< 1, 2, 4 or 8
  llvm::SmallVector<Product> inStrides, outStrides; ///< in elements
  unsigned ptrIn = 0, ptrOut = 1;

  /// Transposes row-major `shape`: result axis i is operand axis
  /// permutation[i].
  static CopySpec transpose(llvm::ArrayRef<Extent> shape,
                            llvm::ArrayRef<int64_t> permutation,
                            unsigned elementBytes);
};

Grid copyGrid(const CopySpec &spec);
void emitCopy(KernelBuilder &b, const CopySpec &spec);

enum class PadKind { Constant, Reflect, Edge };

/// Row-major `inShape` with low[i] elements before and the rest of outShape[i]
/// after; negative padding crops. Reflection needs padding smaller than the
/// extent.
struct PadSpec {
  PadKind kind = PadKind::Constant;
  llvm::SmallVector<Extent> inShape, outShape;
  llvm::SmallVector<int64_t> low, high;
  unsigned elementBytes = 4; ///< 1, 2, 4 or 8
  uint64_t value = 0;        ///< the bits of the padding element
  unsigned ptrIn = 0, ptrOut = 1;
};

Grid padGrid(const PadSpec &spec);
void emitPad(KernelBuilder &b, const PadSpec &spec);

/// out[o, i, :] = data[o, indices[i], :]. Negative indices count from the end;
/// others are clamped to the axis, so that none reads outside.
struct GatherSpec {
  Extent outer = Extent::of(1); ///< product of the axes before the gathered one
  Extent axis;                  ///< extent of the gathered axis
  Extent count;                 ///< number of indices
  Extent inner = Extent::of(1); ///< product of the axes after it
  PareDType dataType = PARE_F32;
  /// dataType, or PARE_F32 where dataType is f16, bf16 or int8 codes.
  PareDType outType = PARE_F32;
  PareDType indexType = PARE_I64; ///< i32 or i64
  unsigned ptrData = 0, ptrIndices = 1, ptrOut = 2;
  /// f32 [axis]: codes are multiplied by their row's scale.
  std::optional<unsigned> ptrRowScale;
};

Grid gatherGrid(const GatherSpec &spec);
void emitGather(KernelBuilder &b, const GatherSpec &spec);

} // namespace pare::cpu

#endif
