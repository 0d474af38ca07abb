#include "backends/cpu/kernels/Conv.h"
#include "tests/unit/kernels/ConvReference.h"
#include "tests/unit/kernels/ConvTesting.h"

using namespace pare::cpu;
using namespace pare::test;

namespace {

template <typename Spec> Spec toSpec(const ConvCase &p, Extents &extents) {
  Spec spec;
  spec.n = extents(p.n);
  spec.h = extents(p.h);
  spec.w = extents(p.w);
  spec.oh = extents(p.oh);
  spec.ow = extents(p.ow);
  spec.c = p.c;
  spec.o = p.o;
  spec.kernelH = p.kh;
  spec.kernelW = p.kw;
  spec.strideH = p.sh;
  spec.strideW = p.sw;
  spec.padT = p.pt;
  spec.padL = p.pl;
  spec.dilationH = p.dh;
  spec.dilationW = p.dw;
  spec.groups = p.groups;
  return spec;
}

/// Channels that are and are not multiples of panels, vectors and k groups.
void chooseChannels(ConvCase &p, Random &random) {
  p.groups = random.in(0, 3) ? 1 : random.of<int64_t>({2, 3, 4});
  p.c = p.groups * random.of<int64_t>({1, 3, 8, 12, 16, 17, 24, 56});
  p.o = p.groups * random.of<int64_t>({1, 3, 8, 12, 16, 24, 33, 40, 56, 120});
}

void checkF32(const ConvCase &p, Random &random, llvm::StringRef target) {
  Extents extents{p.runtime, {}};
  auto spec = toSpec<ConvSpec>(p, extents);
  TestEpilogue epilogue{3, 4, p.o};
  bool withEpilogue = random.in(0, 1);
  if (withEpilogue)
    spec.epilogue = epilogue.emit();
  ConvTiling tiling = convTiling(spec, isa(target));

  Guarded<float> in(random.floats(p.n * p.h * p.w * p.c));
  std::vector<float> filters =
      random.floats(p.o * p.kh * p.kw * p.c / p.groups);
  llvm::SmallVector<float, 0> packedWeights = packConvF32(spec, filters);
  ASSERT_EQ(int64_t(packedWeights.size()), packedConvSize(spec));
  Guarded<float> packed({packedWeights.begin(), packedWeights.end()});
  Guarded<float> bias(random.floats(p.o));
  Guarded<float> residual(random.floats(p.n * p.oh * p.ow * p.o));
  Guarded<float> out(residual.size());
  runKernel(
      [&](KernelBuilder &kb) { emitConv(kb, spec); },
      {in.data(), packed.data(), out.data(), bias.data(), residual.data()},
      extents.dims, tiling.tasks(p.n, p.oh, p.ow), tiling.scratchBytes, target);

  std::vector<double> want = convReference<float>(p, in, filters);
  if (withEpilogue)
    epilogue.apply(want, bias, residual);
  expectNear(out, want, 1e-4, "conv " + p.str());
}

TEST(Conv, F32RandomShapes) {
  Random random(6);
  for (int i = 0; i < 40; ++i) {
    ConvCase p = ConvCase::random(random);
    chooseChannels(p, random);
    checkF32(p, random, "host");
  }
}

TEST(Conv, F32ManyTasks) {
  Random random(7);
  // Several tasks of rows and of columns, weights beyond the near cache.
  for (int64_t c : {3, 64, 200})
    for (bool runtime : {false, true}) {
      ConvCase p;
      p.runtime = runtime;
      p.n = 2;
      p.c = c;
      p.o = 200;
      p.kh = p.kw = 3;
      p.pt = p.pl = p.pb = p.pr = 1;
      p.h = p.oh = 13;
      p.w = p.ow = 11;
      checkF32(p, random, "host");
    }
}

TEST(Conv, F32OlderX86) {
  Random random(8);
  for (int i = 0; i < 10; ++i) {
    ConvCase p = ConvCase::random(random);
    chooseChannels(p, random);
    checkF32(p, random, "x86-64-v2");
  }
}

void checkS8(const ConvCase &p, Random &random, llvm::StringRef target) {
  Isa targetIsa = isa(target);
  Extents extents{p.runtime, {}};
  auto spec = toSpec<ConvSpec>(p, extents);
  spec.int8 = true;
  TestEpilogue epilogue{5, 6, p.o};
  spec.epilogue = epilogue.emit();
  ConvTiling tiling = convTiling(spec, targetIsa);

  std::vector<int8_t> codes = random.codes(p.n * p.h * p.w * p.c);
  Guarded<int8_t> narrow(codes);
  Guarded<int16_t> wide({codes.begin(), codes.end()});
  bool widened = targetIsa.codeStorage() == CodeStorage::S16;
  const void *in = wide.data();
  if (!widened)
    in = narrow.data();
  if (targetIsa.codeStorage() == CodeStorage::U8Plus128)
    for (int8_t &code : narrow)
      code ^= int8_t(-128);

  std::vector<int8_t> filters =
      random.codes(p.o * p.kh * p.kw * p.c / p.groups);
  PackedConvS8 pack = packConvS8(spec, filters);
  ASSERT_EQ(int64_t(pack.weights.size()), packedConvSize(spec));
  ASSERT_EQ(int64_t(pack.compensation.size()), packedCompensationSize(spec));
  Guarded<int8_t> packed({pack.weights.begin(), pack.weights.end()});
  Guarded<int32_t> compensation(
      {pack.compensation.begin(), pack.compensation.end()});
  Guarded<float> scales(random.floats(p.o)), bias(random.floats(p.o));
  Guarded<float> residual(random.floats(p.n * p.oh * p.ow * p.o));
  Guarded<float> out(residual.size());
  runKernel([&](KernelBuilder &kb) { emitConv(kb, spec); },
            {in, packed.data(), out.data(), scales.data(), compensation.data(),
             bias.data(), residual.data()},
            extents.dims, tiling.tasks(p.n, p.oh, p.ow), tiling.scratchBytes,
            target);

  std::vector<double> want = convReference<int8_t>(p, codes, filters);
  for (size_t i = 0; i < want.size(); ++i)
    want[i] *= scales[i % p.o];
  epilogue.apply(want, bias, residual);
  // Sums are exact: what remains is the rounding of three f32 operations.
  expectNear(out, want, 2e-6 * 8, "int8 conv " + p.str());
}

TEST(Conv, S8RandomShapes) {
  Random random(9);
  for (int i = 0; i < 40; ++i) {
    ConvCase p = ConvCase::random(random);
    chooseChannels(p, random);
    checkS8(p, random, "host");
  }
}

TEST(Conv, S8OlderX86) {
  Random random(10);
  for (int i = 0; i < 10; ++i) {
    ConvCase p = ConvCase::random(random);
    chooseChannels(p, random);
    checkS8(p, random, "x86-64-v2");
  }
}

/// A batch gives, bit for bit, what each of its images gives alone.
TEST(Conv, BatchesDoNotMix) {
  Random random(12);
  for (int64_t extent : {1, 2, 9}) {
    ConvCase p;
    p.n = 5;
    p.c = 20;
    p.o = 40;
    p.kh = p.kw = 3;
    p.pt = p.pl = p.pb = p.pr = 1;
    p.h = p.w = p.oh = p.ow = extent;
    Extents extents{false, {}};
    auto spec = toSpec<ConvSpec>(p, extents);
    size_t inSize = p.h * p.w * p.c, outSize = p.oh * p.ow * p.o;
    Guarded<float> in(random.floats(p.n * inSize));
    llvm::SmallVector<float, 0> packed =
        packConvF32(spec, random.floats(p.o * p.kh * p.kw * p.c));
    Guarded<float> together(p.n * outSize), alone(outSize);
    auto run = [&](int64_t n, const float *from, float *to) {
      spec.n = Extent::of(n);
      ConvTiling tiling = convTiling(spec, isa("host"));
      runKernel([&](KernelBuilder &kb) { emitConv(kb, spec); },
                {from, packed.data(), to}, {}, tiling.tasks(n, p.oh, p.ow),
                tiling.scratchBytes);
    };
    run(p.n, in.data(), together.data());
    for (int64_t n = 0; n < p.n; ++n) {
      run(1, in.data() + n * inSize, alone.data());
      EXPECT_EQ(std::memcmp(alone.data(), together.data() + n * outSize,
                            outSize * sizeof(float)),
                0)
          << extent << " image " << n;
    }
  }
}

/// The output has the type that the epilogue returns.
TEST(Conv, StoresWhatTheEpilogueReturns) {
  Random random(13);
  ConvCase p;
  p.c = 5;
  p.o = 21;
  p.kh = p.kw = 3;
  p.h = p.w = 6;
  p.oh = p.ow = 4;
  Extents extents{false, {}};
  auto spec = toSpec<ConvSpec>(p, extents);
  spec.epilogue = [](KernelBuilder &kb, mlir::Value vec, const GemmAt &) {
    unsigned lanes =
        mlir::cast<mlir::VectorType>(vec.getType()).getNumElements();
    return mlir::arith::FPToSIOp::create(kb, kb.vecType(lanes, kb.getI8Type()),
                                         vec)
        .getResult();
  };
  Guarded<float> in(random.floats(p.h * p.w * p.c));
  std::vector<float> filters = random.floats(p.o * p.kh * p.kw * p.c);
  llvm::SmallVector<float, 0> packed = packConvF32(spec, filters);
  Guarded<int8_t> out(p.oh * p.ow * p.o);
  ConvTiling tiling = convTiling(spec, isa("host"));
  runKernel([&](KernelBuilder &kb) { emitConv(kb, spec); },
            {in.data(), packed.data(), out.data()}, {},
            tiling.tasks(1, p.oh, p.ow), tiling.scratchBytes);
  std::vector<double> want = convReference<float>(p, in, filters);
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(out[i], want[i], 1.0001) << i;
}

TEST(ConvTranspose, RandomShapes) {
  Random random(11);
  for (int i = 0; i < 40; ++i) {
    ConvCase p;
    chooseChannels(p, random);
    p.runtime = random.in(0, 1);
    p.n = random.in(1, 2);
    p.h = random.in(1, 8);
    p.w = random.in(1, 12);
    std::tie(p.kh, p.kw) = random.of<std::pair<int64_t, int64_t>>(
        {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 3}, {1, 4}});
    std::tie(p.sh, p.sw) = random.of<std::pair<int64_t, int64_t>>(
        {{1, 1}, {2, 2}, {2, 2}, {3, 1}, {4, 4}});
    p.dh = random.in(0, 3) ? 1 : 2;
    p.dw = random.in(0, 3) ? 1 : 2;
    p.pt = random.in(0, p.kh - 1);
    p.pl = random.in(0, p.kw - 1);
    p.pb = random.in(0, p.kh - 1);
    p.pr = random.in(0, p.kw - 1);
    // ONNX: stride * (in - 1) + output padding + extent of the kernel - pads.
    p.oh = p.sh * (p.h - 1) + random.in(0, p.sh - 1) + (p.kh - 1) * p.dh + 1 -
           p.pt - p.pb;
    p.ow = p.sw * (p.w - 1) + random.in(0, p.sw - 1) + (p.kw - 1) * p.dw + 1 -
           p.pl - p.pr;
    if (p.oh < 1 || p.ow < 1)
      continue;

    Extents extents{p.runtime, {}};
    auto spec = toSpec<ConvTransposeSpec>(p, extents);
    TestEpilogue epilogue{3, 4, p.o};
    spec.epilogue = epilogue.emit();
    ConvTiling tiling = convTiling(spec, isa("host"));
    Guarded<float> in(random.floats(p.n * p.h * p.w * p.c));
    std::vector<float> filters =
        random.floats(p.o * p.kh * p.kw * p.c / p.groups);
    llvm::SmallVector<float, 0> pack = packConvTransposeF32(spec, filters);
    ASSERT_EQ(int64_t(pack.size()), packedConvSize(spec));
    Guarded<float> packed({pack.begin(), pack.end()});
    Guarded<float> bias(random.floats(p.o));
    Guarded<float> residual(random.floats(p.n * p.oh * p.ow * p.o));
    Guarded<float> out(residual.size());
    runKernel(
        [&](KernelBuilder &kb) { emitConvTranspose(kb, spec); },
        {in.data(), packed.data(), out.data(), bias.data(), residual.data()},
        extents.dims, tiling.tasks(p.n, p.oh, p.ow), tiling.scratchBytes);
    std::vector<double> want = convTransposeReference(p, in, filters);
    epilogue.apply(want, bias, residual);
    expectNear(out, want, 1e-4, "transposed conv " + p.str());
  }
}

TEST(Conv, OtherTargets) {
  ConvCase p;
  p.c = 24;
  p.o = 40;
  p.kh = p.kw = 3;
  Extents extents{true, {}};
  auto spec = toSpec<ConvSpec>(p, extents);
  auto emit = [&](KernelBuilder &kb) { emitConv(kb, spec); };
  auto has = [](const std::string &text, const char *what) {
    return text.find(what) != std::string::npos;
  };
  EXPECT_TRUE(has(assemble(emit, "x86-64-v4+avx512vnni"), "zmm"));
  EXPECT_TRUE(has(assemble(emit, "aarch64"), "fmla"));
  spec.int8 = true;
  EXPECT_TRUE(has(assemble(emit, "x86-64-v4+avx512vnni"), "vpdpbusd"));
  EXPECT_TRUE(has(assemble(emit, "x86-64-v3+avxvnni"), "vpdpbusd"));
  EXPECT_TRUE(has(assemble(emit, "aarch64+dotprod"), "sdot"));
  EXPECT_TRUE(has(assemble(emit, "aarch64"), "mul"));

  auto transposed = toSpec<ConvTransposeSpec>(p, extents);
  EXPECT_TRUE(has(
      assemble([&](KernelBuilder &kb) { emitConvTranspose(kb, transposed); },
               "aarch64"),
      "fmla"));
}

} // namespace
