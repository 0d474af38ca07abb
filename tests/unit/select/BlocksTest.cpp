//===- BlocksTest.cpp - Models with weights in blocks, by kernels ---------===//
#include "passes/Pipelines.h"
#include "tests/unit/gguf/RandomBlocks.h"
#include "tests/unit/passes/TestGraph.h"
#include "tests/unit/select/RunProgram.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

/// A feed-forward block between a tied embedding's two uses; T tokens.
constexpr char kModel[] = R"(
  #t = affine_map<()[s0] -> (s0)>
  #x = affine_map<()[s0] -> (s0, 256)>
  #h = affine_map<()[s0] -> (s0, 512)>
  #y = affine_map<()[s0] -> (s0, 45)>
  nn.weight @embed : tensor<45x256xf32> {blocks = "q8_0"}
  nn.weight @up : tensor<512x256xf32> {blocks = "q4_1"}
  nn.weight @gate : tensor<512x256xf32> {blocks = "q4_k"}
  nn.weight @down : tensor<256x512xf32> {blocks = "q6_k"}
  func.func @main(%i: tensor<?xi32, #t>) -> tensor<?x45xf32, #y> {
    %e = nn.param @embed : tensor<45x256xf32>
    %u = nn.param @up : tensor<512x256xf32>
    %g = nn.param @gate : tensor<512x256xf32>
    %d = nn.param @down : tensor<256x512xf32>
    %x = nn.gather %e, %i {axis = 0 : i64} : (tensor<45x256xf32>, tensor<?xi32, #t>) -> tensor<?x256xf32, #x>
    %n = nn.rms_norm %x {epsilon = 1.0e-5 : f32} : (tensor<?x256xf32, #x>) -> tensor<?x256xf32, #x>
    %0 = nn.matmul %n, %u {transpose_rhs} : (tensor<?x256xf32, #x>, tensor<512x256xf32>) -> tensor<?x512xf32, #h>
    %1 = nn.matmul %n, %g {transpose_rhs} : (tensor<?x256xf32, #x>, tensor<512x256xf32>) -> tensor<?x512xf32, #h>
    %2 = nn.unary silu %1 : (tensor<?x512xf32, #h>) -> tensor<?x512xf32, #h>
    %3 = nn.binary mul %0, %2 : (tensor<?x512xf32, #h>, tensor<?x512xf32, #h>) -> tensor<?x512xf32, #h>
    %4 = nn.matmul %3, %d {transpose_rhs} : (tensor<?x512xf32, #h>, tensor<256x512xf32>) -> tensor<?x256xf32, #x>
    %5 = nn.binary add %x, %4 : (tensor<?x256xf32, #x>, tensor<?x256xf32, #x>) -> tensor<?x256xf32, #x>
    %6 = nn.rms_norm %5 {epsilon = 1.0e-5 : f32} : (tensor<?x256xf32, #x>) -> tensor<?x256xf32, #x>
    %y = nn.matmul %6, %e {transpose_rhs} : (tensor<?x256xf32, #x>, tensor<45x256xf32>) -> tensor<?x45xf32, #y>
    return %y : tensor<?x45xf32, #y>
  })";

struct BlocksTest : testing::Test {
  Context context;
  OwningOpRef<ModuleOp> module;
  WeightStore weights;
  std::vector<TensorDecision> decisions;

  void SetUp() override {
    module = parseSourceString<ModuleOp>(kModel, &context);
    ASSERT_TRUE(module);
    std::mt19937 rng(5);
    for (auto weight : module->getOps<nn::WeightOp>()) {
      auto type = cast<RankedTensorType>(weight.getType());
      const BlockStorage &storage =
          *gguf::findTensorType(*weight.getBlocks())->storage;
      weights.addOwnedBlocks(weight.getSymName(), type, storage,
                             makeBlocks(storage, type.getNumElements(), rng));
    }
  }

  void optimize(BlockActivations activations) {
    PassManager passes(&context);
    PipelineOptions options;
    options.weights = &weights;
    options.blocks.activations = activations;
    options.blocks.decisions = &decisions;
    buildPipeline(passes, options);
    ASSERT_TRUE(succeeded(passes.run(*module)));
  }

  static HostTensor makeTokens(MLIRContext &context, int64_t count) {
    std::vector<int64_t> tokens;
    for (int64_t i = 0; i < count; ++i)
      tokens.push_back(i * 7 % 45);
    return HostTensor(
        RankedTensorType::get({count}, IntegerType::get(&context, 32)),
        ArrayRef(tokens));
  }

  /// The kernels against the interpreter, for one token and for several.
  void compare(double tolerance, cpu::Program *program) {
    for (int64_t count : {1, 9}) {
      HostTensor tokens = makeTokens(context, count);
      auto expected = orFail(Interpreter(*module, weights).run(tokens));
      auto actual = runSelected(*module, weights, test::isa("host"), tokens,
                                count, program);
      EXPECT_LT(relativeError(actual, expected), tolerance) << count;
    }
  }
};

TEST_F(BlocksTest, CodesGiveWhatTheGraphSays) {
  optimize(BlockActivations::Auto);
  cpu::Program program;
  // Codes differ by one where rounding is close, as it often is for what comes
  // from few levels.
  compare(1e-2, &program);
  unsigned packed = 0;
  for (const cpu::PackedWeight &weight : program.packed)
    packed += StringRef(weight.key).starts_with("blocks:");
  EXPECT_EQ(packed, 4u) << "a tied embedding is stored once";

  ASSERT_EQ(decisions.size(), 4u);
  EXPECT_EQ(decisions[0].tensor, "embed");
  EXPECT_EQ(decisions[0].format, "q8_0, 8.50 bits");
  EXPECT_EQ(decisions[0].bytesAfter, 45u * 256 / 32 * 34);
  EXPECT_EQ(decisions[0].reason,
            "activations in int8, one scale per 32; rows are looked up");
  EXPECT_EQ(decisions[3].format, "q6_k, 6.56 bits");
}

TEST_F(BlocksTest, FloatActivations) {
  optimize(BlockActivations::F32);
  module->walk([](nn::DynamicQuantizeOp) { ADD_FAILURE(); });
  cpu::Program program;
  compare(1e-5, &program);
  ASSERT_EQ(decisions.size(), 4u);
  EXPECT_EQ(decisions[1].reason, "activations stay f32 as --activations says");
}

} // namespace
