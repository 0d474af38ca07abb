//===- SampleRuns.h - Parts of a model on all samples -----------*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_SAMPLERUNS_H
#define PARE_PASSES_PRUNE_SAMPLERUNS_H

#include "passes/calibrate/SegmentRunner.h"
#include "passes/prune/Structure.h"

namespace pare::prune {

/// All ops of the entry.
Segment wholeEntry(mlir::ModuleOp module);

/// Runs segments of a model on options.calibration.
class SampleRuns {
public:
  SampleRuns(mlir::ModuleOp module, const WeightStore &weights,
             const PruneOptions &options)
      : module(module), weights(weights), options(options) {}

  /// Runs `segment` on every sample and shows `results` and the segment's
  /// inputs, in the order of samples. `inputs` has what the segment takes from
  /// earlier ones, one list per sample; samples run on several threads where
  /// the context allows it. Fails as the executor does, naming the sample.
  llvm::Error
  run(const Segment &segment, llvm::ArrayRef<mlir::Value> results,
      const Stream &inputs,
      llvm::function_ref<void(size_t sample, const NamedTensors &)> show);

private:
  mlir::ModuleOp module;
  const WeightStore &weights;
  const PruneOptions &options;
};

} // namespace pare::prune

#endif
