#include "mlir/Transforms/Passes.h"
#include "RandomGraph.h"
#include "mlir/IR/Verifier.h"
#include "passes/Pipelines.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

/// Runs passes that `add` chooses; fails the test if they fail.
void transform(Graph &graph, llvm::function_ref<void(OpPassManager &)> add) {
  PassManager passes(graph.module->getContext());
  add(passes);
  ASSERT_TRUE(succeeded(passes.run(*graph.module)));
}

struct Case {
  const char *name;
  void (*add)(OpPassManager &, WeightStore *);
};

const Case kCases[] = {
    {"Simplify",
     [](OpPassManager &passes, WeightStore *weights) {
       passes.addPass(createSimplifyPass(weights));
     }},
    {"Recognize",
     [](OpPassManager &passes, WeightStore *weights) {
       passes.addPass(createSimplifyPass(weights));
       passes.addPass(createRecognizePass(weights));
     }},
    {"FoldConstants",
     [](OpPassManager &passes, WeightStore *weights) {
       passes.addPass(createFoldConstantsPass(weights));
     }},
    {"FoldNormalization",
     [](OpPassManager &passes, WeightStore *weights) {
       passes.addPass(createFoldConstantsPass(weights));
       passes.addPass(createFoldNormalizationPass(weights));
     }},
    {"SinkTransposes",
     [](OpPassManager &passes, WeightStore *) {
       passes.addPass(createSinkTransposesPass());
     }},
    {"Fuse", [](OpPassManager &passes,
                WeightStore *) { passes.addPass(createFusePass()); }},
    {"Everything",
     [](OpPassManager &passes, WeightStore *weights) {
       PipelineOptions options;
       options.weights = weights;
       buildPipeline(passes, options);
     }},
};

class EveryPass : public ::testing::TestWithParam<Case> {};

TEST_P(EveryPass, KeepsTheMeaningOfRandomGraphs) {
  Context context;
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Graph graph = RandomGraph(context, seed).build();
    ASSERT_TRUE(succeeded(verify(*graph.module)));
    std::vector<HostTensor> before = graph.run({{2, 4, 6, 8}});
    transform(graph, [&](OpPassManager &passes) {
      GetParam().add(passes, &graph.weights);
    });
    std::vector<HostTensor> after = graph.run({{2, 4, 6, 8}});
    EXPECT_LT(relativeError(after, before), 1e-4);
    if (HasFailure()) {
      graph.module->dump();
      return;
    }
  }
}

using Values = std::map<std::string, HostTensor>;

/// Names every value that is neither a weight nor a constant.
void nameValues(ModuleOp module) {
  unsigned number = 0;
  nn::getEntry(module)->walk([&](Operation *op) {
    if (op->getNumResults() && !isa<nn::ParamOp, nn::ConstantOp>(op))
      op->setLoc(
          nn::getNamedLoc("v" + std::to_string(number++), module.getContext()));
  });
}

/// What each name stands for in one run: its last value.
Values traceValues(Graph &graph, ArrayRef<HostTensor> inputs) {
  Values values;
  auto outputs =
      Interpreter(*graph.module, graph.weights)
          .run(inputs, [&](Value value, const HostTensor &tensor) {
            Operation *op = value.getDefiningOp();
            StringRef name = nn::getValueName(value);
            if (op && !name.empty() && !isa<nn::ParamOp, nn::ConstantOp>(op))
              values.insert_or_assign(name.str(), tensor);
          });
  EXPECT_TRUE(bool(outputs)) << llvm::toString(outputs.takeError());
  return values;
}

/// Largest difference of the elements in order of size, over the largest: equal
/// values may lie in different layouts.
double differenceOfElements(const HostTensor &a, const HostTensor &b) {
  std::vector<double> x = a.read<double>(), y = b.read<double>();
  if (x.size() != y.size())
    return INFINITY;
  llvm::sort(x);
  llvm::sort(y);
  double difference = 0, scale = 1e-3;
  for (auto [p, q] : llvm::zip_equal(x, y)) {
    difference = std::max(difference, std::abs(p - q));
    scale = std::max(scale, std::abs(q));
  }
  return difference / scale;
}

// Tools compare values by name: a rewritten value that is no longer the
// source's must not have its name.
TEST_P(EveryPass, KeepsTheMeaningOfNames) {
  Context context;
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Graph graph = RandomGraph(context, seed).build();
    nameValues(*graph.module);
    HostTensor input = randomTensor(
        RankedTensorType::get({2, 4, 6, 8}, Float32Type::get(&context)), 1);
    Values before = traceValues(graph, input);
    transform(graph, [&](OpPassManager &passes) {
      GetParam().add(passes, &graph.weights);
    });
    for (const auto &[name, tensor] : traceValues(graph, input))
      if (auto it = before.find(name); it != before.end()) {
        EXPECT_LT(differenceOfElements(tensor, it->second), 1e-4) << name;
      }
    if (HasFailure()) {
      graph.module->print(llvm::errs(), OpPrintingFlags().enableDebugInfo());
      return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Passes, EveryPass, ::testing::ValuesIn(kCases),
                         [](const auto &info) { return info.param.name; });

class PassesTest : public ::testing::Test {
protected:
  Context context;
};

constexpr llvm::StringLiteral kFusedQkv = R"(
  #x = affine_map<()[s0] -> (s0, 9, 24)>
  #y = affine_map<()[s0] -> (s0, 9, 72)>
  #r = affine_map<()[s0] -> (s0, 9, 3, 4, 6)>
  #t = affine_map<()[s0] -> (3, s0, 4, 9, 6)>
  #h = affine_map<()[s0] -> (s0, 4, 9, 6)>
  #k = affine_map<()[s0] -> (s0, 4, 6, 9)>
  #s = affine_map<()[s0] -> (s0, 4, 9, 9)>
  #o = affine_map<()[s0] -> (s0, 9, 4, 6)>
  nn.weight @qkv : tensor<24x72xf32>
  func.func @main(%x: tensor<?x9x24xf32, #x>) -> tensor<?x9x24xf32, #x> {
    %w = nn.param @qkv : tensor<24x72xf32>
    %0 = nn.matmul %x, %w : (tensor<?x9x24xf32, #x>, tensor<24x72xf32>) -> tensor<?x9x72xf32, #y>
    %1 = nn.reshape %0 : (tensor<?x9x72xf32, #y>) -> tensor<?x9x3x4x6xf32, #r>
    %2 = nn.transpose %1 {permutation = array<i64: 2, 0, 3, 1, 4>} : (tensor<?x9x3x4x6xf32, #r>) -> tensor<3x?x4x9x6xf32, #t>
    %i0 = nn.constant dense<0> : tensor<i64>
    %i1 = nn.constant dense<1> : tensor<i64>
    %i2 = nn.constant dense<2> : tensor<i64>
    %q = nn.gather %2, %i0 {axis = 0 : i64} : (tensor<3x?x4x9x6xf32, #t>, tensor<i64>) -> tensor<?x4x9x6xf32, #h>
    %k = nn.gather %2, %i1 {axis = 0 : i64} : (tensor<3x?x4x9x6xf32, #t>, tensor<i64>) -> tensor<?x4x9x6xf32, #h>
    %v = nn.gather %2, %i2 {axis = 0 : i64} : (tensor<3x?x4x9x6xf32, #t>, tensor<i64>) -> tensor<?x4x9x6xf32, #h>
    %kt = nn.transpose %k {permutation = array<i64: 0, 1, 3, 2>} : (tensor<?x4x9x6xf32, #h>) -> tensor<?x4x6x9xf32, #k>
    %3 = nn.matmul %q, %kt : (tensor<?x4x9x6xf32, #h>, tensor<?x4x6x9xf32, #k>) -> tensor<?x4x9x9xf32, #s>
    %c = nn.constant dense<0.4> : tensor<f32>
    %4 = nn.binary mul %3, %c : (tensor<?x4x9x9xf32, #s>, tensor<f32>) -> tensor<?x4x9x9xf32, #s>
    %5 = nn.softmax %4 {axis = 3 : i64} : (tensor<?x4x9x9xf32, #s>) -> tensor<?x4x9x9xf32, #s>
    %6 = nn.matmul %5, %v : (tensor<?x4x9x9xf32, #s>, tensor<?x4x9x6xf32, #h>) -> tensor<?x4x9x6xf32, #h>
    %7 = nn.transpose %6 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<?x4x9x6xf32, #h>) -> tensor<?x9x4x6xf32, #o>
    %8 = nn.reshape %7 : (tensor<?x9x4x6xf32, #o>) -> tensor<?x9x24xf32, #x>
    return %8 : tensor<?x9x24xf32, #x>
  })";

TEST_F(PassesTest, AttentionCutFromOneProductLosesAllTransposes) {
  Graph graph(context, kFusedQkv);
  std::vector<HostTensor> before = graph.run({{2, 9, 24}});
  transform(graph, [&](OpPassManager &passes) {
    buildSimplifyPipeline(passes, &graph.weights);
  });
  EXPECT_LT(relativeError(graph.run({{2, 9, 24}}), before), 1e-5);
  EXPECT_EQ(graph.count<nn::AttentionOp>(), 1u);
  EXPECT_EQ(graph.count<nn::MatMulOp>(), 1u);
  EXPECT_EQ(graph.count<nn::SliceOp>(), 3u);
  EXPECT_EQ(graph.count<nn::TransposeOp>(), 0u);
  EXPECT_EQ(graph.count<nn::GatherOp>(), 0u);
}

constexpr llvm::StringLiteral kSeparateQkv = R"(
  nn.weight @q : tensor<24x24xf32>
  nn.weight @k : tensor<24x24xf32>
  nn.weight @v : tensor<24x12xf32>
  nn.weight @qb : tensor<24xf32>
  nn.weight @vb : tensor<12xf32>
  func.func @main(%x: tensor<2x9x24xf32>, %m: tensor<2x1x1x9xf32>) -> tensor<2x9x4x3xf32> {
    %wq = nn.param @q : tensor<24x24xf32>
    %wk = nn.param @k : tensor<24x24xf32>
    %wv = nn.param @v : tensor<24x12xf32>
    %bq = nn.param @qb : tensor<24xf32>
    %bv = nn.param @vb : tensor<12xf32>
    %0 = nn.matmul %x, %wq : (tensor<2x9x24xf32>, tensor<24x24xf32>) -> tensor<2x9x24xf32>
    %1 = nn.matmul %x, %wk : (tensor<2x9x24xf32>, tensor<24x24xf32>) -> tensor<2x9x24xf32>
    %2 = nn.matmul %x, %wv : (tensor<2x9x24xf32>, tensor<24x12xf32>) -> tensor<2x9x12xf32>
    %3 = nn.binary add %0, %bq : (tensor<2x9x24xf32>, tensor<24xf32>) -> tensor<2x9x24xf32>
    %4 = nn.binary add %2, %bv : (tensor<2x9x12xf32>, tensor<12xf32>) -> tensor<2x9x12xf32>
    %q = nn.reshape %3 : (tensor<2x9x24xf32>) -> tensor<2x9x4x6xf32>
    %k = nn.reshape %1 : (tensor<2x9x24xf32>) -> tensor<2x9x4x6xf32>
    %v = nn.reshape %4 : (tensor<2x9x12xf32>) -> tensor<2x9x4x3xf32>
    %a = nn.attention %q, %k, %v mask %m {scale = 0.4 : f32} : (tensor<2x9x4x6xf32>, tensor<2x9x4x6xf32>, tensor<2x9x4x3xf32>, tensor<2x1x1x9xf32>) -> tensor<2x9x4x3xf32>
    return %a : tensor<2x9x4x3xf32>
  })";

TEST_F(PassesTest, QueryKeyAndValueBecomeOneProduct) {
  Graph graph(context, kSeparateQkv);
  std::vector<HostTensor> before = graph.run({{2, 9, 24}, {2, 1, 1, 9}});
  transform(graph, [&](OpPassManager &passes) {
    passes.addPass(createMergeMatMulsPass(&graph.weights));
  });
  EXPECT_LT(relativeError(graph.run({{2, 9, 24}, {2, 1, 1, 9}}), before), 1e-6);
  EXPECT_EQ(graph.count<nn::MatMulOp>(), 1u);
  EXPECT_FALSE(graph.weights.contains("k"));
}

constexpr llvm::StringLiteral kEncoder = R"(
  #i = affine_map<()[s0] -> (s0)>
  #x = affine_map<()[s0] -> (s0, 64)>
  #y = affine_map<()[s0] -> (s0, 128)>
  nn.weight @table : tensor<512x64xf32>
  nn.weight @up : tensor<64x128xf32>
  nn.weight @down : tensor<64x128xf32>
  nn.weight @odd : tensor<64x3xf32>
  func.func @main(%i: tensor<?xi64, #i>) -> (tensor<?x64xf32, #x>, tensor<?x3xf32, affine_map<()[s0] -> (s0, 3)>>) {
    %t = nn.param @table : tensor<512x64xf32>
    %u = nn.param @up : tensor<64x128xf32>
    %d = nn.param @down : tensor<64x128xf32>
    %o = nn.param @odd : tensor<64x3xf32>
    %x = nn.gather %t, %i {axis = 0 : i64} : (tensor<512x64xf32>, tensor<?xi64, #i>) -> tensor<?x64xf32, #x>
    %0 = nn.matmul %x, %u : (tensor<?x64xf32, #x>, tensor<64x128xf32>) -> tensor<?x128xf32, #y>
    %1 = nn.unary gelu %0 : (tensor<?x128xf32, #y>) -> tensor<?x128xf32, #y>
    %2 = nn.matmul %1, %d {transpose_rhs} : (tensor<?x128xf32, #y>, tensor<64x128xf32>) -> tensor<?x64xf32, #x>
    %3 = nn.matmul %2, %o : (tensor<?x64xf32, #x>, tensor<64x3xf32>) -> tensor<?x3xf32, affine_map<()[s0] -> (s0, 3)>>
    return %2, %3 : tensor<?x64xf32, #x>, tensor<?x3xf32, affine_map<()[s0] -> (s0, 3)>>
  })";

/// A target that knows nothing but its code type and, for one size, that float
/// is faster.
struct TestTarget : Target {
  unsigned width;
  bool isUnsigned;
  TestTarget(unsigned width, bool isUnsigned)
      : width(width), isUnsigned(isUnsigned) {}
  StringRef name() const override { return "test"; }
  Type codeType(MLIRContext *context) const override {
    return IntegerType::get(context, width,
                            isUnsigned ? IntegerType::Unsigned
                                       : IntegerType::Signless);
  }
  std::optional<std::string> whyUnsupported(Operation *) const override {
    return std::nullopt;
  }
  std::optional<KernelEstimate>
  estimateMatMul(int64_t, int64_t k, int64_t, StringRef format) const override {
    bool isFaster = (format == "int8") == (k == 64);
    return KernelEstimate{"generated", isFaster ? 1.0 : 2.0, true};
  }
  std::optional<std::string>
  whyNoBlockProduct(const BlockFormat &) const override {
    return std::nullopt;
  }
};

TEST_F(PassesTest, Int8IsCloseForEveryCodeType) {
  for (auto [width, isUnsigned] :
       {std::pair(8u, false), std::pair(8u, true), std::pair(16u, false)}) {
    Graph graph(context, kEncoder);
    std::vector<HostTensor> before = graph.run({{7}});
    TestTarget target(width, isUnsigned);
    std::vector<TensorDecision> decisions;
    transform(graph, [&](OpPassManager &passes) {
      PipelineOptions options;
      options.weights = &graph.weights;
      options.quantize = Quantization::Int8;
      options.int8 = {&target, {}, &decisions, {}};
      buildPipeline(passes, options);
    });
    EXPECT_LT(relativeError(graph.run({{7}}), before), 0.02);
    ASSERT_EQ(decisions.size(), 4u);
    EXPECT_EQ(decisions[0].tensor, "table");
    EXPECT_EQ(decisions[0].format, "int8 per row");
    EXPECT_EQ(decisions[0].bytesAfter, 512u * 64 + 512 * 4);
    EXPECT_EQ(decisions[1].format, "int8 per channel");
    EXPECT_GT(decisions[1].error, 0.0);
    EXPECT_LT(decisions[1].error, 0.01);
    EXPECT_EQ(decisions[2].format, "f32");
    EXPECT_EQ(decisions[2].reason,
              "float is faster here: 1.0 us against 2.0 us");
    EXPECT_EQ(decisions[3].reason, "fewer than 16 outputs");
    EXPECT_FALSE(graph.weights.contains("table"));
  }
}

constexpr llvm::StringLiteral kImage = R"(
  nn.weight @f : tensor<16x3x3x32xf32>
  func.func @main(%x: tensor<1x8x8x32xf32>) -> tensor<1x8x8x16xf32> {
    %f = nn.param @f : tensor<16x3x3x32xf32>
    %r = nn.unary relu %x : (tensor<1x8x8x32xf32>) -> tensor<1x8x8x32xf32> loc("act")
    %0 = nn.conv %r, %f {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x8x8x32xf32>, tensor<16x3x3x32xf32>) -> tensor<1x8x8x16xf32>
    return %0 : tensor<1x8x8x16xf32>
  })";

TEST_F(PassesTest, ConvolutionsNeedACalibrationSet) {
  HostTensor sample = randomTensor(
      RankedTensorType::get({1, 8, 8, 32}, Float32Type::get(&context)), 3);
  for (bool calibrated : {false, true}) {
    Graph graph(context, kImage);
    std::vector<HostTensor> before = graph.run({{1, 8, 8, 32}});
    std::vector<TensorDecision> decisions;
    transform(graph, [&](OpPassManager &passes) {
      Int8Options options{nullptr, {}, &decisions, {}};
      if (calibrated)
        options.calibration.push_back({sample});
      passes.addPass(createQuantizeInt8Pass(&graph.weights, options));
    });
    double error = relativeError(graph.run({{1, 8, 8, 32}}), before);
    EXPECT_EQ(graph.count<nn::QuantizeOp>(), calibrated ? 1u : 0u);
    ASSERT_EQ(decisions.size(), 1u);
    EXPECT_EQ(decisions[0].reason,
              calibrated ? "input scale from calibration"
                         : "no calibration set for the input's scale");
    EXPECT_LT(error, 0.02);
    EXPECT_EQ(error == 0, !calibrated);
  }
}

constexpr llvm::StringLiteral kPointwise = R"(
  nn.weight @a : tensor<32x1x1x128xf32>
  nn.weight @b : tensor<128x1x1x32xf32>
  nn.weight @k : tensor<16x3x3x128xf32>
  func.func @main(%x: tensor<1x4x4x128xf32>) -> (tensor<1x4x4x128xf32>, tensor<1x4x4x16xf32>) {
    %b = nn.param @b : tensor<128x1x1x32xf32>
    %k = nn.param @k : tensor<16x3x3x128xf32>
    %a = nn.param @a : tensor<32x1x1x128xf32>
    %0 = nn.conv %x, %a {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x128xf32>, tensor<32x1x1x128xf32>) -> tensor<1x4x4x32xf32>
    %1 = nn.conv %0, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x32xf32>, tensor<128x1x1x32xf32>) -> tensor<1x4x4x128xf32>
    %2 = nn.conv %1, %k {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x128xf32>, tensor<16x3x3x128xf32>) -> tensor<1x4x4x16xf32>
    return %1, %2 : tensor<1x4x4x128xf32>, tensor<1x4x4x16xf32>
  })";

TEST_F(PassesTest, PointwiseConvolutionsAreProducts) {
  Graph graph(context, kPointwise);
  std::vector<HostTensor> before = graph.run({{1, 4, 4, 128}});
  std::vector<TensorDecision> decisions;
  Int8Options options{nullptr, {}, &decisions, {}};
  options.calibration.push_back({randomTensor(
      RankedTensorType::get({1, 4, 4, 128}, Float32Type::get(&context)), 100)});
  transform(graph, [&](OpPassManager &passes) {
    passes.addPass(createQuantizeInt8Pass(&graph.weights, options));
  });
  EXPECT_LT(relativeError(graph.run({{1, 4, 4, 128}}), before), 0.03);
  EXPECT_EQ(graph.count<nn::MatMulOp>(), 2u);
  EXPECT_EQ(graph.count<nn::DynamicQuantizeOp>(), 2u);
  EXPECT_EQ(graph.count<nn::QuantizeOp>(), 1u);
  for (const TensorDecision &decision : decisions)
    EXPECT_EQ(decision.format, "int8 per channel") << decision.reason;
}

TEST_F(PassesTest, ConvolutionsStayFloatWhereTheTargetHasNoKernel) {
  struct ProductsOnly : TestTarget {
    using TestTarget::TestTarget;
    std::optional<std::string> whyUnsupported(Operation *op) const override {
      EXPECT_TRUE(succeeded(verify(op)));
      return "none";
    }
    std::optional<KernelEstimate>
    estimateMatMul(int64_t, int64_t, int64_t, StringRef format) const override {
      return KernelEstimate{"generated", format == "int8" ? 0.5 : 1.0, false};
    }
  };
  ProductsOnly target(8, false);
  Graph graph(context, kImage);
  std::vector<TensorDecision> decisions;
  Int8Options options{&target, {}, &decisions, {}};
  options.calibration.push_back({randomTensor(
      RankedTensorType::get({1, 8, 8, 32}, Float32Type::get(&context)), 3)});
  transform(graph, [&](OpPassManager &passes) {
    passes.addPass(createQuantizeInt8Pass(&graph.weights, options));
  });
  ASSERT_EQ(decisions.size(), 1u);
  EXPECT_EQ(decisions[0].reason, "no int8 convolution for test");
  EXPECT_EQ(graph.count<nn::QuantizeOp>(), 0u);
  EXPECT_EQ(graph.count<nn::FusedOp>(), 0u);
}

TEST_F(PassesTest, FusedNormalizationHandsOutTheSumToo) {
  Graph graph(context, R"(
    func.func @main(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
      %s = nn.binary add %a, %b : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
      %e = nn.unary exp %s : (tensor<4x8xf32>) -> tensor<4x8xf32>
      %n = nn.layer_norm %s {epsilon = 1.0e-5 : f32} : (tensor<4x8xf32>) -> tensor<4x8xf32>
      %m = nn.binary mul %n, %e : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
      return %m, %s : tensor<4x8xf32>, tensor<4x8xf32>
    })");
  std::vector<HostTensor> before = graph.run({{4, 8}, {4, 8}});
  transform(graph,
            [&](OpPassManager &passes) { passes.addPass(createFusePass()); });
  EXPECT_EQ(relativeError(graph.run({{4, 8}, {4, 8}}), before), 0);
  unsigned results = 0;
  graph.module->walk(
      [&](nn::FusedOp op) { results = std::max(results, op.getNumResults()); });
  EXPECT_EQ(results, 2u);
}

} // namespace
