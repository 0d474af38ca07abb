//===- Compile.cpp - pare compile -----------------------------------------===//
#include "tools/Cli.h"
#include "tools/CompileModel.h"
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

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
static cl::opt<std::string> outputPath("o", cl::value_desc("file"),
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
static cl::list<std::string> images(
    "image", cl::value_desc("input=224x224,mean=M:M:M,std=S:S:S,rgb"),
    cl::desc(
        "Prepare PNG and JPEG files for an input: size in pixels; mean and "
        "std of pixel values divided by 255, one or one per channel; "
        "layout=nchw|nhwc; rgb, bgr or gray"),
    cl::sub(command));
static cl::list<std::string> keepFloat(
    "keep-float", cl::CommaSeparated, cl::value_desc("pattern,…"),
    cl::desc("Weights that stay float, by name or pattern: 'decoder.*'"),
    cl::sub(command));
static cl::list<std::string> calibration(
    "calibrate", cl::CommaSeparated, cl::value_desc("dir|file,…"),
    cl::desc("Samples (.npz, .npy, pictures) for the scales of int8 "
             "activations"),
    cl::sub(command));
static cl::opt<cpu::Providers> kernels(
    "kernels", cl::init(cpu::Providers::Generated),
    cl::desc("Whose kernels to use"),
    cl::values(
        clEnumValN(cpu::Providers::Generated, "generated",
                   "pare's own: one file without dependencies (default)"),
        clEnumValN(cpu::Providers::OneDnn, "onednn",
                   "oneDNN's where it has one; its library is put "
                   "beside the result"),
        clEnumValN(cpu::Providers::Auto, "auto",
                   "the faster one by the timing table")),
    cl::sub(command));
static cl::opt<std::string> timings(
    "timings", cl::value_desc("file"),
    cl::desc("Kernel times that choices rest on, from pare tune (default: the "
             "table that ships for the target)"),
    cl::sub(command));
static cl::opt<unsigned> threads(
    "threads", cl::init(0),
    cl::desc("Threads that the artifact uses by default (0: the machine's)"),
    cl::sub(command));
static cl::opt<emit::OutputKind>
    emitKind("emit", cl::init(emit::OutputKind::Executable),
             cl::desc("What to write"),
             cl::values(clEnumValN(emit::OutputKind::Executable, "exe",
                                   "an executable (default)"),
                        clEnumValN(emit::OutputKind::Library, "lib",
                                   "FILE.a, FILE.so and a C header (default "
                                   "where FILE ends in .a or .so)"),
                        clEnumValN(emit::OutputKind::Mlir, "mlir",
                                   "the optimised graph"),
                        clEnumValN(emit::OutputKind::Llvm, "llvm",
                                   "LLVM IR of kernels and tables")),
             cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print the report as JSON"),
                          cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but errors"),
                           cl::sub(command));

static CompileOptions getOptions() {
  CompileOptions options;
  options.model = modelPath;
  options.output = outputPath;
  options.target = targetName;
  options.quantize = quantize;
  options.kind = emitKind;
  StringRef output = outputPath;
  if (!emitKind.getNumOccurrences() &&
      (output.ends_with(".a") || output.ends_with(".so")))
    options.kind = emit::OutputKind::Library;
  options.shapes = shapes;
  options.images = images;
  options.calibration = calibration;
  options.keepFloat = keepFloat;
  options.kernels = kernels;
  options.timings = timings;
  options.threads = threads;
  options.quiet = quiet;
  return options;
}

static int run() {
  // Copied: linking in process resets every option to its default.
  const CompileOptions options = getOptions();
  const bool asJson = json;
  if (options.output.empty())
    return fail("where should the result go? Say so with -o FILE");
  Expected<CompileResult> result = compileModel(options);
  if (!result)
    return fail(result.takeError());
  const emit::EmitReport &report = result->report;
  if (asJson) {
    outs() << formatv("{0:2}\n",
                      json::Value(json::Object{
                          {"output", options.output},
                          {"target", result->target},
                          {"file_bytes", int64_t(report.fileBytes)},
                          {"weight_bytes", int64_t(report.weightBytes)},
                          {"kernels", report.kernels},
                          {"calls", report.calls},
                          {"seconds", result->seconds},
                          {"tensors", toJson(result->decisions)},
                          {"choices", toJson(report.choices)},
                          {"libraries", json::Array(report.libraries)}}));
    return 0;
  }
  if (!options.quiet) {
    printDecisions(result->decisions);
    printChoices(report.choices);
    errs() << formatv(
        "{0}: {1} ({2} of weights), {3} kernels in {4} calls, for {5}; {6:f1} "
        "s\n",
        options.output, formatBytes(report.fileBytes),
        formatBytes(report.weightBytes), report.kernels, report.calls,
        result->target, result->seconds);
    for (const std::string &library : report.libraries)
      errs() << "needs " << library << "\n";
  }
  return 0;
}

Subcommand compileCommand() { return {&command, run}; }

} // namespace pare::tools
