#include "TestGraph.h"
#include <cmath>

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

class InterpreterTest : public ::testing::Test {
protected:
  /// Runs a function given its signature and body on inputs of given values.
  std::vector<double> run(StringRef body, ArrayRef<HostTensor> inputs) {
    auto module = parseSourceString<ModuleOp>(body, &context);
    if (!module) {
      ADD_FAILURE() << "does not parse: " << body.str();
      return {};
    }
    auto results = Interpreter(*module, weights).run(inputs);
    if (!results) {
      error = llvm::toString(results.takeError());
      return {};
    }
    return results->front().read<double>();
  }
  HostTensor f32(ArrayRef<int64_t> shape, ArrayRef<float> values) {
    return HostTensor(RankedTensorType::get(shape, Float32Type::get(&context)),
                      values);
  }
  HostTensor i64(ArrayRef<int64_t> shape, ArrayRef<int64_t> values) {
    return HostTensor(
        RankedTensorType::get(shape, IntegerType::get(&context, 64)), values);
  }

  Context context;
  WeightStore weights;
  std::string error;
};

using Values = std::vector<double>;

TEST_F(InterpreterTest, MatMulAgreesWithBothOrientations) {
  HostTensor a = f32({2, 3}, {1, 2, 3, 4, 5, 6});
  HostTensor b = f32({3, 2}, {1, 0, 0, 1, 1, 1});
  HostTensor bt = f32({2, 3}, {1, 0, 1, 0, 1, 1});
  EXPECT_EQ(
      run("func.func @main(%a: tensor<2x3xf32>, %b: tensor<3x2xf32>) -> "
          "tensor<2x2xf32> { %0 = nn.matmul %a, %b : (tensor<2x3xf32>, "
          "tensor<3x2xf32>) -> tensor<2x2xf32> return %0 : tensor<2x2xf32> }",
          {a, b}),
      Values({4, 5, 10, 11}));
  EXPECT_EQ(
      run("func.func @main(%a: tensor<2x3xf32>, %b: tensor<2x3xf32>) -> "
          "tensor<2x2xf32> { %0 = nn.matmul %a, %b {transpose_rhs} : "
          "(tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x2xf32> return %0 : "
          "tensor<2x2xf32> }",
          {a, bt}),
      Values({4, 5, 10, 11}));
}

TEST_F(InterpreterTest, ReadsSymbolsFromInputs) {
  StringRef text = R"(
    #b = affine_map<()[s0] -> (s0, 2)>
    func.func @main(%x: tensor<?x2xf32, #b> {nn.name = "x"},
                    %y: tensor<?x2xf32, #b> {nn.name = "y"}) -> tensor<?x2xf32, #b> {
      %0 = nn.binary add %x, %y : (tensor<?x2xf32, #b>, tensor<?x2xf32, #b>) -> tensor<?x2xf32, #b>
      return %0 : tensor<?x2xf32, #b>
    })";
  EXPECT_EQ(run(text, {f32({2, 2}, {1, 2, 3, 4}), f32({2, 2}, {1, 1, 1, 1})}),
            Values({2, 3, 4, 5}));
  run(text, {f32({2, 2}, {1, 2, 3, 4}), f32({1, 2}, {1, 1})});
  EXPECT_EQ(error, "input 'y' has shape [1x2], expected [2x2]");
  run(text, {f32({2, 2}, {1, 2, 3, 4}), f32({4}, {1, 1, 1, 1})});
  EXPECT_EQ(error, "input 'y' must have 2 axes, not 1");
  run(text, {f32({2, 2}, {1, 2, 3, 4}), i64({2, 2}, {1, 1, 1, 1})});
  EXPECT_EQ(error, "input 'y' has another element type");
  run(text, {f32({2, 2}, {1, 2, 3, 4})});
  EXPECT_EQ(error, "the model has 2 inputs, but 1 were given");
}

TEST_F(InterpreterTest, DimValuesAndSliceFollowSymbols) {
  EXPECT_EQ(run(R"(
    #b = affine_map<()[s0] -> (s0)>
    #h = affine_map<()[s0] -> (s0 floordiv 2)>
    func.func @main(%x: tensor<?xi64, #b>) -> tensor<?xi64, #h> {
      %d = nn.dim_values affine_map<()[s0] -> (s0 * 10)> : tensor<1xi64>
      %s = nn.slice %x {starts = affine_map<()[s0] -> (s0 - 1)>, steps = array<i64: -2>} : (tensor<?xi64, #b>) -> tensor<?xi64, #h>
      %0 = nn.binary add %s, %d : (tensor<?xi64, #h>, tensor<1xi64>) -> tensor<?xi64, #h>
      return %0 : tensor<?xi64, #h>
    })",
                {i64({5}, {1, 2, 3, 4, 5})}),
            Values({55, 53}));
}

TEST_F(InterpreterTest, GatherCountsFromTheEndAndChecksBounds) {
  StringRef text = R"(
    func.func @main(%x: tensor<3x2xf32>, %i: tensor<2xi64>) -> tensor<2x2xf32> {
      %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<3x2xf32>, tensor<2xi64>) -> tensor<2x2xf32> loc("rows")
      return %0 : tensor<2x2xf32>
    })";
  HostTensor x = f32({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run(text, {x, i64({2}, {-1, 0})}), Values({5, 6, 1, 2}));
  run(text, {x, i64({2}, {3, 0})});
  EXPECT_EQ(error, "'rows' (nn.gather): index 3 is out of range for an axis of "
                   "size 3");
}

TEST_F(InterpreterTest, ConvolutionPadsStridesAndGroups) {
  // A 2x2 sum over a 3x3 image, stride 2, padded below and on the right.
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<1x3x3x1xf32>, %f: tensor<1x2x2x1xf32>) -> tensor<1x2x2x1xf32> {
      %0 = nn.conv %x, %f {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 1, 1>, dilations = array<i64: 1, 1>}
        : (tensor<1x3x3x1xf32>, tensor<1x2x2x1xf32>) -> tensor<1x2x2x1xf32>
      return %0 : tensor<1x2x2x1xf32>
    })",
                {f32({1, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9}),
                 f32({1, 2, 2, 1}, {1, 1, 1, 1})}),
            Values({12, 9, 15, 9}));
  // Depthwise: one tap per channel.
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<1x2x2xf32>, %f: tensor<2x1x1xf32>) -> tensor<1x2x2xf32> {
      %0 = nn.conv %x, %f {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 2 : i64}
        : (tensor<1x2x2xf32>, tensor<2x1x1xf32>) -> tensor<1x2x2xf32>
      return %0 : tensor<1x2x2xf32>
    })",
                {f32({1, 2, 2}, {1, 2, 3, 4}), f32({2, 1, 1}, {10, 100})}),
            Values({10, 200, 30, 400}));
}

TEST_F(InterpreterTest, TransposedConvolutionScattersTaps) {
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<1x2x1xf32>, %f: tensor<1x3x1xf32>) -> tensor<1x5x1xf32> {
      %0 = nn.conv_transpose %x, %f {strides = array<i64: 2>, pads = array<i64: 0, 0>, output_pads = array<i64: 0>, dilations = array<i64: 1>}
        : (tensor<1x2x1xf32>, tensor<1x3x1xf32>) -> tensor<1x5x1xf32>
      return %0 : tensor<1x5x1xf32>
    })",
                {f32({1, 2, 1}, {1, 10}), f32({1, 3, 1}, {1, 2, 3})}),
            Values({1, 2, 13, 20, 30}));
}

TEST_F(InterpreterTest, AveragePoolLeavesPaddingOut) {
  std::string text = R"(
    func.func @main(%x: tensor<1x3x1xf32>) -> tensor<1x2x1xf32> {
      %0 = nn.pool average %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 1, 0>, dilations = array<i64: 1> COUNT}
        : (tensor<1x3x1xf32>) -> tensor<1x2x1xf32>
      return %0 : tensor<1x2x1xf32>
    })";
  std::string counted = text;
  text.replace(text.find("COUNT"), 5, "");
  counted.replace(counted.find("COUNT"), 5, ", count_include_pad");
  HostTensor x = f32({1, 3, 1}, {4, 6, 8});
  EXPECT_EQ(run(text, {x}), Values({4, 7}));
  EXPECT_EQ(run(counted, {x}), Values({2, 7}));
}

TEST_F(InterpreterTest, ResizeInterpolatesBetweenPixelCentres) {
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<1x2x1xf32>) -> tensor<1x4x1xf32> {
      %0 = nn.resize linear half_pixel %x : (tensor<1x2x1xf32>) -> tensor<1x4x1xf32>
      return %0 : tensor<1x4x1xf32>
    })",
                {f32({1, 2, 1}, {0, 4})}),
            Values({0, 1, 3, 4}));
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<1x2x1xf32>) -> tensor<1x4x1xf32> {
      %0 = nn.resize nearest asymmetric %x {nearest = #nn<nearest_mode floor>} : (tensor<1x2x1xf32>) -> tensor<1x4x1xf32>
      return %0 : tensor<1x4x1xf32>
    })",
                {f32({1, 2, 1}, {1, 2})}),
            Values({1, 1, 2, 2}));
}

TEST_F(InterpreterTest, AttentionMasksAndSharesHeads) {
  // Two query heads on one key head; the mask hides the second key.
  EXPECT_EQ(run(R"(
    func.func @main(%q: tensor<1x1x2x1xf32>, %k: tensor<1x2x1x1xf32>, %v: tensor<1x2x1x1xf32>, %m: tensor<1x1x1x2xf32>) -> tensor<1x1x2x1xf32> {
      %0 = nn.attention %q, %k, %v mask %m {scale = 1.0 : f32}
        : (tensor<1x1x2x1xf32>, tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1x2x1xf32>
      return %0 : tensor<1x1x2x1xf32>
    })",
                {f32({1, 1, 2, 1}, {1, 2}), f32({1, 2, 1, 1}, {1, 1}),
                 f32({1, 2, 1, 1}, {3, 5}), f32({1, 1, 1, 2}, {0, -1e9f})}),
            Values({3, 3}));
}

TEST_F(InterpreterTest, CodesRoundHalfToEvenAndStayBelowTheLimit) {
  for (StringRef codes : {"i8", "ui8", "i16"}) {
    std::string text =
        ("func.func @main(%x: tensor<4xf32>) -> tensor<4x" + codes +
         "> { %s = nn.constant dense<1.0> : tensor<1xf32> " +
         "%0 = nn.quantize %x, %s to " + codes +
         " : (tensor<4xf32>, tensor<1xf32>) -> tensor<4x" + codes +
         "> return %0 : tensor<4x" + codes + "> }")
            .str();
    double offset = codes == "ui8" ? 128 : 0,
           limit = codes == "i16" ? 1023 : 127;
    EXPECT_EQ(run(text, {f32({4}, {0.5f, 1.5f, -2000, 1500})}),
              Values({offset, offset + 2, offset - limit, offset + limit}));
  }
}

TEST_F(InterpreterTest, DynamicQuantizationRoundTripsWithinHalfAStep) {
  HostTensor x = randomTensor(
      RankedTensorType::get({3, 16}, Float32Type::get(&context)), 7);
  Values back = run(R"(
    func.func @main(%x: tensor<3x16xf32>) -> tensor<3x16xf32> {
      %c, %s = nn.dynamic_quantize %x to ui8 : (tensor<3x16xf32>) -> (tensor<3x16xui8>, tensor<3x1xf32>)
      %z = nn.constant dense<128> : tensor<ui8>
      %0 = nn.dequantize %c, %s zero %z : (tensor<3x16xui8>, tensor<3x1xf32>, tensor<ui8>) -> tensor<3x16xf32>
      return %0 : tensor<3x16xf32>
    })",
                    {x});
  Values original = x.read<double>();
  ASSERT_EQ(back.size(), original.size());
  for (size_t i = 0; i < back.size(); ++i)
    EXPECT_NEAR(back[i], original[i], 0.5 / 127 + 1e-6);
}

TEST_F(InterpreterTest, GroupsHaveTheirOwnScales) {
  auto get = [&](std::string value, std::string type) {
    return run("func.func @main(%x: tensor<2x4xf32>) -> " + type +
                   " { %c, %s = nn.dynamic_quantize %x to i8 {group = 2 : i64} "
                   ": (tensor<2x4xf32>) -> (tensor<2x4xi8>, tensor<2x2xf32>) "
                   "%0 = nn.dequantize %c, %s : (tensor<2x4xi8>, "
                   "tensor<2x2xf32>) -> tensor<2x4xf32> return " +
                   value + " : " + type + " }",
               {f32({2, 4}, {127, -1, 254, 508, 0, 0, -1270, 635})});
  };
  EXPECT_EQ(get("%c", "tensor<2x4xi8>"),
            Values({127, -1, 64, 127, 0, 0, -127, 64}));
  EXPECT_EQ(get("%s", "tensor<2x2xf32>"), Values({1, 4, 0, 10}));
  EXPECT_EQ(get("%0", "tensor<2x4xf32>"),
            Values({127, -1, 256, 508, 0, 0, -1270, 640}));
}

TEST_F(InterpreterTest, ZeroPointsUseTheWholeRange) {
  for (StringRef codes : {"i8", "ui8"}) {
    std::string codesType = ("tensor<2x4x" + codes + ">").str();
    auto get = [&](std::string value, std::string type) {
      return run("func.func @main(%x: tensor<2x4xf32>) -> " + type +
                     " { %c, %s, %z = nn.dynamic_quantize asymmetric %x to " +
                     codes.str() + " : (tensor<2x4xf32>) -> (" + codesType +
                     ", tensor<2x1xf32>, tensor<2x1xi32>) " +
                     "%0 = nn.dequantize %c, %s zero %z : (" + codesType +
                     ", tensor<2x1xf32>, tensor<2x1xi32>) -> "
                     "tensor<2x4xf32> return " +
                     value + " : " + type + " }",
                 {f32({2, 4}, {0, 253, 100, 1, 0, 0, 0, 0})});
    };
    double offset = codes == "ui8" ? 128 : 0;
    // -126.5 rounds to the even -126.
    EXPECT_EQ(get("%c", codesType),
              Values({offset - 126, offset + 127, offset - 26, offset - 125,
                      offset, offset, offset, offset}));
    EXPECT_EQ(get("%z", "tensor<2x1xi32>"), Values({offset - 126, offset}));
    EXPECT_EQ(get("%0", "tensor<2x4xf32>"),
              Values({0, 253, 100, 1, 0, 0, 0, 0}));
  }
}

TEST_F(InterpreterTest, RoutesToTheLargestLogits) {
  // Row 0 has two equal logits, row 1 an order of its own.
  HostTensor logits = f32({2, 3}, {0, 1, 1, std::log(4.0f), 0, std::log(2.0f)});
  auto text = [](StringRef attributes, StringRef result) {
    std::string type = result == "%s" ? "tensor<2x2xf32>" : "tensor<2x2xi32>";
    return ("func.func @main(%l: tensor<2x3xf32>) -> " + type +
            " { %s, %e = nn.route %l {used = 2 : i64" + attributes +
            "} : (tensor<2x3xf32>) -> (tensor<2x2xf32>, tensor<2x2xi32>) "
            "return " +
            result + " : " + type + " }")
        .str();
  };
  EXPECT_EQ(run(text("", "%e"), logits), Values({1, 2, 0, 2}));
  double e = std::exp(1.0), all = 1 + 2 * e;
  Values over = run(text("", "%s"), logits),
         among = run(text(", normalize", "%s"), logits);
  for (auto [got, want] :
       llvm::zip_equal(over, Values({e / all, e / all, 4. / 7, 2. / 7})))
    EXPECT_NEAR(got, want, 1e-6);
  for (auto [got, want] :
       llvm::zip_equal(among, Values({0.5, 0.5, 2. / 3, 1. / 3})))
    EXPECT_NEAR(got, want, 1e-6);
}

TEST_F(InterpreterTest, SlotsMeetTheMatricesOfTheirExperts) {
  std::string text = R"(
    func.func @main(%e: tensor<2x2xi32>, %x: XTYPE, %w: tensor<3x1x2xf32>) -> tensor<2x2x1xf32> {
      %o, %b = nn.group_by_expert %e {count = 3 : i64} : (tensor<2x2xi32>) -> (tensor<2x2xi32>, tensor<4xi32>)
      %0 = nn.expert_matmul %x, %w by %o, %b : (XTYPE, tensor<3x1x2xf32>, tensor<2x2xi32>, tensor<4xi32>) -> tensor<2x2x1xf32>
      return %0 : tensor<2x2x1xf32>
    })";
  auto with = [&](StringRef type) {
    std::string copy = text;
    for (size_t at; (at = copy.find("XTYPE")) != std::string::npos;)
      copy.replace(at, 5, type.str());
    return copy;
  };
  auto experts = [&](ArrayRef<int64_t> numbers) {
    return HostTensor(
        RankedTensorType::get({2, 2}, IntegerType::get(&context, 32)), numbers);
  };
  HostTensor w = f32({3, 1, 2}, {1, 0, 0, 1, 10, 100});
  EXPECT_EQ(run(with("tensor<2x2xf32>"),
                {experts({2, 0, 1, 2}), f32({2, 2}, {3, 4, 5, 6}), w}),
            Values({430, 3, 6, 650}));
  EXPECT_EQ(
      run(with("tensor<2x2x2xf32>"),
          {experts({2, 0, 1, 2}), f32({2, 2, 2}, {3, 4, 5, 6, 7, 8, 9, 1}), w}),
      Values({430, 5, 8, 190}));
  run(with("tensor<2x2xf32>"),
      {experts({2, 0, 3, 2}), f32({2, 2}, {3, 4, 5, 6}), w});
  EXPECT_EQ(error, "'?' (nn.group_by_expert): expert 3 of 3");
}

TEST_F(InterpreterTest, FusedGroupMeansItsBody) {
  SmallVector<std::string> seen;
  auto module = parseSourceString<ModuleOp>(R"(
    func.func @main(%x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
      %0 = nn.fused "add+relu" (%x, %y) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> {
      ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
        %1 = nn.binary add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("sum")
        %2 = nn.unary relu %1 : (tensor<2xf32>) -> tensor<2xf32>
        nn.yield %2 : tensor<2xf32>
      }
      return %0 : tensor<2xf32>
    })",
                                            &context);
  ASSERT_TRUE(module);
  auto results = Interpreter(*module, weights)
                     .run({f32({2}, {1, -3}), f32({2}, {1, 1})},
                          [&](Value value, const HostTensor &tensor) {
                            if (nn::getValueName(value) == "sum")
                              seen.push_back(std::to_string(
                                  int(tensor.read<double>()[1])));
                          });
  ASSERT_TRUE(bool(results));
  EXPECT_EQ(results->front().read<double>(), Values({2, 0}));
  EXPECT_EQ(seen, SmallVector<std::string>({"-2"}));
}

TEST_F(InterpreterTest, NarrowFloatsRoundToNearestEven) {
  EXPECT_EQ(run(R"(
    func.func @main(%x: tensor<2xf32>) -> tensor<2xbf16> {
      %0 = nn.cast %x to bf16 : (tensor<2xf32>) -> tensor<2xbf16>
      return %0 : tensor<2xbf16>
    })",
                {f32({2}, {1.00390625f, -3.0f})}),
            Values({1.0, -3.0}));
}

TEST_F(InterpreterTest, CachesOfCodesRoundByHeadAndToken) {
  auto module = parseSourceString<ModuleOp>(
      R"(nn.cache @c {heads = 2 : i64, head_dim = 2 : i64, capacity = 16 : i64, type = i8}
func.func @main(%k: tensor<1x2x2xf32>, %v: tensor<1x2x2xf32>, %p: tensor<1xi32>, %s: tensor<1xi32>) -> tensor<1xi32> {
  nn.cache_append @c, %k, %v at %p of %s : tensor<1x2x2xf32>, tensor<1x2x2xf32>, tensor<1xi32>, tensor<1xi32>
  return %p : tensor<1xi32>
})",
      &context);
  ASSERT_TRUE(module);
  auto numbers = [&](int64_t number) {
    return HostTensor(
        RankedTensorType::get({1}, IntegerType::get(&context, 32)),
        ArrayRef(number));
  };
  CacheState caches;
  std::vector<HostTensor> inputs = {f32({1, 2, 2}, {127, 12.4f, -0.5f, 0.3f}),
                                    f32({1, 2, 2}, {0, 0, 254, -3}), numbers(1),
                                    numbers(0)};
  auto results = Interpreter(*module, weights).run(inputs, nullptr, &caches);
  ASSERT_TRUE(bool(results)) << llvm::toString(results.takeError());
  const CacheState::Rows &rows = caches.rows.at({"c", 0});
  // Of position 1. Steps: 1 and 0.5 / 127; 0 and 2, where -1.5 steps are -2.
  EXPECT_EQ(std::vector<float>(rows.keys.begin() + 4, rows.keys.end()),
            std::vector<float>({127, 12, -0.5f, 76 * (0.5f / 127)}));
  EXPECT_EQ(std::vector<float>(rows.values.begin() + 4, rows.values.end()),
            std::vector<float>({0, 0, 254, -4}));
}

} // namespace
