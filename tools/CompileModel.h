//===- CompileModel.h - From a model's path to an artifact ------*- C++ -*-===//
#ifndef PARE_TOOLS_COMPILEMODEL_H
#define PARE_TOOLS_COMPILEMODEL_H

#include "backends/cpu/CpuTarget.h"
#include "backends/emit/Emit.h"
#include "passes/Pipelines.h"
#include "tools/Calibration.h"
#include "tools/Console.h"
#include "tools/WeightRequest.h"

namespace pare::tools {

/// What `pare compile` is told, in the terms of its options.
struct CompileOptions {
  std::string model, output;
  std::string target = "host";
  WeightRequest weights;
  std::vector<std::string> prune; ///< parts of layers: "ffn=25%", …
  BlockActivations activations = BlockActivations::Auto;
  emit::OutputKind kind = emit::OutputKind::Executable;
  std::vector<std::string> shapes, images, keepFloat;
  CalibrationOptions calibration;
  /// What was given of --method, --scales and of --calibrate-…, as on the
  /// command line; for errors. Empty: nothing.
  std::string methodFlag, calibrationFlag;
  cpu::Providers kernels = cpu::Providers::Generated;
  std::string timings; ///< table of kernel times; empty: the one that ships
  unsigned threads = 0;
  unsigned context = 0; ///< 0: the model's own
  CacheType cache = CacheType::F16;
  std::vector<std::string> adapters; ///< folders that PEFT saved
  AdapterMode adapterMode = AdapterMode::Auto;
  /// Where weights of few bits that are finished are kept until the result is
  /// whole; empty: nowhere. Smaller models than `checkpointBytes`, in bytes of
  /// weights to quantize, keep them where samples are run only.
  std::string checkpoints;
  uint64_t checkpointBytes = 0;
};

struct CompileResult {
  emit::EmitReport report;
  std::vector<TensorDecision> decisions;
  PruneReport pruned;
  std::string target; ///< with the features that `host` stands for
  double seconds = 0;
  std::vector<std::pair<std::string, double>> phases; ///< seconds of each
};

using PipelineBuilder = void (*)(mlir::OpPassManager &,
                                 const PipelineOptions &);

/// Runs the pipeline on a graph; what a pass reports becomes the error, after
/// `path`.
llvm::Error runPasses(mlir::ModuleOp graph, const PipelineOptions &pipeline,
                      llvm::StringRef path,
                      PipelineBuilder build = buildPipeline);

/// An imported model, and what its passes are told.
struct Prepared {
  mlir::MLIRContext context;
  std::optional<cpu::CpuTarget> target;
  std::unique_ptr<Executor> executor;
  std::vector<emit::ImageInput> images;
  PipelineOptions pipeline;
  std::optional<Model> model;
  PruneReport pruned; ///< once the passes have run
};

/// The patterns of --keep-float.
llvm::Expected<std::vector<llvm::GlobPattern>>
parseKeepFloat(const CompileOptions &options);

/// Checks options, imports `options.model` and reads samples. Decisions of
/// passes will be appended to `decisions`; `finish` is told of each phase.
llvm::Error prepareModel(const CompileOptions &options, const cpu::Isa &isa,
                         std::vector<TensorDecision> &decisions,
                         Console &console,
                         llvm::function_ref<void(llvm::StringRef)> finish,
                         Prepared &prepared);

/// Compiles `options.model` to `options.output`; warnings and progress go to
/// `console`. Resets every llvm::cl option to its default on the way
/// (emit::linkExecutable).
llvm::Expected<CompileResult> compileModel(const CompileOptions &options,
                                           Console &console);

} // namespace pare::tools

#endif
