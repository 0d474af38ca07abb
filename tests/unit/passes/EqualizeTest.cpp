#include "passes/quantize/Equalize.h"
#include "TestGraph.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

class Equalize : public ::testing::Test {
protected:
  HostTensor tensor(ArrayRef<int64_t> shape, ArrayRef<float> values) {
    return HostTensor(RankedTensorType::get(shape, Float32Type::get(&context)),
                      values);
  }

  /// Rows whose value k has mean 3 · k % 5 and is `outlier` times as wide for
  /// k = 3.
  HostTensor activation(int64_t rows, int64_t size, float outlier) {
    HostTensor x = randomTensor(
        RankedTensorType::get({rows, size}, Float32Type::get(&context)), 9);
    for (auto [i, value] : llvm::enumerate(x.values<float>()))
      value = value * (i % size == 3 ? outlier : 1.0f) + 3 * (i % size) % 5;
    return x;
  }

  Type byte() { return IntegerType::get(&context, 8); }

  Context context;
};

TEST_F(Equalize, MomentsOfTransformedRows) {
  HostTensor x = tensor({3, 2}, {1, 2, 3, 4, 5, 0});
  SecondMoments moments(2);
  moments.add(x);
  EXPECT_EQ(moments.rows(), 3);
  EXPECT_EQ(moments.means(), std::vector<double>({3, 2}));
  EXPECT_EQ(moments.samples().vec(), std::vector<float>({1, 2, 3, 4, 5, 0}));

  SecondMoments expected(2), found = moments.transformed({1, -2}, {2, 4});
  expected.add(tensor({3, 2}, {0, 1, 1, 1.5, 2, 0.5}));
  EXPECT_EQ(found.sums().vec(), expected.sums().vec());
  EXPECT_EQ(found.means(), expected.means());
  EXPECT_EQ(found.samples().vec(), expected.samples().vec());
}

TEST_F(Equalize, ALargeChannelIsScaledAndMeansAreTakenOff) {
  constexpr int64_t kSize = 32, kOutputs = 24;
  SecondMoments moments(kSize);
  moments.add(activation(400, kSize, 60));
  HostTensor weights = randomTensor(
      RankedTensorType::get({kSize, kOutputs}, Float32Type::get(&context)), 2);
  auto to = chooseInputTransform(moments, weights.values<float>(), byte());
  ASSERT_TRUE(to);
  EXPECT_EQ(to->shift, moments.means());
  for (int64_t k = 0; k < kSize; ++k)
    if (k != 3)
      EXPECT_GT(to->scale[3], 4 * to->scale[k]) << k;
}

TEST_F(Equalize, ChannelsThatAreAlikeStayAsTheyAre) {
  constexpr int64_t kSize = 16;
  SecondMoments moments(kSize);
  moments.add(randomTensor(
      RankedTensorType::get({200, kSize}, Float32Type::get(&context)), 4));
  std::vector<float> weights(kSize * kSize);
  for (int64_t k = 0; k < kSize; ++k)
    for (int64_t c = 0; c < kSize; ++c)
      weights[k * kSize + c] = (k + c) % 2 ? 0.5f : -0.5f;
  EXPECT_FALSE(chooseInputTransform(moments, weights, byte()));
  EXPECT_FALSE(chooseInputTransform(SecondMoments(kSize), weights, byte()));
}

TEST_F(Equalize, FewRowsSayTooLittle) {
  constexpr int64_t kSize = 32;
  HostTensor weights = randomTensor(
      RankedTensorType::get({kSize, kSize}, Float32Type::get(&context)), 2);
  for (int64_t rows : {4 * kSize - 1, 4 * kSize}) {
    SecondMoments moments(kSize);
    moments.add(activation(rows, kSize, 60));
    EXPECT_EQ(
        bool(chooseInputTransform(moments, weights.values<float>(), byte())),
        rows == 4 * kSize);
  }
}

constexpr llvm::StringLiteral kLayer = R"(
  nn.weight @scale : tensor<32xf32>
  nn.weight @bias : tensor<32xf32>
  nn.weight @qkv : tensor<32x96xf32>
  nn.weight @qkv_bias : tensor<96xf32>
  nn.weight @out : tensor<40x32xf32>
  func.func @main(%x: tensor<1x130x32xf32>) -> tensor<1x130x40xf32> {
    %scale = nn.param @scale : tensor<32xf32>
    %bias = nn.param @bias : tensor<32xf32>
    %qkv = nn.param @qkv : tensor<32x96xf32>
    %qkv_bias = nn.param @qkv_bias : tensor<96xf32>
    %out = nn.param @out : tensor<40x32xf32>
    %n = nn.layer_norm %x scale %scale bias %bias {epsilon = 1.0e-5 : f32} : (tensor<1x130x32xf32>, tensor<32xf32>, tensor<32xf32>) -> tensor<1x130x32xf32>
    %p = nn.matmul %n, %qkv : (tensor<1x130x32xf32>, tensor<32x96xf32>) -> tensor<1x130x96xf32>
    %b = nn.binary add %p, %qkv_bias : (tensor<1x130x96xf32>, tensor<96xf32>) -> tensor<1x130x96xf32>
    %q = nn.slice %b {starts = affine_map<() -> (0, 0, 0)>, steps = array<i64: 1, 1, 1>} : (tensor<1x130x96xf32>) -> tensor<1x130x32xf32>
    %k = nn.slice %b {starts = affine_map<() -> (0, 0, 32)>, steps = array<i64: 1, 1, 1>} : (tensor<1x130x96xf32>) -> tensor<1x130x32xf32>
    %v = nn.slice %b {starts = affine_map<() -> (0, 0, 64)>, steps = array<i64: 1, 1, 1>} : (tensor<1x130x96xf32>) -> tensor<1x130x32xf32>
    %qh = nn.reshape %q : (tensor<1x130x32xf32>) -> tensor<1x130x4x8xf32>
    %kh = nn.reshape %k : (tensor<1x130x32xf32>) -> tensor<1x130x4x8xf32>
    %vh = nn.reshape %v : (tensor<1x130x32xf32>) -> tensor<1x130x4x8xf32>
    %a = nn.attention %qh, %kh, %vh {scale = 0.35 : f32} : (tensor<1x130x4x8xf32>, tensor<1x130x4x8xf32>, tensor<1x130x4x8xf32>) -> tensor<1x130x4x8xf32>
    %f = nn.reshape %a : (tensor<1x130x4x8xf32>) -> tensor<1x130x32xf32>
    %y = nn.matmul %f, %out {transpose_rhs} : (tensor<1x130x32xf32>, tensor<40x32xf32>) -> tensor<1x130x40xf32>
    return %y : tensor<1x130x40xf32>
  })";

/// Makes four inputs of the layer's products much larger than the others.
void addOutliers(Graph &graph) {
  for (StringRef name : {"scale", "bias", "qkv_bias"}) {
    const TensorData &data = graph.weights.get(name);
    HostTensor view = HostTensor::view(data);
    std::vector<float> values = view.read<float>();
    for (auto [i, value] : llvm::enumerate(values))
      if (i % 32 == 5 || i % 32 == 20)
        value *= 40;
    HostTensor changed(view.type(), ArrayRef(values));
    graph.weights.erase(name);
    graph.weights.addOwned(
        name, view.type(),
        std::vector<uint8_t>(changed.bytes().begin(), changed.bytes().end()));
  }
}

TEST_F(Equalize, TheFloatFunctionStaysWhatItIs) {
  Graph graph(context, kLayer);
  addOutliers(graph);
  std::vector<HostTensor> before = graph.run({{1, 130, 32}});

  DenseMap<Value, SecondMoments> moments;
  SmallVector<Value> products;
  graph.module->walk([&](nn::MatMulOp op) {
    products.push_back(op);
    moments.try_emplace(op.getLhs(), 32);
  });
  HostTensor input = randomTensor(
      RankedTensorType::get({1, 130, 32}, Float32Type::get(&context)), 100);
  auto observe = [&] {
    DenseMap<Value, SecondMoments> seen;
    graph.module->walk(
        [&](nn::MatMulOp op) { seen.try_emplace(op.getLhs(), 32); });
    auto results = Interpreter(*graph.module, graph.weights)
                       .run({input}, [&](Value value, const HostTensor &x) {
                         if (auto it = seen.find(value); it != seen.end())
                           it->second.add(x);
                       });
    EXPECT_TRUE(bool(results));
    return seen;
  };
  moments = observe();
  std::vector<double> widest = {0, 0};
  auto getWidest = [](const SecondMoments &of) {
    auto samples = of.samples();
    return *std::max_element(samples.begin(), samples.end()) -
           *std::min_element(samples.begin(), samples.end());
  };
  SmallVector<Value> inputs = {
      cast<nn::MatMulOp>(products[0].getDefiningOp()).getLhs(),
      cast<nn::MatMulOp>(products[1].getDefiningOp()).getLhs()};
  for (int i : {0, 1})
    widest[i] = getWidest(moments.find(inputs[i])->second);

  std::vector<std::pair<Value, Value>> replaced;
  equalizeInputs(
      *graph.module, graph.weights, moments, [](OpOperand &) { return true; },
      byte(), [&](Value from, Value to) { replaced.emplace_back(from, to); });
  ASSERT_TRUE(succeeded(verify(*graph.module)));
  EXPECT_LT(relativeError(graph.run({{1, 130, 32}}), before), 1e-5);

  // Both inputs changed: their moments are of what they are now.
  DenseMap<Value, SecondMoments> after = observe();
  for (int i : {0, 1}) {
    const SecondMoments &known = moments.find(inputs[i])->second,
                        &seen = after.find(inputs[i])->second;
    // Values of the attention are all alike: taking off means is what helps.
    EXPECT_LT(getWidest(seen), widest[i] / (i == 0 ? 3 : 1.2)) << i;
    for (auto [a, b] : llvm::zip_equal(known.sums(), seen.sums()))
      EXPECT_NEAR(a, b, 1e-3 * (std::abs(b) + 1)) << i;
  }
  // The last product had no bias: it has one now, in the result's place.
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0].first, products[1]);
  EXPECT_TRUE(replaced[0].second.getDefiningOp<nn::BinaryOp>());
}

TEST_F(Equalize, WeightsThatStayFloatKeepTheirInputs) {
  Graph graph(context, kLayer);
  addOutliers(graph);
  std::string before, after;
  llvm::raw_string_ostream(before) << *graph.module;
  DenseMap<Value, SecondMoments> moments;
  graph.module->walk([&](nn::MatMulOp op) {
    moments.try_emplace(op.getLhs(), 32)
        .first->second.add(activation(200, 32, 30));
  });
  equalizeInputs(
      *graph.module, graph.weights, moments, [](OpOperand &) { return false; },
      byte(), [](Value, Value) {});
  llvm::raw_string_ostream(after) << *graph.module;
  EXPECT_EQ(before, after);
}

TEST_F(Equalize, AddsToABiasOrMakesOne) {
  for (bool hasBias : {true, false}) {
    std::string text = R"(
      nn.weight @w : tensor<8x4xf32>
      nn.weight @b : tensor<4xf32>
      func.func @main(%x: tensor<3x8xf32>) -> tensor<3x4xf32> {
        %w = nn.param @w : tensor<8x4xf32>
        %b = nn.param @b : tensor<4xf32>
        %y = nn.matmul %x, %w : (tensor<3x8xf32>, tensor<8x4xf32>) -> tensor<3x4xf32>
)";
    text += hasBias ? "%z = nn.binary add %b, %y : (tensor<4xf32>, "
                      "tensor<3x4xf32>) -> tensor<3x4xf32>\n"
                    : "%z = nn.unary relu %y : (tensor<3x4xf32>) -> "
                      "tensor<3x4xf32>\n";
    text += "return %z : tensor<3x4xf32>\n}";
    Graph graph(context, text);
    std::vector<HostTensor> before = graph.run({{3, 8}});
    Value product;
    graph.module->walk([&](nn::MatMulOp op) { product = op; });
    // Without a bias the ReLU clips nothing after this.
    std::vector<double> numbers = {100, 200, 300, 400};
    Value moved = addToProduct(product, numbers, graph.weights);
    EXPECT_EQ(moved == product, hasBias);
    EXPECT_EQ(graph.count<nn::BinaryOp>(), 1u);
    std::vector<HostTensor> after = graph.run({{3, 8}});
    std::vector<float> x = before[0].read<float>(), y = after[0].read<float>();
    for (size_t i = 0; i < x.size(); ++i)
      if (hasBias || x[i] > 0)
        EXPECT_NEAR(y[i] - x[i], numbers[i % 4], 1e-3);
  }
}

} // namespace
