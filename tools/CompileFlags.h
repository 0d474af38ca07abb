//===- CompileFlags.h - Options of commands that compile --------*- C++ -*-===//
#ifndef PARE_TOOLS_COMPILEFLAGS_H
#define PARE_TOOLS_COMPILEFLAGS_H

#include "tools/CompileModel.h"
#include "llvm/Support/CommandLine.h"

namespace pare::tools {

/// --adapter and --adapter-mode, of each command that reads models.
class AdapterFlags {
public:
  explicit AdapterFlags(llvm::cl::SubCommand &command);

  /// Puts what they say into `options`.
  void get(ImportOptions &options);

  llvm::cl::list<std::string> folders;
  llvm::cl::opt<AdapterMode> mode;
};

/// The options that say how a model is compiled, the same in each command that
/// compiles one.
class CompileFlags {
public:
  explicit CompileFlags(llvm::cl::SubCommand &command);

  /// What they say; `model`, `output`, `kind` and `threads` are the command's.
  CompileOptions get();
  /// The name of one that the user gave and that only compiling reads, with
  /// its dashes; empty if there is none but `except`, a name without them.
  std::string findGiven(llvm::StringRef except = "");

private:
  llvm::cl::opt<std::string> quantize;
  llvm::cl::list<std::string> rules;
  llvm::cl::opt<Recipe> recipe;
  llvm::cl::opt<std::string> bits, size, maxDrop;
  llvm::cl::list<std::string> prune;
  llvm::cl::opt<prune::Criterion> pruneBy;
  llvm::cl::opt<encode::RoundMethod> method;
  llvm::cl::opt<encode::ScaleSearch> scales;
  llvm::cl::opt<InputScaling> inputScales;
  llvm::cl::opt<BlockActivations> activations;
  llvm::cl::opt<std::string> target;
  llvm::cl::list<std::string> shapes;
  llvm::cl::opt<unsigned> context;
  llvm::cl::opt<CacheType> cache;
  AdapterFlags adapters;
  llvm::cl::list<std::string> images, keepFloat, calibration;
  llvm::cl::opt<uint64_t> calibrationTokens, calibrationTexts, calibrationSeed;
  llvm::cl::opt<cpu::Providers> kernels;
  llvm::cl::opt<std::string> timings;
};

} // namespace pare::tools

#endif
