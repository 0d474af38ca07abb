//===- Tune.cpp - pare tune -----------------------------------------------===//
//
// Kernels are timed as they will run: a graph of matrix products, compiled like
// any model, whose own `bench --profile` gives the time of each step. All
// weights together exceed the caches, as those of a model do.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/emit/Link.h"
#include "frontend/GraphBuilder.h"
#include "tools/Artifact.h"
#include "tools/Cli.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"
#include <chrono>
#include <random>

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "tune",
    "Measure kernels on this machine and write the table of their times\n\n"
    "  pare tune -o here.txt\n"
    "  pare compile model.onnx -o model --quantize int8 --timings here.txt\n");

static cl::opt<std::string>
    outputPath("o", cl::value_desc("file"),
               cl::desc("Where the table goes (default: standard output)"),
               cl::sub(command));
static cl::opt<std::string>
    targetName("target", cl::init("host"), cl::value_desc("name"),
               cl::desc("Kernels of this target, which this machine must be "
                        "able to run (default: host)"),
               cl::sub(command));
static cl::opt<bool> quick("quick",
                           cl::desc("Fewer shapes and runs: some seconds"),
                           cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print no progress"),
                           cl::sub(command));

namespace {

struct Options {
  std::string output, target;
  bool quick, quiet;
};

/// K and N: encoders of 384, 768 and 1024, and convolutions of small networks.
constexpr std::pair<int64_t, int64_t> kWeights[] = {
    {384, 384},  {384, 1152}, {384, 1536},  {1536, 384},  {768, 768},
    {768, 3072}, {3072, 768}, {1024, 1024}, {1024, 4096}, {64, 64},
    {128, 128},  {256, 256},  {512, 512},   {96, 384},    {480, 120},
    {120, 480},  {288, 32},   {576, 64},    {1152, 128},  {2304, 256}};
constexpr unsigned kQuickWeights = 4;
constexpr int64_t kRows[] = {1, 4, 16, 32, 64, 128, 512};

/// What is measured: a weight format's kernels by one provider.
struct Family {
  const char *format, *provider;
  Quantization quantize;
  cpu::Providers providers;
};
constexpr Family kFamilies[] = {
    {"f32", "generated", Quantization::None, cpu::Providers::Generated},
    {"f32", "onednn", Quantization::None, cpu::Providers::OneDnn},
    {"int8", "generated", Quantization::Int8, cpu::Providers::Generated}};

/// A target on which int8 always pays, so that every product is measured in
/// the format that was asked for.
class TuningTarget : public cpu::CpuTarget {
public:
  using CpuTarget::CpuTarget;
  std::optional<KernelEstimate>
  estimateMatMul(int64_t, int64_t, int64_t, StringRef format) const override {
    return KernelEstimate{"generated", format == "f32" ? 1.0 : 0.0, false};
  }
};

/// Reports how far along the work is, with the time left.
class Progress {
public:
  Progress(unsigned total, bool quiet) : total(total), quiet(quiet) {}
  void finish(const Twine &what) {
    ++done;
    if (quiet)
      return;
    double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    std::string line =
        formatv("tune: {0} of {1}, {2:f0} s left: {3}", done, total,
                elapsed / done * (total - done), what.str())
            .str();
    if (errs().is_displayed())
      errs() << "\r\033[K" << line << (done == total ? "\n" : "");
    else
      errs() << line << "\n";
  }

private:
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
  unsigned done = 0, total;
  bool quiet;
};

} // namespace

static std::vector<float> randomValues(int64_t count) {
  std::mt19937 generator(1);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / float(1u << 31) - 1.0f;
  return values;
}

using Weights = ArrayRef<std::pair<int64_t, int64_t>>;

/// Products x0 * w0 → y0, x1 * w1 → y1, …: each x is [m, K] with one symbolic
/// m of at most `maxRows`.
static Expected<mlir::OwningOpRef<mlir::ModuleOp>>
buildProducts(mlir::MLIRContext &context, std::shared_ptr<WeightStore> store,
              Weights weights, int64_t maxRows) {
  GraphBuilder graph(context, store);
  auto f32 = mlir::Float32Type::get(&context);
  nn::Dim m = graph.getSymbol("m", 1, maxRows);
  SmallVector<mlir::Value> results;
  std::vector<std::string> names;
  for (auto [i, weight] : enumerate(weights)) {
    auto [k, n] = weight;
    std::string index = std::to_string(i);
    store->addOwned("w" + index, mlir::RankedTensorType::get({k, n}, f32),
                    ArrayRef(randomValues(k * n)));
    mlir::Value x = graph.addInput(
        "x" + index, nn::getTensorType({m, graph.constantDim(k)}, f32));
    names.push_back("y" + index);
    results.push_back(graph.create<nn::MatMulOp>(
        nn::getNamedLoc(names.back(), &context), x,
        graph.createParam("w" + index), /*transpose_rhs=*/false));
  }
  if (graph.hasFailed())
    return graph.takeError();
  return graph.finish(results, names);
}

static Error compileProducts(const cpu::Isa &isa, const Family &family,
                             Weights weights, int64_t maxRows,
                             const std::string &output) {
  mlir::MLIRContext context;
  loadDialects(context);
  auto store = std::make_shared<WeightStore>();
  auto graph = buildProducts(context, store, weights, maxRows);
  if (!graph)
    return graph.takeError();
  TuningTarget target(isa);
  PipelineOptions pipeline;
  pipeline.weights = store.get();
  pipeline.quantize = family.quantize;
  pipeline.int8.target = &target;
  mlir::PassManager passes(&context);
  buildPipeline(passes, pipeline);
  if (mlir::failed(passes.run(**graph)))
    return createStringError("tune: a pass failed");
  emit::ModelInfo info;
  info.name = "tune";
  info.metadata = "{}";
  return emit::emitModel(**graph, *store, info, isa,
                         emit::OutputKind::Executable, output,
                         {family.providers, nullptr})
      .takeError();
}

/// Product number of a step: it makes "y3", or the codes of "x3".
static std::optional<unsigned> getProduct(StringRef step) {
  unsigned product;
  step = step.take_until([](char c) { return c == '.'; });
  if ((step.consume_front("y") || step.consume_front("x")) &&
      !step.getAsInteger(10, product))
    return product;
  return std::nullopt;
}

/// Microseconds of each product in one run of a new process, its quantization
/// included.
static Expected<std::vector<double>> runOnce(const Artifact &artifact,
                                             Weights weights, int64_t rows,
                                             const TemporaryFolder &folder) {
  std::vector<std::string> arguments = {
      "bench", "--json", "--profile", "--threads=1", "--runs=1", "--warmup=2"};
  // All inputs share the number of rows.
  arguments.push_back(
      formatv("--shape=x0={0}x{1}", rows, weights.front().first).str());
  Expected<json::Value> result = queryArtifact(artifact, arguments, folder);
  if (!result)
    return result.takeError();
  const json::Object *object = result->getAsObject();
  const json::Array *steps = object ? object->getArray("steps") : nullptr;
  std::vector<double> times(weights.size(), 0);
  for (const json::Value &value : steps ? *steps : json::Array()) {
    const json::Object *step = value.getAsObject();
    if (!step)
      continue;
    std::optional<unsigned> product =
        getProduct(step->getString("name").value_or(""));
    if (product && *product < times.size())
      times[*product] += step->getNumber("us").value_or(0);
  }
  if (is_contained(times, 0))
    return createStringError("tune: a step is missing from the profile");
  return times;
}

/// The least of several runs: what else the machine does only adds to a time.
static Error measure(const Artifact &artifact, const Family &family,
                     Weights weights, int64_t rows, const Options &options,
                     const TemporaryFolder &folder, cpu::TimingTable &table) {
  std::vector<double> least(weights.size(), INFINITY);
  for (unsigned round = 0; round < (options.quick ? 4 : 40); ++round) {
    auto times = runOnce(artifact, weights, rows, folder);
    if (!times)
      return times.takeError();
    for (auto [best, time] : zip_equal(least, *times))
      best = std::min(best, time);
  }
  for (auto [weight, time] : zip_equal(weights, least))
    table.add("matmul", family.format, family.provider,
              {rows, weight.first, weight.second},
              std::max<int64_t>(1, std::llround(time * 1e3)));
  return Error::success();
}

/// "AMD EPYC (znver3)".
static std::string describeMachine() {
  std::string name = sys::getHostCPUName().str();
  auto info = MemoryBuffer::getFileAsStream("/proc/cpuinfo");
  if (!info)
    return name;
  for (StringRef line : split((*info)->getBuffer(), '\n'))
    if (line.consume_front("model name"))
      return (line.ltrim(" \t:").rtrim() + " (" + name + ")").str();
  return name;
}

static std::string today() {
  std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

static Error tune(const Options &options, cpu::TimingTable &table) {
  Expected<cpu::Isa> isa = cpu::Isa::parse(options.target);
  if (!isa)
    return isa.takeError();
  Expected<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder)
    return folder.takeError();
  Weights weights = ArrayRef(kWeights);
  if (options.quick)
    weights = weights.take_front(kQuickWeights);
  table.target = isa->name;
  table.machine = describeMachine();
  table.date = today();

  SmallVector<const Family *> families;
  bool hasOneDnn = !errorToBool(emit::findOneDnn(isa->triple).takeError());
  for (const Family &family : kFamilies)
    if (hasOneDnn || family.providers != cpu::Providers::OneDnn)
      families.push_back(&family);

  Progress progress(families.size() * std::size(kRows), options.quiet);
  for (const Family *family : families) {
    std::string name = family->format + std::string(".") + family->provider;
    Artifact artifact{folder->file(name), "tune", true};
    if (Error error = compileProducts(*isa, *family, weights,
                                      std::end(kRows)[-1], artifact.path))
      return error;
    for (int64_t rows : kRows) {
      if (Error error = measure(artifact, *family, weights, rows, options,
                                *folder, table))
        return error;
      progress.finish(name + ", " + Twine(rows) + " rows");
    }
  }
  return Error::success();
}

static int run() {
  // Copied: linking in process resets every option to its default.
  const Options options = {outputPath, targetName, quick, quiet};
  cpu::TimingTable table;
  if (Error error = tune(options, table))
    return fail(std::move(error));
  if (options.output.empty()) {
    table.write(outs());
    return 0;
  }
  // Written whole or not at all.
  if (Error error = writeToOutput(options.output, [&](raw_ostream &os) {
        table.write(os);
        return Error::success();
      }))
    return fail("cannot write '" + options.output +
                "': " + toString(std::move(error)));
  note(options.quiet, options.output + ": timings of " + table.machine +
                          " for " + table.target);
  return 0;
}

Subcommand tuneCommand() { return {&command, run}; }

} // namespace pare::tools
