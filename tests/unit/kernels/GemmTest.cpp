#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Pack.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tests/unit/kernels/Emulate.h"
#include "tests/unit/kernels/Jit.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

/// Where a matrix is allowed to be touched: values between two margins that
/// must keep their contents.
template <typename T> class Guarded {
public:
  Guarded(size_t n, T fill)
      : fill_(fill), n_(n), data_(n + 2 * kMargin, fill) {}
  T *data() { return data_.data() + kMargin; }
  T &operator[](size_t i) { return data_[kMargin + i]; }
  bool intact() const {
    for (size_t i = 0; i < kMargin; ++i)
      if (data_[i] != fill_ || data_[kMargin + n_ + i] != fill_)
        return false;
    return true;
  }

private:
  static constexpr size_t kMargin = 64;
  T fill_;
  size_t n_;
  std::vector<T> data_;
};

struct Shape {
  int64_t m, n, k;
};

std::mt19937 &rng() {
  static std::mt19937 engine(7);
  return engine;
}

int64_t uniform(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(rng());
}

std::vector<float> randomFloats(size_t n) {
  std::vector<float> v(n);
  std::normal_distribution<float> normal;
  for (float &x : v)
    x = normal(rng());
  return v;
}

std::vector<int8_t> randomCodes(size_t n) {
  std::vector<int8_t> v(n);
  for (int8_t &x : v)
    x = int8_t(uniform(-127, 127));
  return v;
}

/// Adds bias ptrs[3][col].
Value addBias(KernelBuilder &b, Value vec, const GemmAt &at) {
  auto type = cast<VectorType>(vec.getType());
  Value bias = b.loadVecPartial(type, b.ptr(3), at.col, at.count);
  return arith::AddFOp::create(b, vec, bias);
}

std::vector<Shape> oddShapes(unsigned count) {
  std::vector<Shape> shapes = {{1, 1, 1},    {6, 16, 4},    {7, 17, 5},
                               {13, 70, 33}, {50, 200, 64}, {97, 130, 20}};
  while (shapes.size() < count)
    shapes.push_back({uniform(1, 20), uniform(1, 70), uniform(1, 200)});
  return shapes;
}

enum class Dims { Fixed, Runtime, RuntimeM };

GemmSpec specOf(const Shape &s, Dims dims) {
  GemmSpec spec;
  spec.m = dims == Dims::Fixed ? Extent::of(s.m) : Extent::runtime(0);
  spec.n = dims == Dims::Runtime ? Extent::runtime(1) : Extent::of(s.n);
  spec.k = dims == Dims::Runtime ? Extent::runtime(2) : Extent::of(s.k);
  spec.ldc = Extent::of(s.n + 3);
  return spec;
}

void checkPacked(Isa isa, Dims dims, unsigned count) {
  for (auto [m, n, k] : oddShapes(count)) {
    SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n) + "x" +
                 std::to_string(k));
    Kernels kernels(isa);
    GemmSpec spec = specOf({m, n, k}, dims);
    int64_t lda = k + 5, ldc = n + 3;
    spec.lda = Extent::of(lda);
    spec.epilogue = addBias;
    KernelBuilder b(kernels.module(), "gemm", kernels.isa());
    emitGemm(b, spec);
    b.finish();
    kernels.compile();

    auto a = randomFloats(m * lda), w = randomFloats(k * n);
    auto bias = randomFloats(n);
    std::vector<float> packed(packedSizeF32(k, n));
    packF32(w.data(), k, n, n, 1, packed.data());
    Guarded<float> c(m * ldc, 12345.0f);
    kernels.call("gemm", {a.data(), packed.data(), c.data(), bias.data()},
                 {m, n, k}, gemmTiling(spec, kernels.isa()).tasks(m, n));
    EXPECT_TRUE(c.intact());
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < ldc; ++j) {
        if (j >= n) {
          EXPECT_EQ(c[i * ldc + j], 12345.0f);
          continue;
        }
        double sum = bias[j], size = std::abs(bias[j]);
        for (int64_t x = 0; x < k; ++x) {
          double product = double(a[i * lda + x]) * w[x * n + j];
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(c[i * ldc + j], sum, 1e-6 * size) << i << "," << j;
      }
  }
}

void checkUnpacked(Isa isa, Dims dims, unsigned count) {
  for (bool transposed : {false, true})
    for (auto [m, n, k] : oddShapes(count)) {
      SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n) + "x" +
                   std::to_string(k) + (transposed ? "T" : ""));
      constexpr int64_t kBatch = 3;
      int64_t lda = k, ldb = (transposed ? k : n) + 2, ldc = n + 3;
      int64_t rowsB = transposed ? n : k;
      Kernels kernels(isa);
      GemmSpec spec = specOf({m, n, k}, dims);
      spec.batch =
          dims == Dims::Runtime ? Extent::runtime(3) : Extent::of(kBatch);
      spec.lda = Extent::of(lda);
      spec.ldb = Extent::of(ldb);
      spec.packedB = false;
      spec.transB = transposed;
      spec.offsetA = [&](KernelBuilder &b, Value i) {
        return b.mul(i, m * lda);
      };
      spec.offsetB = [&](KernelBuilder &b, Value i) {
        return b.mul(i, rowsB * ldb);
      };
      spec.offsetC = [&](KernelBuilder &b, Value i) {
        return b.mul(i, m * ldc);
      };
      KernelBuilder b(kernels.module(), "gemm", kernels.isa());
      emitGemm(b, spec);
      b.finish();
      kernels.compile();

      auto a = randomFloats(kBatch * m * lda),
           w = randomFloats(kBatch * rowsB * ldb);
      GemmTiling tiling = gemmTiling(spec, kernels.isa());
      Guarded<char> scratch(tiling.scratchBytesPerK * k, 77);
      Guarded<float> c(kBatch * m * ldc, 12345.0f);
      kernels.call("gemm", {a.data(), w.data(), c.data()}, {m, n, k, kBatch},
                   tiling.tasks(m, n, kBatch), scratch.data());
      EXPECT_TRUE(c.intact());
      EXPECT_TRUE(scratch.intact());
      for (int64_t e = 0; e < kBatch; ++e)
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0, size = 0;
            for (int64_t x = 0; x < k; ++x) {
              int64_t at =
                  e * rowsB * ldb + (transposed ? j * ldb + x : x * ldb + j);
              double product = double(a[(e * m + i) * lda + x]) * w[at];
              sum += product;
              size += std::abs(product);
            }
            ASSERT_NEAR(c[(e * m + i) * ldc + j], sum, 1e-6 * size)
                << e << "," << i << "," << j;
          }
    }
}

constexpr Dims kDims[] = {Dims::Fixed, Dims::Runtime, Dims::RuntimeM};

TEST(GemmF32, PackedWithBias) {
  for (Dims dims : kDims)
    checkPacked(pare::test::isa("host"), dims, 14);
}

TEST(GemmF32, BatchedUnpacked) {
  for (Dims dims : kDims)
    checkUnpacked(pare::test::isa("host"), dims, 10);
}

/// The register tiles of CPUs with wider or narrower vectors, in the
/// instructions of this one.
TEST(GemmF32, OtherTiles) {
  for (auto [lanes, registers] : {std::pair(16u, 32u), {4u, 32u}, {4u, 16u}}) {
    Isa isa = pare::test::isa("host");
    isa.f32Lanes = lanes;
    isa.vectorRegs = registers;
    checkPacked(isa, Dims::RuntimeM, 9);
    checkUnpacked(isa, Dims::Fixed, 7);
  }
}

/// Codes as `storage` holds them.
std::vector<int16_t> stored16(const std::vector<int8_t> &codes) {
  return {codes.begin(), codes.end()};
}
std::vector<uint8_t> stored8(const std::vector<int8_t> &codes,
                             CodeStorage storage) {
  std::vector<uint8_t> out;
  for (int8_t c : codes)
    out.push_back(storage == CodeStorage::U8Plus128 ? uint8_t(c + 128)
                                                    : uint8_t(c));
  return out;
}

void checkS8(Isa isa, Dims dims, unsigned count,
             llvm::function_ref<void(llvm::Module &)> edit = nullptr) {
  for (auto [m, n, k] : oddShapes(count)) {
    SCOPED_TRACE(isa.name + " " + std::to_string(m) + "x" + std::to_string(n) +
                 "x" + std::to_string(k));
    Kernels kernels(isa);
    GemmSpec spec = specOf({m, n, k}, dims);
    spec.format = MicroKernel::S8;
    int64_t lda = paddedCodes(k), ldc = n + 3;
    spec.lda = Extent::of(lda);
    spec.ptrRowScale = 3;
    spec.ptrColScale = 4;
    spec.ptrCompensation = 5;
    bool asymmetric = codeBytes(isa.codeStorage()) == 1 && uniform(0, 1) == 0;
    if (asymmetric) {
      spec.ptrRowZero = 6;
      spec.ptrColumnSums = 5;
    }
    KernelBuilder b(kernels.module(), "gemm", kernels.isa());
    emitGemm(b, spec);
    b.finish();
    kernels.compile(edit);

    // Extremes included: all products of the largest magnitude, one sign.
    auto a = randomCodes(m * lda), w = randomCodes(k * n);
    if (uniform(0, 3) == 0) {
      std::fill(a.begin(), a.end(), int8_t(-127));
      std::fill(w.begin(), w.end(), int8_t(127));
    }
    std::vector<int8_t> packed(packedSizeS8(k, n));
    packS8(w.data(), k, n, n, 1, packed.data());
    std::vector<int32_t> columnSums(packedColumns(n)), zeros(m), stored(m);
    sumColumnsS8(w.data(), k, n, n, 1, asymmetric ? 1 : -128,
                 columnSums.data());
    bool isUnsigned = isa.codeStorage() == CodeStorage::U8Plus128;
    for (int64_t i = 0; i < m; ++i) {
      zeros[i] = asymmetric ? uniform(-638, 638) : 0;
      stored[i] = zeros[i] + (isUnsigned ? 128 : 0);
    }
    // Powers of two: dequantization is exact as long as sums fit 24 bits.
    std::vector<float> rowScale(m), colScale(packedColumns(n));
    for (int64_t i = 0; i < m; ++i)
      rowScale[i] = std::ldexp(1.0f, int(i % 5) - 2);
    for (int64_t j = 0; j < n; ++j)
      colScale[j] = std::ldexp(1.0f, int(j % 7) - 3);
    auto words = stored16(a);
    auto bytes = stored8(a, isa.codeStorage());
    const void *codes = codeBytes(isa.codeStorage()) == 2
                            ? static_cast<const void *>(words.data())
                            : bytes.data();
    Guarded<float> c(m * ldc, 12345.0f);
    kernels.call("gemm",
                 {codes, packed.data(), c.data(), rowScale.data(),
                  colScale.data(), columnSums.data(), stored.data()},
                 {m, n, k}, gemmTiling(spec, isa).tasks(m, n));
    EXPECT_TRUE(c.intact());
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        int32_t sum = 0;
        for (int64_t x = 0; x < k; ++x)
          sum += (int32_t(a[i * lda + x]) - zeros[i]) * w[x * n + j];
        ASSERT_EQ(c[i * ldc + j], float(sum) * rowScale[i] * colScale[j])
            << i << "," << j;
      }
  }
}

TEST(GemmS8, ExactOnThisMachine) {
  for (Dims dims : kDims)
    checkS8(pare::test::isa("host"), dims, 14);
}

TEST(GemmS8, ExactWithPlainInstructions) {
  Isa plain = pare::test::isa("host");
  plain.dot = DotInstr::Plain;
  checkS8(plain, Dims::Fixed, 9);
  checkS8(pare::test::isa("x86-64"), Dims::RuntimeM, 8);
}

TEST(GemmS8, ExactWithUnsignedActivations) {
  for (DotInstr dot : {DotInstr::AvxVnni, DotInstr::Avx512Vnni}) {
    Isa isa = pare::test::isa("host");
    isa.dot = dot;
    checkS8(isa, Dims::RuntimeM, 8, pare::test::emulateVpdpbusd);
  }
}

TEST(Gemm, RowsDoNotDependOnTheirBatch) {
  constexpr int64_t kM = 61, kN = 150, kK = 77;
  for (auto format : {MicroKernel::F32, MicroKernel::S8}) {
    Kernels kernels;
    GemmSpec spec = specOf({kM, kN, kK}, Dims::RuntimeM);
    spec.format = format;
    spec.ptrRowScale = 3;
    spec.ptrColScale = 4;
    spec.ptrCompensation = 5;
    int64_t lda = format == MicroKernel::S8 ? paddedCodes(kK) : kK;
    spec.lda = Extent::of(lda);
    KernelBuilder b(kernels.module(), "gemm", kernels.isa());
    emitGemm(b, spec);
    b.finish();
    // The same product with a fixed M is another kernel with other blocks.
    GemmSpec fixedSpec = spec;
    fixedSpec.m = Extent::of(kM);
    KernelBuilder f(kernels.module(), "fixed", kernels.isa());
    emitGemm(f, fixedSpec);
    f.finish();
    kernels.compile();

    auto w = randomFloats(kK * kN), a = randomFloats(kM * lda);
    auto codes = randomCodes(kM * lda), wCodes = randomCodes(kK * kN);
    std::vector<int16_t> aCodes = stored16(codes);
    std::vector<float> packed(packedSizeF32(kK, kN));
    packF32(w.data(), kK, kN, kN, 1, packed.data());
    std::vector<int8_t> packedCodes(packedSizeS8(kK, kN));
    packS8(wCodes.data(), kK, kN, kN, 1, packedCodes.data());
    auto rowScale = randomFloats(kM),
         colScale = randomFloats(packedColumns(kN));
    std::vector<int32_t> compensation(packedColumns(kN));
    bool isS8 = format == MicroKernel::S8;
    unsigned size = isS8 ? codeBytes(kernels.isa().codeStorage()) : 4;
    auto run = [&](StringRef name, const GemmSpec &spec, int64_t first,
                   int64_t rows) {
      std::vector<float> c(rows * (kN + 3));
      const char *from = isS8 ? reinterpret_cast<const char *>(aCodes.data())
                              : reinterpret_cast<const char *>(a.data());
      kernels.call(
          name,
          {from + first * lda * size,
           isS8 ? static_cast<const void *>(packedCodes.data()) : packed.data(),
           c.data(), rowScale.data() + first, colScale.data(),
           compensation.data()},
          {rows}, gemmTiling(spec, kernels.isa()).tasks(rows, kN));
      return c;
    };
    std::vector<float> all = run("gemm", spec, 0, kM);
    EXPECT_EQ(all, run("fixed", fixedSpec, 0, kM));
    for (int64_t first = 0; first < kM; ++first)
      for (int64_t rows = 1; rows <= std::min<int64_t>(kM - first, 17);
           rows += 4) {
        std::vector<float> some = run("gemm", spec, first, rows);
        EXPECT_TRUE(std::equal(some.begin(), some.end(),
                               all.begin() + first * (kN + 3)))
            << first << "+" << rows;
      }
  }
}

TEST(QuantizeRows, CodesScalesAndPadding) {
  for (const char *target : {"host", "x86-64"})
    for (CodeStorage storage :
         {CodeStorage::S8, CodeStorage::U8Plus128, CodeStorage::S16})
      for (bool fixed : {true, false})
        for (int64_t k : {1, 3, 16, 37, 384}) {
          Isa isa = pare::test::isa(target);
          // The storage follows from the dot instruction.
          isa.dot = storage == CodeStorage::S8    ? DotInstr::Plain
                    : storage == CodeStorage::S16 ? DotInstr::AvxMaddwd
                                                  : DotInstr::AvxVnni;
          int64_t m = 11, ldx = k + 1, padded = paddedCodes(k);
          Kernels kernels(isa);
          QuantizeRowsSpec spec;
          spec.m = Extent::runtime(0);
          spec.k = fixed ? Extent::of(k) : Extent::runtime(1);
          spec.ldx = Extent::of(ldx);
          KernelBuilder b(kernels.module(), "q", isa);
          emitQuantizeRows(b, spec);
          b.finish();
          kernels.compile();

          float limit = codeLimit(storage);
          auto x = randomFloats(m * ldx);
          std::fill_n(x.begin() + 2 * ldx, ldx, 0.0f);
          std::fill_n(x.begin() + 3 * ldx, ldx, 1e-42f);
          std::fill_n(x.begin() + 4 * ldx, ldx, 3e38f);
          for (int64_t j = 0; j < k; ++j) // ties, scale 1
            x[5 * ldx + j] = j == 0 ? limit : float(j % 60) - 30.5f;
          unsigned size = codeBytes(storage);
          Guarded<char> codes(m * padded * size, 99);
          Guarded<float> scale(m, -1);
          int64_t rows = quantizeRowsPerTask(spec);
          kernels.call("q", {x.data(), codes.data(), scale.data()}, {m, k},
                       (m + rows - 1) / rows);
          EXPECT_TRUE(codes.intact());
          EXPECT_TRUE(scale.intact());
          for (int64_t i = 0; i < m; ++i) {
            float best = 0;
            for (int64_t j = 0; j < k; ++j)
              best = std::max(best, std::abs(x[i * ldx + j]));
            bool some = best > 0x1p-100f;
            EXPECT_EQ(scale[i], some ? best / limit : 0.0f);
            for (int64_t j = 0; j < padded; ++j) {
              float inverse = some ? limit / best : 0.0f;
              int want =
                  j < k ? int(std::nearbyint(x[i * ldx + j] * inverse)) : 0;
              const char *at = codes.data() + (i * padded + j) * size;
              int got = storage == CodeStorage::S8 ? *at
                        : storage == CodeStorage::U8Plus128
                            ? int(uint8_t(*at)) - 128
                            : *reinterpret_cast<const int16_t *>(at);
              ASSERT_EQ(got, want) << i << "," << j;
            }
          }
        }
}

TEST(QuantizeRows, ZeroPointsUseTheWholeRange) {
  for (CodeStorage storage : {CodeStorage::S8, CodeStorage::U8Plus128})
    for (int64_t k : {1, 3, 16, 37, 384}) {
      Isa isa = pare::test::isa("host");
      isa.dot =
          storage == CodeStorage::S8 ? DotInstr::Plain : DotInstr::AvxVnni;
      constexpr int64_t kRows = 7;
      int64_t padded = paddedCodes(k);
      Kernels kernels(isa);
      QuantizeRowsSpec spec;
      spec.m = Extent::of(kRows);
      spec.k = spec.ldx = Extent::of(k);
      spec.ptrZero = 3;
      KernelBuilder b(kernels.module(), "q", isa);
      emitQuantizeRows(b, spec);
      b.finish();
      kernels.compile();

      auto x = randomFloats(kRows * k);
      for (int64_t j = 0; j < k; ++j) {
        x[j] = 0;
        x[k + j] = std::abs(x[k + j]);                       // one-sided
        x[2 * k + j] = 1000 + x[2 * k + j];                  // far from zero
        x[3 * k + j] = -3e38f;                               // constant
        x[4 * k + j] = j == 0 ? 50.0f : x[4 * k + j] * 0.1f; // an outlier
      }
      Guarded<uint8_t> codes(kRows * padded, 99);
      Guarded<float> scale(kRows, -1);
      Guarded<int32_t> zero(kRows, -1);
      kernels.call("q", {x.data(), codes.data(), scale.data(), zero.data()}, {},
                   llvm::divideCeil(kRows, quantizeRowsPerTask(spec)));
      EXPECT_TRUE(codes.intact() && scale.intact() && zero.intact());
      for (int64_t i = 0; i < kRows; ++i) {
        auto [low, high] =
            std::minmax_element(x.begin() + i * k, x.begin() + (i + 1) * k);
        float largest = std::max(std::abs(*low), std::abs(*high));
        // Half a step, or of the 512th part of the largest where rows are
        // narrow and far from zero.
        float step = std::max((*high - *low) / 253, largest / 512);
        EXPECT_NEAR(scale[i], step, step * 1e-6f);
        for (int64_t j = 0; j < k; ++j) {
          uint8_t stored = codes[i * padded + j];
          int code = storage == CodeStorage::S8 ? int8_t(stored) : stored;
          EXPECT_NEAR((code - zero[i]) * scale[i], x[i * k + j],
                      step * 0.501f + largest * 1e-6f)
              << i << "," << j << " of " << k;
        }
      }
    }
}

/// Every target that is not this machine: the kernels must compile and use
/// the instruction they are made for.
TEST(Gemm, TargetsUseTheirInstructions) {
  struct {
    const char *target, *f32, *s8;
  } targets[] = {
      {"x86-64-v3", "vfmadd231ps", "vpmaddwd"},
      {"x86-64-v4", "vfmadd231ps", "vpmaddwd"},
      {"x86-64-v3+avxvnni", "vfmadd231ps", "vpdpbusd"},
      {"x86-64-v4+avx512vnni", "vfmadd231ps", "vpdpbusd"},
      {"aarch64", "fmla", "smull"},
      {"aarch64+dotprod", "fmla", "sdot"},
  };
  for (auto &t : targets)
    for (auto format : {MicroKernel::F32, MicroKernel::S8}) {
      Kernels kernels(pare::test::isa(t.target));
      GemmSpec spec = specOf({0, 384, 384}, Dims::RuntimeM);
      spec.format = format;
      spec.lda = Extent::of(384);
      KernelBuilder b(kernels.module(), "gemm", kernels.isa());
      emitGemm(b, spec);
      b.finish();
      std::string text = kernels.assembly();
      const char *want = format == MicroKernel::F32 ? t.f32 : t.s8;
      EXPECT_NE(text.find(want), std::string::npos)
          << t.target << ": no " << want << "\n";
      if (kernels.isa().f32Lanes == 16) {
        EXPECT_NE(text.find("zmm"), std::string::npos) << t.target;
      }
    }
}

} // namespace
