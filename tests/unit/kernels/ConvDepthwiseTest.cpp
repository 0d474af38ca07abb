#include "backends/cpu/kernels/ConvDepthwise.h"
#include "tests/unit/kernels/ConvReference.h"
#include "tests/unit/kernels/ConvTesting.h"

using namespace pare::cpu;
using namespace pare::test;

namespace {

DepthwiseSpec toSpec(const ConvCase &p, Extents &extents) {
  DepthwiseSpec spec;
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
  spec.dilationH = p.dh;
  spec.dilationW = p.dw;
  return spec;
}

TEST(ConvDepthwise, RandomShapes) {
  Random random(4);
  for (int i = 0; i < 30; ++i) {
    ConvCase p = ConvCase::random(random);
    p.c = p.o = p.groups =
        random.of<int64_t>({1, 3, 8, 12, 24, 32, 37, 56, 120});
    Extents extents{p.runtime, {}};
    DepthwiseSpec spec = toSpec(p, extents);
    bool withEpilogue = random.in(0, 1);
    TestEpilogue epilogue{3, 4, p.c};
    if (withEpilogue)
      spec.epilogue = epilogue.emit();

    Guarded<float> in(random.floats(p.n * p.h * p.w * p.c));
    std::vector<float> filters = random.floats(p.c * p.kh * p.kw);
    Guarded<float> packed(filters.size());
    packDepthwiseF32(filters, p.c, p.kh, p.kw, {packed.data(), packed.size()});
    Guarded<float> bias(random.floats(p.c));
    Guarded<float> residual(random.floats(p.n * p.oh * p.ow * p.c));
    Guarded<float> out(residual.size());
    runKernel(
        [&](KernelBuilder &kb) { emitDepthwise(kb, spec); },
        {in.data(), packed.data(), out.data(), bias.data(), residual.data()},
        extents.dims, ceilDiv(p.n * p.oh, depthwiseLinesPerTask(spec)));

    // One input channel per group: [C, KH, KW] is [O, KH, KW, 1].
    std::vector<double> want = convReference<float>(p, in, filters);
    if (withEpilogue)
      epilogue.apply(want, bias, residual);
    expectNear(out, want, 1e-4, "depthwise " + p.str());
  }
}

TEST(ConvDepthwise, OtherTargets) {
  Random random(5);
  ConvCase p = ConvCase::random(random);
  p.c = p.o = p.groups = 40;
  Extents extents{true, {}};
  DepthwiseSpec spec = toSpec(p, extents);
  auto emit = [&](KernelBuilder &kb) { emitDepthwise(kb, spec); };
  EXPECT_NE(assemble(emit, "x86-64-v4+avx512vnni").find("zmm"),
            std::string::npos);
  EXPECT_NE(assemble(emit, "aarch64").find("fmla"), std::string::npos);
}

} // namespace
