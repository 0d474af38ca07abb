//===- Tune.cpp - pare tune -----------------------------------------------===//
//
// Kernels are timed as they will run: graphs of products and convolutions,
// compiled like any model, whose own `bench --profile` gives the time of each
// step. All weights together exceed the caches, as those of a model do.
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/emit/Link.h"
#include "tools/Artifact.h"
#include "tools/Cli.h"
#include "tools/TuneGraphs.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

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
static cl::opt<std::string>
    only("only", cl::value_desc("part"),
         cl::desc("Measure what has this in its name, such as conv.int8; other "
                  "rows of the file at -o stay"),
         cl::sub(command));
static cl::opt<bool> quick("quick",
                           cl::desc("Fewer shapes and runs: some seconds"),
                           cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print the times as JSON"),
                          cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but results"),
                           cl::sub(command));

namespace {

struct Options {
  std::string output, target, only;
  bool quick, json, quiet;
};

constexpr unsigned kQuickKernels = 4;

/// Whose kernels are measured, with weights in which format.
struct Family {
  const char *format, *provider;
  Quantization quantize;
  cpu::Providers providers;
};
constexpr Family kFamilies[] = {
    {"f32", "generated", Quantization::None, cpu::Providers::Generated},
    {"f32", "onednn", Quantization::None, cpu::Providers::OneDnn},
    {"int8", "generated", Quantization::Int8, cpu::Providers::Generated},
    {"int8", "onednn", Quantization::Int8, cpu::Providers::OneDnn}};

/// A part of the table.
struct Part {
  const TunedOp *op;
  const Family *family;
  ArrayRef<TunedKernel> kernels;
  std::string name() const {
    return formatv("{0}.{1}.{2}", op->name, family->format, family->provider);
  }
};

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

} // namespace

/// Compiles what a part measures. The reason where its provider has no such
/// kernels.
static Expected<std::optional<std::string>>
compilePart(const cpu::Isa &isa, const Part &part, const std::string &output) {
  mlir::MLIRContext context;
  loadDialects(context);
  auto store = std::make_shared<WeightStore>();
  auto graph = buildTunedGraph(context, store, *part.op, part.kernels);
  if (!graph)
    return graph.takeError();
  TuningTarget target(isa);
  PipelineOptions pipeline;
  pipeline.weights = store.get();
  pipeline.quantize = part.family->quantize;
  pipeline.int8.target = &target;
  if (part.op->isConv() && part.family->quantize == Quantization::Int8)
    pipeline.int8.calibration.push_back(
        makeTunedSample(context, *part.op, part.kernels));
  if (Error error = runPasses(**graph, pipeline, "tune"))
    return std::move(error);
  emit::ModelInfo info;
  info.name = "tune";
  info.metadata = "{}";
  auto report =
      emit::emitModel(**graph, *store, info, isa, emit::OutputKind::Executable,
                      output, {part.family->providers, nullptr});
  if (!report)
    return report.takeError();
  for (const cpu::Choice &choice : report->choices)
    if (choice.provider != part.family->provider)
      return choice.reason;
  return std::nullopt;
}

/// Number of the kernel that a step belongs to: it makes "y3", or of a product
/// the codes of "x3". Those of convolutions are made where x3 is.
static std::optional<unsigned> getKernel(const TunedOp &op, StringRef step) {
  auto [name, derived] = step.split('.');
  unsigned kernel;
  bool isPart = name.consume_front("y") ||
                (!op.isConv() && !derived.empty() && name.consume_front("x"));
  if (isPart && !name.getAsInteger(10, kernel))
    return kernel;
  return std::nullopt;
}

/// Microseconds of each kernel in one run of a new process, its quantization
/// included.
static Expected<std::vector<double>> runOnce(const Artifact &artifact,
                                             const Part &part, int64_t size,
                                             const TemporaryFolder &folder) {
  std::vector<std::string> arguments = {
      "bench", "--json", "--profile", "--threads=1", "--runs=1", "--warmup=2"};
  arguments.push_back(part.op->shapeFlag(part.kernels.front(), size));
  Expected<json::Value> result = queryArtifact(artifact, arguments, folder);
  if (!result)
    return result.takeError();
  const json::Object *object = result->getAsObject();
  const json::Array *steps = object ? object->getArray("steps") : nullptr;
  std::vector<double> times(part.kernels.size(), 0);
  for (const json::Value &value : steps ? *steps : json::Array()) {
    const json::Object *step = value.getAsObject();
    if (!step)
      continue;
    std::optional<unsigned> kernel =
        getKernel(*part.op, step->getString("name").value_or(""));
    if (kernel && *kernel < times.size())
      times[*kernel] += step->getNumber("us").value_or(0);
  }
  if (is_contained(times, 0))
    return createStringError("tune: a step is missing from the profile");
  return times;
}

/// The least of several runs: what else the machine does only adds to a time.
static Error measure(const Artifact &artifact, const Part &part, int64_t size,
                     const Options &options, const TemporaryFolder &folder,
                     cpu::TimingTable &table) {
  std::vector<double> least(part.kernels.size(), INFINITY);
  for (unsigned round = 0; round < (options.quick ? 4 : 40); ++round) {
    auto times = runOnce(artifact, part, size, folder);
    if (!times)
      return times.takeError();
    for (auto [best, time] : zip_equal(least, *times))
      best = std::min(best, time);
  }
  for (auto [kernel, time] : zip_equal(part.kernels, least))
    table.add(part.op->name, part.family->format, part.family->provider,
              part.op->shape(kernel, size),
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

/// What there is to measure, as far as this build and `options` go.
static std::vector<Part> getParts(const Options &options, bool hasOneDnn) {
  std::vector<Part> parts;
  for (const TunedOp &op : getTunedOps())
    for (const Family &family : kFamilies) {
      bool isInt8 = family.quantize == Quantization::Int8;
      Part part = {&op, &family, op.kernels};
      if (options.quick)
        part.kernels = part.kernels.take_front(kQuickKernels);
      if ((op.hasInt8 || !isInt8) &&
          StringRef(part.name()).contains(options.only) &&
          (hasOneDnn || family.providers != cpu::Providers::OneDnn))
        parts.push_back(part);
    }
  return parts;
}

static Error tune(const Options &options, Console &console,
                  cpu::TimingTable &table) {
  Expected<cpu::Isa> isa = cpu::Isa::parse(options.target);
  if (!isa)
    return isa.takeError();
  Expected<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder)
    return folder.takeError();
  if (!options.only.empty() && sys::fs::exists(options.output)) {
    Expected<cpu::TimingTable> old = cpu::TimingTable::read(options.output);
    if (!old)
      return old.takeError();
    if (old->target != isa->name)
      return createStringError("--only: '" + options.output +
                               "' was measured for target " + old->target +
                               ": name another file with -o");
    table = std::move(*old);
  }
  table.target = isa->name;
  table.machine = describeMachine();
  table.date = today();

  bool hasOneDnn = !errorToBool(emit::findOneDnn(isa->triple).takeError());
  std::vector<Part> parts = getParts(options, hasOneDnn);
  if (parts.empty())
    return createStringError(
        "--only " + options.only +
        ": no such part; they are named "
        "matmul.f32.generated, conv.int8.onednn and so on");
  unsigned total = 0;
  for (const Part &part : parts)
    total += part.op->sizes.size();
  const ProgressFn listener = console.listener();
  PhaseProgress progress(listener, "time kernels", total);
  for (const Part &part : parts) {
    Artifact artifact{folder->file(part.name()), "tune", true};
    auto whyNot = compilePart(*isa, part, artifact.path);
    if (!whyNot)
      return whyNot.takeError();
    if (*whyNot) {
      console.note(part.name() + ": " + **whyNot);
      progress.finish(part.op->sizes.size());
      continue;
    }
    for (int64_t size : part.op->sizes) {
      if (Error error = measure(artifact, part, size, options, *folder, table))
        return error;
      progress.finish();
    }
  }
  return Error::success();
}

static json::Value toJson(const cpu::TimingTable &table,
                          const std::string &output) {
  json::Array rows;
  for (const cpu::TimingTable::Measurement &m : table.measurements())
    rows.push_back(json::Object{{"op", m.op},
                                {"format", m.format},
                                {"provider", m.provider},
                                {"m", m.shape.m},
                                {"k", m.shape.k},
                                {"n", m.shape.n},
                                {"nanoseconds", m.nanoseconds}});
  json::Object object{{"target", table.target},
                      {"machine", table.machine},
                      {"date", table.date},
                      {"measurements", std::move(rows)}};
  if (!output.empty())
    object["output"] = output;
  return object;
}

/// Written whole or not at all.
static Error write(const cpu::TimingTable &table, const std::string &output) {
  Error error = writeToOutput(output, [&](raw_ostream &os) {
    table.write(os);
    return Error::success();
  });
  return error ? createStringError("cannot write '" + output +
                                   "': " + toString(std::move(error)))
               : Error::success();
}

static int run() {
  // Copied: linking in process resets every option to its default.
  const Options options = {outputPath, targetName, only, quick, json, quiet};
  Console console(options.quiet);
  if (!options.output.empty())
    if (Error error = emit::checkOutput(options.output))
      return console.fail(std::move(error));
  cpu::TimingTable table;
  if (Error error = tune(options, console, table))
    return console.fail(std::move(error));
  if (!options.output.empty()) {
    if (Error error = write(table, options.output))
      return console.fail(std::move(error));
    console.note(options.output + ": timings of " + table.machine + " for " +
                 table.target);
  }
  if (options.json)
    outs() << formatv("{0:2}\n", toJson(table, options.output));
  else if (options.output.empty())
    table.write(outs());
  return 0;
}

Subcommand tuneCommand() { return {&command, run}; }

} // namespace pare::tools
