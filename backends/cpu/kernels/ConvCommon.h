//===- ConvCommon.h - What NHWC kernels share -------------------*- C++ -*-===//
//
// Index arithmetic of sliding windows and the walk over channels that
// convolution, pooling and resizing kernels have in common. All activations are
// NHWC: (n, h, w, c) lies at ((n * H + h) * W + w) * C + c.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CONVCOMMON_H
#define PARE_BACKENDS_CPU_KERNELS_CONVCOMMON_H

#include "backends/cpu/kernels/Gemm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace pare::cpu {

/// What happens to results before they are stored: the same function serves
/// convolutions and matrix products. `vec` is a vector of f32 whose width
/// varies at the channel tail, `at.row` the flattened output pixel (n * OH +
/// oy) * OW + ox, `at.col` the channel of its first lane; all lanes are valid
/// (`at.count` is null) and `at.batch` is 0. The returned vector has as many
/// lanes, of any element type; that type is what the output holds.
using Epilogue = GemmSpec::EpilogueFn;

mlir::Value compare(KernelBuilder &kb, mlir::arith::CmpIPredicate predicate,
                    mlir::Value a, mlir::Value b);
mlir::Value select(KernelBuilder &kb, mlir::Value condition, mlir::Value a,
                   mlir::Value b);

/// One axis of a window: the taps [lo, hi) of a kernel read inside the input,
/// tap k at `start` + k * dilation. `start` may be negative.
struct Window {
  mlir::Value start, lo, hi;
};

/// The window of output position `out` on an axis of `extent` input positions.
Window clipWindow(KernelBuilder &kb, mlir::Value out, int64_t stride,
                  int64_t pad, int64_t dilation, int64_t kernel,
                  mlir::Value extent);

/// The output positions [lo, hi) of an axis whose whole window is inside the
/// input; empty is lo == hi.
std::pair<mlir::Value, mlir::Value>
interiorRange(KernelBuilder &kb, int64_t stride, int64_t pad, int64_t dilation,
              int64_t kernel, mlir::Value inExtent, mlir::Value outExtent);

/// Position of an output pixel.
struct Pixel {
  mlir::Value n, y, x;
};
Pixel decodePixel(KernelBuilder &kb, mlir::Value row, mlir::Value oh,
                  mlir::Value ow);

/// The rows [first, last) of task `index`, of `total` rows dealt `perTask`
/// each.
std::pair<mlir::Value, mlir::Value> taskRange(KernelBuilder &kb,
                                              mlir::Value index,
                                              int64_t perTask,
                                              mlir::Value total);

/// Covers `channels` with groups of up to `unroll` vectors of `lanes` lanes and
/// calls `body` with each group's first channel and its vectors' widths. Only
/// the very last vector may be narrower; every width is a constant.
void forEachChannelGroup(
    KernelBuilder &kb, int64_t channels, unsigned lanes, unsigned unroll,
    llvm::function_ref<void(mlir::Value col, llvm::ArrayRef<unsigned> widths)>
        body);

/// Applies `epilogue` (may be null) to the first `count` lanes of `vec` and
/// stores them at channel `col` of pixel `row` of an output of `channels`.
void storeChannels(KernelBuilder &kb, const Epilogue &epilogue, mlir::Value vec,
                   unsigned count, mlir::Value out, mlir::Value row,
                   mlir::Value col, int64_t channels);

} // namespace pare::cpu

#endif
