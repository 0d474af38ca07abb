//===- BlocksTest.cpp - Models with weights in blocks, by kernels ---------===//
#include "backends/cpu/CpuTarget.h"
#include "passes/Pipelines.h"
#include "passes/quantize/SparseFormats.h"
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
  cpu::CpuTarget target{test::isa("host"), {}};

  void SetUp() override { makeModel(kModel); }

  void makeModel(StringRef text) {
    module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    weights = {};
    std::mt19937 rng(5);
    for (auto weight : module->getOps<nn::WeightOp>()) {
      auto type = cast<RankedTensorType>(weight.getType());
      const gguf::TensorType *ggufType =
          gguf::findTensorType(*weight.getBlocks());
      const BlockStorage &storage =
          ggufType ? *ggufType->storage
                   : getPlainStorage(*findBlockFormat(*weight.getBlocks()));
      weights.addOwnedBlocks(weight.getSymName(), type, storage,
                             makeBlocks(storage, type.getNumElements(), rng));
    }
  }

  void optimize(BlockActivations activations) {
    PassManager passes(&context);
    PipelineOptions options;
    options.weights = &weights;
    options.blocks.activations = activations;
    options.blocks.target = &target;
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

/// kModel with other formats of its weights.
std::string
withFormats(std::initializer_list<std::pair<StringRef, StringRef>> formats) {
  std::string text = kModel;
  for (auto [from, to] : formats) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST_F(BlocksTest, FormatsThatPareQuantizesTo) {
  for (BlockActivations activations :
       {BlockActivations::Auto, BlockActivations::F32}) {
    makeModel(withFormats({{"q8_0", "uint8_g64"},
                           {"q4_1", "int3_g32_k4x256"},
                           {"q4_k", "uint4_g128"},
                           {"q6_k", "uint6_g16_k6x512"}}));
    decisions.clear();
    optimize(activations);
    cpu::Program program;
    compare(activations == BlockActivations::F32 ? 1e-5 : 1e-2, &program);
    ASSERT_EQ(decisions.size(), 4u);
    EXPECT_EQ(decisions[1].format, "int3_g32_k4x256, 3.19 bits");
    if (activations == BlockActivations::Auto)
      for (const TensorDecision &decision : decisions)
        EXPECT_TRUE(StringRef(decision.reason)
                        .starts_with("activations in int8, one scale per 32"))
            << decision.reason;
  }
}

TEST_F(BlocksTest, SparseFormats) {
  for (BlockActivations activations :
       {BlockActivations::Auto, BlockActivations::F32}) {
    makeModel(withFormats({{"q8_0", "int8_g32_2of4"},
                           {"q4_1", "int4_g64_2of4"},
                           {"q4_k", "int6_g16_k6x256_2of4"},
                           {"q6_k", "nf4_g64_2of4"}}));
    decisions.clear();
    optimize(activations);
    cpu::Program program;
    compare(activations == BlockActivations::F32 ? 1e-5 : 1e-2, &program);
    ASSERT_EQ(decisions.size(), 4u);
    EXPECT_EQ(decisions[0].format, "int8_g32_2of4, 5.50 bits");
    EXPECT_EQ(decisions[0].bytesAfter, 45u * 256 / 32 * 22);
    EXPECT_EQ(decisions[1].format, "int4_g64_2of4, 3.25 bits");
    if (activations == BlockActivations::Auto)
      EXPECT_EQ(decisions[3].reason,
                "activations stay f32: codebooks other than 16 integers of 8 "
                "bits have no integer kernel");
  }
}

TEST_F(BlocksTest, SparseFormatsWithoutKernelsAreStoredDecoded) {
  makeModel(withFormats({{"q8_0", "int5_g32_2of4"}}));
  optimize(BlockActivations::Auto);
  cpu::Program program;
  compare(1e-2, &program);
  EXPECT_EQ(decisions[0].reason,
            "activations stay f32: sparse codes of an odd number of bits have "
            "no kernel; rows are looked up");
}

TEST(SparseFormatsTest, WhereTheyPay) {
  auto whyNot = [](const char *isa, const char *format, int64_t m) {
    return whyNotSparse(cpu::CpuTarget(test::isa(isa)),
                        *findBlockFormat(format), m, 1536, 1536);
  };
  // One row waits for memory.
  for (const char *isa :
       {"x86-64-v3", "x86-64-v4+avx512vnni", "aarch64+dotprod"})
    for (const char *format : {"int8_g32_2of4", "int4_g32_2of4"})
      EXPECT_EQ(whyNot(isa, format, 1), std::nullopt) << isa << format;
  // AVX2 takes half the instructions for 8 bits; VNNI multiplies quads, which
  // have to be made.
  EXPECT_EQ(whyNot("x86-64-v3", "int8_g32_2of4", 128), std::nullopt);
  auto why = whyNot("x86-64-v4+avx512vnni", "int8_g32_2of4", 128);
  ASSERT_TRUE(why);
  EXPECT_TRUE(StringRef(*why).starts_with(
      "dense is no slower here: 128 rows by 1536x1536 take "))
      << *why;
  EXPECT_NE(why->find(" us in int8_g32, "), std::string::npos) << *why;
  EXPECT_NE(why->find(" us in int8_g32_2of4"), std::string::npos) << *why;
  // Where nothing shuffles bytes, quads are made for every row.
  EXPECT_TRUE(whyNot("x86-64", "int8_g32_2of4", 1));
  // 2 bits and their places are as large as dense ones.
  EXPECT_TRUE(whyNot("x86-64-v3", "int2_g32_2of4", 1));
  EXPECT_EQ(whyNot("x86-64-v3", "nf4_g64_2of4", 1),
            "codebooks other than 16 integers of 8 bits have no integer "
            "kernel");
}

TEST_F(BlocksTest, WhereSparseFormatsPayInAModel) {
  cpu::CpuTarget vnni(test::isa("x86-64-v4+avx512vnni"));
  const BlockFormat &format = *findBlockFormat("int8_g32_2of4");
  auto whyNot = [&](StringRef weight) {
    SmallVector<OpOperand *> uses;
    module->walk([&](nn::ParamOp param) {
      if (param.getWeight() == weight)
        for (OpOperand &use : param->getUses())
          uses.push_back(&use);
    });
    return whyNotSparse(vnni, format, uses);
  };
  // As many rows as are typical.
  auto why = whyNot("up");
  ASSERT_TRUE(why);
  EXPECT_NE(why->find(" 64 rows by 512x256 take "), std::string::npos) << *why;
  // With a cache it is a language model, which reads weights for every token.
  makeModel(
      withFormats({{"nn.weight @embed",
                    "nn.cache @c {heads = 1 : i64, head_dim = 8 : i64, "
                    "capacity = 16 : i64, type = f32}\nnn.weight @embed"}}));
  EXPECT_EQ(whyNot("up"), std::nullopt);
}

TEST_F(BlocksTest, CodebooksOfFractionsKeepFloatActivations) {
  makeModel(withFormats({{"q8_0", "nf4_g64"},
                         {"q4_1", "fp8_e4m3_g32"},
                         {"q4_k", "fp8_e5m2_g128"},
                         {"q6_k", "nf4_g256"}}));
  optimize(BlockActivations::Auto);
  module->walk([](nn::DynamicQuantizeOp) { ADD_FAILURE(); });
  cpu::Program program;
  compare(1e-5, &program);
  ASSERT_EQ(decisions.size(), 4u);
  EXPECT_EQ(decisions[0].format, "nf4_g64, 4.25 bits");
  EXPECT_EQ(decisions[0].reason,
            "activations stay f32: codebooks other than 16 integers of 8 bits "
            "have no integer kernel; rows are looked up");
}

TEST_F(BlocksTest, RowsOfHalfAStepAreStoredDecoded) {
  makeModel(R"(
    nn.weight @w : tensor<8x48xf32> {blocks = "int4_g16"}
    func.func @main(%x: tensor<2x48xf32>, %i: tensor<3xi32>) -> (tensor<2x8xf32>, tensor<3x48xf32>) {
      %w = nn.param @w : tensor<8x48xf32>
      %y = nn.matmul %x, %w {transpose_rhs} : (tensor<2x48xf32>, tensor<8x48xf32>) -> tensor<2x8xf32>
      %r = nn.gather %w, %i {axis = 0 : i64} : (tensor<8x48xf32>, tensor<3xi32>) -> tensor<3x48xf32>
      return %y, %r : tensor<2x8xf32>, tensor<3x48xf32>
    })");
  optimize(BlockActivations::Auto);
  std::vector<HostTensor> inputs = {
      randomTensor(RankedTensorType::get({2, 48}, Float32Type::get(&context)),
                   7),
      makeTokens(context, 3)};
  for (int32_t &index : inputs[1].values<int32_t>())
    index %= 8;
  auto expected = orFail(Interpreter(*module, weights).run(inputs));
  cpu::Program program;
  auto actual =
      runSelected(*module, weights, test::isa("host"), inputs, {}, &program);
  EXPECT_LT(relativeError(actual, expected), 1e-6);
  for (const cpu::PackedWeight &weight : program.packed)
    EXPECT_FALSE(StringRef(weight.key).starts_with("blocks:"));
}

} // namespace
