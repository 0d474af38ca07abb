//===- Pool.h - Pooling kernels, NHWC f32 -----------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_POOL_H
#define PARE_BACKENDS_CPU_KERNELS_POOL_H

#include "backends/cpu/kernels/ConvCommon.h"

namespace pare::cpu {

enum class PoolKind { Max, Average };

/// Pooling over windows: in [N, H, W, C] → out [N, OH, OW, C], f32. The output
/// extents are given, so that any rounding mode of the source (ceil_mode) is
/// expressed by them. An average divides by the number of positions read; with
/// `countIncludePad` padding counts too, but not what a rounded-up output reads
/// beyond it. A window without any position gives -inf (max) or NaN (average).
struct PoolSpec {
  PoolKind kind = PoolKind::Max;
  Extent n, h, w, oh, ow;
  int64_t c = 0;
  int64_t kernelH = 1, kernelW = 1;
  int64_t strideH = 1, strideW = 1;
  int64_t padT = 0, padL = 0, padB = 0, padR = 0;
  int64_t dilationH = 1, dilationW = 1;
  bool countIncludePad = false;
  unsigned in = 0, out = 1; ///< indices into ptrs
  Epilogue epilogue;
};

/// Output lines (pairs of n and oy) that one task makes. The step has
/// ceil(N * OH / poolLinesPerTask) tasks.
int64_t poolLinesPerTask(const PoolSpec &spec);
void emitPool(KernelBuilder &kb, const PoolSpec &spec);

/// Pooling over all positions: in [N, H, W, C] → out [N, C], f32. Sums are
/// taken line by line, so the result does not depend on the tiling. The
/// epilogue's `row` is n.
struct GlobalPoolSpec {
  PoolKind kind = PoolKind::Average;
  Extent n, h, w;
  int64_t c = 0;
  unsigned in = 0, out = 1;
  Epilogue epilogue;
};

/// Channels that one task makes. The step has N * ceil(C / this) tasks.
inline constexpr int64_t globalPoolChannelsPerTask = 64;
void emitGlobalPool(KernelBuilder &kb, const GlobalPoolSpec &spec);

} // namespace pare::cpu

#endif
