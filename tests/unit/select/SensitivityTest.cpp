//===- SensitivityTest.cpp - What rounding each weight does ---------------===//
#include "passes/quantize/Sensitivity.h"
#include "backends/cpu/HostExecutor.h"
#include "passes/quantize/encode/Encode.h"
#include "tests/unit/passes/TestGraph.h"
#include <cmath>

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

/// Two layers of two products each and a projection to logits.
constexpr char kModel[] = R"(
  nn.weight @a0 : tensor<96x64xf32>
  nn.weight @b0 : tensor<96x64xf32>
  nn.weight @a1 : tensor<96x64xf32>
  nn.weight @b1 : tensor<96x64xf32>
  nn.weight @head : tensor<32x64xf32>
  func.func @main(%x: tensor<24x64xf32>) -> tensor<24x32xf32> {
    %a0 = nn.param @a0 : tensor<96x64xf32>
    %b0 = nn.param @b0 : tensor<96x64xf32>
    %a1 = nn.param @a1 : tensor<96x64xf32>
    %b1 = nn.param @b1 : tensor<96x64xf32>
    %head = nn.param @head : tensor<32x64xf32>
    %0 = nn.matmul %x, %a0 {transpose_rhs} : (tensor<24x64xf32>, tensor<96x64xf32>) -> tensor<24x96xf32>
    %1 = nn.unary silu %0 : (tensor<24x96xf32>) -> tensor<24x96xf32>
    %2 = nn.matmul %1, %b0 : (tensor<24x96xf32>, tensor<96x64xf32>) -> tensor<24x64xf32>
    %3 = nn.binary add %x, %2 : (tensor<24x64xf32>, tensor<24x64xf32>) -> tensor<24x64xf32>
    %4 = nn.matmul %3, %a1 {transpose_rhs} : (tensor<24x64xf32>, tensor<96x64xf32>) -> tensor<24x96xf32>
    %5 = nn.unary silu %4 : (tensor<24x96xf32>) -> tensor<24x96xf32>
    %6 = nn.matmul %5, %b1 : (tensor<24x96xf32>, tensor<96x64xf32>) -> tensor<24x64xf32>
    %7 = nn.binary add %3, %6 : (tensor<24x64xf32>, tensor<24x64xf32>) -> tensor<24x64xf32>
    %8 = nn.matmul %7, %head {transpose_rhs} : (tensor<24x64xf32>, tensor<32x64xf32>) -> tensor<24x32xf32>
    return %8 : tensor<24x32xf32>
  })";

struct SensitivityTest : testing::Test {
  Context context;
  Graph graph{context, kModel};
  std::unique_ptr<Executor> executor;
  std::vector<std::vector<HostTensor>> samples;
  llvm::StringMap<SmallVector<OpOperand *>> uses;

  void SetUp() override {
    auto made = cpu::createHostExecutor();
    ASSERT_TRUE(bool(made)) << llvm::toString(made.takeError());
    executor = std::move(*made);
    auto type = RankedTensorType::get({24, 64}, Float32Type::get(&context));
    // Small ones, so that logits are.
    for (unsigned seed : {100, 200, 300}) {
      std::vector<float> values = randomTensor(type, seed).read<float>();
      for (float &value : values)
        value *= 0.02f;
      samples.push_back({HostTensor(type, values)});
    }
    nn::getEntry(*graph.module).walk([&](nn::ParamOp param) {
      for (OpOperand &use : param->getUses())
        uses[param.getWeight()].push_back(&use);
    });
  }

  static bool isTransposed(StringRef name) { return name.starts_with("b"); }

  std::vector<double> measure(ArrayRef<StringRef> names, OutputMetric metric) {
    std::vector<WeightTarget> probes;
    for (StringRef name : names)
      probes.push_back({graph.module->lookupSymbol<nn::WeightOp>(name),
                        uses[name], isTransposed(name),
                        findBlockFormat("int4_g32")});
    std::string before, after;
    llvm::raw_string_ostream(before) << *graph.module;
    auto found = measureSensitivity(*graph.module, graph.weights, *executor,
                                    samples, probes, metric, nullptr);
    llvm::raw_string_ostream(after) << *graph.module;
    EXPECT_EQ(before, after);
    if (found)
      return *found;
    ADD_FAILURE() << llvm::toString(found.takeError());
    return {};
  }

  /// The metric, by the interpreter, of a model in which `names` are rounded.
  double expect(ArrayRef<StringRef> names, OutputMetric metric) {
    Graph changed(context, kModel);
    for (StringRef name : names) {
      const TensorData &data = changed.weights.get(name);
      int64_t rows = data.type.getDimSize(0), columns = data.type.getDimSize(1);
      std::vector<float> values = data.toF32(), turned = values;
      bool turns = isTransposed(name);
      auto turn = [](ArrayRef<float> from, int64_t rows, int64_t columns) {
        std::vector<float> to(from.size());
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < columns; ++j)
            to[j * rows + i] = from[i * columns + j];
        return to;
      };
      if (turns)
        turned = turn(values, rows, columns), std::swap(rows, columns);
      const BlockFormat &format = *findBlockFormat("int4_g32");
      auto encoded =
          encode::encodeMatrix(turned, rows, columns, format,
                               {.method = encode::RoundMethod::Nearest});
      decodeBlocks(format, encoded.planes, turned);
      values = turns ? turn(turned, rows, columns) : turned;
      RankedTensorType type = data.type;
      changed.weights.erase(name);
      changed.weights.addOwned(name, type, values);
    }
    double error = 0, norm = 0;
    for (const auto &sample : samples) {
      auto y = Interpreter(*graph.module, graph.weights).run(sample),
           z = Interpreter(*changed.module, changed.weights).run(sample);
      EXPECT_TRUE(y && z);
      std::vector<double> a = y->front().read<double>(),
                          b = z->front().read<double>();
      if (metric == OutputMetric::RelativeSquare) {
        for (auto [p, q] : llvm::zip_equal(a, b)) {
          error += (p - q) * (p - q);
          norm += p * p;
        }
        continue;
      }
      for (int64_t row = 0; row < 24; ++row) {
        double sums[2] = {}, divergence = 0;
        for (int64_t i = row * 32; i < row * 32 + 32; ++i)
          sums[0] += std::exp(a[i]), sums[1] += std::exp(b[i]);
        for (int64_t i = row * 32; i < row * 32 + 32; ++i)
          divergence += std::exp(a[i]) / sums[0] *
                        (a[i] - std::log(sums[0]) - b[i] + std::log(sums[1]));
        error += divergence;
        ++norm;
      }
    }
    return error / norm;
  }
};

TEST_F(SensitivityTest, OneWeightOfALayerIsMeasuredAlone) {
  for (OutputMetric metric :
       {OutputMetric::RelativeSquare, OutputMetric::Divergence}) {
    StringRef names[] = {"a0", "b1", "head"};
    std::vector<double> found = measure(names, metric);
    ASSERT_EQ(found.size(), 3u);
    for (auto [name, cost] : llvm::zip_equal(names, found)) {
      double expected = expect(name, metric);
      EXPECT_GT(expected, 1e-6);
      EXPECT_NEAR(cost, expected, 0.01 * expected) << name.str();
    }
  }
}

TEST_F(SensitivityTest, WeightsOfALayerShareWhatTheyDoTogether) {
  StringRef names[] = {"a0", "b0", "a1", "b1"};
  std::vector<double> found = measure(names, OutputMetric::RelativeSquare);
  ASSERT_EQ(found.size(), 4u);
  double both = expect({"a1", "b1"}, OutputMetric::RelativeSquare);
  EXPECT_NEAR(found[2] + found[3], both, 0.01 * both);
  // Behind the last layer nothing changes their proportion.
  double a = expect(StringRef("a1"), OutputMetric::RelativeSquare),
         b = expect(StringRef("b1"), OutputMetric::RelativeSquare);
  EXPECT_NEAR(found[2] / found[3], a / b, 0.25 * a / b);
}

TEST_F(SensitivityTest, RoundingErrorsFallWithBits) {
  const TensorData &data = graph.weights.get("a0");
  double last = 1;
  for (StringRef format : {"uint2_g32", "uint3_g32", "uint4_g32", "int8_g32"}) {
    double error = getRoundingError(data, false, *findBlockFormat(format));
    EXPECT_LT(error, 0.4 * last);
    EXPECT_GT(error, 0);
    last = error;
  }
}

} // namespace
