//===- Conv.h - Convolution kernels, NHWC -----------------------*- C++ -*-===//
//
// Convolutions as implicit matrix products: rows are output pixels, columns are
// output channels, k runs over taps and input channels. For each row and tap a
// table of pointers in scratch says where the input is, padding being a block
// of zeros, so that the inner loops have no conditions (M. Dukhan, "The
// Indirect Convolution Algorithm", 2019).
//
// A 1x1 convolution of stride 1 without padding is a matrix product: use
// emitGemm on [N * H * W, C]. One input channel per filter: ConvDepthwise.h.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CONV_H
#define PARE_BACKENDS_CPU_KERNELS_CONV_H

#include "backends/cpu/kernels/ConvCommon.h"

namespace pare::cpu {

/// A convolution in [N, H, W, C] → out [N, OH, OW, O], groups of C / groups
/// input and O / groups output channels. Padding at the end follows from the
/// output extents; what lies outside the input is zero. One dimension: H = 1.
///
/// f32: weights as packConvF32 makes them. int8: the input holds codes in
/// Isa::codeStorage() with one scale; weights and compensation as packConvS8
/// makes them; scales[o] = input scale * scale of filter o; the epilogue gets
/// sum * scales[o].
struct ConvSpec {
  Extent n, h, w, oh, ow;
  int64_t c = 0, o = 0;
  int64_t kernelH = 1, kernelW = 1;
  int64_t strideH = 1, strideW = 1;
  int64_t padT = 0, padL = 0;
  int64_t dilationH = 1, dilationW = 1;
  int64_t groups = 1;
  bool int8 = false;
  unsigned in = 0, weights = 1, out = 2; ///< indices into ptrs
  unsigned scales = 3, compensation = 4; ///< int8 only
  Epilogue epilogue;
};

/// The adjoint of a convolution (ONNX ConvTranspose): in [N, H, W, C] → out [N,
/// OH, OW, O], where input pixel i adds to outputs i * stride - pad + tap *
/// dilation. f32; output padding follows from the output extents.
struct ConvTransposeSpec {
  Extent n, h, w, oh, ow;
  int64_t c = 0, o = 0;
  int64_t kernelH = 1, kernelW = 1;
  int64_t strideH = 1, strideW = 1;
  int64_t padT = 0, padL = 0;
  int64_t dilationH = 1, dilationW = 1;
  int64_t groups = 1;
  unsigned in = 0, weights = 1, out = 2; ///< indices into ptrs
  Epilogue epilogue;
};

/// How a convolution is dealt out. The step has
///   phases * ceil(N * ceil(OH / phaseH) * ceil(OW / phaseW) / rowsPerTask)
///          * columnTasks
/// tasks; phases = phaseH = phaseW = 1 but for transposed convolutions, where
/// phases = phaseH * phaseW. Results do not depend on it.
struct ConvTiling {
  int64_t phaseH = 1, phaseW = 1;
  int64_t rowsPerTask = 0, columnTasks = 1;
  int64_t scratchBytes = 0; ///< per thread

  int64_t tasks(int64_t n, int64_t oh, int64_t ow) const {
    int64_t rows =
        n * ((oh + phaseH - 1) / phaseH) * ((ow + phaseW - 1) / phaseW);
    return phaseH * phaseW * ((rows + rowsPerTask - 1) / rowsPerTask) *
           columnTasks;
  }
};

ConvTiling convTiling(const ConvSpec &spec, const Isa &isa);
ConvTiling convTiling(const ConvTransposeSpec &spec, const Isa &isa);
void emitConv(KernelBuilder &kb, const ConvSpec &spec);
void emitConvTranspose(KernelBuilder &kb, const ConvTransposeSpec &spec);

/// Elements of packed weights, and of packed compensation.
int64_t packedConvSize(const ConvSpec &spec);
int64_t packedConvSize(const ConvTransposeSpec &spec);
int64_t packedCompensationSize(const ConvSpec &spec);

/// Filters [O, KH, KW, C / groups] in the kernel's order. Only channel counts,
/// kernel, dilation and groups of `spec` matter.
llvm::SmallVector<float, 0> packConvF32(const ConvSpec &spec,
                                        llvm::ArrayRef<float> filters);
llvm::SmallVector<float, 0> packConvTransposeF32(const ConvTransposeSpec &spec,
                                                 llvm::ArrayRef<float> filters);

struct PackedConvS8 {
  llvm::SmallVector<int8_t, 0> weights;
  /// -128 times the sum of each filter, zero for padding columns.
  llvm::SmallVector<int32_t, 0> compensation;
};
/// Codes in [-127, 127].
PackedConvS8 packConvS8(const ConvSpec &spec, llvm::ArrayRef<int8_t> filters);

} // namespace pare::cpu

#endif
