//===- Compile.cpp - pare compile
//--------------------------------------------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/emit/Emit.h"
#include "passes/Pipelines.h"
#include "tools/Cli.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "compile",
    "Compile a model to one self-contained file\n\n"
    "  pare compile model.onnx -o model\n"
    "  pare compile minilm/ -o minilm --quantize int8 --target x86-64-v3\n"
    "  pare compile rec.onnx -o rec --shape x=1x3x48x320 --image "
    "x=320x48,mean=0.5,std=0.5\n");

static cl::opt<std::string> modelPath(cl::Positional, cl::Required,
                                      cl::desc("MODEL"), cl::sub(command));
static cl::opt<std::string> outputPath("o", cl::Required,
                                       cl::value_desc("file"),
                                       cl::desc("Where the result goes"),
                                       cl::sub(command));
static cl::opt<Quantization> quantize(
    "quantize", cl::init(Quantization::None),
    cl::desc("Format of weights and arithmetic"),
    cl::values(
        clEnumValN(Quantization::None, "none",
                   "f32, as in the source (default)"),
        clEnumValN(Quantization::Int8, "int8",
                   "8-bit weights and activations where they are faster")),
    cl::sub(command));
static cl::opt<std::string> targetName(
    "target", cl::init("host"), cl::value_desc("name"),
    cl::desc(
        "host, x86-64-v3, x86-64-v4+avx512vnni, aarch64, … (default: host)"),
    cl::sub(command));
static cl::list<std::string> shapes(
    "shape", cl::value_desc("input=1x3x48x320"),
    cl::desc(
        "Fix an input's shape, or bound its dimensions: input=batch:1..8x128"),
    cl::sub(command));
static cl::opt<unsigned> threads(
    "threads", cl::init(0),
    cl::desc("Threads that the artifact uses by default (0: the machine's)"),
    cl::sub(command));
static cl::opt<emit::OutputKind>
    emitKind("emit", cl::init(emit::OutputKind::Executable),
             cl::desc("What to write"),
             cl::values(clEnumValN(emit::OutputKind::Executable, "exe",
                                   "a static executable (default)"),
                        clEnumValN(emit::OutputKind::Mlir, "mlir",
                                   "the optimised graph"),
                        clEnumValN(emit::OutputKind::Llvm, "llvm",
                                   "LLVM IR of kernels and tables")),
             cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print the report as JSON"),
                          cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but errors"),
                           cl::sub(command));

namespace {
class Timer {
public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  }

private:
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
};
} // namespace

static json::Value toJson(const std::vector<TensorDecision> &decisions) {
  json::Array rows;
  for (const TensorDecision &d : decisions)
    rows.push_back(json::Object{{"tensor", d.tensor},
                                {"shape", json::Array(d.shape)},
                                {"format", d.format},
                                {"bytes_before", int64_t(d.bytesBefore)},
                                {"bytes_after", int64_t(d.bytesAfter)},
                                {"reason", d.reason},
                                {"weight_error", d.error}});
  return rows;
}

/// The table of what was done to each tensor; equal rows of a repeated layer
/// stay, since each is a tensor that the user knows by name.
static void printDecisions(ArrayRef<TensorDecision> decisions) {
  if (decisions.empty())
    return;
  size_t width = 6;
  for (const TensorDecision &d : decisions)
    width = std::max(width, d.tensor.size());
  width = std::min<size_t>(width, 64);
  outs() << left_justify("tensor", width) << "  " << left_justify("shape", 14)
         << left_justify("format", 18) << right_justify("before", 10)
         << right_justify("after", 10) << right_justify("error", 9)
         << "  reason\n";
  for (const TensorDecision &d : decisions) {
    std::string shape;
    for (int64_t dim : d.shape)
      shape += (shape.empty() ? "" : "x") + std::to_string(dim);
    std::string error = d.error > 0 ? formatv("{0:f5}", d.error).str() : "0";
    outs() << left_justify(d.tensor, width) << "  " << left_justify(shape, 14)
           << left_justify(d.format, 18)
           << right_justify(formatBytes(d.bytesBefore), 10)
           << right_justify(formatBytes(d.bytesAfter), 10)
           << right_justify(error, 9) << "  " << d.reason << "\n";
  }
}

static int run() {
  Timer timer;
  // Linking in process resets every command line option to its default.
  const std::string output = outputPath;
  const bool asJson = json, isQuiet = quiet;
  Expected<cpu::Isa> isa = cpu::Isa::parse(targetName);
  if (!isa)
    return fail(isa.takeError());
  Expected<ImportOptions> importOptions = parseShapes(shapes);
  if (!importOptions)
    return fail(importOptions.takeError());

  mlir::MLIRContext context;
  loadDialects(context);
  Expected<Model> model =
      importModel(modelPath, *importOptions, context, quiet);
  if (!model)
    return fail(model.takeError());
  double imported = timer.seconds();

  cpu::CpuTarget target(*isa);
  std::vector<TensorDecision> decisions;
  PipelineOptions pipeline;
  pipeline.weights = model->weights.get();
  pipeline.quantize = quantize;
  pipeline.int8.target = &target;
  pipeline.int8.decisions = &decisions;
  mlir::PassManager passes(&context);
  std::string diagnostic;
  mlir::ScopedDiagnosticHandler diagnostics(&context, [&](mlir::Diagnostic &d) {
    if (diagnostic.empty())
      diagnostic = d.str();
    return mlir::success();
  });
#ifndef PARE_VERIFY_EACH
  passes.enableVerifier(false);
#endif
  buildPipeline(passes, pipeline);
  if (mlir::failed(passes.run(*model->module)))
    return fail(modelPath + ": " +
                (diagnostic.empty() ? "a pass failed" : diagnostic));
  double optimized = timer.seconds();

  emit::ModelInfo info;
  info.name = model->name;
  info.threads = threads;
  info.metadata =
      formatv("{0}", json::Value(json::Object{
                         {"pare", PARE_VERSION},
                         {"source", sys::path::filename(modelPath)},
                         {"format", model->format},
                         {"quantize",
                          quantize == Quantization::Int8 ? "int8" : "none"},
                         {"tensors", toJson(decisions)}}))
          .str();
  if (model->encoder) {
    emit::ModelInfo::Encoder encoder;
    encoder.tokenizer = std::move(model->encoder->tokenizer);
    encoder.pooling = ParePooling(model->encoder->pooling);
    encoder.normalize = model->encoder->normalize;
    encoder.maxTokens = model->encoder->maxTokens;
    info.encoder = std::move(encoder);
  }
  Expected<emit::EmitReport> report = emit::emitModel(
      *model->module, *model->weights, info, *isa, emitKind, output);
  if (!report)
    return fail(report.takeError());

  if (asJson) {
    outs() << formatv(
        "{0:2}\n",
        json::Value(json::Object{{"output", output},
                                 {"target", isa->name},
                                 {"file_bytes", int64_t(report->fileBytes)},
                                 {"weight_bytes", int64_t(report->weightBytes)},
                                 {"kernels", report->kernels},
                                 {"calls", report->calls},
                                 {"seconds", timer.seconds()},
                                 {"tensors", toJson(decisions)}}));
    return 0;
  }
  if (!isQuiet) {
    printDecisions(decisions);
    errs() << formatv(
        "{0}: {1} ({2} of weights), {3} kernels in {4} calls, for {5}; {6:f1} "
        "s (import {7:f1}, passes {8:f1}, code {9:f1})\n",
        output, formatBytes(report->fileBytes),
        formatBytes(report->weightBytes), report->kernels, report->calls,
        isa->name, timer.seconds(), imported, optimized - imported,
        timer.seconds() - optimized);
  }
  return 0;
}

Subcommand compileCommand() { return {&command, run}; }

} // namespace pare::tools
