#include "backends/cpu/kernels/Pool.h"
#include "tests/unit/kernels/ConvTesting.h"
#include <limits>

using namespace pare::cpu;
using namespace pare::test;

namespace {

struct PoolCase {
  PoolKind kind;
  int64_t n, h, w, c, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw, oh, ow;
  bool includePad, runtime;

  std::string str() const {
    std::string s = kind == PoolKind::Max ? "max" : "average";
    for (int64_t v : {n, h, w, c, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw, oh,
                      ow, int64_t(includePad), int64_t(runtime)})
      s += " " + std::to_string(v);
    return s;
  }
};

/// ONNX MaxPool and AveragePool as ONNX Runtime computes them.
std::vector<double> reference(const PoolCase &p, llvm::ArrayRef<float> in) {
  std::vector<double> out;
  for (int64_t n = 0; n < p.n; ++n)
    for (int64_t oy = 0; oy < p.oh; ++oy)
      for (int64_t ox = 0; ox < p.ow; ++ox)
        for (int64_t c = 0; c < p.c; ++c) {
          double sum = 0, max = -std::numeric_limits<double>::infinity();
          int64_t inside = 0, padded = 0;
          for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; ++kx) {
              int64_t y = oy * p.sh - p.pt + ky * p.dh;
              int64_t x = ox * p.sw - p.pl + kx * p.dw;
              padded += y < p.h + p.pb && x < p.w + p.pr;
              if (y < 0 || y >= p.h || x < 0 || x >= p.w)
                continue;
              double v = in[((n * p.h + y) * p.w + x) * p.c + c];
              sum += v;
              max = std::max(max, v);
              ++inside;
            }
          out.push_back(p.kind == PoolKind::Max
                            ? max
                            : sum / (p.includePad ? padded : inside));
        }
  return out;
}

PoolSpec toSpec(const PoolCase &p, Extents &extents) {
  PoolSpec spec;
  spec.kind = p.kind;
  spec.n = extents(p.n);
  spec.h = extents(p.h);
  spec.w = extents(p.w);
  spec.oh = extents(p.oh);
  spec.ow = extents(p.ow);
  spec.c = p.c;
  spec.kernelH = p.kh;
  spec.kernelW = p.kw;
  spec.strideH = p.sh;
  spec.strideW = p.sw;
  spec.padT = p.pt;
  spec.padL = p.pl;
  spec.padB = p.pb;
  spec.padR = p.pr;
  spec.dilationH = p.dh;
  spec.dilationW = p.dw;
  spec.countIncludePad = p.includePad;
  return spec;
}

void check(const PoolCase &p, Random &random) {
  Extents extents{p.runtime, {}};
  PoolSpec spec = toSpec(p, extents);
  Guarded<float> in(random.floats(p.n * p.h * p.w * p.c));
  Guarded<float> out(p.n * p.oh * p.ow * p.c);
  runKernel([&](KernelBuilder &kb) { emitPool(kb, spec); },
            {in.data(), out.data()}, extents.dims,
            ceilDiv(p.n * p.oh, poolLinesPerTask(spec)));
  expectNear(out, reference(p, in), 1e-5, p.str());
}

TEST(Pool, RandomShapes) {
  Random random(1);
  for (int i = 0; i < 30; ++i) {
    PoolCase p;
    p.kind = random.of({PoolKind::Max, PoolKind::Average});
    p.n = random.in(1, 2);
    p.c = random.of<int64_t>({1, 3, 8, 12, 24, 32, 37, 56, 120});
    p.kh = random.in(1, 3);
    p.kw = random.in(1, 5);
    p.sh = random.in(1, 3);
    p.sw = random.in(1, 2);
    p.dh = random.in(1, 2);
    p.dw = random.in(1, 2);
    p.pt = random.in(0, p.kh - 1);
    p.pb = random.in(0, p.kh - 1);
    p.pl = random.in(0, p.kw - 1);
    p.pr = random.in(0, p.kw - 1);
    p.h = random.in(p.dh * (p.kh - 1) + 1, 14);
    p.w = random.in(p.dw * (p.kw - 1) + 1, 17);
    p.oh = outputExtent(p.h, p.pt + p.pb, p.kh, p.sh, p.dh);
    p.ow = outputExtent(p.w, p.pl + p.pr, p.kw, p.sw, p.dw);
    p.includePad = random.in(0, 1);
    p.runtime = random.in(0, 1);
    // ceil_mode: one more position, if its window starts inside.
    if (p.ow * p.sw - p.pl < p.w && random.in(0, 1))
      ++p.ow;
    // An average over nothing is not a number, here and in the reference.
    if (p.kind == PoolKind::Average && !p.includePad && (p.dh > 1 || p.dw > 1))
      p.kind = PoolKind::Max;
    check(p, random);
  }
}

TEST(Pool, Global) {
  Random random(2);
  for (PoolKind kind : {PoolKind::Max, PoolKind::Average})
    for (int64_t c : {3, 12, 40, 64, 100, 200})
      for (bool runtime : {false, true}) {
        int64_t n = 3, h = random.in(1, 9), w = random.in(1, 9);
        Extents extents{runtime, {}};
        GlobalPoolSpec spec;
        spec.kind = kind;
        spec.n = extents(n);
        spec.h = extents(h);
        spec.w = extents(w);
        spec.c = c;
        Guarded<float> in(random.floats(n * h * w * c)), out(n * c);
        runKernel([&](KernelBuilder &kb) { emitGlobalPool(kb, spec); },
                  {in.data(), out.data()}, extents.dims,
                  n * ceilDiv(c, globalPoolChannelsPerTask));
        PoolCase p{kind, n, h, w, c, h, w, 1,     1,      0,
                   0,    0, 0, 1, 1, 1, 1, false, runtime};
        expectNear(out, reference(p, in), 1e-5, "global " + p.str());
      }
}

TEST(Pool, OtherTargets) {
  PoolCase p{PoolKind::Max, 1,   9, 9, 20, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 5, 5,
             false,         true};
  Extents extents{true, {}};
  PoolSpec spec = toSpec(p, extents);
  auto emit = [&](KernelBuilder &kb) { emitPool(kb, spec); };
  EXPECT_NE(assemble(emit, "x86-64-v4+avx512vnni").find("vmaxps"),
            std::string::npos);
  EXPECT_NE(assemble(emit, "aarch64").find(".4s"), std::string::npos);
}

} // namespace
