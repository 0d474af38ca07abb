#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tests/unit/kernels/Jit.h"
#include <gtest/gtest.h>
#include <numeric>

using namespace mlir;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

/// Copies `lanes` elements of `type` with partial loads and stores of
/// dims[0] lanes.
void buildCopy(Kernels &kernels, StringRef name, unsigned lanes,
               llvm::function_ref<Type(KernelBuilder &)> type) {
  KernelBuilder b(kernels.module(), name, kernels.isa());
  VectorType vec = b.vecType(lanes, type(b));
  Value count = b.extent(Extent::runtime(0));
  Value v = b.loadVecPartial(vec, b.ptr(0), b.idx(0), count);
  b.store(v, b.ptr(1), b.idx(0));
  b.storePartial(v, b.ptr(2), b.idx(0), count);
  b.finish();
}

template <typename T>
void checkCopy(Kernels &kernels, StringRef name, unsigned lanes) {
  std::vector<T> from(lanes), whole(lanes), part(lanes);
  for (unsigned count = 0; count <= lanes + 3; ++count) {
    std::iota(from.begin(), from.end(), T(3));
    std::fill(whole.begin(), whole.end(), T(99));
    std::fill(part.begin(), part.end(), T(98));
    kernels.call(name, {from.data(), whole.data(), part.data()},
                 {int64_t(count)});
    for (unsigned i = 0; i < lanes; ++i) {
      EXPECT_EQ(whole[i], i < count ? from[i] : T(0)) << name.str() << i;
      EXPECT_EQ(part[i], i < count ? from[i] : T(98)) << name.str() << i;
    }
  }
}

TEST(KernelBuilder, PartialLoadsAndStores) {
  Kernels kernels;
  for (unsigned lanes : {4u, 8u, 16u, 64u}) {
    std::string n = std::to_string(lanes);
    buildCopy(kernels, "i8_" + n, lanes,
              [](KernelBuilder &b) { return b.getI8Type(); });
    buildCopy(kernels, "i16_" + n, lanes,
              [](KernelBuilder &b) { return b.getI16Type(); });
    buildCopy(kernels, "i32_" + n, lanes,
              [](KernelBuilder &b) { return b.getI32Type(); });
    buildCopy(kernels, "f32_" + n, lanes,
              [](KernelBuilder &b) { return b.getF32Type(); });
  }
  kernels.compile();
  for (unsigned lanes : {4u, 8u, 16u, 64u}) {
    std::string n = std::to_string(lanes);
    checkCopy<int8_t>(kernels, "i8_" + n, lanes);
    checkCopy<int16_t>(kernels, "i16_" + n, lanes);
    checkCopy<int32_t>(kernels, "i32_" + n, lanes);
    checkCopy<float>(kernels, "f32_" + n, lanes);
  }
}

TEST(KernelBuilder, LoopsAndConditions) {
  Kernels kernels;
  {
    // out[task] = sum of i * i over i < n if that is below 100, else -1.
    KernelBuilder b(kernels.module(), "squares", kernels.isa());
    Value n = b.extent(Extent::runtime(0));
    SmallVector<Value> sum =
        b.loop(b.idx(0), n, 1, ValueRange{b.idx(0)},
               [&](Value i, ValueRange s) -> SmallVector<Value> {
                 return {b.add(s[0], b.mul(i, i))};
               });
    b.ifThen(
        b.less(sum[0], b.idx(100)),
        [&] { b.store(b.toI64(sum[0]), b.ptr(0), b.task()); },
        [&] { b.store(b.toI64(b.idx(-1)), b.ptr(0), b.task()); });
    b.finish();
  }
  kernels.compile();
  int64_t out[2];
  kernels.call("squares", {out}, {5}, 2);
  EXPECT_EQ(out[0], 30);
  EXPECT_EQ(out[1], 30);
  kernels.call("squares", {out}, {50});
  EXPECT_EQ(out[0], -1);
}

TEST(KernelBuilder, ConstantsFold) {
  Kernels kernels;
  KernelBuilder b(kernels.module(), "fold", kernels.isa());
  EXPECT_EQ(KernelBuilder::constant(b.mul(b.add(b.idx(3), b.idx(4)), 6)), 42);
  EXPECT_EQ(KernelBuilder::constant(b.divCeil(b.idx(17), 16)), 2);
  EXPECT_EQ(KernelBuilder::constant(b.rem(b.idx(17), b.idx(16))), 1);
  EXPECT_EQ(KernelBuilder::constant(b.minIdx(b.idx(1), b.idx(2))), 1);
  EXPECT_EQ(KernelBuilder::constant(b.task()), std::nullopt);
  EXPECT_EQ(b.idx(7), b.idx(7));
  b.finish();
}

TEST(Isa, NamesAndFeatures) {
  Isa v3 = pare::test::isa("x86-64-v3");
  EXPECT_EQ(v3.dot, DotInstr::AvxMaddwd);
  EXPECT_EQ(v3.codeStorage(), CodeStorage::S16);
  EXPECT_EQ(v3.f32Lanes, 8u);
  EXPECT_EQ(v3.cpuBits, unsigned(PARE_CPU_AVX2));
  Isa vnni = pare::test::isa("x86-64-v4+avx512vnni+avx512bf16");
  EXPECT_EQ(vnni.dot, DotInstr::Avx512Vnni);
  EXPECT_EQ(vnni.features, "+avx512vnni,+avx512bf16");
  EXPECT_EQ(pare::test::isa("x86-64-v3+avxvnni").dot, DotInstr::AvxVnni);
  EXPECT_EQ(pare::test::isa("aarch64+dotprod").dot, DotInstr::NeonSdot);
  EXPECT_EQ(pare::test::isa("aarch64").dot, DotInstr::Plain);
  // `host` is a name like any other once parsed.
  Isa host = pare::test::isa("host");
  EXPECT_EQ(pare::test::isa(host.name).cpuBits, host.cpuBits);
}

TEST(Isa, UnknownNamesAreErrors) {
  for (const char *bad : {"", "x86", "x86-64-v3+avx512vnni", "aarch64+",
                          "x86-64-v4+dotprod", "x86-64-v5"}) {
    auto isa = Isa::parse(bad);
    ASSERT_FALSE(bool(isa)) << bad;
    std::string message = llvm::toString(isa.takeError());
    EXPECT_NE(message.find("x86-64-v3"), std::string::npos) << message;
  }
}

} // namespace
