//===- WeightsTest.cpp - Weights quantized layer by layer -----------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/cpu/HostExecutor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "tests/unit/passes/TestGraph.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Parallel.h"
#include <cmath>

using namespace mlir;
using namespace pare;
using namespace pare::test;
using encode::RoundMethod;

namespace {

constexpr int64_t kWidth = 64, kRows = 48;

/// Residual layers as of a transformer's feed-forward half; every second
/// product has its weight as [inputs, outputs].
std::string makeModel(unsigned layers) {
  std::string weights, params, ops, stream = "%x";
  for (unsigned i = 0; i < layers; ++i) {
    weights += llvm::formatv("nn.weight @up{0} : tensor<96x64xf32>\n"
                             "nn.weight @down{0} : tensor<96x64xf32>\n",
                             i);
    params +=
        llvm::formatv("%up{0} = nn.param @up{0} : tensor<96x64xf32>\n"
                      "%down{0} = nn.param @down{0} : tensor<96x64xf32>\n",
                      i);
    ops += llvm::formatv(
        R"(%a{0} = nn.matmul {1}, %up{0} {{transpose_rhs} : (tensor<?x64xf32, #x>, tensor<96x64xf32>) -> tensor<?x96xf32, #h> loc("a{0}")
           %b{0} = nn.unary silu %a{0} : (tensor<?x96xf32, #h>) -> tensor<?x96xf32, #h> loc("b{0}")
           %c{0} = nn.matmul %b{0}, %down{0} : (tensor<?x96xf32, #h>, tensor<96x64xf32>) -> tensor<?x64xf32, #x> loc("c{0}")
           %d{0} = nn.binary add {1}, %c{0} : (tensor<?x64xf32, #x>, tensor<?x64xf32, #x>) -> tensor<?x64xf32, #x> loc("d{0}")
        )",
        i, stream);
    stream = llvm::formatv("%d{0}", i);
  }
  return "#x = affine_map<()[s0] -> (s0, 64)>\n"
         "#h = affine_map<()[s0] -> (s0, 96)>\n" +
         weights +
         "func.func @main(%x: tensor<?x64xf32, #x>) -> tensor<?x64xf32, #x> "
         "attributes {nn.dim_names = [\"rows\"], nn.dim_min = array<i64: 1>, "
         "nn.dim_max = array<i64: 64>} {\n" +
         params + ops + "return " + stream + " : tensor<?x64xf32, #x>\n}\n";
}

/// Inputs that are correlated, as activations are: all mixtures of few.
HostTensor makeSample(MLIRContext &context, unsigned seed) {
  Type f32 = Float32Type::get(&context);
  constexpr int64_t kSources = 12;
  HostTensor mixing =
      randomTensor(RankedTensorType::get({kSources, kWidth}, f32), 1000);
  HostTensor sources =
      randomTensor(RankedTensorType::get({kRows, kSources}, f32), seed);
  HostTensor noise =
      randomTensor(RankedTensorType::get({kRows, kWidth}, f32), seed + 1);
  auto m = mixing.values<float>(), s = sources.values<float>(),
       n = noise.values<float>();
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t i = 0; i < kWidth; ++i) {
      float sum = 0.1f * n[row * kWidth + i];
      for (int64_t j = 0; j < kSources; ++j)
        sum += s[row * kSources + j] * m[j * kWidth + i];
      n[row * kWidth + i] = sum;
    }
  return noise;
}

struct WeightsTest : testing::Test {
  Context context;
  std::unique_ptr<Executor> executor;
  std::vector<TensorDecision> decisions;

  void SetUp() override {
    auto made = cpu::createHostExecutor();
    ASSERT_TRUE(bool(made)) << llvm::toString(made.takeError());
    executor = std::move(*made);
  }

  /// Products in `format`; eight samples for methods that look at inputs.
  WeightOptions makeOptions(StringRef format, RoundMethod method) {
    WeightOptions options;
    options.products = format.str();
    options.encode.method = method;
    options.executor = executor.get();
    for (unsigned i = 0; i < 8; ++i)
      options.calibration.push_back({makeSample(context, 10 * i)});
    options.decisions = &decisions;
    return options;
  }
  void addRule(WeightOptions &options, StringRef text) {
    auto [pattern, format] = text.rsplit('=');
    options.rules.push_back({text.str(),
                             llvm::cantFail(llvm::GlobPattern::create(pattern)),
                             format.str()});
  }

  /// Runs the pass; its error, or nothing.
  std::string quantize(Graph &graph, WeightOptions options) {
    decisions.clear();
    std::string message;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      message += diagnostic.str();
      return success();
    });
    PassManager passes(&context);
    passes.addPass(
        createQuantizeWeightsPass(&graph.weights, std::move(options)));
    bool isDone = succeeded(passes.run(*graph.module));
    EXPECT_EQ(isDone, message.empty()) << message;
    EXPECT_TRUE(succeeded(verify(*graph.module)));
    return message;
  }

  HostTensor interpret(Graph &graph, const HostTensor &x) {
    auto result = Interpreter(*graph.module, graph.weights).run({x});
    if (!result) {
      ADD_FAILURE() << llvm::toString(result.takeError());
      return x;
    }
    return std::move(result->front());
  }

  /// Relative error of the whole model's output on samples that nothing was
  /// calibrated on.
  double outputError(Graph &exact, Graph &changed) {
    double error = 0, norm = 0;
    for (unsigned seed = 500; seed < 506; ++seed) {
      HostTensor x = makeSample(context, seed);
      HostTensor y = interpret(exact, x), z = interpret(changed, x);
      for (auto [a, b] :
           llvm::zip_equal(y.values<float>(), z.values<float>())) {
        error += double(a - b) * double(a - b);
        norm += double(a) * double(a);
      }
    }
    return std::sqrt(error / norm);
  }

  std::string formatOf(StringRef tensor) {
    for (const TensorDecision &d : decisions)
      if (d.tensor == tensor)
        return StringRef(d.format).split(',').first.str();
    return "none";
  }
};

/// All bytes of weights, by name and in the module's order.
std::string dump(Graph &graph) {
  std::string bytes;
  for (nn::WeightOp weight : graph.module->getOps<nn::WeightOp>()) {
    const TensorData &data = graph.weights.get(weight.getSymName());
    bytes += weight.getSymName().str() + ":";
    bytes.append(data.bytes.begin(), data.bytes.end());
  }
  return bytes;
}

TEST_F(WeightsTest, LookingAtInputsLosesLess) {
  Graph exact(context, makeModel(3));
  std::map<RoundMethod, double> errors;
  for (RoundMethod method :
       {RoundMethod::Nearest, RoundMethod::Gptq, RoundMethod::GptqDescent,
        RoundMethod::AutoRound}) {
    Graph graph(context, makeModel(3));
    ASSERT_EQ(quantize(graph, makeOptions("uint3_g32", method)), "");
    ASSERT_EQ(decisions.size(), 6u);
    for (const TensorDecision &d : decisions) {
      EXPECT_GT(d.error, 0);
      EXPECT_LT(d.error, 0.5);
    }
    errors[method] = outputError(exact, graph);
    RecordProperty(std::to_string(int(method)), std::to_string(errors[method]));
  }
  double nearest = errors[RoundMethod::Nearest];
  EXPECT_GT(nearest, 0.01);
  EXPECT_LT(errors[RoundMethod::Gptq], 0.8 * nearest);
  EXPECT_LT(errors[RoundMethod::GptqDescent], 0.8 * nearest);
  EXPECT_LT(errors[RoundMethod::AutoRound], nearest);
}

TEST_F(WeightsTest, MoreBitsLoseLess) {
  Graph exact(context, makeModel(2));
  double last = 1;
  for (StringRef format : {"uint2_g32", "uint3_g32", "uint4_g32", "int8_g32"}) {
    Graph graph(context, makeModel(2));
    ASSERT_EQ(quantize(graph, makeOptions(format, RoundMethod::GptqDescent)),
              "");
    double error = outputError(exact, graph);
    EXPECT_LT(error, 0.7 * last) << format.str();
    last = error;
  }
  EXPECT_LT(last, 0.01);
}

TEST_F(WeightsTest, LayersAreFittedToInputsAsTheyAreByThen) {
  Graph exact(context, makeModel(2)), graph(context, makeModel(2));
  WeightOptions options = makeOptions("uint2_g32", RoundMethod::Gptq);
  ASSERT_EQ(quantize(graph, options), "");
  auto up = llvm::find_if(
      decisions, [](const TensorDecision &d) { return d.tensor == "up1"; });
  ASSERT_NE(up, decisions.end());

  // The second layer's input, exact and behind the quantized first layer.
  Graph first(context, makeModel(1));
  func::FuncOp entry = nn::getEntry(*graph.module);
  Value stream;
  entry.walk([&](nn::BinaryOp op) {
    if (!stream)
      stream = op;
  });
  auto run = [&](bool isExact, const HostTensor &x) {
    if (isExact)
      return interpret(first, x);
    HostTensor found;
    auto probe = [&](Value value, const HostTensor &tensor) {
      if (value == stream)
        found = tensor;
    };
    EXPECT_TRUE(
        bool(Interpreter(*graph.module, graph.weights).run({x}, probe)));
    return found;
  };
  // The weight, and what became of it.
  std::vector<float> weight = exact.weights.get("up1").toF32(), made;
  for (nn::WeightOp op : graph.module->getOps<nn::WeightOp>())
    if (op.getSource() == "up1")
      made = graph.weights.get(op.getSymName()).toF32();
  ASSERT_EQ(made.size(), weight.size());

  auto relative = [&](bool isExact) {
    double error = 0, norm = 0;
    for (const std::vector<HostTensor> &sample : options.calibration) {
      HostTensor x = run(isExact, sample.front());
      ArrayRef<float> values = x.values<float>();
      for (int64_t row = 0; row < kRows; ++row)
        for (int64_t out = 0; out < 96; ++out) {
          double lost = 0, whole = 0;
          for (int64_t i = 0; i < kWidth; ++i) {
            double value = values[row * kWidth + i];
            lost += value * (weight[out * kWidth + i] - made[out * kWidth + i]);
            whole += value * weight[out * kWidth + i];
          }
          error += lost * lost;
          norm += whole * whole;
        }
    }
    return std::sqrt(error / norm);
  };
  double changed = relative(false);
  EXPECT_NEAR(up->error, changed, 0.005 * changed);
  EXPECT_GT(std::abs(relative(true) - changed), 0.02 * changed);
}

TEST_F(WeightsTest, TwoRunsAndAnyThreadsGiveTheSameBytes) {
  std::vector<std::string> bytes;
  for (unsigned threads : {0, 0, 1}) {
    llvm::ThreadPoolStrategy before = llvm::parallel::strategy;
    if (threads)
      llvm::parallel::strategy = llvm::hardware_concurrency(threads);
    Graph graph(context, makeModel(2));
    EXPECT_EQ(quantize(graph, makeOptions("uint3_g32_k6x64",
                                          RoundMethod::GptqDescent)),
              "");
    bytes.push_back(dump(graph));
    llvm::parallel::strategy = before;
  }
  EXPECT_EQ(bytes[0], bytes[1]);
  EXPECT_EQ(bytes[0], bytes[2]);
}

TEST_F(WeightsTest, RulesWinAndTheLastOfThemMost) {
  Graph graph(context, makeModel(2));
  WeightOptions options = makeOptions("uint4_g32", RoundMethod::Nearest);
  addRule(options, "up*=int8_g32");
  addRule(options, "up1=keep");
  addRule(options, "down0=nf4_g64");
  addRule(options, "down0=uint2_g32");
  ASSERT_EQ(quantize(graph, options), "");
  EXPECT_EQ(formatOf("up0"), "int8_g32");
  EXPECT_EQ(formatOf("up1"), "f32");
  EXPECT_EQ(formatOf("down0"), "uint2_g32");
  EXPECT_EQ(formatOf("down1"), "uint4_g32");
}

TEST_F(WeightsTest, RulesNeedNoDefault) {
  Graph graph(context, makeModel(2));
  WeightOptions options = makeOptions("keep", RoundMethod::Gptq);
  addRule(options, "down1=uint4_g32");
  ASSERT_EQ(quantize(graph, options), "");
  for (StringRef name : {"up0", "down0", "up1"})
    EXPECT_EQ(formatOf(name), "f32") << name.str();
  EXPECT_EQ(formatOf("down1"), "uint4_g32");
}

TEST_F(WeightsTest, ARuleThatMatchesNothingNamesWhatIsNear) {
  Graph graph(context, makeModel(2));
  WeightOptions options = makeOptions("uint4_g32", RoundMethod::Nearest);
  addRule(options, "donw1=int8_g32");
  std::string message = quantize(graph, options);
  EXPECT_NE(message.find("--rule donw1=int8_g32: no weight has such a name"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("near it: 'down1'"), std::string::npos) << message;
}

TEST_F(WeightsTest, ARuleThatLaterOnesOverruleStillMatches) {
  Graph graph(context, makeModel(1));
  WeightOptions options = makeOptions("uint4_g32", RoundMethod::Nearest);
  addRule(options, "up0=int8_g32");
  addRule(options, "*=uint3_g32");
  ASSERT_EQ(quantize(graph, options), "");
  EXPECT_EQ(formatOf("up0"), "uint3_g32");
}

TEST_F(WeightsTest, MergedWeightsHaveOneFormat) {
  constexpr char kMerged[] = R"(
    nn.weight @qk : tensor<64x128xf32> {nn.source_sizes = array<i64: 96, 32>, nn.sources = ["q", "k"], source = "q"}
    func.func @main(%x: tensor<5x64xf32>) -> tensor<5x128xf32> {
      %w = nn.param @qk : tensor<64x128xf32>
      %0 = nn.matmul %x, %w : (tensor<5x64xf32>, tensor<64x128xf32>) -> tensor<5x128xf32>
      return %0 : tensor<5x128xf32>
    })";
  WeightOptions options;
  options.products = "uint4_g32";
  options.encode.method = RoundMethod::Nearest;
  options.decisions = &decisions;
  addRule(options, "k=int8_g32");
  Graph parted(context, kMerged);
  EXPECT_EQ(quantize(parted, options),
            "'q' and 'k' are one product here: give them one format");
  addRule(options, "q=int8_g32");
  Graph merged(context, kMerged);
  EXPECT_EQ(quantize(merged, options), "");
  EXPECT_EQ(formatOf("q"), "int8_g32");
  EXPECT_EQ(formatOf("k"), "int8_g32");
  EXPECT_EQ(decisions.front().shape, (std::vector<int64_t>{64, 96}));
  EXPECT_EQ(decisions.front().bytesBefore, 64u * 96 * 4);
  EXPECT_EQ(decisions.front().bytesAfter, 64u * 96 * 17 / 16);
}

TEST_F(WeightsTest, WeightsThatAreNoNumbersStay) {
  Graph graph(context, makeModel(2));
  const TensorData &data = graph.weights.get("down0");
  std::vector<float> values = data.toF32();
  RankedTensorType type = data.type;
  values[77] = NAN;
  graph.weights.erase("down0");
  graph.weights.addOwned("down0", type, ArrayRef(values));
  ASSERT_EQ(quantize(graph, makeOptions("uint4_g32", RoundMethod::Nearest)),
            "");
  EXPECT_EQ(formatOf("down0"), "f32");
  EXPECT_EQ(formatOf("up0"), "uint4_g32");
  for (const TensorDecision &d : decisions)
    if (d.tensor == "down0") {
      EXPECT_EQ(d.reason, "holds NaN or infinite values");
      EXPECT_EQ(d.error, 0);
    }
}

TEST_F(WeightsTest, NamesTheSampleThatBecomesInfinite) {
  // Of finite values some have infinite squares, or make later ones infinite.
  for (auto [value, name] : {std::pair(3e38f, "' has"), {9e14f, "'b0' has"}}) {
    Graph graph(context, makeModel(2));
    WeightOptions options = makeOptions("uint4_g32", RoundMethod::Gptq);
    for (float &x : options.calibration[4].front().values<float>())
      x = value;
    std::string message = quantize(graph, options);
    EXPECT_TRUE(StringRef(message).starts_with("calibration sample 5: "))
        << message;
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_NE(message.find("NaN, infinite or beyond 1e15"), std::string::npos)
        << message;
  }
}

TEST_F(WeightsTest, UnknownFormatsAreErrors) {
  Graph graph(context, makeModel(1));
  EXPECT_EQ(quantize(graph, makeOptions("uint9_g32", RoundMethod::Nearest)),
            "unknown format 'uint9_g32'");
}

TEST_F(WeightsTest, PatternsAreStoredWithoutZerosWhereThatPays) {
  Graph dense(context, makeModel(2));
  WeightOptions options = makeOptions("int8_g32", RoundMethod::Nearest);
  options.sparsity = prune::Sparsity{0, 2, 4};
  EXPECT_EQ(quantize(dense, options), "");
  ASSERT_EQ(decisions.size(), 4u);
  for (const TensorDecision &decision : decisions)
    EXPECT_EQ(decision.format, "int8_g32, 8.50 bits");

  HostTensor x = makeSample(context, 500);
  for (auto [name, isFaster] :
       {std::pair("x86-64-v3", true), std::pair("x86-64", false)}) {
    Graph graph(context, makeModel(2));
    cpu::CpuTarget target(llvm::cantFail(cpu::Isa::parse(name)));
    options.target = &target;
    EXPECT_EQ(quantize(graph, options), "");
    ASSERT_EQ(decisions.size(), 4u);
    for (const TensorDecision &decision : decisions) {
      EXPECT_EQ(decision.format,
                isFaster ? "int8_g32_2of4, 5.50 bits" : "int8_g32, 8.50 bits");
      EXPECT_EQ(decision.bytesAfter, 96u * 64 / 32 * (isFaster ? 22 : 34));
      EXPECT_EQ(StringRef(decision.reason)
                    .contains("zeros are stored: dense is no slower here: 64 "
                              "rows by "),
                !isFaster)
          << decision.reason;
    }
    // The weights are the same.
    EXPECT_TRUE(interpret(graph, x).values<float>() ==
                interpret(dense, x).values<float>());
  }
  addRule(options, "up0=uint4_g32");
  cpu::CpuTarget target(llvm::cantFail(cpu::Isa::parse("x86-64-v3")));
  options.target = &target;
  Graph graph(context, makeModel(1));
  EXPECT_EQ(quantize(graph, options), "");
  ASSERT_EQ(decisions.size(), 2u);
  EXPECT_TRUE(StringRef(decisions[0].reason)
                  .contains("zeros are stored: no sparse uint4_g32"))
      << decisions[0].reason;
}

} // namespace
