//===- Resize.h - Resampling kernels, NHWC f32 ------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_RESIZE_H
#define PARE_BACKENDS_CPU_KERNELS_RESIZE_H

#include "backends/cpu/kernels/ConvCommon.h"

namespace pare::cpu {

enum class ResizeMode { Nearest, Linear, Cubic };

/// Where output position o lies in the input (ONNX Resize,
/// coordinate_transformation_mode).
enum class ResizeCoordinates {
  Asymmetric,       ///< o / scale
  HalfPixel,        ///< (o + 0.5) / scale - 0.5
  PytorchHalfPixel, ///< as HalfPixel, 0 where the output has one position
  AlignCorners,     ///< o * (in - 1) / (out - 1)
};

enum class ResizeRounding { RoundPreferFloor, RoundPreferCeil, Floor, Ceil };

/// in [N, H, W, C] → out [N, OH, OW, C], f32. Positions outside the input take
/// the value of its edge. Coordinates are computed in f32, as ONNX Runtime
/// does.
struct ResizeSpec {
  ResizeMode mode = ResizeMode::Nearest;
  ResizeCoordinates coordinates = ResizeCoordinates::HalfPixel;
  ResizeRounding rounding = ResizeRounding::RoundPreferFloor; ///< of Nearest
  float cubicCoefficient = -0.75f;
  Extent n, h, w, oh, ow;
  int64_t c = 0;
  float scaleH = 0, scaleW = 0; ///< output / input; 0: of the extents
  unsigned in = 0, out = 1;     ///< indices into ptrs
  Epilogue epilogue;
};

/// Output lines (pairs of n and oy) that one task makes. The step has
/// ceil(N * OH / resizeLinesPerTask) tasks.
int64_t resizeLinesPerTask(const ResizeSpec &spec);
void emitResize(KernelBuilder &kb, const ResizeSpec &spec);

} // namespace pare::cpu

#endif
