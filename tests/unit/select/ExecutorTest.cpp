//===- ExecutorTest.cpp - Graphs run by kernels, whole and in parts -------===//
#include "backends/cpu/HostExecutor.h"
#include "mlir/IR/Verifier.h"
#include "passes/calibrate/ProductMoments.h"
#include "passes/calibrate/Segments.h"
#include "tests/unit/passes/TestGraph.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

/// Two residual layers with a bias that is computed from the input alone.
constexpr char kModel[] = R"(
  #t = affine_map<()[s0] -> (s0)>
  #x = affine_map<()[s0] -> (s0, 32)>
  #h = affine_map<()[s0] -> (s0, 48)>
  nn.weight @table : tensor<20x32xf32>
  nn.weight @places : tensor<64x32xf32>
  nn.weight @up0 : tensor<48x32xf32>
  nn.weight @down0 : tensor<32x48xf32>
  nn.weight @up1 : tensor<48x32xf32>
  nn.weight @down1 : tensor<32x48xf32>
  func.func @main(%i: tensor<?xi32, #t>, %p: tensor<?xi32, #t>) -> tensor<?x32xf32, #x>
      attributes {nn.dim_names = ["tokens"], nn.dim_min = array<i64: 1>, nn.dim_max = array<i64: 64>} {
    %table = nn.param @table : tensor<20x32xf32>
    %places = nn.param @places : tensor<64x32xf32>
    %up0 = nn.param @up0 : tensor<48x32xf32>
    %down0 = nn.param @down0 : tensor<32x48xf32>
    %up1 = nn.param @up1 : tensor<48x32xf32>
    %down1 = nn.param @down1 : tensor<32x48xf32>
    %place = nn.gather %places, %p {axis = 0 : i64} : (tensor<64x32xf32>, tensor<?xi32, #t>) -> tensor<?x32xf32, #x>
    %x = nn.gather %table, %i {axis = 0 : i64} : (tensor<20x32xf32>, tensor<?xi32, #t>) -> tensor<?x32xf32, #x>
    %a = nn.binary add %x, %place : (tensor<?x32xf32, #x>, tensor<?x32xf32, #x>) -> tensor<?x32xf32, #x>
    %0 = nn.matmul %a, %up0 {transpose_rhs} : (tensor<?x32xf32, #x>, tensor<48x32xf32>) -> tensor<?x48xf32, #h>
    %1 = nn.unary silu %0 : (tensor<?x48xf32, #h>) -> tensor<?x48xf32, #h>
    %2 = nn.matmul %1, %down0 {transpose_rhs} : (tensor<?x48xf32, #h>, tensor<32x48xf32>) -> tensor<?x32xf32, #x>
    %b = nn.binary add %a, %2 : (tensor<?x32xf32, #x>, tensor<?x32xf32, #x>) -> tensor<?x32xf32, #x>
    %c = nn.binary add %b, %place : (tensor<?x32xf32, #x>, tensor<?x32xf32, #x>) -> tensor<?x32xf32, #x>
    %3 = nn.matmul %c, %up1 {transpose_rhs} : (tensor<?x32xf32, #x>, tensor<48x32xf32>) -> tensor<?x48xf32, #h>
    %4 = nn.unary silu %3 : (tensor<?x48xf32, #h>) -> tensor<?x48xf32, #h>
    %5 = nn.matmul %4, %down1 {transpose_rhs} : (tensor<?x48xf32, #h>, tensor<32x48xf32>) -> tensor<?x32xf32, #x>
    %d = nn.binary add %c, %5 : (tensor<?x32xf32, #x>, tensor<?x32xf32, #x>) -> tensor<?x32xf32, #x>
    return %d : tensor<?x32xf32, #x>
  })";

struct ExecutorTest : testing::Test {
  Context context;
  Graph graph{context, kModel};
  std::unique_ptr<Executor> executor;
  std::vector<HostTensor> inputs;

  void SetUp() override {
    auto made = cpu::createHostExecutor();
    ASSERT_TRUE(bool(made)) << llvm::toString(made.takeError());
    executor = std::move(*made);
    auto type = RankedTensorType::get({7}, IntegerType::get(&context, 32));
    inputs = {HostTensor(type, ArrayRef<int64_t>{3, 1, 4, 1, 5, 9, 2}),
              HostTensor(type, ArrayRef<int64_t>{0, 1, 2, 3, 4, 5, 6})};
  }

  std::vector<HostTensor> interpret() {
    auto result = Interpreter(*graph.module, graph.weights).run(inputs);
    EXPECT_TRUE(bool(result));
    return std::move(*result);
  }
  std::vector<HostTensor> execute(OwningOpRef<ModuleOp> module,
                                  ArrayRef<HostTensor> arguments) {
    EXPECT_TRUE(succeeded(verify(*module)));
    auto compiled = executor->compile(std::move(module), graph.weights);
    if (!compiled) {
      ADD_FAILURE() << llvm::toString(compiled.takeError());
      return {};
    }
    auto first = (*compiled)->run(arguments);
    auto again = (*compiled)->run(arguments);
    EXPECT_TRUE(bool(first) && bool(again));
    for (auto [a, b] : llvm::zip_equal(*first, *again))
      EXPECT_EQ(a.bytes(), b.bytes());
    return std::move(*first);
  }
};

TEST_F(ExecutorTest, GivesWhatTheInterpreterGives) {
  EXPECT_LT(relativeError(execute(graph.module->clone(), inputs), interpret()),
            1e-6);
}

TEST_F(ExecutorTest, RefusesInputsOfOtherShapes) {
  auto compiled = executor->compile(graph.module->clone(), graph.weights);
  ASSERT_TRUE(bool(compiled));
  EXPECT_FALSE(bool(llvm::expectedToOptional(
      (*compiled)->run(ArrayRef(inputs).take_front(1)))));
}

TEST_F(ExecutorTest, SegmentsChainToTheWhole) {
  func::FuncOp entry = nn::getEntry(*graph.module);
  auto readsWeight = [](Operation *op) {
    return isa<nn::MatMulOp>(op) ||
           (isa<nn::GatherOp>(op) &&
            nn::getWeight(op->getOperand(0)).getSymName() == "table");
  };
  std::vector<Segment> segments = cutIntoSegments(entry, readsWeight);
  // What no such weight changes, the embedding, then one part per layer.
  ASSERT_EQ(segments.size(), 4u);
  const size_t ops[] = {1, 1, 5, 5}, outputs[] = {1, 1, 1, 0};
  for (auto [segment, count] : llvm::zip(segments, ops))
    EXPECT_EQ(segment.ops.size(), count);
  for (auto [segment, count] : llvm::zip(segments, outputs))
    EXPECT_EQ(segment.outputs.size(), count);

  DenseMap<Value, HostTensor> values;
  for (const Segment &segment : segments) {
    SmallVector<Value> results(segment.outputs);
    if (results.empty())
      results.push_back(segment.ops.back()->getResult(0));
    std::vector<HostTensor> arguments = inputs;
    for (Value input : segment.inputs)
      arguments.push_back(values.at(input));
    auto made =
        execute(extractOps(*graph.module, segment.ops, segment.inputs, results),
                arguments);
    ASSERT_EQ(made.size(), results.size());
    for (auto [value, tensor] : llvm::zip(results, made))
      values[value] = tensor;
  }
  Value result = entry.front().getTerminator()->getOperand(0);
  EXPECT_LT(relativeError({values.at(result)}, interpret()), 1e-6);
}

TEST_F(ExecutorTest, OneValueGoesOnBetweenSegments) {
  // The first layer's input and its activation go on: no cut within a layer.
  auto isFirst = [&](Operation *op) {
    auto matmul = dyn_cast<nn::MatMulOp>(op);
    return matmul && nn::getWeight(matmul.getRhs()).getSymName() == "up0";
  };
  EXPECT_EQ(cutIntoSegments(nn::getEntry(*graph.module), isFirst).size(), 2u);
}

TEST_F(ExecutorTest, SumsMomentsOfProductsInputs) {
  auto type = RankedTensorType::get({2, 5, 24}, Float32Type::get(&context));
  HostTensor exact = randomTensor(type, 1), changed = randomTensor(type, 2);
  CrossProducts products(*executor, context);
  ProductMoments moments(24);
  auto sumType = RankedTensorType::get({2, 5, 3}, Float32Type::get(&context));
  HostTensor whole = randomTensor(sumType, 3), less = randomTensor(sumType, 4);
  ProductMoments::Sums sums{whole, less};
  std::vector<float> weights;
  for (int row = 0; row < 10; ++row)
    weights.push_back(0.25f * float(row));
  ASSERT_FALSE(bool(moments.add(exact, changed, {}, products, &sums)));
  ASSERT_FALSE(bool(moments.add(exact, changed, weights, products, &sums)));
  ASSERT_FALSE(bool(moments.finish(products)));
  EXPECT_EQ(moments.rows(), 20);
  ArrayRef<float> x = changed.values<float>(), y = exact.values<float>();
  for (int64_t i = 0; i < 24; ++i)
    for (int64_t j = 0; j < 24; ++j) {
      double second = 0, shift = 0;
      for (int64_t row = 0; row < 10; ++row) {
        double times = 1 + weights[row];
        second += times * x[row * 24 + i] * x[row * 24 + j];
        shift += times * (y[row * 24 + i] - x[row * 24 + i]) * x[row * 24 + j];
      }
      EXPECT_NEAR(moments.second()[i * 24 + j], second, 1e-5);
      EXPECT_NEAR(moments.shift()[i * 24 + j], shift, 1e-5);
    }
  ArrayRef<float> s = whole.values<float>(), t = less.values<float>();
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 24; ++j) {
      double lack = 0;
      for (int64_t row = 0; row < 10; ++row)
        lack += (1 + weights[row]) * (s[row * 3 + i] - t[row * 3 + i]) *
                x[row * 24 + j];
      EXPECT_NEAR(moments.lack()[i * 24 + j], lack, 1e-5);
    }
  HostTensor infinite(type);
  infinite.values<float>()[3] = INFINITY;
  EXPECT_TRUE(
      bool(llvm::errorToBool(moments.add(exact, infinite, {}, products))));
}

} // namespace
