//===- Pipelines.h - The order of passes ------------------------*- C++ -*-===//
#ifndef PARE_PASSES_PIPELINES_H
#define PARE_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"

namespace pare {

enum class Quantization { None, Int8 };

struct PipelineOptions {
  WeightStore *weights = nullptr; ///< required; outlives the pass manager
  PruneOptions prune;             ///< of parts that are left out
  Quantization quantize = Quantization::None;
  WeightOptions formats; ///< of weights in few bits
  Int8Options int8; ///< used where `quantize` is Int8; its target may be null
  BlockProductOptions blocks; ///< of weights that come in blocks
};

/// Simplification only: the graph as a user would have written it, in float.
void buildSimplifyPipeline(mlir::OpPassManager &passes, WeightStore *weights);

/// An imported graph to one that is ready for lowering: simplify, prune,
/// quantize, fuse. Runs on the module.
void buildPipeline(mlir::OpPassManager &passes, const PipelineOptions &options);

/// The same as far as weights have new formats, without passes that change
/// weights or compute several at once: each is still the source's own.
void buildExportPipeline(mlir::OpPassManager &passes,
                         const PipelineOptions &options);

} // namespace pare

#endif
