//===- ChannelGraph.cpp - What goes when a channel goes -------------------===//
#include "passes/prune/ChannelGraph.h"
#include "passes/prune/ChannelFlow.h"
#include "passes/simplify/DerivedWeights.h"

using namespace mlir;

namespace pare::prune {

unsigned ChannelGraph::find(unsigned id) const {
  while (parents[id] != id)
    id = parents[id] = parents[parents[id]];
  return id;
}

void ChannelGraph::unite(unsigned a, unsigned b) {
  a = find(a);
  b = find(b);
  if (a == b)
    return;
  unsigned root = std::min(a, b);
  isFixed[root] = isFixed[a] || isFixed[b];
  isHead[root] = isHead[a] || isHead[b];
  parents[std::max(a, b)] = root;
}

/// Leaves each value one axis of which its channels are a function, so that
/// what stays is a tensor again: of heads and their elements, the heads.
void ChannelGraph::separateAxes() {
  for (bool hasChanged = true; hasChanged;) {
    hasChanged = false;
    for (auto &[value, channels] : values) {
      if (channels.axes.size() == 1)
        continue;
      SmallVector<int64_t> counts = countsOf(channels.axes, sizesOf(value));
      auto unite = [&](size_t place, bool tries) {
        std::vector<int64_t> first(size_t(counts[place]), -1);
        bool isFunction = true;
        forEachIndex(counts, [&](size_t flat, ArrayRef<int64_t> index) {
          int64_t &id = first[size_t(index[place])];
          unsigned own = channels.ids[flat];
          if (id < 0)
            id = own;
          else if (find(unsigned(id)) != find(own)) {
            isFunction = false;
            if (!tries)
              this->unite(unsigned(id), own);
          }
        });
        return isFunction;
      };
      size_t best = 0; // the first such axis, or else the longest
      for (size_t place = 0; place < counts.size(); ++place) {
        if (unite(place, /*tries=*/true)) {
          best = place;
          break;
        }
        if (counts[place] > counts[best])
          best = place;
      }
      hasChanged |= !unite(best, /*tries=*/false);
      auto count = size_t(counts[best]);
      std::vector<unsigned> ids(count);
      forEachIndex(counts, [&](size_t flat, ArrayRef<int64_t> index) {
        ids[size_t(index[best])] = channels.ids[flat];
      });
      channels = {{channels.axes[best]}, std::move(ids)};
    }
  }
}

void ChannelGraph::collectGroups() {
  // Producers that share a channel make one group.
  llvm::DenseMap<unsigned, unsigned> groupOf; // channel to group
  std::vector<unsigned> merged;               // group to group
  auto findGroup = [&](unsigned group) {
    while (merged[group] != group)
      group = merged[group];
    return group;
  };
  std::vector<unsigned> groupOfProducer;
  for (const WeightAxis &producer : producers) {
    auto own = unsigned(merged.size());
    merged.push_back(own);
    for (unsigned id : uses[producer.use][producer.axis]) {
      auto [it, isNew] = groupOf.try_emplace(find(id), own);
      if (isNew)
        continue;
      unsigned a = findGroup(it->second), b = findGroup(own);
      merged[std::max(a, b)] = std::min(a, b);
    }
    groupOfProducer.push_back(own);
  }
  llvm::MapVector<unsigned, ChannelGroup> groups;
  llvm::DenseSet<unsigned> seen;
  for (auto [producer, number] : llvm::zip_equal(producers, groupOfProducer)) {
    auto [it, isNew] = groups.try_emplace(findGroup(number));
    ChannelGroup &group = it->second;
    Operation *op = producer.use->getOwner();
    if (isNew) {
      group.kind = ChannelKind::Ffn;
      group.size = 0;
      nn::WeightOp weight = nn::getWeight(producer.use->get());
      group.name = weight ? getSourceName(weight).str()
                          : nn::getValueName(op->getResult(0)).str();
    }
    if (isa<nn::ConvOp, nn::ConvTransposeOp>(op) &&
        group.kind == ChannelKind::Ffn)
      group.kind = ChannelKind::Filters;
    group.producers.push_back(producer);
    for (unsigned id : uses[producer.use][producer.axis]) {
      unsigned channel = find(id);
      if (!seen.insert(channel).second)
        continue;
      ++group.size;
      if (isHead[channel])
        group.kind = ChannelKind::Heads;
      if (!isFixed[channel])
        group.channels.push_back(channel);
    }
  }
  for (const Consumer &consumer : consumers) {
    llvm::DenseSet<unsigned> readers;
    for (unsigned id : uses[consumer.weight.use][consumer.weight.axis])
      if (auto it = groupOf.find(find(id)); it != groupOf.end())
        if (unsigned number = findGroup(it->second);
            readers.insert(number).second)
          groups[number].consumers.push_back(consumer);
  }
  for (auto &[number, group] : groups)
    if (!group.channels.empty())
      groups_.push_back(std::move(group));
}

ChannelGraph::ChannelGraph(ModuleOp module) : module(module) {
  ChannelFlow flow(*this);
  for (Operation &op : nn::getEntry(module).front())
    flow.visit(&op);
  separateAxes();
  collectGroups();
}

std::vector<unsigned> ChannelGraph::getChannels(WeightAxis axis) const {
  auto it = uses.find(axis.use);
  if (it == uses.end())
    return {};
  std::vector<unsigned> ids = it->second[axis.axis];
  for (unsigned &id : ids)
    id = find(id);
  return ids;
}

std::vector<WeightAxis>
ChannelGraph::getWeightAxes(const ChannelGroup &group) const {
  llvm::DenseSet<unsigned> own(llvm::from_range, group.channels);
  std::vector<WeightAxis> axes;
  for (const auto &[use, byAxis] : uses)
    for (auto [axis, ids] : llvm::enumerate(byAxis))
      if (llvm::any_of(ids,
                       [&](unsigned id) { return own.contains(find(id)); }))
        axes.push_back({use, unsigned(axis)});
  return axes;
}

} // namespace pare::prune
