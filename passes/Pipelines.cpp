//===- Pipelines.cpp - The order of passes --------------------------------===//
#include "passes/Pipelines.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace pare {

void buildSimplifyPipeline(OpPassManager &passes, WeightStore *weights) {
  // Small constants and scalars first: recognition reads them.
  passes.addPass(createSimplifyPass(weights));
  passes.addPass(createFoldConstantsPass(weights));
  passes.addPass(createCSEPass());
  passes.addPass(createSimplifyPass(weights));
  passes.addPass(createRecognizePass(weights));
  passes.addPass(createSinkTransposesPass());
  passes.addPass(createSimplifyPass(weights));
  passes.addPass(createFoldConstantsPass(weights));
  passes.addPass(createFoldNormalizationPass(weights));
  passes.addPass(createMergeMatMulsPass(weights));
  passes.addPass(createSimplifyPass(weights));
  passes.addPass(createFoldConstantsPass(weights));
  passes.addPass(createCSEPass());
}

void buildPipeline(OpPassManager &passes, const PipelineOptions &options) {
  buildSimplifyPipeline(passes, options.weights);
  if (options.prune.isActive())
    passes.addPass(createPruneStructurePass(options.weights, options.prune));
  if (options.formats.isActive())
    passes.addPass(createQuantizeWeightsPass(options.weights, options.formats));
  if (options.quantize == Quantization::Int8)
    passes.addPass(createQuantizeInt8Pass(options.weights, options.int8));
  passes.addPass(createQuantizeBlockProductsPass(options.blocks));
  passes.addPass(createFusePass());
}

void buildExportPipeline(OpPassManager &passes,
                         const PipelineOptions &options) {
  passes.addPass(createSimplifyPass(options.weights));
  passes.addPass(createFoldConstantsPass(options.weights));
  passes.addPass(createCSEPass());
  passes.addPass(createSimplifyPass(options.weights));
  passes.addPass(createRecognizePass(options.weights));
  passes.addPass(createSinkTransposesPass());
  passes.addPass(createSimplifyPass(options.weights));
  passes.addPass(createFoldConstantsPass(options.weights));
  passes.addPass(createCSEPass());
  if (options.formats.isActive())
    passes.addPass(createQuantizeWeightsPass(options.weights, options.formats));
}

} // namespace pare
