// Kernels that work on rows: normalization, softmax, reduction.
#include "backends/cpu/kernels/Norm.h"
#include "backends/cpu/kernels/Reduce.h"
#include "backends/cpu/kernels/Softmax.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tests/unit/kernels/OpsTesting.h"

using namespace mlir;
using namespace pare::cpu;
using namespace pare::test;

namespace {

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

Buffer<float> referenceNorm(ArrayRef<float> x, int64_t rows, int64_t n,
                            bool rms, double epsilon, const float *scale,
                            const float *bias) {
  Buffer<float> out(rows * n);
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n && !rms; ++i)
      mean += x[r * n + i] / double(n);
    for (int64_t i = 0; i < n; ++i)
      variance += (x[r * n + i] - mean) * (x[r * n + i] - mean) / double(n);
    for (int64_t i = 0; i < n; ++i)
      out[r * n + i] = (x[r * n + i] - mean) / std::sqrt(variance + epsilon) *
                           (scale ? scale[i] : 1) +
                       (bias ? bias[i] : 0);
  }
  return out;
}

TEST(Norm, MatchesDouble) {
  for (int64_t n : {1, 31, 64, 384})
    for (bool rms : {false, true})
      for (bool residual : {false, true})
        for (bool affine : {false, true}) {
          Kernels kernels;
          NormSpec spec;
          spec.rms = rms;
          spec.ptrX = 0;
          if (residual)
            spec.ptrResidual = 1, spec.ptrSum = 5;
          if (affine) {
            spec.ptrScale = 2;
            if (!rms)
              spec.ptrBias = 3;
          }
          spec.ptrOut = 4;
          for (bool fixed : {true, false}) {
            spec.rows = fixed ? Extent::of(37) : Extent::runtime(0);
            spec.columns = fixed ? Extent::of(n) : Extent::runtime(1);
            KernelBuilder b(kernels.module(), fixed ? "fixed" : "dynamic",
                            kernels.isa());
            emitNorm(b, spec);
            b.finish();
          }
          kernels.compile();
          // An offset that a one-pass variance would drown in.
          auto x = randomFloats(37 * n, 99, 101),
               r = randomFloats(37 * n, -1, 1, 2);
          auto scale = randomFloats(n, 0.5, 1.5, 3),
               bias = randomFloats(n, -1, 1, 4);
          Buffer<float> sum(x), out(37 * n), total(37 * n), scratch(n);
          for (size_t i = 0; residual && i < x.size(); ++i)
            sum[i] = x[i] + r[i];
          auto expected = referenceNorm(sum, 37, n, rms, spec.epsilon,
                                        affine ? scale.data() : nullptr,
                                        affine && !rms ? bias.data() : nullptr);
          for (const char *name : {"fixed", "dynamic"}) {
            spec.columns = name[0] == 'f' ? Extent::of(n) : Extent::runtime(1);
            std::fill(out.begin(), out.end(), NAN);
            kernels.call(name,
                         {x.data(), r.data(), scale.data(), bias.data(),
                          out.data(), total.data()},
                         {37, n}, normGrid(spec).tasks({37, n}),
                         scratch.data());
            EXPECT_LE(maxError(out, expected), n < 8 ? 1e-2 : 5e-5)
                << n << rms << residual << affine << name;
            if (residual)
              EXPECT_EQ(total, sum);
          }
        }
}

/// Nine rows of n in f32 and in codes.
NormSpec quantizingNorm(int64_t n) {
  NormSpec spec;
  spec.rows = Extent::of(9);
  spec.columns = Extent::of(n);
  spec.ptrOut = 1;
  spec.ptrCodes = 2;
  spec.ptrRowScale = 3;
  return spec;
}

/// What they are made from. Row 4 is all zero once it is normalized.
auto rowsWithAConstantOne(int64_t n) {
  auto x = randomFloats(9 * n);
  std::fill(x.begin() + 4 * n, x.begin() + 5 * n, 0.5f);
  return x;
}

TEST(Norm, QuantizesRows) {
  const char *targets[] = {"host", "x86-64-v2", "x86-64-v3"};
  for (const char *target : targets)
    for (int64_t n : {5, 30, 384}) {
      Kernels kernels(pare::test::isa(target));
      NormSpec spec = quantizingNorm(n);
      KernelBuilder b(kernels.module(), "f", kernels.isa());
      emitNorm(b, spec);
      b.finish();
      kernels.compile();
      auto x = rowsWithAConstantOne(n);
      int64_t padded = (n + 3) / 4 * 4;
      CodeStorage storage = kernels.isa().codeStorage();
      float limit = codeLimit(storage);
      Buffer<float> out(9 * n), scale(9), scratch(n);
      Buffer<int8_t> codes(9 * padded * codeBytes(storage), 77);
      kernels.call("f", {x.data(), out.data(), codes.data(), scale.data()}, {},
                   normGrid(spec).tasks(), scratch.data());
      EXPECT_LE(
          maxError(out, referenceNorm(x, 9, n, false, 1e-5, nullptr, nullptr)),
          1e-5);
      for (int64_t r = 0; r < 9; ++r) {
        float largest = 0;
        for (int64_t i = 0; i < n; ++i)
          largest = std::max(largest, std::fabs(out[r * n + i]));
        EXPECT_EQ(scale[r], largest > 0x1p-100f ? largest / limit : 0);
        for (int64_t i = 0; i < padded; ++i) {
          int64_t at = r * padded + i;
          int code = storage == CodeStorage::S16
                         ? reinterpret_cast<int16_t *>(codes.data())[at]
                     : storage == CodeStorage::U8Plus128
                         ? uint8_t(codes[at]) - 128
                         : codes[at];
          float scaled =
              i < n && scale[r] != 0 ? out[r * n + i] * (limit / largest) : 0;
          EXPECT_EQ(code, int(std::nearbyint(scaled))) << r << " " << i;
        }
      }
    }
}

TEST(Norm, QuantizesRowsWithZeroPoints) {
  for (int64_t n : {5, 30, 384}) {
    Kernels kernels(pare::test::isa("x86-64-v2"));
    ASSERT_EQ(kernels.isa().codeStorage(), CodeStorage::S8);
    NormSpec spec = quantizingNorm(n);
    spec.ptrRowZero = 4;
    KernelBuilder b(kernels.module(), "f", kernels.isa());
    emitNorm(b, spec);
    b.finish();
    kernels.compile();
    auto x = rowsWithAConstantOne(n);
    int64_t padded = (n + 3) / 4 * 4;
    Buffer<float> out(9 * n), scale(9), scratch(n);
    Buffer<int32_t> zero(9);
    Buffer<int8_t> codes(9 * padded, 77);
    kernels.call(
        "f", {x.data(), out.data(), codes.data(), scale.data(), zero.data()},
        {}, normGrid(spec).tasks(), scratch.data());
    for (int64_t r = 0; r < 9; ++r)
      for (int64_t i = 0; i < n; ++i)
        EXPECT_NEAR((codes[r * padded + i] - zero[r]) * scale[r],
                    out[r * n + i], 0.501f * scale[r])
            << r << " " << i;
  }
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

TEST(Softmax, MatchesDouble) {
  struct Case {
    SmallVector<int64_t> shape;
    unsigned axis;
    bool log, masked;
    float scale;
  };
  const Case cases[] = {{{5, 33}, 1, false, false, 1},
                        {{2, 3, 4, 128}, 3, false, true, 0.25f},
                        {{7, 1000}, 1, true, false, 1},
                        {{3, 17, 45}, 1, false, false, 1},
                        {{3, 17, 45}, 1, true, false, 0.5f},
                        {{9, 4}, 0, false, false, 1},
                        {{2, 5, 7, 9}, 3, true, true, 1},
                        {{1, 1}, 1, false, false, 1},
                        {{4, 6, 1}, 1, false, false, 1},
                        {{40, 3}, 1, false, false, 2}};
  for (const Case &c : cases) {
    Kernels kernels;
    SoftmaxSpec fixed, dynamic;
    fixed.shape = extents(c.shape);
    dynamic.shape = runtimeExtents(c.shape.size());
    SmallVector<int64_t> maskShape(c.shape);
    SmallVector<bool> broadcast(c.shape.size(), false);
    if (c.masked)
      maskShape[1] = 1, broadcast[1] = true;
    for (auto [name, spec] :
         {std::pair{"fixed", &fixed}, {"dynamic", &dynamic}}) {
      spec->axis = c.axis;
      spec->log = c.log;
      spec->scale = c.scale;
      if (c.masked) {
        spec->ptrMask = 2;
        spec->maskStrides = denseStrides(spec->shape, broadcast);
      }
      KernelBuilder b(kernels.module(), name, kernels.isa());
      emitSoftmax(b, *spec);
      b.finish();
    }
    kernels.compile();
    auto x = randomFloats(count(c.shape), -30, 30),
         mask = randomFloats(count(maskShape), -5, 5, 2);
    if (c.masked)
      mask[1] = -INFINITY, mask[2] = -3e38f;
    Buffer<float> expected(x.size()), out(x.size(), NAN);
    forIndices(c.shape, [&](ArrayRef<int64_t> index) {
      auto logit = [&](ArrayRef<int64_t> at) {
        return double(x[offsetOf(c.shape, at)]) * c.scale +
               (c.masked ? mask[offsetOf(maskShape, at)] : 0);
      };
      double largest = -INFINITY, sum = 0;
      SmallVector<int64_t> at(index);
      for (at[c.axis] = 0; at[c.axis] < c.shape[c.axis]; ++at[c.axis])
        largest = std::max(largest, logit(at));
      for (at[c.axis] = 0; at[c.axis] < c.shape[c.axis]; ++at[c.axis])
        sum += std::exp(logit(at) - largest);
      double l = logit(index) - largest - std::log(sum);
      expected[offsetOf(c.shape, index)] = c.log ? l : std::exp(l);
    });
    kernels.call("fixed", {x.data(), out.data(), mask.data()}, {},
                 softmaxGrid(fixed, kernels.isa()).tasks());
    EXPECT_LE(maxError(out, expected), 2e-6)
        << c.shape.size() << c.axis << c.log;
    std::fill(out.begin(), out.end(), NAN);
    kernels.call("dynamic", {x.data(), out.data(), mask.data()}, c.shape,
                 softmaxGrid(dynamic, kernels.isa()).tasks(c.shape));
    EXPECT_LE(maxError(out, expected), 2e-6);
    // In place.
    kernels.call("fixed", {x.data(), x.data(), mask.data()}, {},
                 softmaxGrid(fixed, kernels.isa()).tasks());
    EXPECT_LE(maxError(x, expected), 2e-6);
  }
}

//===----------------------------------------------------------------------===//
// Reduction
//===----------------------------------------------------------------------===//

double reduceOne(ReduceKind kind, double acc, double x) {
  switch (kind) {
  case ReduceKind::Max:
    return std::max(acc, x);
  case ReduceKind::Min:
    return std::min(acc, x);
  case ReduceKind::Prod:
    return acc * x;
  case ReduceKind::SumSquare:
  case ReduceKind::L2:
    return acc + x * x;
  default:
    return acc + x;
  }
}

double startOf(ReduceKind kind) {
  return kind == ReduceKind::Max    ? -INFINITY
         : kind == ReduceKind::Min  ? INFINITY
         : kind == ReduceKind::Prod ? 1
                                    : 0;
}

constexpr ReduceKind allKinds[] = {
    ReduceKind::Sum,  ReduceKind::Mean,      ReduceKind::Max, ReduceKind::Min,
    ReduceKind::Prod, ReduceKind::SumSquare, ReduceKind::L2};

template <typename T>
void checkReduce(ArrayRef<int64_t> shape, ArrayRef<int> axes, PareDType type,
                 ArrayRef<ReduceKind> kinds) {
  Kernels kernels;
  SmallVector<bool> reduced(shape.size(), false);
  SmallVector<int64_t> outShape(shape);
  double n = 1;
  for (int axis : axes) {
    reduced[axis] = true;
    outShape[axis] = 1;
    n *= shape[axis];
  }
  auto make = [&](ReduceKind kind, bool fixed) {
    ReduceSpec spec;
    spec.kind = kind;
    spec.shape = fixed ? extents(shape) : runtimeExtents(shape.size());
    spec.reduced = reduced;
    spec.type = type;
    return spec;
  };
  auto nameOf = [](ReduceKind kind, bool fixed) {
    return (fixed ? "fixed" : "dynamic") + std::to_string(int(kind));
  };
  for (ReduceKind kind : kinds)
    for (bool fixed : {true, false}) {
      KernelBuilder b(kernels.module(), nameOf(kind, fixed), kernels.isa());
      emitReduce(b, make(kind, fixed));
      b.finish();
    }
  kernels.compile();
  auto values = randomFloats(count(shape), 0.9, 1.1);
  Buffer<T> x;
  for (float v : values)
    x.push_back(std::is_floating_point_v<T> ? T(v - 0.05f) : T((v - 1) * 50));
  for (ReduceKind kind : kinds)
    for (bool fixed : {true, false}) {
      std::vector<double> expected(count(outShape), startOf(kind));
      forIndices(shape, [&](ArrayRef<int64_t> index) {
        double &acc = expected[offsetOf(outShape, index)];
        acc = reduceOne(kind, acc, x[offsetOf(shape, index)]);
      });
      Buffer<T> out(count(outShape), T(99));
      kernels.call(nameOf(kind, fixed), {x.data(), out.data()}, shape,
                   reduceGrid(make(kind, fixed), kernels.isa()).tasks(shape));
      for (size_t i = 0; i < out.size(); ++i) {
        double e = kind == ReduceKind::Mean ? expected[i] / n
                   : kind == ReduceKind::L2 ? std::sqrt(expected[i])
                                            : expected[i];
        if (std::is_floating_point_v<T>)
          EXPECT_NEAR(out[i], e, 2e-5 * std::max(1.0, std::fabs(e)))
              << int(kind) << fixed;
        else
          EXPECT_EQ(out[i], T(int64_t(e))) << int(kind) << fixed;
      }
    }
}

TEST(Reduce, AnyAxes) {
  checkReduce<float>({7, 100}, {1}, PARE_F32, allKinds);
  checkReduce<float>({100, 39}, {0}, PARE_F32, allKinds);
  checkReduce<float>({3, 50, 70}, {1}, PARE_F32, allKinds);
  checkReduce<float>({3, 5, 6, 35}, {1, 2}, PARE_F32, allKinds);
  checkReduce<float>({3, 8, 11, 5}, {0, 3}, PARE_F32, allKinds);
  checkReduce<float>({3, 8, 11, 5}, {1, 3}, PARE_F32, allKinds);
  checkReduce<float>({3, 8, 11, 5}, {0, 2}, PARE_F32, allKinds);
  checkReduce<float>({500}, {0}, PARE_F32, allKinds);
  checkReduce<float>({6, 7}, {0, 1}, PARE_F32, allKinds);
  checkReduce<float>({1, 1}, {0}, PARE_F32, {ReduceKind::Sum, ReduceKind::Max});
  checkReduce<float>({1, 1}, {0, 1}, PARE_F32,
                     {ReduceKind::Sum, ReduceKind::L2});
  checkReduce<float>({4, 1, 3}, {1}, PARE_F32,
                     {ReduceKind::Sum, ReduceKind::L2});
}

TEST(Reduce, Integers) {
  const ReduceKind kinds[] = {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min,
                              ReduceKind::SumSquare};
  checkReduce<int64_t>({5, 37}, {1}, PARE_I64, kinds);
  checkReduce<int32_t>({37, 9}, {0}, PARE_I32, kinds);
}

TEST(Rows, GenerateForOtherTargets) {
  expectGenerates([](KernelBuilder &b) {
    NormSpec spec;
    spec.rows = Extent::runtime(0);
    spec.columns = Extent::of(384);
    spec.ptrResidual = 1;
    spec.ptrScale = 2;
    spec.ptrOut = 3;
    spec.ptrCodes = 4;
    spec.ptrRowScale = 5;
    emitNorm(b, spec);
  });
  expectGenerates([](KernelBuilder &b) {
    SoftmaxSpec spec;
    spec.shape = runtimeExtents(2);
    spec.axis = 1;
    emitSoftmax(b, spec);
  });
  expectGenerates([](KernelBuilder &b) {
    ReduceSpec spec;
    spec.kind = ReduceKind::L2;
    spec.shape = runtimeExtents(2);
    spec.reduced = {true, false};
    emitReduce(b, spec);
  });
}

} // namespace
