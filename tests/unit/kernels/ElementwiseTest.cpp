#include "backends/cpu/kernels/Elementwise.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tests/unit/kernels/OpsTesting.h"

using namespace mlir;
using namespace pare::cpu;
using namespace pare::test;

namespace {

Value addBody(KernelBuilder &b, ArrayRef<Value> v, unsigned) {
  return arith::AddFOp::create(b, v[0], v[1]);
}

SmallVector<bool> broadcastFlags(ArrayRef<int64_t> shape,
                                 ArrayRef<int64_t> operand) {
  SmallVector<bool> flags;
  for (auto [s, o] : llvm::zip(shape, operand))
    flags.push_back(o == 1 && s != 1);
  return flags;
}

ElementwiseSpec addSpec(SmallVector<Extent> shape, ArrayRef<bool> lhs,
                        ArrayRef<bool> rhs) {
  ElementwiseSpec spec;
  spec.shape = std::move(shape);
  spec.addInput(0, PARE_F32, lhs);
  spec.addInput(1, PARE_F32, rhs);
  spec.setOutput(2, PARE_F32);
  spec.body = addBody;
  return spec;
}

TEST(Elementwise, BroadcastPatterns) {
  struct Case {
    SmallVector<int64_t> shape, lhs, rhs;
  };
  const Case cases[] = {
      {{2, 17, 384}, {2, 17, 384}, {1, 1, 384}}, // bias
      {{1, 64, 5, 7}, {1, 64, 5, 7}, {1, 64, 1, 1}},
      {{3, 100, 9}, {3, 100, 9}, {3, 1, 9}}, // broadcast in the middle
      {{13, 5}, {13, 1}, {1, 5}},            // outer sum
      {{1000}, {1000}, {1}},
      {{70001}, {70001}, {70001}}, // several tasks
      {{3, 40000}, {3, 40000}, {1, 40000}},
      {{1, 1}, {1, 1}, {1, 1}},
      {{2, 3, 4, 2, 3}, {2, 1, 4, 1, 3}, {1, 3, 1, 2, 1}},
  };
  for (const Case &c : cases) {
    Kernels kernels;
    SmallVector<bool> lhs = broadcastFlags(c.shape, c.lhs),
                      rhs = broadcastFlags(c.shape, c.rhs);
    ElementwiseSpec fixed = addSpec(extents(c.shape), lhs, rhs);
    ElementwiseSpec dynamic = addSpec(runtimeExtents(c.shape.size()), lhs, rhs);
    for (auto [name, spec] :
         {std::pair{"fixed", &fixed}, {"dynamic", &dynamic}}) {
      KernelBuilder b(kernels.module(), name, kernels.isa());
      emitElementwise(b, *spec);
      b.finish();
    }
    kernels.compile();
    auto x = randomFloats(count(c.lhs)),
         y = randomFloats(count(c.rhs), -1, 1, 2);
    Buffer<float> expected;
    forIndices(c.shape, [&](ArrayRef<int64_t> i) {
      expected.push_back(x[offsetOf(c.lhs, i)] + y[offsetOf(c.rhs, i)]);
    });
    Buffer<float> out(expected.size(), NAN);
    kernels.call("fixed", {x.data(), y.data(), out.data()}, {},
                 elementwiseGrid(fixed).tasks());
    EXPECT_EQ(out, expected);
    std::fill(out.begin(), out.end(), NAN);
    kernels.call("dynamic", {x.data(), y.data(), out.data()}, c.shape,
                 elementwiseGrid(dynamic).tasks(c.shape));
    EXPECT_EQ(out, expected);
  }
}

TEST(Elementwise, StridedOperands) {
  // out[i, j] = a[j, i] + b[i, 2 j + 1 of 20]
  Kernels kernels;
  ElementwiseSpec spec;
  spec.shape = extents({5, 9});
  spec.inputs = {{0, PARE_F32, {1, 5}}, {1, PARE_F32, {20, 2}}};
  spec.setOutput(2, PARE_F32);
  spec.body = addBody;
  KernelBuilder b(kernels.module(), "f", kernels.isa());
  emitElementwise(b, spec);
  b.finish();
  kernels.compile();
  auto x = randomFloats(45), y = randomFloats(100);
  Buffer<float> out(45), expected(45);
  kernels.call("f", {x.data(), y.data() + 1, out.data()}, {},
               elementwiseGrid(spec).tasks());
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 9; ++j)
      expected[i * 9 + j] = x[j * 5 + i] + y[i * 20 + 2 * j + 1];
  EXPECT_EQ(out, expected);
}

/// out = convert(in) from `from` to `to` through f32 or as integers.
void buildCast(
    Kernels &kernels, const char *name, PareDType from, PareDType to,
    std::function<Value(KernelBuilder &, ArrayRef<Value>, unsigned)> body) {
  ElementwiseSpec spec;
  spec.shape = runtimeExtents(1);
  spec.addInput(0, from);
  spec.setOutput(1, to);
  spec.body = std::move(body);
  KernelBuilder b(kernels.module(), name, kernels.isa());
  emitElementwise(b, spec);
  b.finish();
}

TEST(Elementwise, ElementTypes) {
  Kernels kernels;
  auto same = [](KernelBuilder &, ArrayRef<Value> v, unsigned) { return v[0]; };
  buildCast(kernels, "to_half", PARE_F32, PARE_F16, same);
  buildCast(kernels, "from_half", PARE_F16, PARE_F32, same);
  buildCast(kernels, "to_bfloat", PARE_F32, PARE_BF16, same);
  buildCast(kernels, "from_bfloat", PARE_BF16, PARE_F32, same);
  buildCast(kernels, "to_bool", PARE_I64, PARE_BOOL,
            [](KernelBuilder &b, ArrayRef<Value> v, unsigned lanes) -> Value {
              return arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, v[0],
                                           b.zero(v[0].getType()));
            });
  buildCast(kernels, "not", PARE_BOOL, PARE_BOOL,
            [](KernelBuilder &b, ArrayRef<Value> v, unsigned lanes) -> Value {
              return arith::XOrIOp::create(
                  b, v[0],
                  b.splat(arith::ConstantIntOp::create(b, 1, 1), lanes));
            });
  buildCast(kernels, "u8_to_f32", PARE_U8, PARE_F32,
            [](KernelBuilder &b, ArrayRef<Value> v, unsigned lanes) -> Value {
              return arith::UIToFPOp::create(b, b.vecF32(lanes), v[0]);
            });
  kernels.compile();

  // Every half is exact both ways; every f32 near the bounds rounds as the
  // compiler's own conversion does.
  Buffer<uint16_t> halves(65536), back(65536);
  Buffer<float> wide(65536);
  for (int i = 0; i < 65536; ++i)
    halves[i] = i;
  kernels.call("from_half", {halves.data(), wide.data()}, {65536}, 8);
  kernels.call("to_half", {wide.data(), back.data()}, {65536}, 8);
  for (int i = 0; i < 65536; ++i) {
    _Float16 h;
    std::memcpy(&h, &halves[i], 2);
    if (std::isnan(float(h))) {
      EXPECT_TRUE(std::isnan(wide[i]));
      continue;
    }
    EXPECT_EQ(wide[i], float(h));
    EXPECT_EQ(back[i], halves[i]);
  }
  Buffer<float> x;
  for (int i = 0; i < 65536; ++i)
    x.push_back(std::exp((i - 32768) * 0.0006f) * (i % 2 ? 1 : -1));
  kernels.call("to_half", {x.data(), back.data()}, {65536}, 8);
  for (int i = 0; i < 65536; ++i) {
    _Float16 h = x[i];
    uint16_t bits;
    std::memcpy(&bits, &h, 2);
    EXPECT_EQ(back[i], bits) << x[i];
  }
  kernels.call("to_bfloat", {x.data(), back.data()}, {65536}, 8);
  kernels.call("from_bfloat", {back.data(), wide.data()}, {65536}, 8);
  for (int i = 0; i < 65536; ++i)
    EXPECT_LE(std::fabs(wide[i] - x[i]), std::fabs(x[i]) / 256) << x[i];

  Buffer<int64_t> longs = {-3, 0, 5, int64_t(1) << 40, -1, 1, 0, 7, 9, -9, 0};
  Buffer<uint8_t> flags(longs.size()), inverse(longs.size());
  int64_t n = longs.size();
  kernels.call("to_bool", {longs.data(), flags.data()}, {n});
  kernels.call("not", {flags.data(), inverse.data()}, {n});
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(flags[i], longs[i] > 0);
    EXPECT_EQ(inverse[i], longs[i] <= 0);
  }
  Buffer<uint8_t> bytes = {0, 1, 127, 128, 255};
  kernels.call("u8_to_f32", {bytes.data(), wide.data()}, {5});
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(wide[i], bytes[i]);
}

TEST(Elementwise, GeneratesForOtherTargets) {
  expectGenerates([](KernelBuilder &b) {
    ElementwiseSpec spec =
        addSpec(runtimeExtents(3), {false, false, false}, {true, false, true});
    spec.inputs[1].type = PARE_F16;
    spec.output.type = PARE_BF16;
    spec.body = [](KernelBuilder &b, ArrayRef<Value> v, unsigned lanes) {
      Value sum = addBody(b, v, lanes);
      for (auto f : {buildExp, buildLog, buildTanh, buildGelu, buildSin,
                     buildFloor, buildRoundEven})
        sum = f(b, sum);
      return buildMod(b, buildPow(b, sum, v[1]), v[0], true);
    };
    emitElementwise(b, spec);
  });
}

} // namespace
