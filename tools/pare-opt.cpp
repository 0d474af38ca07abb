//===- pare-opt.cpp - Runs passes on nn graphs, for tests -----------------===//
//
// As mlir-opt: parse, run the passes named on the command line, print. Weights
// have no bytes in the IR, so those of a test come from the attribute
// `nn.test_value` of nn.weight, or else are a ramp; with --print-weights the
// attribute holds the bytes of every weight of up to 64 elements in the output.
// --print-decisions lists what passes decided, as comments.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/AsmState.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/ToolUtilities.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Pipelines.h"
#include "passes/reference/HostTensor.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace pare;

static constexpr llvm::StringLiteral kTestValueAttr = "nn.test_value";

static llvm::cl::opt<std::string> inputFile(llvm::cl::Positional,
                                            llvm::cl::desc("<input file>"),
                                            llvm::cl::init("-"));
static llvm::cl::opt<std::string> outputFile("o", llvm::cl::desc("Output file"),
                                             llvm::cl::value_desc("file"),
                                             llvm::cl::init("-"));
static llvm::cl::opt<bool>
    splitInput("split-input-file",
               llvm::cl::desc("Process the parts between // ----- lines one by "
                              "one"));
static llvm::cl::opt<bool>
    verifyDiagnostics("verify-diagnostics",
                      llvm::cl::desc("Compare diagnostics with expected-* "
                                     "comments"));
static llvm::cl::opt<bool>
    printWeights("print-weights",
                 llvm::cl::desc("Print the elements of small weights"));
static llvm::cl::opt<bool>
    printDecisions("print-decisions",
                   llvm::cl::desc("Print what passes decided"));

static llvm::cl::list<std::string>
    pruneParts("prune", llvm::cl::CommaSeparated,
               llvm::cl::desc("What nn-prune-structure leaves out"),
               llvm::cl::value_desc("ffn=50%,…"));

/// The bytes of the weights of the graph at hand.
static WeightStore store;
/// What the quantizing passes decided.
static std::vector<TensorDecision> decisions;
/// What the pruning pass left out.
static PruneReport pruned;

static llvm::Error fillStore(ModuleOp module) {
  store = WeightStore();
  for (auto weight : module.getOps<nn::WeightOp>()) {
    auto type = cast<RankedTensorType>(weight.getType());
    HostTensor tensor(type);
    if (auto value = weight->getAttrOfType<ElementsAttr>(kTestValueAttr)) {
      auto parsed = HostTensor::fromAttr(value);
      if (!parsed)
        return parsed.takeError();
      if (parsed->type() != type)
        return llvm::createStringError(
            "the test value of '" + weight.getSymName() + "' has another type");
      tensor = *parsed;
    } else {
      std::vector<float> ramp(type.getNumElements());
      for (size_t i = 0; i < ramp.size(); ++i)
        ramp[i] = float(i % 7) - 2;
      tensor = HostTensor(type, ArrayRef(ramp));
    }
    ArrayRef<uint8_t> bytes = tensor.bytes();
    store.addOwned(weight.getSymName(), type,
                   std::vector<uint8_t>(bytes.begin(), bytes.end()));
  }
  return llvm::Error::success();
}

static void showWeights(ModuleOp module) {
  for (auto weight : module.getOps<nn::WeightOp>()) {
    const TensorData &data = store.get(weight.getSymName());
    if (data.type.getNumElements() <= 64)
      weight->setAttr(kTestValueAttr,
                      DenseElementsAttr::getFromRawBuffer(
                          data.type, ArrayRef(reinterpret_cast<const char *>(
                                                  data.bytes.data()),
                                              data.bytes.size())));
  }
}

static void registerPasses() {
  registerPass([] { return createSimplifyPass(&store); });
  registerPass([] { return createRecognizePass(&store); });
  registerPass([] { return createFoldConstantsPass(&store); });
  registerPass([] { return createFoldNormalizationPass(&store); });
  registerPass([] { return createSinkTransposesPass(); });
  registerPass([] { return createMergeMatMulsPass(&store); });
  registerPass([] {
    PruneOptions options;
    for (StringRef part : pruneParts)
      llvm::cantFail(parsePrune(part, options));
    options.report = &pruned;
    return createPruneStructurePass(&store, std::move(options));
  });
  registerPass([] {
    WeightOptions options;
    options.products = "uint4_g32";
    options.tables = "int8_g32";
    options.encode.method = encode::RoundMethod::Nearest;
    options.decisions = &decisions;
    return createQuantizeWeightsPass(&store, std::move(options));
  });
  registerPass([] {
    Int8Options options;
    options.decisions = &decisions;
    return createQuantizeInt8Pass(&store, std::move(options));
  });
  registerPass([] {
    BlockProductOptions options;
    options.decisions = &decisions;
    return createQuantizeBlockProductsPass(std::move(options));
  });
  registerPass([] { return createFusePass(); });
  registerPass([] { return createCanonicalizerPass(); });
  registerPass([] { return createCSEPass(); });
  static PassPipelineRegistration<> simplify(
      "simplify", "All of simplification",
      [](OpPassManager &passes) { buildSimplifyPipeline(passes, &store); });
}

static LogicalResult process(std::unique_ptr<llvm::MemoryBuffer> buffer,
                             const PassPipelineCLParser &pipeline,
                             llvm::raw_ostream &output) {
  DialectRegistry registry;
  registry.insert<nn::NNDialect, func::FuncDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(!verifyDiagnostics);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), SMLoc());

  auto run = [&]() -> LogicalResult {
    auto module = parseSourceFile<ModuleOp>(sources, &context);
    if (!module)
      return failure();
    if (llvm::Error error = fillStore(*module))
      return emitError(module->getLoc(), llvm::toString(std::move(error)));
    decisions.clear();
    pruned = PruneReport();
    PassManager passes(&context);
    if (failed(applyPassManagerCLOptions(passes)))
      return failure();
    auto report = [&](const Twine &message) {
      return emitError(module->getLoc(), message);
    };
    if (failed(pipeline.addToPipeline(passes, report)) ||
        failed(passes.run(*module)))
      return failure();
    if (printWeights)
      showWeights(*module);
    module->print(output);
    output << "\n";
    if (printDecisions)
      for (const PruneDecision &d : pruned.decisions)
        output << "// " << d.kind << " of " << d.name << ": " << d.from
               << " to " << d.to << " by " << d.score << "\n";
    if (printDecisions)
      for (const TensorDecision &d : decisions)
        output << "// " << d.tensor << ": " << d.format << ", " << d.bytesBefore
               << " to " << d.bytesAfter << " bytes, " << d.reason << "\n";
    return success();
  };

  if (!verifyDiagnostics) {
    SourceMgrDiagnosticHandler handler(sources, &context);
    return run();
  }
  SourceMgrDiagnosticVerifierHandler handler(sources, &context);
  (void)run();
  return handler.verify();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  registerPasses();
  registerAsmPrinterCLOptions();
  registerPassManagerCLOptions();
  PassPipelineCLParser pipeline("", "Passes to run");
  llvm::cl::ParseCommandLineOptions(argc, argv,
                                    "Runs passes on nn graphs, for tests\n");
  std::string error;
  auto input = openInputFile(inputFile, &error);
  auto output = input ? openOutputFile(outputFile, &error) : nullptr;
  if (!output) {
    llvm::errs() << error << "\n";
    return 1;
  }
  LogicalResult result = splitAndProcessBuffer(
      std::move(input),
      [&](std::unique_ptr<llvm::MemoryBuffer> chunk, llvm::raw_ostream &out) {
        return process(std::move(chunk), pipeline, out);
      },
      output->os(), splitInput ? kDefaultSplitMarker : "");
  if (failed(result))
    return 1;
  output->keep();
  return 0;
}
