//===- Layers.cpp - Layers of transformers that can go --------------------===//
#include "passes/prune/Layers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace pare::prune {

static bool isAttention(Operation *op) {
  return isa<nn::AttentionOp, nn::CachedAttentionOp>(op);
}

/// Embeddings, products and convolutions: what activations come from. Masks and
/// angles of positions do not.
static bool readsWeights(Operation *op) {
  return isa<nn::MatMulOp, nn::ConvOp, nn::GatherOp>(op) &&
         llvm::any_of(op->getOperands(), [](Value operand) {
           return nn::getWeight(operand) && rankOf(operand) > 1;
         });
}

namespace {
/// Values through which all activations go, and what stands between them.
struct Cuts {
  SmallVector<Value> values;
  /// For each attention, the number of values before it.
  SmallVector<size_t> attentions;
};
} // namespace

static Cuts findCuts(func::FuncOp entry) {
  Cuts cuts;
  DenseMap<Value, unsigned> pending; ///< uses to come
  llvm::SmallPtrSet<Operation *, 32> dependent;
  for (Operation &op : entry.front().without_terminator()) {
    bool depends =
        readsWeights(&op) || op.getNumResults() == 0 || isAttention(&op) ||
        llvm::any_of(op.getOperands(), [&](Value v) {
          return v.getDefiningOp() && dependent.contains(v.getDefiningOp());
        });
    if (!depends)
      continue;
    dependent.insert(&op);
    if (isAttention(&op))
      cuts.attentions.push_back(cuts.values.size());
    for (Value operand : op.getOperands())
      if (auto it = pending.find(operand);
          it != pending.end() && --it->second == 0)
        pending.erase(it);
    for (Value result : op.getResults())
      if (!result.use_empty())
        pending[result] =
            unsigned(std::distance(result.use_begin(), result.use_end()));
    if (pending.size() == 1 &&
        (cuts.values.empty() || cuts.values.back() != pending.begin()->first))
      cuts.values.push_back(pending.begin()->first);
  }
  return cuts;
}

/// The cache that an op reads or writes; null if it does neither.
static StringAttr getCache(Operation *op) {
  if (auto append = dyn_cast<nn::CacheAppendOp>(op))
    return append.getCacheAttr().getAttr();
  if (auto attention = dyn_cast<nn::CachedAttentionOp>(op))
    return attention.getCacheAttr().getAttr();
  return {};
}

/// Caches used behind `in` and not behind `out`.
static llvm::SmallSetVector<StringAttr, 1> getCaches(const Layer &layer) {
  llvm::SmallSetVector<StringAttr, 1> caches;
  Operation *begin = layer.in.getDefiningOp(), *end = layer.out.getDefiningOp();
  for (Operation *op = begin; op != end; op = op->getNextNode())
    if (StringAttr cache = getCache(op))
      caches.insert(cache);
  return caches;
}

static bool canGo(const Layer &layer) {
  if (layer.in.getType() != layer.out.getType())
    return false;
  Operation *begin = layer.in.getDefiningOp(), *end = layer.out.getDefiningOp();
  llvm::SmallSetVector<StringAttr, 1> caches = getCaches(layer);
  for (Operation &op : *begin->getBlock())
    if (StringAttr cache = getCache(&op); cache && caches.contains(cache))
      if (op.isBeforeInBlock(begin) || !op.isBeforeInBlock(end))
        return false;
  return true;
}

std::vector<Layer> findLayers(ModuleOp module) {
  Cuts cuts = findCuts(nn::getEntry(module));
  SmallVector<size_t> starts;
  for (size_t before : cuts.attentions)
    if (before > 0 && (starts.empty() || starts.back() != before - 1))
      starts.push_back(before - 1);
  std::vector<Layer> layers;
  for (auto [i, start] : llvm::enumerate(starts)) {
    size_t end = cuts.values.size();
    if (i + 1 < starts.size())
      end = starts[i + 1];
    else if (i > 0) // as long as the one before
      end = start + (start - starts[i - 1]);
    if (end >= cuts.values.size())
      continue;
    Layer layer{cuts.values[start], cuts.values[end], false};
    layer.canGo = canGo(layer);
    layers.push_back(layer);
  }
  return layers;
}

void dropLayers(ModuleOp module, ArrayRef<Layer> layers, WeightStore &weights) {
  llvm::SmallSetVector<StringAttr, 8> caches;
  // The last one first: what a layer takes in is what another one gave.
  for (Layer layer : llvm::reverse(layers)) {
    caches.insert_range(getCaches(layer));
    layer.out.replaceAllUsesWith(layer.in);
  }
  Block &body = nn::getEntry(module).front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op) ||
        (isa<nn::CacheAppendOp>(op) && caches.contains(getCache(&op))))
      op.erase();
  for (StringAttr cache : caches)
    module.lookupSymbol(cache)->erase();
  eraseUnusedWeights(module, weights);
}

} // namespace pare::prune
