//===- TuneGraphs.cpp - What pare tune measures ---------------------------===//
#include "tools/TuneGraphs.h"
#include "frontend/GraphBuilder.h"
#include "llvm/Support/FormatVariadic.h"
#include <random>

using namespace llvm;

namespace pare::tools {

/// Pixels of a line.
static constexpr int64_t kWidth = 40;

/// Encoders of 384, 768 and 1024, and convolutions seen as products.
static constexpr TunedKernel kProducts[] = {
    {384, 384},  {384, 1152}, {384, 1536},  {1536, 384},  {768, 768},
    {768, 3072}, {3072, 768}, {1024, 1024}, {1024, 4096}, {64, 64},
    {128, 128},  {256, 256},  {512, 512},   {96, 384},    {480, 120},
    {120, 480},  {288, 32},   {576, 64},    {1152, 128},  {2304, 256}};
static constexpr TunedKernel kPointwise[] = {
    {64, 64},   {64, 128},  {240, 240}, {480, 480},  {16, 32}, {32, 64},
    {128, 240}, {480, 120}, {96, 24},   {1024, 256}, {24, 96}};
static constexpr TunedKernel kSpatial[] = {
    {64, 64, 3},   {16, 32, 3}, {32, 64, 3},  {128, 128, 3},
    {256, 256, 3}, {96, 24, 3}, {24, 24, 3},  {64, 128, 3},
    {480, 60, 3},  {32, 32, 5}, {256, 64, 3}, {512, 512, 3}};
static constexpr TunedKernel kDepthwise[] = {
    {32, 32, 3},   {64, 64, 3},   {240, 240, 5}, {128, 128, 3},
    {256, 256, 3}, {480, 480, 5}, {96, 96, 5},   {512, 512, 3}};

static constexpr int64_t kRows[] = {1, 4, 16, 32, 64, 128, 512};
static constexpr int64_t kLines[] = {1, 3, 6, 12, 24, 48};
/// Of padded images: with few lines most of a window lies in the padding, which
/// some kernels skip and others do not.
static constexpr int64_t kPaddedLines[] = {12, 24, 48};

ArrayRef<TunedOp> getTunedOps() {
  static const TunedOp ops[] = {{"matmul", true, kProducts, kRows},
                                {"conv1x1", false, kPointwise, kLines},
                                {"conv", true, kSpatial, kPaddedLines},
                                {"depthwise", false, kDepthwise, kPaddedLines}};
  return ops;
}

cpu::ProductShape TunedOp::shape(const TunedKernel &kernel,
                                 int64_t size) const {
  int64_t perOutput = name == "depthwise" ? 1 : kernel.inputs;
  return {isConv() ? size * kWidth : size,
          perOutput * kernel.taps * kernel.taps, kernel.outputs};
}

std::string TunedOp::shapeFlag(const TunedKernel &first, int64_t size) const {
  return isConv()
             ? formatv("--shape=in0=1x{0}x{1}x{2}", size, kWidth, first.inputs)
                   .str()
             : formatv("--shape=in0={0}x{1}", size, first.inputs).str();
}

static std::vector<float> randomValues(int64_t count) {
  std::mt19937 generator(1);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / float(1u << 31) - 1.0f;
  return values;
}

static mlir::Value addKernel(GraphBuilder &graph, const TunedOp &op,
                             const TunedKernel &kernel, nn::Dim size,
                             const std::string &index) {
  mlir::MLIRContext *context = graph.getContext();
  auto f32 = mlir::Float32Type::get(context);
  auto addWeight = [&](std::string name, ArrayRef<int64_t> sizes) {
    auto type = mlir::RankedTensorType::get(sizes, f32);
    graph.getStore().addOwned(name, type,
                              ArrayRef(randomValues(type.getNumElements())));
    return graph.createParam(name);
  };
  // Inputs of a model's kernels were written by the one before and lie in the
  // cache; relu writes these.
  auto addInput = [&](nn::Shape shape) {
    return graph.create<nn::UnaryOp>(
        nn::getNamedLoc("x" + index, context), nn::UnaryKind::relu,
        graph.addInput("in" + index, nn::getTensorType(shape, f32)),
        mlir::FloatAttr(), mlir::FloatAttr());
  };
  mlir::Location loc = nn::getNamedLoc("y" + index, context);
  nn::Dim inputs = graph.constantDim(kernel.inputs);
  if (!op.isConv())
    return graph.create<nn::MatMulOp>(
        loc, addInput({size, inputs}),
        addWeight("w" + index, {kernel.inputs, kernel.outputs}),
        /*transpose_rhs=*/false);
  cpu::ProductShape shape = op.shape(kernel, 1);
  int64_t taps = kernel.taps, pad = taps / 2;
  mlir::Builder builder(context);
  mlir::Value conv = graph.create<nn::ConvOp>(
      nn::getNamedLoc("c" + index, context),
      addInput({graph.constantDim(1), size, graph.constantDim(kWidth), inputs}),
      addWeight("w" + index,
                {kernel.outputs, taps, taps, shape.k / (taps * taps)}),
      builder.getDenseI64ArrayAttr({1, 1}),
      builder.getDenseI64ArrayAttr({pad, pad, pad, pad}),
      builder.getDenseI64ArrayAttr({1, 1}),
      builder.getI64IntegerAttr(op.name == "depthwise" ? kernel.inputs : 1));
  mlir::Value sum = graph.create<nn::BinaryOp>(
      nn::getNamedLoc("s" + index, context), nn::BinaryKind::add, conv,
      addWeight("b" + index, {kernel.outputs}));
  return graph.create<nn::UnaryOp>(loc, nn::UnaryKind::hard_swish, sum,
                                   mlir::FloatAttr(), mlir::FloatAttr());
}

Expected<mlir::OwningOpRef<mlir::ModuleOp>>
buildTunedGraph(mlir::MLIRContext &context, std::shared_ptr<WeightStore> store,
                const TunedOp &op, ArrayRef<TunedKernel> kernels) {
  GraphBuilder graph(context, store);
  nn::Dim size = graph.getSymbol("m", 1, op.sizes.back());
  SmallVector<mlir::Value> results;
  std::vector<std::string> names;
  for (auto [i, kernel] : enumerate(kernels)) {
    std::string index = std::to_string(i);
    names.push_back("y" + index);
    results.push_back(addKernel(graph, op, kernel, size, index));
  }
  if (graph.hasFailed())
    return graph.takeError();
  return graph.finish(results, names);
}

std::vector<HostTensor> makeTunedSample(mlir::MLIRContext &context,
                                        const TunedOp &op,
                                        ArrayRef<TunedKernel> kernels) {
  auto f32 = mlir::Float32Type::get(&context);
  std::vector<HostTensor> sample;
  for (const TunedKernel &kernel : kernels) {
    auto type = mlir::RankedTensorType::get(
        {1, op.sizes.front(), kWidth, kernel.inputs}, f32);
    sample.emplace_back(type, ArrayRef(randomValues(type.getNumElements())));
  }
  return sample;
}

} // namespace pare::tools
