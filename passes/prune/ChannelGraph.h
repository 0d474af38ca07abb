//===- ChannelGraph.h - What goes when a channel goes -----------*- C++ -*-===//
//
// The dependency graph of structured pruning (DepGraph, Fang et al. 2023) on nn
// graphs. Every index of an axis that a product or convolution makes is a
// channel; ops say which indices of their operands and results are one channel
// (the sum of two tensors makes theirs equal, a concatenation lists those of
// both, a depthwise convolution passes them on). What is left are classes of
// indices that only go together, in activations, weights and caches.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_PRUNE_CHANNELGRAPH_H
#define PARE_PASSES_PRUNE_CHANNELGRAPH_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

namespace pare::prune {

enum class ChannelKind : uint8_t {
  Ffn,     ///< hidden units between matrix products
  Heads,   ///< of attention, with all query heads of a key head
  Filters, ///< of convolutions, and what has as many channels as they
};

/// One axis of a weight that an op reads.
struct WeightAxis {
  mlir::OpOperand *use;
  unsigned axis;
};

/// A product or convolution by a weight whose inputs are channels.
struct Consumer {
  mlir::Value x; ///< channels are its last axis
  WeightAxis weight;
};

/// Channels of which some may go and others stay: those of the axes that the
/// same products and convolutions make.
struct ChannelGroup {
  ChannelKind kind;
  std::vector<unsigned> channels; ///< that may go
  size_t size;                    ///< with those that may not
  std::vector<WeightAxis> producers;
  std::vector<Consumer> consumers;
  /// The source's name for what the first producer makes.
  std::string name;
};

/// Indices of several axes of a value, each with its channel.
struct AxisChannels {
  llvm::SmallVector<unsigned> axes;
  std::vector<unsigned> ids; ///< row-major over `axes`, in their order
  explicit operator bool() const { return !axes.empty(); }
};

class ChannelGraph {
public:
  /// Follows channels through the entry, which is simplified. A channel that
  /// meets an op through which it cannot be followed, an input or a result of
  /// the entry may not go.
  explicit ChannelGraph(mlir::ModuleOp module);

  llvm::ArrayRef<ChannelGroup> groups() const { return groups_; }
  /// The channel of each index of a weight's axis; empty where none may go.
  std::vector<unsigned> getChannels(WeightAxis axis) const;
  /// Axes of weights that hold channels of `group`, in program order.
  std::vector<WeightAxis> getWeightAxes(const ChannelGroup &group) const;

  /// Formats that weights in blocks had before they were changed.
  using Formats = llvm::DenseMap<mlir::OpOperand *, const BlockFormat *>;

  /// Takes channels out of the graph. The result is what the graph gave with
  /// every slice of these channels in its weights set to zero. Weights in
  /// blocks, and those that `formats` lists, keep their format: whole blocks
  /// bit for bit, others are encoded anew, to nearest, where `keepsFormats` is
  /// set, or become f32. The graph of channels is void afterwards.
  void cut(const llvm::DenseSet<unsigned> &channels, WeightStore &weights,
           const Formats &formats = Formats(), bool keepsFormats = true);

private:
  friend class ChannelFlow;
  unsigned find(unsigned id) const;
  void unite(unsigned a, unsigned b);
  void separateAxes();
  void collectGroups();

  mlir::ModuleOp module;
  mutable std::vector<unsigned> parents;
  std::vector<bool> isFixed, isHead; ///< by class
  llvm::MapVector<mlir::Value, AxisChannels> values;
  /// Channels by axis of weights and constants, for each use.
  llvm::MapVector<mlir::OpOperand *, std::vector<std::vector<unsigned>>> uses;
  llvm::MapVector<mlir::Operation *, std::vector<unsigned>> caches;
  std::vector<WeightAxis> producers;
  std::vector<Consumer> consumers;
  std::vector<ChannelGroup> groups_;
};

} // namespace pare::prune

#endif
