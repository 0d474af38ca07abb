//===- Passes.h - Passes over nn graphs -------------------------*- C++ -*-===//
#ifndef PARE_PASSES_PASSES_H
#define PARE_PASSES_PASSES_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "mlir/Pass/Pass.h"
#include "passes/Target.h"
#include "passes/prune/Structure.h"
#include "passes/quantize/BlockProducts.h"
#include "passes/quantize/Int8.h"
#include "passes/quantize/Weights.h"

namespace pare {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

/// Passes take what is outside the IR as pointers that must outlive them. The
/// store holds the bytes of the module's weights.
std::unique_ptr<mlir::Pass> createSimplifyPass(const WeightStore *weights);
std::unique_ptr<mlir::Pass> createRecognizePass(const WeightStore *weights);
std::unique_ptr<mlir::Pass> createFoldConstantsPass(WeightStore *weights);
std::unique_ptr<mlir::Pass> createFoldNormalizationPass(WeightStore *weights);
std::unique_ptr<mlir::Pass> createSinkTransposesPass();
std::unique_ptr<mlir::Pass> createMergeMatMulsPass(WeightStore *weights);
std::unique_ptr<mlir::Pass> createPruneStructurePass(WeightStore *weights,
                                                     PruneOptions options);
std::unique_ptr<mlir::Pass> createQuantizeInt8Pass(WeightStore *weights,
                                                   Int8Options options);
std::unique_ptr<mlir::Pass> createQuantizeWeightsPass(WeightStore *weights,
                                                      WeightOptions options);
std::unique_ptr<mlir::Pass>
createQuantizeBlockProductsPass(BlockProductOptions options);
std::unique_ptr<mlir::Pass> createFusePass();

} // namespace pare

#endif
