//===- Zeroed.h - What cutting channels must be equal to --------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_PASSES_ZEROED_H
#define PARE_TESTS_UNIT_PASSES_ZEROED_H

#include "passes/prune/ChannelGraph.h"
#include "passes/simplify/DerivedWeights.h"

namespace pare::test {

/// Sets every slice of `channels` in the weights of a graph to zero. Weights
/// become f32 and are then one per use.
inline void zeroChannels(const prune::ChannelGraph &graph,
                         const llvm::DenseSet<unsigned> &channels,
                         WeightStore &weights) {
  for (const prune::ChannelGroup &group : graph.groups())
    for (prune::WeightAxis axis : graph.getWeightAxes(group)) {
      mlir::OpOperand &use = *axis.use;
      HostTensor tensor = *getKnown(use.get(), &weights);
      std::vector<float> values = tensor.read<float>();
      std::vector<unsigned> ids = graph.getChannels(axis);
      size_t inner = 1;
      for (int64_t size : tensor.shape().drop_front(axis.axis + 1))
        inner *= size_t(size);
      for (size_t i = 0; i < values.size(); ++i)
        if (channels.contains(ids[i / inner % ids.size()]))
          values[i] = 0;
      mlir::OpBuilder builder(use.getOwner());
      auto type =
          mlir::RankedTensorType::get(tensor.shape(), builder.getF32Type());
      use.set(makeDerivedWeight(builder, weights,
                                HostTensor(type, llvm::ArrayRef(values)),
                                use.get(), "zeroed", "zeroed"));
    }
}

/// Every third channel of each group, never all.
inline llvm::DenseSet<unsigned>
takeSome(const prune::ChannelGraph &graph,
         std::optional<prune::ChannelKind> kind = std::nullopt) {
  llvm::DenseSet<unsigned> channels;
  for (const prune::ChannelGroup &group : graph.groups())
    if (!kind || group.kind == *kind)
      for (size_t i = 1; i < group.channels.size(); i += 3)
        channels.insert(group.channels[i]);
  return channels;
}

} // namespace pare::test

#endif
