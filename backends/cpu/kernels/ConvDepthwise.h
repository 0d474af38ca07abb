//===- ConvDepthwise.h - Depthwise convolution, NHWC f32 --------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CONVDEPTHWISE_H
#define PARE_BACKENDS_CPU_KERNELS_CONVDEPTHWISE_H

#include "backends/cpu/kernels/ConvCommon.h"

namespace pare::cpu {

/// Convolution with one filter per channel: in [N, H, W, C] → out [N, OH, OW,
/// C], weights [KH, KW, C] as `packDepthwiseF32` makes them, f32. Padding at
/// the end follows from the output extents; what lies outside the input is
/// zero.
struct DepthwiseSpec {
  Extent n, h, w, oh, ow;
  int64_t c = 0;
  int64_t kernelH = 1, kernelW = 1;
  int64_t strideH = 1, strideW = 1;
  int64_t padT = 0, padL = 0;
  int64_t dilationH = 1, dilationW = 1;
  unsigned in = 0, weights = 1, out = 2; ///< indices into ptrs
  Epilogue epilogue;
};

/// Filters [C, KH, KW] (ONNX: [C, 1, KH, KW]) → [KH, KW, C].
void packDepthwiseF32(llvm::ArrayRef<float> filters, int64_t c, int64_t kernelH,
                      int64_t kernelW, llvm::MutableArrayRef<float> packed);

/// Output lines (pairs of n and oy) that one task makes. The step has
/// ceil(N * OH / depthwiseLinesPerTask) tasks.
int64_t depthwiseLinesPerTask(const DepthwiseSpec &spec);
void emitDepthwise(KernelBuilder &kb, const DepthwiseSpec &spec);

} // namespace pare::cpu

#endif
