//===- BlockGemmTest.cpp - Products by weights in blocks ------------------===//
//
// Of every storage of GGUF, and so of every format of files, and of formats
// that pare quantizes to, against sums in double of what decodeBlocks gives.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/BlockGemm.h"
#include "tests/unit/gguf/RandomBlocks.h"
#include "tests/unit/kernels/Emulate.h"
#include "tests/unit/kernels/Jit.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace pare;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

std::mt19937 &rng() {
  static std::mt19937 engine(11);
  return engine;
}

float normal() { return std::normal_distribution<float>()(rng()); }

struct Case {
  const BlockStorage &storage;
  int64_t k; ///< of a row
};

/// Every storage of GGUF, and each kind of format that pare quantizes to, with
/// rows of 576 elements where groups allow that; with `isInteger` those that
/// take codes.
std::vector<Case> makeCases(bool isInteger) {
  std::vector<Case> cases;
  for (const gguf::TensorType *type : test::getBlockTypes()) {
    int64_t k = type->elements * (type->elements == 32 ? 3 : 2);
    cases.push_back({*type->storage, k});
  }
  constexpr std::pair<const char *, int64_t> formats[] = {
      {"int2_g16", 576},
      {"int3_g32", 576},
      {"int5_g64", 576},
      {"int6_g128", 384},
      {"int8_g64", 576},
      {"ternary_g64", 576},
      {"uint2_g16", 576},
      {"uint3_g32", 576},
      {"uint4_g64", 576},
      {"uint5_g16", 96},
      {"uint6_g256", 512},
      {"uint8_g64", 576},
      {"int2_g16_k4x96", 576},
      {"int3_g32_k6x576", 576},
      {"int4_g32_k4x192", 576},
      {"int8_g64_k6x192", 576},
      {"uint2_g16_k4x576", 576},
      {"uint4_g32_k6x576", 576},
      {"uint5_g64_k4x192", 576},
      {"uint6_g128_k6x256", 512},
      {"uint8_g32_k6x2048", 2048},
      {"nf4_g16", 576},
      {"nf4_g64", 576},
      {"fp8_e4m3_g32", 576},
      {"fp8_e5m2_g64", 576},
      {"int2_g16_2of4", 576},
      {"int4_g32_2of4", 576},
      {"int6_g16_2of4", 96},
      {"int8_g32_2of4", 576},
      {"int8_g128_2of4", 384},
      {"int4_g64_k4x192_2of4", 576},
      {"int8_g16_k6x576_2of4", 576},
      {"ternary_g64_2of4", 576},
      {"nf4_g64_2of4", 576},
      {"fp8_e4m3_g32_2of4", 576},
  };
  for (auto [name, k] : formats) {
    const BlockFormat &format = *findBlockFormat(name);
    EXPECT_EQ(whyNoBlockKernel(format), std::nullopt) << name;
    if (!isInteger || !whyNoIntegerBlockKernel(format))
      cases.push_back({getPlainStorage(format), k});
  }
  return cases;
}

/// A weight in blocks, what it stands for and how kernels take it.
struct Weight {
  const BlockStorage &storage;
  int64_t n, k;
  std::vector<float> values;
  std::vector<uint8_t> packed;

  Weight(const BlockStorage &storage, int64_t n, int64_t k)
      : storage(storage), n(n), k(k), values(n * k),
        packed(BlockLayout(storage.format).packedBytes(n, k)) {
    std::vector<uint8_t> blocks = test::makeBlocks(storage, n * k, rng());
    storage.decode(blocks, values);
    packBlocks(storage, blocks, n, k, packed);
  }
};

/// Rows of activations, as codes and as what these stand for.
struct Activations {
  int64_t m, k;
  std::vector<int8_t> codes;
  std::vector<float> scales, values;

  Activations(int64_t m, int64_t k)
      : m(m), k(k), codes(m * k), scales(m * k / kBlockStep), values(m * k) {
    for (int8_t &code : codes)
      code = int8_t(int(rng()() % 255) - 127);
    for (float &scale : scales)
      scale = std::exp(normal()) / 127;
    // Sums of the largest magnitude are among them.
    std::fill_n(codes.begin(), std::min<size_t>(codes.size(), 64), 127);
    for (size_t i = 0; i < codes.size(); ++i)
      values[i] = float(codes[i]) * scales[i / kBlockStep];
  }
};

struct Product {
  Kernels kernels;
  BlockGemmSpec spec;
  BlockGemmTiling tiling;
  std::vector<char> scratch;

  Product(Isa isa, const Weight &weight, bool isInteger, Extent m,
          llvm::function_ref<void(llvm::Module &)> edit)
      : kernels(isa) {
    spec.format = &weight.storage.format;
    spec.isInteger = isInteger;
    spec.m = m;
    spec.n = weight.n;
    spec.k = weight.k;
    tiling = blockGemmTiling(spec, isa);
    scratch.resize(tiling.scratchBytes + 64, 77);
    KernelBuilder b(kernels.module(), "product", isa);
    emitBlockGemm(b, spec);
    b.finish();
    kernels.compile(edit);
  }

  /// Rows [first, first + rows) of the activations by the weight.
  std::vector<float> run(const Weight &weight, const Activations &x,
                         int64_t first, int64_t rows) {
    constexpr size_t margin = 16;
    std::vector<float> c(rows * weight.n + margin, 12345.0f);
    std::fill(scratch.end() - 64, scratch.end(), 77);
    const void *from = spec.isInteger
                           ? static_cast<const void *>(&x.codes[first * x.k])
                           : &x.values[first * x.k];
    kernels.call("product",
                 {from, &x.scales[first * x.k / kBlockStep],
                  weight.packed.data(), c.data()},
                 {rows}, tiling.tasks(rows, weight.n), scratch.data());
    for (size_t i = 0; i < margin; ++i)
      EXPECT_EQ(c[rows * weight.n + i], 12345.0f);
    EXPECT_TRUE(std::all_of(scratch.end() - 64, scratch.end(),
                            [](char c) { return c == 77; }));
    c.resize(rows * weight.n);
    return c;
  }
};

/// `c` is rows [first, first + rows) of the product, to f32's precision.
void expectProduct(ArrayRef<float> c, const Weight &weight,
                   const Activations &x, int64_t first, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < weight.n; ++j) {
      double sum = 0, size = 0;
      for (int64_t at = 0; at < x.k; ++at) {
        double product = double(x.values[(first + i) * x.k + at]) *
                         weight.values[j * x.k + at];
        sum += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(c[i * weight.n + j], sum, 3e-6 * size + 1e-30)
          << weight.storage.format.name.str() << " row " << i << ", column "
          << j;
    }
}

void check(Isa isa, bool isInteger, ArrayRef<Case> cases,
           llvm::function_ref<void(llvm::Module &)> edit = nullptr) {
  constexpr int64_t kRows = 129; // more than a task's
  for (auto [storage, k] : cases) {
    SCOPED_TRACE(isa.name + " " + storage.format.name.str());
    Weight weight(storage, /*n=*/37, k);
    Activations x(kRows, k);
    Product product(isa, weight, isInteger, Extent::runtime(0), edit);
    std::vector<float> all = product.run(weight, x, 0, kRows);
    expectProduct(all, weight, x, 0, kRows);
    // A row gives the same in any batch, and where its number is known.
    for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33})
      for (int64_t first : {int64_t(0), kRows - rows}) {
        std::vector<float> some = product.run(weight, x, first, rows);
        EXPECT_TRUE(std::equal(some.begin(), some.end(),
                               all.begin() + first * weight.n))
            << rows << " rows from " << first;
      }
    Product one(isa, weight, isInteger, Extent::of(1), edit);
    std::vector<float> alone = one.run(weight, x, 5, 1);
    EXPECT_TRUE(
        std::equal(alone.begin(), alone.end(), all.begin() + 5 * weight.n));
  }
}

TEST(BlockGemm, EveryFormatHasAStorage) {
  llvm::StringSet<> seen;
  for (const gguf::TensorType *type : test::getBlockTypes())
    seen.insert(type->storage->format.name);
  for (const BlockFormat &format : getBlockFormats()) {
    EXPECT_TRUE(seen.contains(format.name)) << format.name.str();
    EXPECT_FALSE(whyNoBlockKernel(format)) << format.name.str();
  }
}

TEST(BlockGemm, FractionsTakeNoCodes) {
  for (const char *name : {"nf4_g64", "fp8_e4m3_g32", "fp8_e5m2_g128",
                           "nf4_g64_2of4", "fp8_e4m3_g32_2of4"})
    EXPECT_EQ(whyNoIntegerBlockKernel(*findBlockFormat(name)),
              "codebooks other than 16 integers of 8 bits have no integer "
              "kernel");
  EXPECT_EQ(makeCases(/*isInteger=*/true).size() + 6,
            makeCases(/*isInteger=*/false).size());
}

TEST(BlockGemm, FormatsWithoutKernels) {
  std::vector<float> levels(256, 0.5f);
  BlockFormat format{.name = "levels",
                     .bits = 8,
                     .group = 32,
                     .codes = CodeKind::Codebook,
                     .codebook = levels};
  EXPECT_TRUE(whyNoBlockKernel(format));
  // Floats of 8 bits but for one number.
  llvm::copy(findBlockFormat("fp8_e5m2_g32")->codebook, levels.begin());
  EXPECT_FALSE(whyNoBlockKernel(format));
  levels[200] *= 1.25f;
  EXPECT_TRUE(whyNoBlockKernel(format));
  EXPECT_TRUE(whyNoBlockKernel(*findBlockFormat("int4_g16_k6x48")));
  for (const char *name : {"int3_g32_2of4", "int5_g32_2of4"})
    EXPECT_EQ(whyNoBlockKernel(*findBlockFormat(name)),
              "sparse codes of an odd number of bits have no kernel");
  BlockFormat sparse = *findBlockFormat("int8_g32");
  sparse.keep = 1;
  sparse.of = 4;
  EXPECT_EQ(whyNoBlockKernel(sparse),
            "sparse codes other than 2 of 4 have no kernel");
}

TEST(BlockGemm, PackedWeightsAreAsLargeAsTheirBits) {
  for (auto [storage, k] : makeCases(/*isInteger=*/false))
    EXPECT_DOUBLE_EQ(BlockLayout(storage.format).packedBytes(32, k) * 8.0,
                     storage.format.getBitsPerWeight() * 32 * double(k))
        << storage.format.name.str();
}

TEST(BlockGemm, CodesOnThisMachine) {
  check(pare::test::isa("host"), /*isInteger=*/true,
        makeCases(/*isInteger=*/true));
}

TEST(BlockGemm, CodesWithPlainInstructions) {
  Isa plain = pare::test::isa("host");
  plain.dot = DotInstr::Plain;
  check(plain, /*isInteger=*/true, makeCases(/*isInteger=*/true));
}

TEST(BlockGemm, CodesWithVnni) {
  for (DotInstr dot : {DotInstr::AvxVnni, DotInstr::Avx512Vnni}) {
    Isa isa = pare::test::isa("host");
    isa.dot = dot;
    check(isa, /*isInteger=*/true, makeCases(/*isInteger=*/true),
          [](llvm::Module &module) {
            pare::test::emulateVpdpbusd(module);
            pare::test::emulateWideVpshufb(module);
          });
  }
}

TEST(BlockGemm, FloatActivations) {
  for (const char *target : {"host", "x86-64"})
    check(pare::test::isa(target), /*isInteger=*/false,
          makeCases(/*isInteger=*/false));
}

TEST(BlockGemm, FloatActivationsInWideVectors) {
  Isa isa = pare::test::isa("host");
  isa.f32Lanes = 16;
  std::vector<Case> cases;
  for (const char *name :
       {"nf4_g64", "fp8_e5m2_g64", "uint3_g64", "uint5_g32_k6x576"})
    cases.push_back({getPlainStorage(*findBlockFormat(name)), 576});
  check(isa, /*isInteger=*/false, cases, pare::test::emulateWideVpermps);
}

TEST(BlockGather, RowsAreDecodedExactly) {
  for (const char *target : {"host", "x86-64"})
    for (auto [storage, k] : makeCases(/*isInteger=*/false)) {
      Weight weight(storage, /*n=*/37, k);
      Kernels kernels{pare::test::isa(target)};
      BlockGatherSpec spec;
      spec.format = &storage.format;
      spec.n = weight.n;
      spec.k = weight.k;
      spec.count = Extent::runtime(0);
      spec.indexType = PARE_I32;
      KernelBuilder b(kernels.module(), "gather", kernels.isa());
      emitBlockGather(b, spec);
      b.finish();
      kernels.compile();
      std::vector<int32_t> indices = {0, 36, 5, 16, -1, 99, -99, 31, 5, 17};
      std::vector<int32_t> rows = {0, 36, 5, 16, 36, 36, 0, 31, 5, 17};
      std::vector<float> out(rows.size() * weight.k);
      int64_t perTask = blockGatherRowsPerTask(spec);
      kernels.call("gather", {weight.packed.data(), indices.data(), out.data()},
                   {int64_t(rows.size())},
                   (int64_t(rows.size()) + perTask - 1) / perTask);
      for (size_t i = 0; i < rows.size(); ++i)
        for (int64_t j = 0; j < weight.k; ++j)
          ASSERT_EQ(out[i * weight.k + j],
                    weight.values[rows[i] * weight.k + j])
              << storage.format.name.str() << " row " << rows[i] << ", " << j;
    }
}

TEST(QuantizeGroups, CodesAreNearestAndScalesExact) {
  for (const char *target : {"host", "x86-64", "x86-64-v2"}) {
    constexpr int64_t kM = 13, kK = 96;
    Kernels kernels{pare::test::isa(target)};
    QuantizeGroupsSpec spec;
    spec.m = Extent::runtime(0);
    spec.k = kK;
    KernelBuilder b(kernels.module(), "quantize", kernels.isa());
    emitQuantizeGroups(b, spec);
    b.finish();
    kernels.compile();
    std::vector<float> x(kM * kK), scales(kM * kK / kBlockStep);
    for (float &value : x)
      value = normal();
    std::fill_n(x.begin() + kBlockStep, kBlockStep, 0.0f);
    std::vector<int8_t> codes(x.size(), 99);
    int64_t perTask = quantizeGroupsRowsPerTask(spec);
    kernels.call("quantize", {x.data(), codes.data(), scales.data()}, {kM},
                 (kM + perTask - 1) / perTask);
    for (size_t group = 0; group < scales.size(); ++group) {
      float largest = 0;
      for (int64_t i = 0; i < kBlockStep; ++i)
        largest = std::max(largest, std::abs(x[group * kBlockStep + i]));
      EXPECT_EQ(scales[group], largest / 127);
      for (int64_t i = 0; i < kBlockStep; ++i) {
        size_t at = group * kBlockStep + i;
        EXPECT_LE(std::abs(codes[at] * scales[group] - x[at]),
                  scales[group] * 0.5001f);
      }
    }
  }
}

} // namespace
