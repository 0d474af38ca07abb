//===- Compile.cpp - pare compile -----------------------------------------===//
#include "tools/Cli.h"
#include "tools/CompileFlags.h"
#include "tools/Console.h"
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
static cl::opt<std::string>
    outputPath("o", cl::value_desc("file"),
               cl::desc("Where the result goes (required)"), cl::sub(command));
static CompileFlags flags(command);
static cl::opt<unsigned>
    threads("threads", cl::init(0),
            cl::desc("Threads that the artifact uses by default (default: 0, "
                     "the machine's)"),
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
static cl::opt<std::string> checkpoints(
    "checkpoints", cl::value_desc("folder"),
    cl::desc("Where weights that are finished are kept until the result is "
             "whole, so that the same command goes on after it was stopped; or "
             "none (default: FILE.partial, for large models and where samples "
             "are run)"),
    cl::sub(command));
static cl::opt<bool> json("json", cl::desc("Print the report as JSON"),
                          cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but errors"),
                           cl::sub(command));

static CompileOptions getOptions() {
  CompileOptions options = flags.get();
  options.model = modelPath;
  options.output = outputPath;
  options.kind = emitKind;
  StringRef output = outputPath;
  if (!emitKind.getNumOccurrences() &&
      (output.ends_with(".a") || output.ends_with(".so")))
    options.kind = emit::OutputKind::Library;
  options.threads = threads;
  // Less is made again in a few seconds.
  options.checkpointBytes = 256 << 20;
  options.checkpoints = options.output + ".partial";
  if (checkpoints.getNumOccurrences()) {
    options.checkpointBytes = 0;
    options.checkpoints = checkpoints == "none" ? "" : checkpoints.getValue();
  }
  return options;
}

static int run() {
  // Copied: linking in process resets every option to its default.
  const CompileOptions options = getOptions();
  const bool asJson = json, isQuiet = quiet;
  Console console(isQuiet);
  if (options.output.empty())
    return console.fail("where should the result go? Say so with -o FILE");
  Expected<CompileResult> result = compileModel(options, console);
  if (!result)
    return console.fail(result.takeError());
  const emit::EmitReport &report = result->report;
  if (asJson) {
    json::Object phases;
    for (const auto &[name, seconds] : result->phases)
      phases[name] = seconds;
    outs() << formatv("{0:2}\n",
                      json::Value(json::Object{
                          {"output", options.output},
                          {"target", result->target},
                          {"file_bytes", int64_t(report.fileBytes)},
                          {"weight_bytes", int64_t(report.weightBytes)},
                          {"kernels", report.kernels},
                          {"calls", report.calls},
                          {"seconds", result->seconds},
                          {"phases", std::move(phases)},
                          {"pruned", toJson(result->pruned)},
                          {"tensors", toJson(result->decisions)},
                          {"choices", toJson(report.choices)},
                          {"libraries", json::Array(report.libraries)}}));
    return 0;
  }
  if (isQuiet)
    return 0;
  printPruned(result->pruned);
  printDecisions(result->decisions);
  printChoices(report.choices);
  std::string phases;
  for (const auto &[name, seconds] : result->phases)
    phases +=
        formatv("{0}{1} {2:f1}", phases.empty() ? "" : ", ", name, seconds);
  console.note(formatv("{0}: {1} ({2} of weights), {3} kernels in {4} calls, "
                       "for {5}; {6:f1} s ({7})",
                       options.output, formatBytes(report.fileBytes),
                       formatBytes(report.weightBytes), report.kernels,
                       report.calls, result->target, result->seconds, phases)
                   .str());
  for (const std::string &library : report.libraries)
    console.note("needs " + library);
  return 0;
}

Subcommand compileCommand() { return {&command, run}; }

} // namespace pare::tools
