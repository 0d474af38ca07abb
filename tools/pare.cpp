//===- pare.cpp - The compiler's command line -----------------------------===//
//
// One file per subcommand; this one only chooses between them.
//
//===----------------------------------------------------------------------===//
#include "tools/Cli.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;
using namespace pare::tools;

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  const Subcommand commands[] = {compileCommand(), inspectCommand(),
                                 benchCommand(), diffCommand()};
  cl::SetVersionPrinter(
      [](raw_ostream &os) { os << "pare " << PARE_VERSION << "\n"; });
  const char *overview = "pare: trained models to small, fast executables\n\n"
                         "  pare compile model.onnx -o model --quantize int8\n"
                         "  pare inspect model.onnx\n"
                         "  pare bench ./model --threads 1,2\n"
                         "  pare diff ./model model.onnx\n";
  cl::ParseCommandLineOptions(argc, argv, overview);
  for (const Subcommand &subcommand : commands)
    if (*subcommand.command)
      return subcommand.run();
  cl::PrintHelpMessage();
  return 1;
}
