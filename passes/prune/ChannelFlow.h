//===- ChannelFlow.h - Channels through one op after the other --*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_CHANNELFLOW_H
#define PARE_PASSES_PRUNE_CHANNELFLOW_H

#include "passes/prune/ChannelGraph.h"

namespace pare::prune {

/// The sizes of a value's axes; -1 where they are not known.
llvm::SmallVector<int64_t> sizesOf(mlir::Value value);

/// How many indices each of `axes` has.
llvm::SmallVector<int64_t> countsOf(llvm::ArrayRef<unsigned> axes,
                                    llvm::ArrayRef<int64_t> sizes);

/// For each index of axes of `counts`, row-major: its place, and its index
/// along each axis.
void forEachIndex(
    llvm::ArrayRef<int64_t> counts,
    llvm::function_ref<void(size_t, llvm::ArrayRef<int64_t>)> visit);

/// Follows channels through one op after the other.
class ChannelFlow {
public:
  explicit ChannelFlow(ChannelGraph &graph) : graph(graph) {}
  void visit(mlir::Operation *op);

private:
  using Channels = AxisChannels;

  Channels get(mlir::Value value) const { return graph.values.lookup(value); }
  void set(mlir::Value value, Channels channels);
  /// New channels for `size` indices.
  std::vector<unsigned> make(size_t size);
  void fix(const Channels &channels);
  void unite(llvm::ArrayRef<unsigned> a, llvm::ArrayRef<unsigned> b);
  void label(mlir::OpOperand &use, unsigned axis, std::vector<unsigned> ids);

  // Channels of a tensor of `sizes`, changed as its axes are.
  Channels select(const Channels &channels, llvm::ArrayRef<int64_t> sizes,
                  unsigned axis, llvm::ArrayRef<int64_t> indices) const;
  /// Makes indices that differ in `axis` only one channel; fixes the channels
  /// where there is no other axis.
  Channels drop(const Channels &channels, llvm::ArrayRef<int64_t> sizes,
                unsigned axis);
  /// What is left of get(value) if it may vary along `axis` only.
  std::vector<unsigned> getAlong(mlir::Value value, unsigned axis);
  /// Channels of a broadcast tensor: those of `channels` for `axes` of `sizes`.
  std::vector<unsigned> broadcast(const Channels &channels,
                                  llvm::ArrayRef<unsigned> axes,
                                  llvm::ArrayRef<int64_t> sizes) const;

  void elementwise(mlir::Operation *op);
  void matmul(nn::MatMulOp op);
  void expertMatmul(nn::ExpertMatMulOp op);
  template <typename Op> void convolution(Op op);
  void batchNorm(nn::BatchNormOp op);
  void reduce(nn::ReduceOp op);
  void transpose(nn::TransposeOp op);
  void reshape(nn::ReshapeOp op);
  void concat(nn::ConcatOp op);
  void slice(nn::SliceOp op);
  void expand(nn::ExpandOp op);
  void gather(nn::GatherOp op);
  void pad(nn::PadOp op);
  void attention(nn::AttentionOp op);
  void append(nn::CacheAppendOp op);
  void cachedAttention(nn::CachedAttentionOp op);
  /// One result, whose axes are those of `x`; `dropped` are mixed.
  void passOn(mlir::Operation *op, mlir::Value x,
              llvm::ArrayRef<unsigned> dropped);
  void giveUp(mlir::Operation *op);
  /// Heads of attention: `many` are those of `few`, each several times.
  void uniteHeads(llvm::ArrayRef<unsigned> many, llvm::ArrayRef<unsigned> few);

  ChannelGraph &graph;
};

} // namespace pare::prune

#endif
