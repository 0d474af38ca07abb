//===- OptimizeModel.h - From a model's path to another runtime's -*- C++
//-*-===//
#ifndef PARE_TOOLS_OPTIMIZEMODEL_H
#define PARE_TOOLS_OPTIMIZEMODEL_H

#include "tools/CompileModel.h"

namespace pare::tools {

struct OptimizeResult {
  std::string format; ///< of the output: "GGUF", …
  std::string runner; ///< what runs it
  uint64_t bytes = 0;
  std::vector<TensorDecision> decisions;
  double seconds = 0;
};

/// Quantizes `options.model` as compileModel does and writes it to
/// `options.output` in the format that the output's name stands for
/// (backends/export/Export.h). Warnings and progress go to `console`.
llvm::Expected<OptimizeResult> optimizeModel(const CompileOptions &options,
                                             Console &console);

} // namespace pare::tools

#endif
