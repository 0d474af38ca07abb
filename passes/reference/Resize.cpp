//===- Resize.cpp - Resampling as ONNX Resize defines it ------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

namespace {
/// One term of an output coordinate's value.
struct Tap {
  int64_t index;
  double weight;
};
} // namespace

static double toInput(nn::ResizeCoord coord, double out, int64_t inSize,
                      int64_t outSize, double scale) {
  switch (coord) {
  case nn::ResizeCoord::half_pixel:
    return (out + 0.5) / scale - 0.5;
  case nn::ResizeCoord::pytorch_half_pixel:
    return outSize > 1 ? (out + 0.5) / scale - 0.5 : 0;
  case nn::ResizeCoord::align_corners:
    return outSize > 1 ? out * (inSize - 1) / (outSize - 1) : 0;
  case nn::ResizeCoord::asymmetric:
    return out / scale;
  }
  llvm_unreachable("unknown coordinate transformation");
}

static double roundNearest(nn::NearestMode mode, double x) {
  switch (mode) {
  case nn::NearestMode::round_prefer_floor:
    return std::ceil(x - 0.5);
  case nn::NearestMode::round_prefer_ceil:
    return std::floor(x + 0.5);
  case nn::NearestMode::floor:
    return std::floor(x);
  case nn::NearestMode::ceil:
    return std::ceil(x);
  }
  llvm_unreachable("unknown rounding");
}

/// Keys' cubic convolution at distance `t` (Keys 1981).
static double cubic(double t, double a) {
  t = std::abs(t);
  if (t <= 1)
    return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2)
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

static SmallVector<Tap> getTaps(nn::ResizeOp op, double x, int64_t inSize) {
  auto clamp = [&](double i) {
    return int64_t(std::clamp<double>(i, 0, double(inSize - 1)));
  };
  double base = std::floor(x);
  switch (op.getMode()) {
  case nn::ResizeMode::nearest:
    return {{clamp(roundNearest(op.getNearest(), x)), 1}};
  case nn::ResizeMode::linear:
    return {{clamp(base), 1 - (x - base)}, {clamp(base + 1), x - base}};
  case nn::ResizeMode::cubic: {
    SmallVector<Tap> taps;
    double a = op.getCubicCoeff().convertToFloat();
    for (int i = -1; i <= 2; ++i)
      taps.push_back({clamp(base + i), cubic(x - base - i, a)});
    return taps;
  }
  }
  llvm_unreachable("unknown interpolation");
}

llvm::Error evaluate(nn::ResizeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(frame.typeOf(op));
  SmallVector<int64_t> shape(x.shape());
  std::vector<double> values = x.read<double>();
  if (values.empty())
    return fail(op, "cannot resample an empty tensor");
  // Interpolation is separable: one axis after the other.
  for (size_t axis = 1; axis + 1 < shape.size(); ++axis) {
    int64_t inSize = shape[axis], outSize = result.shape()[axis];
    double scale = op.getScales() ? double((*op.getScales())[axis - 1])
                                  : double(outSize) / inSize;
    int64_t outer = count(ArrayRef(shape).take_front(axis)),
            inner = count(ArrayRef(shape).drop_front(axis + 1));
    std::vector<double> next(outer * outSize * inner, 0);
    for (int64_t i = 0; i < outSize; ++i)
      for (Tap tap : getTaps(
               op, toInput(op.getCoord(), i, inSize, outSize, scale), inSize))
        for (int64_t o = 0; o < outer; ++o) {
          const double *from = &values[(o * inSize + tap.index) * inner];
          double *to = &next[(o * outSize + i) * inner];
          for (int64_t c = 0; c < inner; ++c)
            to[c] += tap.weight * from[c];
        }
    values = std::move(next);
    shape[axis] = outSize;
  }
  result.write<double>(values);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
