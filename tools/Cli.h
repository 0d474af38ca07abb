//===- Cli.h - What all subcommands share -----------------------*- C++ -*-===//
#ifndef PARE_TOOLS_CLI_H
#define PARE_TOOLS_CLI_H

#include "frontend/Importer.h"
#include "tools/Console.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"

namespace pare::tools {

/// A subcommand: its options are registered under `command()`, `run` is called
/// when the user names it.
struct Subcommand {
  llvm::cl::SubCommand *command;
  int (*run)();
};

Subcommand compileCommand();
Subcommand inspectCommand();
Subcommand benchCommand();
Subcommand diffCommand();
Subcommand evalCommand();
Subcommand tuneCommand();
Subcommand optimizeCommand();

/// Loads every dialect that the compiler uses.
void loadDialects(mlir::MLIRContext &context);

/// "conv", "gelu": what an op of a graph does, for people.
std::string getKind(mlir::Operation *op);

/// `name=1x3x48x320` options as a map.
llvm::Expected<ImportOptions> parseShapes(llvm::ArrayRef<std::string> shapes);

/// Imports a model: finds its format, says warnings.
llvm::Expected<Model> importModel(llvm::StringRef path,
                                  const ImportOptions &options,
                                  mlir::MLIRContext &context, Console &console);

} // namespace pare::tools

#endif
