//===- Emit.h - From an optimised graph to files ----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_EMIT_EMIT_H
#define PARE_BACKENDS_EMIT_EMIT_H

#include "backends/cpu/Isa.h"
#include "backends/cpu/Select.h"
#include "backends/emit/ModelInfo.h"
#include "frontend/Importer.h"
#include "frontend/Progress.h"

namespace pare::emit {

enum class OutputKind { Executable, Library, Mlir, Llvm };

struct EmitReport {
  uint64_t fileBytes = 0, weightBytes = 0;
  unsigned kernels = 0, calls = 0;
  std::vector<cpu::Choice> choices;   ///< between providers
  std::vector<std::string> libraries; ///< files that lie beside the output
};

/// An error where a file cannot appear at `path`, or would take the place of
/// something that is no file: a device, a pipe, a folder.
llvm::Error checkOutput(llvm::StringRef path);

/// Selects kernels for a fused graph, generates them, packs the weights and
/// writes `output`: to a temporary name beside it first, renamed when whole.
/// A library is `output`.a, `output`.so and `output`.h, or only the one of the
/// first two that `output` ends in, with its header.
/// An executable with kernels of oneDNN is dynamic: its libraries are put
/// beside it. The graph is consumed. `progress` hears of packing and code
/// generation.
llvm::Expected<EmitReport> emitModel(mlir::ModuleOp graph,
                                     const WeightStore &weights,
                                     const ModelInfo &info, const cpu::Isa &isa,
                                     OutputKind kind, llvm::StringRef output,
                                     const cpu::SelectOptions &select = {},
                                     const ProgressFn &progress = nullptr);

} // namespace pare::emit

#endif
