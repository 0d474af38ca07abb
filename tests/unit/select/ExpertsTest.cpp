//===- ExpertsTest.cpp - Mixtures of experts, by kernels ------------------===//
#include "passes/Pipelines.h"
#include "tests/unit/gguf/RandomBlocks.h"
#include "tests/unit/passes/TestGraph.h"
#include "tests/unit/select/RunProgram.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace pare;
using namespace pare::test;

namespace {

/// Rows by two of five experts each, once with a row per token, once with one
/// per slot; WEIGHT is the type of both matrices.
constexpr char kModel[] = R"(
  #l = affine_map<()[s0] -> (s0, 5)>
  #x = affine_map<()[s0] -> (s0, 512)>
  #y = affine_map<()[s0] -> (s0, 2, 512)>
  #z = affine_map<()[s0] -> (s0, 2, 37)>
  #k = affine_map<()[s0] -> (s0, 2)>
  #s = affine_map<()[s0] -> (s0, 2, 1)>
  nn.weight @w : tensor<5x37x512xWEIGHT> BLOCKS
  func.func @main(%l: tensor<?x5xf32, #l>, %x: tensor<?x512xf32, #x>, %y: tensor<?x2x512xf32, #y>)
      -> (tensor<?x2x37xf32, #z>, tensor<?x2x37xf32, #z>) {
    %w = nn.param @w : tensor<5x37x512xWEIGHT>
    %p, %e = nn.route %l {used = 2 : i64, normalize} : (tensor<?x5xf32, #l>) -> (tensor<?x2xf32, #k>, tensor<?x2xi32, #k>)
    %o, %b = nn.group_by_expert %e {count = 5 : i64} : (tensor<?x2xi32, #k>) -> (tensor<?x2xi32, #k>, tensor<6xi32>)
    %0 = nn.expert_matmul %x, %w by %o, %b : (tensor<?x512xf32, #x>, tensor<5x37x512xWEIGHT>, tensor<?x2xi32, #k>, tensor<6xi32>) -> tensor<?x2x37xf32, #z>
    %1 = nn.unary silu %0 : (tensor<?x2x37xf32, #z>) -> tensor<?x2x37xf32, #z>
    %2 = nn.expert_matmul %y, %w by %o, %b : (tensor<?x2x512xf32, #y>, tensor<5x37x512xWEIGHT>, tensor<?x2xi32, #k>, tensor<6xi32>) -> tensor<?x2x37xf32, #z>
    %3 = nn.reshape %p : (tensor<?x2xf32, #k>) -> tensor<?x2x1xf32, #s>
    %4 = nn.binary mul %2, %3 : (tensor<?x2x37xf32, #z>, tensor<?x2x1xf32, #s>) -> tensor<?x2x37xf32, #z>
    return %1, %4 : tensor<?x2x37xf32, #z>, tensor<?x2x37xf32, #z>
  })";

OwningOpRef<ModuleOp> parse(MLIRContext &context, StringRef type,
                            StringRef blocks) {
  std::string text = kModel;
  auto replace = [&](StringRef what, StringRef by) {
    for (size_t at; (at = text.find(what.str())) != std::string::npos;)
      text.replace(at, what.size(), by.str());
  };
  replace("WEIGHT", type);
  replace("BLOCKS",
          blocks.empty() ? "" : ("{blocks = \"" + blocks + "\"}").str());
  return parseSourceString<ModuleOp>(text, &context);
}

void optimize(ModuleOp module, WeightStore &weights,
              BlockActivations activations) {
  PassManager passes(module.getContext());
  PipelineOptions options;
  options.weights = &weights;
  options.blocks.activations = activations;
  buildPipeline(passes, options);
  ASSERT_TRUE(succeeded(passes.run(module)));
}

/// Inputs of `rows` rows; expert 3 is never the best.
std::vector<HostTensor> makeInputs(MLIRContext &context, int64_t rows) {
  Type f32 = Float32Type::get(&context);
  HostTensor logits = randomTensor(RankedTensorType::get({rows, 5}, f32), 1);
  for (int64_t i = 0; i < rows; ++i)
    logits.values<float>()[i * 5 + 3] = -9;
  return {logits, randomTensor(RankedTensorType::get({rows, 512}, f32), 2),
          randomTensor(RankedTensorType::get({rows, 2, 512}, f32), 3)};
}

/// Row `row` of each input.
std::vector<HostTensor> takeRow(ArrayRef<HostTensor> inputs, int64_t row) {
  std::vector<HostTensor> result;
  for (const HostTensor &input : inputs) {
    SmallVector<int64_t> shape(input.shape());
    int64_t size = input.size() / shape[0];
    shape[0] = 1;
    result.emplace_back(RankedTensorType::get(shape, input.element()),
                        input.values<float>().slice(row * size, size));
  }
  return result;
}

/// The kernels against the interpreter, and a row alone against it in a batch,
/// bit for bit.
void check(ModuleOp module, const WeightStore &weights, double tolerance) {
  constexpr int64_t kRows = 70; // more slots than a task takes
  std::vector<HostTensor> inputs = makeInputs(*module.getContext(), kRows);
  std::vector<HostTensor> expected =
      orFail(Interpreter(module, weights).run(inputs));
  std::vector<HostTensor> actual =
      runSelected(module, weights, test::isa("host"), inputs, kRows);
  EXPECT_LT(relativeError(actual, expected), tolerance);
  constexpr int64_t kRow = 61;
  std::vector<HostTensor> alone = runSelected(
      module, weights, test::isa("host"), takeRow(inputs, kRow), int64_t(1));
  for (size_t i = 0; i < alone.size(); ++i)
    EXPECT_EQ(alone[i].values<float>(),
              actual[i].values<float>().slice(kRow * 2 * 37, 2 * 37));
}

TEST(Experts, EveryStorage) {
  std::mt19937 rng(9);
  for (const gguf::TensorType *type : getBlockTypes())
    for (auto activations : {BlockActivations::Int8, BlockActivations::F32}) {
      // Decoding to f32 is BlockGemmTest's.
      if (activations == BlockActivations::F32 && type->name != "Q6_K")
        continue;
      SCOPED_TRACE(type->name.str());
      const BlockStorage &storage = *type->storage;
      Context context;
      auto module = parse(context, "f32", storage.format.name);
      ASSERT_TRUE(module);
      WeightStore weights;
      auto weight = *module->getOps<nn::WeightOp>().begin();
      auto shape = cast<RankedTensorType>(weight.getType());
      weights.addOwnedBlocks("w", shape, storage,
                             makeBlocks(storage, shape.getNumElements(), rng));
      optimize(*module, weights, activations);
      unsigned codes = 0;
      module->walk([&](nn::DynamicQuantizeOp) { ++codes; });
      EXPECT_EQ(codes, activations == BlockActivations::F32 ? 0u : 2u);
      check(*module, weights, 1e-4);
    }
}

TEST(Experts, PlainMatricesStackedOfParts) {
  for (const char *type : {"f32", "f16", "bf16"}) {
    SCOPED_TRACE(type);
    Context context;
    auto module = parse(context, type, "");
    ASSERT_TRUE(module);
    auto weight = *module->getOps<nn::WeightOp>().begin();
    Type element = getElementTypeOrSelf(weight.getType());
    WeightStore weights;
    std::vector<std::string> parts;
    for (unsigned i = 0; i < 5; ++i) {
      HostTensor part =
          randomTensor(RankedTensorType::get({37, 512}, element), 20 + i);
      parts.push_back(weights.addOwned(
          "part", part.type(),
          std::vector<uint8_t>(part.bytes().begin(), part.bytes().end())));
    }
    ASSERT_FALSE(weights.stack("w", parts));
    optimize(*module, weights, BlockActivations::Auto);
    check(*module, weights, 1e-5);
  }
}

/// Routing alone, all results of both ops.
std::vector<HostTensor> route(HostTensor logits, StringRef flags,
                              bool byKernels) {
  std::string text =
      (R"(
    func.func @main(%l: tensor<19x77xf32>) -> (tensor<19x6xf32>, tensor<19x6xi32>, tensor<19x6xi32>, tensor<78xi32>) {
      %p, %e = nn.route %l {used = 6 : i64)" +
       flags +
       R"(} : (tensor<19x77xf32>) -> (tensor<19x6xf32>, tensor<19x6xi32>)
      %o, %b = nn.group_by_expert %e {count = 77 : i64} : (tensor<19x6xi32>) -> (tensor<19x6xi32>, tensor<78xi32>)
      return %p, %e, %o, %b : tensor<19x6xf32>, tensor<19x6xi32>, tensor<19x6xi32>, tensor<78xi32>
    })")
          .str();
  auto module = parseSourceString<ModuleOp>(text, logits.type().getContext());
  EXPECT_TRUE(module);
  WeightStore weights;
  if (!byKernels)
    return orFail(Interpreter(*module, weights).run(logits));
  return runSelected(*module, weights, test::isa("host"), logits, {});
}

TEST(Experts, RoutesAsTheInterpreter) {
  Context context;
  auto type = RankedTensorType::get({19, 77}, Float32Type::get(&context));
  HostTensor distinct = randomTensor(type, 4), ties = randomTensor(type, 5);
  for (float &logit : distinct.values<float>())
    logit *= 8;
  // Few levels: the lowest number goes first.
  for (float &logit : ties.values<float>())
    logit = std::round(logit * 3);
  for (const HostTensor &logits : {distinct, ties})
    for (const char *flags : {"", ", normalize"}) {
      auto expected = route(logits, flags, /*byKernels=*/false),
           actual = route(logits, flags, /*byKernels=*/true);
      EXPECT_LT(relativeError(actual[0], expected[0]), 1e-6);
      for (size_t i = 1; i < 4; ++i)
        EXPECT_EQ(actual[i].values<int32_t>(), expected[i].values<int32_t>());
    }
}

TEST(Experts, NanStaysInBounds) {
  Context context;
  auto type = RankedTensorType::get({19, 77}, Float32Type::get(&context));
  HostTensor logits = randomTensor(type, 6);
  std::fill_n(logits.values<float>().begin(), 77, std::nanf(""));
  auto actual = route(logits, "", /*byKernels=*/true);
  EXPECT_TRUE(llvm::all_of(actual[1].values<int32_t>(), [](int32_t expert) {
    return expert >= 0 && expert < 77;
  }));
  EXPECT_EQ(actual[3].values<int32_t>().back(), 19 * 6);
}

} // namespace
