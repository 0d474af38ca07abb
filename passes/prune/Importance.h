//===- Importance.h - What channels and layers do ---------------*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_IMPORTANCE_H
#define PARE_PASSES_PRUNE_IMPORTANCE_H

#include "passes/prune/ChannelGraph.h"
#include "passes/prune/Layers.h"
#include "passes/prune/Structure.h"

namespace pare::prune {

/// Σx² over the samples' rows, for each element of the last axis of values.
using Squares = llvm::DenseMap<mlir::Value, std::vector<double>>;

/// Runs the model on the calibration samples and sums the squares of `values`.
/// Fails as the executor does, and where a value is not finite, naming the
/// sample.
llvm::Expected<Squares> sumSquares(mlir::ModuleOp module,
                                   const WeightStore &weights,
                                   llvm::ArrayRef<mlir::Value> values,
                                   const PruneOptions &options);

/// What each of `group.channels` does. With `squares` of its consumers' inputs:
/// Σ ‖x_c‖² ‖W_c‖², the squared size of what the channel adds to outputs, of
/// each consumer relative to its channels' mean. This is the score of Wanda
/// (Sun et al. 2023) summed over outputs, as FLAP (An et al. 2023) and Minitron
/// (Muralidharan et al. 2024) use it for structures. Without squares ‖x_c‖² is
/// estimated by the squared norms of the weights that make the channel, of
/// their inputs as a normalization scales them: its slices of all weights
/// count, as in DepGraph (Fang et al. 2023, section 3.3).
std::vector<double> scoreChannels(const ChannelGraph &graph,
                                  const ChannelGroup &group,
                                  const WeightStore &weights,
                                  const Squares *squares);

/// Block influence of each layer: 1 - the mean cosine of a row of what goes in
/// and of what comes out (ShortGPT, Men et al. 2024, equation 1).
llvm::Expected<std::vector<double>>
measureInfluence(mlir::ModuleOp module, const WeightStore &weights,
                 llvm::ArrayRef<Layer> layers, const PruneOptions &options);

/// Replaces the weights of products and convolutions that read `channels` by
/// those that give the outputs of the whole model best, in the sense of least
/// squares over the calibration samples, from the channels that stay; those
/// that go get zeros (as He et al. 2017, section 3.1, here for the inputs that
/// the layers before give once they are cut). A filter of several taps takes
/// the same combination of channels at each tap. Weights in blocks become f32;
/// what they were is the result.
llvm::Expected<ChannelGraph::Formats>
reconstruct(mlir::ModuleOp module, WeightStore &weights,
            const ChannelGraph &graph, llvm::ArrayRef<Consumer> consumers,
            const llvm::DenseSet<unsigned> &channels,
            const PruneOptions &options);

} // namespace pare::prune

#endif
