//===- pare.cpp - The compiler's command line -----------------------------===//
//
// One file per subcommand; this one only chooses between them.
//
//===----------------------------------------------------------------------===//
#include "tools/Cli.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;
using namespace pare::tools;

/// LLVM's own options, which its archives bring along, are not for users.
static void hideForeignOptions() {
  for (auto &[name, option] :
       cl::getRegisteredOptions(cl::SubCommand::getTopLevel()))
    if (name != "help" && name != "version")
      option->setHiddenFlag(cl::ReallyHidden);
}

/// What is wrong with the command line, on one line.
static int failUsage(StringRef message) {
  if (message.empty()) // a wrong value: its option has said so
    return 1;
  StringRef line = message.split('\n').first;
  line.consume_front("pare: ");
  line = line.split("  Try:").first.rtrim("!.");
  return Console(/*quiet=*/true).fail(line + "; see --help");
}

/// The exit code of a command that has returned `code`: results that could not
/// be written are an error too.
static int finishOutput(int code) {
  outs().flush();
  std::error_code error = outs().error();
  if (!error)
    return code;
  outs().clear_error();
  return Console(/*quiet=*/true)
      .fail("cannot write to standard output: " + error.message());
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  const Subcommand commands[] = {
      compileCommand(), inspectCommand(), benchCommand(),   diffCommand(),
      evalCommand(),    tuneCommand(),    optimizeCommand()};
  cl::SetVersionPrinter(
      [](raw_ostream &os) { os << "pare " << PARE_VERSION << "\n"; });
  const char *overview =
      "pare: trained models to small, fast executables\n\n"
      "  pare compile model.onnx -o model --quantize int8\n"
      "  pare optimize model.gguf -o small.gguf --quantize int4\n"
      "  pare inspect model.onnx\n"
      "  pare bench ./model --threads 1,2\n"
      "  pare diff ./model model.onnx\n"
      "  pare eval ./model --against model.onnx --data x.npz\n";
  hideForeignOptions();
  std::string message;
  raw_string_ostream stream(message);
  if (!cl::ParseCommandLineOptions(argc, argv, overview, &stream))
    return failUsage(message);
  for (const Subcommand &subcommand : commands)
    if (*subcommand.command)
      return finishOutput(subcommand.run());
  cl::PrintHelpMessage();
  return 1;
}
