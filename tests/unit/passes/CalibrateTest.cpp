#include "passes/calibrate/Calibrate.h"
#include "TestGraph.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

HostTensor vector(Context &context, ArrayRef<float> values) {
  return HostTensor(RankedTensorType::get({int64_t(values.size())},
                                          Float32Type::get(&context)),
                    values);
}

TEST(ActivationStatistics, UniformValuesAreNotClipped) {
  Context context;
  std::vector<float> values;
  for (int i = -1000; i <= 1000; ++i)
    values.push_back(float(i) / 100);
  ActivationStatistics statistics;
  statistics.add(vector(context, values));
  EXPECT_EQ(statistics.absMax(), 10);
  EXPECT_NEAR(statistics.chooseThreshold(), 10, 0.11);
}

TEST(ActivationStatistics, ALoneOutlierIsClipped) {
  Context context;
  std::vector<float> values;
  for (int i = 0; i < 3000000; ++i)
    values.push_back(float(i % 1000) / 1000);
  values.push_back(4);
  ActivationStatistics statistics;
  statistics.add(vector(context, values));
  double threshold = statistics.chooseThreshold();
  EXPECT_LT(threshold, 3);
  EXPECT_GE(threshold, 0.95);
}

TEST(ActivationStatistics, TheRangeGrowsWithoutLosingCounts) {
  Context context;
  ActivationStatistics statistics;
  statistics.add(vector(context, {1e-3f, 0, -2e-3f}));
  statistics.add(vector(context, {500, -1000}));
  EXPECT_EQ(statistics.count(), 5u);
  EXPECT_EQ(statistics.absMax(), 1000);
  EXPECT_NEAR(statistics.chooseThreshold(), 1000, 30);
  EXPECT_EQ(ActivationStatistics().chooseThreshold(), 0);
}

TEST(Calibrate, NamesTheSampleAndTheValueThatIsNotFinite) {
  Context context;
  Graph graph(context, R"(
    func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      %0 = nn.unary log %x : (tensor<2xf32>) -> tensor<2xf32> loc("logarithm")
      return %0 : tensor<2xf32>
    })");
  Value log;
  graph.module->walk([&](nn::UnaryOp op) { log = op; });
  ActivationStatistics statistics;
  DenseMap<Value, Observer> observers = {
      {log, [&](const HostTensor &x) -> llvm::Error {
         statistics.add(x);
         return llvm::Error::success();
       }}};
  EXPECT_FALSE(calibrate(*graph.module, graph.weights,
                         {{vector(context, {1, 2})}}, observers));
  EXPECT_NEAR(statistics.absMax(), 0.6931, 1e-4);
  llvm::Error bad = calibrate(
      *graph.module, graph.weights,
      {{vector(context, {1, 2})}, {vector(context, {0, 1})}}, observers);
  EXPECT_EQ(llvm::toString(std::move(bad)),
            "calibration sample 2 makes 'logarithm' NaN or infinite: leave it "
            "out, or do not quantize this model");
}

} // namespace
