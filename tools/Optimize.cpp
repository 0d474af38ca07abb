//===- Optimize.cpp - pare optimize ---------------------------------------===//
#include "tools/Cli.h"
#include "tools/CompileFlags.h"
#include "tools/OptimizeModel.h"
#include "tools/Report.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace pare::tools {

static cl::SubCommand command(
    "optimize",
    "Quantize a model as compile does, and write it for another runtime\n\n"
    "  pare optimize model.gguf -o small.gguf --quantize uint4_g32_k6x256\n"
    "  pare optimize model.onnx -o small.onnx --quantize int4\n"
    "  pare optimize llama/ -o llama-int4/ --quantize int4_g128\n");

static cl::opt<std::string> modelPath(cl::Positional, cl::Required,
                                      cl::desc("MODEL"), cl::sub(command));
static cl::opt<std::string>
    outputPath("o", cl::value_desc("file|folder"),
               cl::desc("Where the result goes (required): FILE.gguf for "
                        "llama.cpp, FILE.onnx for ONNX Runtime, or a folder "
                        "of compressed-tensors for vLLM and transformers"),
               cl::sub(command));
static CompileFlags flags(command);
static cl::opt<bool> json("json", cl::desc("Print the report as JSON"),
                          cl::sub(command));
static cl::opt<bool> quiet("quiet", cl::desc("Print nothing but errors"),
                           cl::sub(command));

static int run() {
  // Copied: compiling what samples run on resets every option to its default.
  CompileOptions options = flags.get();
  options.model = modelPath;
  options.output = outputPath;
  const bool asJson = json, isQuiet = quiet;
  Console console(isQuiet);
  if (options.output.empty())
    return console.fail("where should the result go? Say so with -o FILE");
  Expected<OptimizeResult> result = optimizeModel(options, console);
  if (!result)
    return console.fail(result.takeError());
  if (asJson) {
    outs() << formatv("{0:2}\n", json::Value(json::Object{
                                     {"output", options.output},
                                     {"format", result->format},
                                     {"file_bytes", int64_t(result->bytes)},
                                     {"seconds", result->seconds},
                                     {"tensors", toJson(result->decisions)}}));
    return 0;
  }
  if (isQuiet)
    return 0;
  printDecisions(result->decisions);
  console.note(formatv("{0}: {1}, {2} for {3}; {4:f1} s", options.output,
                       formatBytes(result->bytes), result->format,
                       result->runner, result->seconds)
                   .str());
  return 0;
}

Subcommand optimizeCommand() { return {&command, run}; }

} // namespace pare::tools
