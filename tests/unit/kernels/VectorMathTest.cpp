#include "backends/cpu/kernels/VectorMath.h"
#include "tests/unit/kernels/Jit.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

using Unary = Value (*)(KernelBuilder &, Value);

struct Function {
  const char *name;
  Unary build;
  double (*reference)(double);
  double low, high;     ///< sampled range
  double ulp, absolute; ///< allowed error: the larger of both
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double geluTanh(double x) {
  return 0.5 * x *
         (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double silu(double x) { return x * sigmoid(x); }
double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}

const Function functions[] = {
    {"exp", buildExp, std::exp, -110, 89, 1.2, 0},
    {"exp_flush", buildExpFlush, std::exp, -120, 88, 1.2, 1.2e-38},
    {"exp2_flush", buildExp2Flush, std::exp2, -140, 127, 2.5, 1.2e-38},
    {"expm1", buildExpm1, std::expm1, -0.34, 0.34, 3, 0},
    {"expm1_wide", buildExpm1, std::expm1, -90, 89, 1.5, 1.2e-7},
    {"log", buildLog, std::log, 0, 4, 2, 0},
    {"log_wide", buildLog, std::log, 0, 3e38, 2, 0},
    {"log1p", buildLog1p, std::log1p, -0.99, 5, 3, 0},
    {"erf", buildErf, std::erf, -6, 6, 0, 3e-7},
    {"tanh", buildTanh, std::tanh, -12, 12, 5, 0},
    {"tanh_small", buildTanh, std::tanh, -0.01, 0.01, 4, 0},
    {"sigmoid", buildSigmoid, sigmoid, -80, 100, 3, 0},
    {"gelu", buildGelu, gelu, -8, 8, 2, 1e-6},
    {"gelu_unit", buildGelu, gelu, -1, 1, 0, 3e-7},
    {"gelu_tanh", buildGeluTanh, geluTanh, -8, 8, 2, 1e-6},
    {"silu", buildSilu, silu, -80, 80, 4, 0},
    {"softplus", buildSoftplus, softplus, -80, 80, 3, 0},
    {"sin", buildSin, std::sin, -20, 20, 0, 1.2e-7},
    {"sin_wide", buildSin, std::sin, -1e9, 1e9, 0, 1.2e-7},
    {"cos", buildCos, std::cos, -20, 20, 0, 1.2e-7},
    {"floor", buildFloor, std::floor, -40, 40, 0, 0},
    {"ceil", buildCeil, std::ceil, -1e7, 2e7, 0, 0},
    {"trunc", buildTrunc, std::trunc, -9e9, 9e9, 0, 0},
    {"round_even", buildRoundEven, std::nearbyint, -40, 40, 0, 0},
};

/// out[i] = f(in[i]) for dims[0] elements, in vectors of `lanes`.
void buildMap(Kernels &kernels, StringRef name, Unary f, unsigned lanes) {
  KernelBuilder b(kernels.module(), name, kernels.isa());
  b.loop(b.idx(0), b.extent(Extent::runtime(0)), lanes, [&](Value i) {
    Value x = lanes == 1 ? b.load(b.getF32Type(), b.ptr(0), i)
                         : b.loadVec(b.vecF32(lanes), b.ptr(0), i);
    b.store(f(b, x), b.ptr(1), i);
  });
  b.finish();
}

double ulpOf(double reference) {
  float r = std::fabs(float(reference));
  if (!std::isfinite(r))
    return 1;
  return std::max<double>(std::nextafter(r, INFINITY) - r, 1.4e-45);
}

/// Largest error of `y` over what `f` allows, and where.
std::pair<double, float> worst(const Function &f, ArrayRef<float> x,
                               ArrayRef<float> y) {
  double worst = 0;
  float at = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    double reference = f.reference(x[i]);
    if (std::isinf(float(reference)) && float(reference) == y[i])
      continue;
    double allowed = std::max({f.absolute, f.ulp * ulpOf(reference), 1e-300});
    double error = std::fabs(y[i] - reference) / allowed;
    if (!(error <= worst)) {
      worst = error;
      at = x[i];
    }
  }
  return {worst, at};
}

class VectorMath : public ::testing::TestWithParam<const char *> {};

TEST_P(VectorMath, MatchesDouble) {
  Kernels kernels(pare::test::isa(GetParam()));
  for (const Function &f : functions)
    buildMap(kernels, f.name, f.build, 16);
  kernels.compile();
  constexpr int64_t n = 1 << 20;
  std::vector<float> x(n), y(n);
  for (const Function &f : functions) {
    for (int64_t i = 0; i < n; ++i)
      x[i] = float(f.low + (f.high - f.low) * double(i) / (n - 1));
    kernels.call(f.name, {x.data(), y.data()}, {n});
    auto [error, at] = worst(f, x, y);
    EXPECT_LE(error, kernels.isa().hasFma ? 1 : 2) << f.name << " at " << at;
    RecordProperty(f.name, std::to_string(error));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, VectorMath,
                         ::testing::Values("host", "x86-64-v2"));

TEST(VectorMathSpecial, WidthsAgree) {
  Kernels kernels;
  buildMap(kernels, "scalar", buildGelu, 1);
  buildMap(kernels, "two", buildGelu, 2);
  buildMap(kernels, "wide", buildGelu, 64);
  kernels.compile();
  std::vector<float> x(64), a(64), b(64), c(64);
  for (int i = 0; i < 64; ++i)
    x[i] = (i - 30) * 0.17f;
  kernels.call("scalar", {x.data(), a.data()}, {64});
  kernels.call("two", {x.data(), b.data()}, {64});
  kernels.call("wide", {x.data(), c.data()}, {64});
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, c);
}

TEST(VectorMathSpecial, LimitsAndNaN) {
  Kernels kernels;
  for (const Function &f : functions)
    buildMap(kernels, f.name, f.build, 8);
  kernels.compile();
  const float inf = INFINITY, nan = NAN;
  float x[8] = {nan, inf, -inf, 0, -1, 1e-40f, 200, -200};
  float y[8];
  auto run = [&](const char *name) {
    kernels.call(name, {x, y}, {8});
    EXPECT_TRUE(std::isnan(y[0])) << name;
  };
  for (const Function &f : functions)
    run(f.name);
  run("exp");
  EXPECT_EQ(y[1], inf);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 1);
  EXPECT_EQ(y[6], inf);
  EXPECT_EQ(y[7], 0);
  run("exp_flush");
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[7], 0);
  run("exp2_flush");
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 1);
  EXPECT_EQ(y[7], 0);
  run("log");
  EXPECT_EQ(y[1], inf);
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], -inf);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_NEAR(y[5], std::log(1e-40), 1e-5);
  run("log1p");
  EXPECT_EQ(y[1], inf);
  EXPECT_EQ(y[4], -inf);
  EXPECT_EQ(y[3], 0);
  run("tanh");
  EXPECT_NEAR(y[1], 1, 1.2e-7);
  EXPECT_NEAR(y[2], -1, 1.2e-7);
  run("erf");
  EXPECT_NEAR(y[1], 1, 1.2e-7);
  EXPECT_NEAR(y[2], -1, 1.2e-7);
  run("sigmoid");
  EXPECT_EQ(y[1], 1);
  EXPECT_LT(y[2], 1e-37);
  run("expm1");
  EXPECT_EQ(y[1], inf);
  EXPECT_EQ(y[2], -1);
  EXPECT_EQ(y[3], 0);
}

TEST(VectorMathSpecial, PowAndMod) {
  for (const char *target : {"host", "x86-64-v2"}) {
    Kernels kernels(pare::test::isa(target));
    using Binary = Value (*)(KernelBuilder &, Value, Value);
    auto build = [&](StringRef name, Binary f) {
      KernelBuilder b(kernels.module(), name, kernels.isa());
      b.loop(b.idx(0), b.extent(Extent::runtime(0)), 8, [&](Value i) {
        b.store(f(b, b.loadVec(b.vecF32(8), b.ptr(0), i),
                  b.loadVec(b.vecF32(8), b.ptr(1), i)),
                b.ptr(2), i);
      });
      b.finish();
    };
    build("pow", buildPow);
    build("fmod", [](KernelBuilder &b, Value x, Value y) {
      return buildMod(b, x, y, false);
    });
    build("floor_mod", [](KernelBuilder &b, Value x, Value y) {
      return buildMod(b, x, y, true);
    });
    kernels.compile();
    // Every pair of awkward values, then dense ones.
    std::vector<float> some = {0.f,   -0.f,  1,        -1,        2,    -2,
                               3,     -3,    0.5f,     -.5f,      2.5f, -2.5,
                               1e-40, 1e30f, INFINITY, -INFINITY, NAN};
    std::vector<float> x, y;
    for (float a : some)
      for (float b : some) {
        x.push_back(a);
        y.push_back(b);
      }
    size_t special = x.size();
    for (int i = 0; i < 200000; ++i) {
      x.push_back(std::exp((i % 977 - 488) * 0.08f));
      y.push_back((i % 1013 - 506) * 0.021f);
    }
    while (x.size() % 8) {
      x.push_back(1);
      y.push_back(1);
    }
    std::vector<float> out(x.size());
    kernels.call("pow", {x.data(), y.data(), out.data()}, {int64_t(x.size())});
    for (size_t i = 0; i < x.size(); ++i) {
      float expected = float(std::pow(double(x[i]), double(y[i])));
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(out[i])) << x[i] << " ^ " << y[i];
      else if (std::isinf(expected) || i < special)
        EXPECT_FLOAT_EQ(out[i], expected) << x[i] << " ^ " << y[i];
      else
        EXPECT_LE(std::fabs(out[i] - std::pow(double(x[i]), double(y[i]))),
                  2 * ulpOf(expected))
            << x[i] << " ^ " << y[i];
    }
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = (int(i % 401) - 200) * 0.37f;
      y[i] = (int(i / 401 % 97) - 48) * 0.53f + 0.01f;
    }
    kernels.call("fmod", {x.data(), y.data(), out.data()}, {int64_t(x.size())});
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(out[i], std::fmod(x[i], y[i]), 4e-6) << x[i] << " " << y[i];
    kernels.call("floor_mod", {x.data(), y.data(), out.data()},
                 {int64_t(x.size())});
    for (size_t i = 0; i < x.size(); ++i) {
      double q = std::floor(double(x[i]) / y[i]);
      EXPECT_NEAR(out[i], x[i] - q * y[i], 4e-6) << x[i] << " " << y[i];
    }
  }
}

} // namespace
