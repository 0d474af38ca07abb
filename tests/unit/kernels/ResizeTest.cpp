#include "backends/cpu/kernels/Resize.h"
#include "tests/unit/kernels/ConvTesting.h"
#include <cmath>

using namespace pare::cpu;
using namespace pare::test;

namespace {

struct ResizeCase {
  ResizeMode mode;
  ResizeCoordinates coordinates;
  ResizeRounding rounding;
  int64_t n, h, w, c, oh, ow;
  float scaleH, scaleW; ///< as the kernel is given them
  bool runtime;

  std::string str() const {
    std::string s = "resize";
    for (int64_t v : {int64_t(mode), int64_t(coordinates), int64_t(rounding), n,
                      h, w, c, oh, ow, int64_t(runtime)})
      s += " " + std::to_string(v);
    return s;
  }
};

double source(const ResizeCase &r, int64_t o, int64_t in, int64_t out,
              float scale) {
  if (scale == 0)
    scale = float(out) / float(in);
  switch (r.coordinates) {
  case ResizeCoordinates::Asymmetric:
    return float(o) / scale;
  case ResizeCoordinates::HalfPixel:
    return (o + 0.5f) / scale - 0.5f;
  case ResizeCoordinates::PytorchHalfPixel:
    return out > 1 ? (o + 0.5f) / scale - 0.5f : 0.0f;
  case ResizeCoordinates::AlignCorners:
    return out == 1 ? 0.0f : float(o * (in - 1)) / float(out - 1);
  }
  return 0;
}

/// Positions and weights of one axis.
std::vector<std::pair<int64_t, double>>
taps(const ResizeCase &r, int64_t o, int64_t in, int64_t out, float scale) {
  double x = source(r, o, in, out, scale), base = std::floor(x), t = x - base;
  auto clamp = [&](double p) { return std::clamp<int64_t>(p, 0, in - 1); };
  if (r.mode == ResizeMode::Nearest) {
    switch (r.rounding) {
    case ResizeRounding::Floor:
      return {{clamp(base), 1}};
    case ResizeRounding::Ceil:
      return {{clamp(std::ceil(x)), 1}};
    case ResizeRounding::RoundPreferFloor:
      return {{clamp(t <= 0.5 ? base : base + 1), 1}};
    case ResizeRounding::RoundPreferCeil:
      return {{clamp(t < 0.5 ? base : base + 1), 1}};
    }
  }
  if (r.mode == ResizeMode::Linear)
    return {{clamp(base), 1 - t}, {clamp(base + 1), t}};
  std::vector<std::pair<int64_t, double>> result;
  for (int i = -1; i <= 2; ++i) {
    double d = std::fabs(t - i), a = -0.75;
    double weight = d <= 1 ? (a + 2) * d * d * d - (a + 3) * d * d + 1
                           : a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a;
    result.push_back({clamp(base + i), weight});
  }
  return result;
}

std::vector<double> reference(const ResizeCase &r, llvm::ArrayRef<float> in) {
  std::vector<double> out;
  for (int64_t n = 0; n < r.n; ++n)
    for (int64_t oy = 0; oy < r.oh; ++oy)
      for (int64_t ox = 0; ox < r.ow; ++ox)
        for (int64_t c = 0; c < r.c; ++c) {
          double sum = 0;
          for (auto [y, wy] : taps(r, oy, r.h, r.oh, r.scaleH))
            for (auto [x, wx] : taps(r, ox, r.w, r.ow, r.scaleW))
              sum += wy * wx * in[((n * r.h + y) * r.w + x) * r.c + c];
          out.push_back(sum);
        }
  return out;
}

ResizeSpec toSpec(const ResizeCase &r, Extents &extents) {
  ResizeSpec spec;
  spec.mode = r.mode;
  spec.coordinates = r.coordinates;
  spec.rounding = r.rounding;
  spec.n = extents(r.n);
  spec.h = extents(r.h);
  spec.w = extents(r.w);
  spec.oh = extents(r.oh);
  spec.ow = extents(r.ow);
  spec.c = r.c;
  spec.scaleH = r.scaleH;
  spec.scaleW = r.scaleW;
  return spec;
}

TEST(Resize, AllModes) {
  Random random(3);
  for (ResizeMode mode :
       {ResizeMode::Nearest, ResizeMode::Linear, ResizeMode::Cubic})
    for (ResizeCoordinates coordinates :
         {ResizeCoordinates::Asymmetric, ResizeCoordinates::HalfPixel,
          ResizeCoordinates::PytorchHalfPixel, ResizeCoordinates::AlignCorners})
      for (ResizeRounding rounding :
           {ResizeRounding::RoundPreferFloor, ResizeRounding::RoundPreferCeil,
            ResizeRounding::Floor, ResizeRounding::Ceil}) {
        if (mode != ResizeMode::Nearest && rounding != ResizeRounding::Floor)
          continue;
        ResizeCase r{mode,
                     coordinates,
                     rounding,
                     random.in(1, 2),
                     random.in(1, 7),
                     random.in(1, 7),
                     random.of<int64_t>({1, 3, 12, 24, 33}),
                     random.in(1, 15),
                     random.in(1, 15),
                     0,
                     0,
                     bool(random.in(0, 1))};
        if (random.in(0, 1)) { // A scale that the sizes only approximate.
          r.scaleH = 2;
          r.oh = 2 * r.h;
          r.scaleW = 1.6f;
          r.ow = std::floor(1.6f * r.w);
        }
        Extents extents{r.runtime, {}};
        ResizeSpec spec = toSpec(r, extents);
        Guarded<float> in(random.floats(r.n * r.h * r.w * r.c));
        Guarded<float> out(r.n * r.oh * r.ow * r.c);
        runKernel([&](KernelBuilder &kb) { emitResize(kb, spec); },
                  {in.data(), out.data()}, extents.dims,
                  ceilDiv(r.n * r.oh, resizeLinesPerTask(spec)));
        expectNear(out, reference(r, in), 1e-5, r.str());
      }
}

TEST(Resize, OtherTargets) {
  ResizeCase r{ResizeMode::Linear,
               ResizeCoordinates::HalfPixel,
               ResizeRounding::Floor,
               1,
               8,
               8,
               24,
               16,
               16,
               2,
               2,
               true};
  Extents extents{true, {}};
  ResizeSpec spec = toSpec(r, extents);
  auto emit = [&](KernelBuilder &kb) { emitResize(kb, spec); };
  EXPECT_NE(assemble(emit, "x86-64-v4+avx512vnni").find("zmm"),
            std::string::npos);
  EXPECT_NE(assemble(emit, "aarch64").find(".4s"), std::string::npos);
}

} // namespace
