//===- ChannelFlow.cpp - Channels through one op after the other ----------===//
#include "passes/prune/ChannelFlow.h"
#include "passes/simplify/Match.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;

namespace pare::prune {

SmallVector<int64_t> sizesOf(Value value) {
  return llvm::map_to_vector(shapeOf(value), [](nn::Dim dim) {
    return nn::getConstant(dim).value_or(-1);
  });
}

/// Weights and constants, which are cut for each use.
static bool isWeight(Value value) {
  return isa_and_nonnull<nn::ParamOp, nn::ConstantOp>(value.getDefiningOp());
}

void forEachIndex(ArrayRef<int64_t> counts,
                  llvm::function_ref<void(size_t, ArrayRef<int64_t>)> visit) {
  SmallVector<int64_t> index(counts.size(), 0);
  size_t total = 1;
  for (int64_t count : counts)
    total *= size_t(count);
  for (size_t flat = 0; flat < total; ++flat) {
    visit(flat, index);
    for (size_t i = counts.size(); i-- > 0;) {
      if (++index[i] < counts[i])
        break;
      index[i] = 0;
    }
  }
}

SmallVector<int64_t> countsOf(ArrayRef<unsigned> axes,
                              ArrayRef<int64_t> sizes) {
  return llvm::map_to_vector(axes, [&](unsigned axis) { return sizes[axis]; });
}

//===----------------------------------------------------------------------===//
// Channels of a tensor
//===----------------------------------------------------------------------===//

std::vector<unsigned> ChannelFlow::make(size_t size) {
  std::vector<unsigned> ids(size);
  std::iota(ids.begin(), ids.end(), unsigned(graph.parents.size()));
  graph.parents.insert(graph.parents.end(), ids.begin(), ids.end());
  graph.isFixed.resize(graph.parents.size());
  graph.isHead.resize(graph.parents.size());
  return ids;
}

void ChannelFlow::fix(const Channels &channels) {
  for (unsigned id : channels.ids)
    graph.isFixed[graph.find(id)] = true;
}

void ChannelFlow::unite(ArrayRef<unsigned> a, ArrayRef<unsigned> b) {
  for (auto [x, y] : llvm::zip_equal(a, b))
    graph.unite(x, y);
}

void ChannelFlow::set(Value value, Channels channels) {
  // An axis of one index stays as it is.
  if (channels.ids.size() == 1) {
    fix(channels);
    return;
  }
  if (channels)
    graph.values[value] = std::move(channels);
}

void ChannelFlow::label(OpOperand &use, unsigned axis,
                        std::vector<unsigned> ids) {
  auto &axes = graph.uses[&use];
  axes.resize(rankOf(use.get()));
  assert(int64_t(ids.size()) == sizesOf(use.get())[axis]);
  axes[axis] = std::move(ids);
}

/// The place of an index, one number per entry of `axes`, in row-major order.
static size_t flatten(ArrayRef<int64_t> index, ArrayRef<int64_t> counts) {
  size_t flat = 0;
  for (auto [i, count] : llvm::zip_equal(index, counts))
    flat = flat * size_t(count) + size_t(i);
  return flat;
}

AxisChannels ChannelFlow::select(const Channels &channels,
                                 ArrayRef<int64_t> sizes, unsigned axis,
                                 ArrayRef<int64_t> indices) const {
  const auto *at = llvm::find(channels.axes, axis);
  if (at == channels.axes.end())
    return channels;
  size_t place = at - channels.axes.begin();
  SmallVector<int64_t> from = countsOf(channels.axes, sizes), to = from;
  to[place] = int64_t(indices.size());
  Channels result{channels.axes, {}};
  forEachIndex(to, [&](size_t, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index);
    source[place] = indices[index[place]];
    result.ids.push_back(channels.ids[flatten(source, from)]);
  });
  return result;
}

AxisChannels ChannelFlow::drop(const Channels &channels,
                               ArrayRef<int64_t> sizes, unsigned axis) {
  const auto *at = llvm::find(channels.axes, axis);
  if (at == channels.axes.end())
    return channels;
  if (channels.axes.size() == 1) {
    fix(channels);
    return {};
  }
  Channels first = select(channels, sizes, axis, {0});
  for (int64_t i = 1; i < sizes[axis]; ++i)
    unite(first.ids, select(channels, sizes, axis, {i}).ids);
  first.axes.erase(first.axes.begin() + (at - channels.axes.begin()));
  return first;
}

std::vector<unsigned> ChannelFlow::getAlong(Value value, unsigned axis) {
  Channels channels = get(value);
  SmallVector<unsigned> axes(channels.axes);
  if (!llvm::is_contained(axes, axis)) {
    fix(channels);
    return {};
  }
  for (unsigned other : axes)
    if (other != axis)
      channels = drop(channels, sizesOf(value), other);
  return channels.ids;
}

std::vector<unsigned> ChannelFlow::broadcast(const Channels &channels,
                                             ArrayRef<unsigned> axes,
                                             ArrayRef<int64_t> sizes) const {
  SmallVector<int64_t> own = countsOf(channels.axes, sizes);
  std::vector<unsigned> ids;
  forEachIndex(countsOf(axes, sizes), [&](size_t, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source;
    for (unsigned axis : channels.axes)
      source.push_back(index[llvm::find(axes, axis) - axes.begin()]);
    ids.push_back(channels.ids[flatten(source, own)]);
  });
  return ids;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

void ChannelFlow::giveUp(Operation *op) {
  for (Value operand : op->getOperands())
    fix(get(operand));
}

void ChannelFlow::passOn(Operation *op, Value x, ArrayRef<unsigned> dropped) {
  Channels channels = get(x);
  for (unsigned axis : dropped)
    channels = drop(channels, sizesOf(x), axis);
  for (Value operand : op->getOperands())
    if (operand != x)
      fix(get(operand));
  set(op->getResult(0), std::move(channels));
}

/// Operands are broadcast to the result, whose channels they share.
void ChannelFlow::elementwise(Operation *op) {
  Value result = op->getResult(0);
  SmallVector<int64_t> sizes = sizesOf(result);
  auto rank = unsigned(sizes.size());
  // Axes are those of the result from here on.
  SmallVector<std::pair<OpOperand *, Channels>> labelled;
  SmallVector<unsigned> axes;
  for (OpOperand &use : op->getOpOperands()) {
    Channels channels = get(use.get());
    if (!channels)
      continue;
    for (unsigned &axis : channels.axes) {
      axis += rank - unsigned(rankOf(use.get()));
      if (!llvm::is_contained(axes, axis))
        axes.push_back(axis);
    }
    labelled.push_back({&use, std::move(channels)});
  }
  if (labelled.empty())
    return;
  llvm::sort(axes);
  if (llvm::any_of(axes, [&](unsigned axis) { return sizes[axis] < 0; })) {
    giveUp(op);
    return;
  }
  Channels all{axes, {}};
  for (auto &[use, channels] : labelled) {
    std::vector<unsigned> ids = broadcast(channels, axes, sizes);
    if (all.ids.empty())
      all.ids = std::move(ids);
    else
      unite(all.ids, ids);
  }
  // Those that have none: an axis of one index is broadcast, a weight is cut
  // if it has all axes, and any other tensor must keep its axes.
  for (OpOperand &use : op->getOpOperands()) {
    if (get(use.get()))
      continue;
    unsigned offset = rank - unsigned(rankOf(use.get()));
    SmallVector<int64_t> own = sizesOf(use.get());
    SmallVector<unsigned> present;
    for (unsigned axis : all.axes)
      if (axis >= offset && own[axis - offset] != 1)
        present.push_back(axis);
    if (present.empty())
      continue;
    if (isWeight(use.get()) && all.axes.size() == 1) {
      label(use, all.axes.front() - offset, all.ids);
      continue;
    }
    for (unsigned axis : present)
      all = drop(all, sizes, axis);
    if (!all)
      return;
  }
  set(result, std::move(all));
}

void ChannelFlow::matmul(nn::MatMulOp op) {
  Value x = op.getLhs(), result = op.getResult();
  OpOperand &weight = op.getRhsMutable();
  if (!isWeight(weight.get()) || rankOf(weight.get()) != 2 || isWeight(x)) {
    giveUp(op);
    return;
  }
  auto last = unsigned(rankOf(x)) - 1;
  unsigned inner = op.getTransposeRhs() ? 1 : 0, outer = 1 - inner;
  Channels channels = get(x);
  if (channels && (channels.axes.size() > 1 || channels.axes.front() != last)) {
    set(result, drop(channels, sizesOf(x), last));
    return;
  }
  if (channels) {
    label(weight, inner, channels.ids);
    graph.consumers.push_back({x, {&weight, inner}});
  }
  std::vector<unsigned> ids = make(size_t(sizesOf(weight.get())[outer]));
  label(weight, outer, ids);
  graph.producers.push_back({&weight, outer});
  set(result, {{unsigned(rankOf(result)) - 1}, std::move(ids)});
}

void ChannelFlow::expertMatmul(nn::ExpertMatMulOp op) {
  OpOperand &weight = op.getWeightsMutable();
  Value x = op.getX(), result = op.getResult();
  if (!isWeight(weight.get())) {
    giveUp(op);
    return;
  }
  if (std::vector<unsigned> ids = getAlong(x, unsigned(rankOf(x)) - 1);
      !ids.empty())
    label(weight, 2, std::move(ids));
  std::vector<unsigned> ids = make(size_t(sizesOf(weight.get())[1]));
  label(weight, 1, ids);
  graph.producers.push_back({&weight, 1});
  set(result, {{unsigned(rankOf(result)) - 1}, std::move(ids)});
}

template <typename Op> void ChannelFlow::convolution(Op op) {
  Value x = op.getX(), result = op.getResult();
  OpOperand &filter = op.getFilterMutable();
  if (!isWeight(filter.get())) {
    giveUp(op);
    return;
  }
  auto last = unsigned(rankOf(x)) - 1,
       inner = unsigned(rankOf(filter.get())) - 1;
  std::vector<unsigned> in = getAlong(x, last), out;
  auto groups = int64_t(op.getGroups()), count = sizesOf(filter.get())[0],
       perGroup = sizesOf(filter.get())[inner];
  if (groups == 1) {
    if (!in.empty()) {
      label(filter, inner, in);
      graph.consumers.push_back({x, {&filter, inner}});
    }
    out = make(size_t(count));
    graph.producers.push_back({&filter, 0});
  } else if (isa<nn::ConvTransposeOp>(op)) {
    fix({{last}, in});
    return;
  } else if (perGroup == 1) {
    // Depthwise: a channel's outputs go with it.
    if (in.empty())
      return;
    for (int64_t i = 0; i < count; ++i)
      out.push_back(in[size_t(i / (count / groups))]);
  } else {
    // Groups stay equal: a channel is one place in each of them.
    for (size_t i = size_t(perGroup); i < in.size(); ++i)
      graph.unite(in[i], in[i % size_t(perGroup)]);
    if (!in.empty())
      label(filter, inner, ArrayRef(in).take_front(size_t(perGroup)).vec());
    std::vector<unsigned> ids = make(size_t(count / groups));
    for (int64_t i = 0; i < count; ++i)
      out.push_back(ids[size_t(i % (count / groups))]);
    graph.producers.push_back({&filter, 0});
  }
  label(filter, 0, out);
  set(result, {{unsigned(rankOf(result)) - 1}, std::move(out)});
}

void ChannelFlow::batchNorm(nn::BatchNormOp op) {
  auto last = unsigned(rankOf(op.getX())) - 1;
  std::vector<unsigned> ids = getAlong(op.getX(), last);
  auto others = op->getOpOperands().drop_front();
  if (ids.empty())
    return;
  if (!llvm::all_of(others,
                    [](OpOperand &use) { return isWeight(use.get()); })) {
    fix({{last}, ids});
    return;
  }
  for (OpOperand &use : others)
    label(use, 0, ids);
  set(op.getResult(), {{last}, std::move(ids)});
}

void ChannelFlow::reduce(nn::ReduceOp op) {
  Value x = op.getX();
  Channels channels = get(x);
  for (int64_t axis : op.getAxes())
    channels = drop(channels, sizesOf(x), unsigned(axis));
  if (!op.getKeepDims())
    for (unsigned &axis : channels.axes)
      axis -= unsigned(llvm::count_if(
          op.getAxes(), [&](int64_t other) { return other < int64_t(axis); }));
  set(op.getResult(), std::move(channels));
}

void ChannelFlow::transpose(nn::TransposeOp op) {
  Channels channels = get(op.getX());
  for (unsigned &axis : channels.axes)
    axis = unsigned(llvm::find(op.getPermutation(), int64_t(axis)) -
                    op.getPermutation().begin());
  set(op.getResult(), std::move(channels));
}

/// Axes [begin, end) of two shapes that hold the same elements.
struct ReshapeBlock {
  unsigned begin[2], end[2];
};

/// Cuts two shapes of as many elements into the shortest runs of axes that
/// agree; nullopt where that cannot be seen.
static std::optional<SmallVector<ReshapeBlock>>
cutIntoBlocks(ArrayRef<nn::Dim> from, ArrayRef<nn::Dim> to) {
  SmallVector<ReshapeBlock> blocks;
  ArrayRef<nn::Dim> shapes[2] = {from, to};
  unsigned at[2] = {0, 0};
  while (at[0] < from.size() && at[1] < to.size()) {
    ReshapeBlock block{{at[0], at[1]}, {at[0] + 1, at[1] + 1}};
    nn::Dim products[2] = {from[at[0]], to[at[1]]};
    while (nn::simplify(products[0]) != nn::simplify(products[1])) {
      int shorter = nn::divideExactly(products[1], products[0]) ? 0 : 1;
      if (shorter == 1 && !nn::divideExactly(products[0], products[1])) {
        // 6 and 4 are both parts of 12.
        auto a = nn::getConstant(products[0]), b = nn::getConstant(products[1]);
        if (!a || !b)
          return std::nullopt;
        shorter = *a < *b ? 0 : 1;
      }
      unsigned &end = block.end[shorter];
      if (end == shapes[shorter].size())
        return std::nullopt;
      products[shorter] =
          nn::simplify(products[shorter] * shapes[shorter][end++]);
    }
    blocks.push_back(block);
    at[0] = block.end[0];
    at[1] = block.end[1];
  }
  return blocks; // what is left are axes of one element
}

void ChannelFlow::reshape(nn::ReshapeOp op) {
  Value x = op.getX(), result = op.getResult();
  Channels channels = get(x);
  if (!channels)
    return;
  SmallVector<int64_t> from = sizesOf(x), to = sizesOf(result);
  auto blocks = cutIntoBlocks(shapeOf(x), shapeOf(result));
  if (!blocks) {
    fix(channels);
    return;
  }
  // Blocks with channels: indices of their axes there, and here.
  Channels next;
  SmallVector<ReshapeBlock> touched;
  int64_t total = 1;
  for (const ReshapeBlock &block : *blocks) {
    auto isInside = [&](unsigned axis) {
      return axis >= block.begin[0] && axis < block.end[0];
    };
    if (llvm::none_of(channels.axes, isInside))
      continue;
    for (unsigned axis = block.begin[0]; axis < block.end[0]; ++axis)
      total = from[axis] < 0 ? -1 : total;
    for (unsigned axis = block.begin[1]; axis < block.end[1]; ++axis) {
      next.axes.push_back(axis);
      total = to[axis] < 0 || total < 0 ? -1 : total * to[axis];
    }
    touched.push_back(block);
  }
  constexpr int64_t kMost = 1 << 24;
  if (total < 0 || total > kMost) {
    fix(channels);
    return;
  }
  SmallVector<int64_t> counts = countsOf(next.axes, to),
                       own = countsOf(channels.axes, from);
  forEachIndex(counts, [&](size_t, ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(own.size(), 0);
    size_t place = 0;
    for (const ReshapeBlock &block : touched) {
      int64_t flat = 0;
      for (unsigned axis = block.begin[1]; axis < block.end[1]; ++axis)
        flat = flat * to[axis] + index[place++];
      for (unsigned axis = block.end[0]; axis-- > block.begin[0];) {
        const auto *at = llvm::find(channels.axes, axis);
        if (at != channels.axes.end())
          source[at - channels.axes.begin()] = flat % from[axis];
        flat /= from[axis];
      }
    }
    next.ids.push_back(channels.ids[flatten(source, own)]);
  });
  // Axes of one index say nothing.
  SmallVector<unsigned> axes;
  for (unsigned axis : next.axes)
    if (to[axis] != 1)
      axes.push_back(axis);
  next.axes = std::move(axes);
  set(result, std::move(next));
}

void ChannelFlow::concat(nn::ConcatOp op) {
  auto axis = unsigned(op.getAxis());
  SmallVector<unsigned> axes;
  for (Value input : op.getInputs())
    for (unsigned other : get(input).axes)
      if (!llvm::is_contained(axes, other))
        axes.push_back(other);
  if (axes.empty())
    return;
  bool isAlong = llvm::is_contained(axes, axis);
  // The axis first: inputs follow each other.
  if (isAlong)
    std::swap(*llvm::find(axes, axis), axes.front());
  Channels all{axes, {}};
  bool isFixed = false;
  for (OpOperand &use : op->getOpOperands()) {
    SmallVector<int64_t> sizes = sizesOf(use.get());
    SmallVector<int64_t> counts = countsOf(axes, sizes);
    if (llvm::is_contained(counts, -1)) {
      giveUp(op);
      return;
    }
    Channels channels = get(use.get());
    std::vector<unsigned> ids;
    if (channels) {
      ids = broadcast(channels, axes, sizes);
    } else {
      size_t count = 1;
      for (int64_t size : counts)
        count *= size_t(size);
      ids = make(count);
      fix({all.axes, ids});
      isFixed = true;
    }
    if (isAlong || all.ids.empty())
      llvm::append_range(all.ids, ids);
    else
      unite(all.ids, ids);
  }
  if (isFixed && !isAlong)
    fix(all);
  set(op.getResult(), std::move(all));
}

void ChannelFlow::slice(nn::SliceOp op) {
  Value x = op.getX();
  Channels channels = get(x);
  SmallVector<int64_t> from = sizesOf(x), to = sizesOf(op.getResult());
  nn::Shape starts = nn::getShape(op.getStarts());
  SmallVector<unsigned> axes(channels.axes);
  for (unsigned axis : axes) {
    std::optional<int64_t> start = nn::getConstant(starts[axis]);
    if (from[axis] == to[axis] && start == 0)
      continue;
    if (!start || to[axis] < 0 || op.getSteps()[axis] != 1) {
      channels = drop(channels, from, axis);
      continue;
    }
    SmallVector<int64_t> indices(to[axis], 0);
    std::iota(indices.begin(), indices.end(), *start);
    channels = select(channels, from, axis, indices);
    from[axis] = to[axis];
    if (to[axis] == 1 && channels.axes.size() > 1)
      channels.axes.erase(llvm::find(channels.axes, axis));
  }
  set(op.getResult(), std::move(channels));
}

void ChannelFlow::expand(nn::ExpandOp op) {
  Channels channels = get(op.getX());
  unsigned offset =
      unsigned(rankOf(op.getResult())) - unsigned(rankOf(op.getX()));
  for (unsigned &axis : channels.axes)
    axis += offset;
  set(op.getResult(), std::move(channels));
}

void ChannelFlow::gather(nn::GatherOp op) {
  fix(get(op.getIndices()));
  auto axis = unsigned(op.getAxis());
  Channels channels = drop(get(op.getData()), sizesOf(op.getData()), axis);
  for (unsigned &other : channels.axes)
    if (other > axis)
      other += unsigned(rankOf(op.getIndices())) - 1;
  set(op.getResult(), std::move(channels));
}

void ChannelFlow::pad(nn::PadOp op) {
  SmallVector<unsigned> dropped;
  for (auto [axis, low, high] : llvm::enumerate(op.getLow(), op.getHigh()))
    if (low || high)
      dropped.push_back(unsigned(axis));
  passOn(op, op.getX(), dropped);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

void ChannelFlow::uniteHeads(ArrayRef<unsigned> many, ArrayRef<unsigned> few) {
  size_t share = many.size() / few.size();
  for (auto [i, id] : llvm::enumerate(many)) {
    graph.unite(id, few[i / share]);
    graph.isHead[graph.find(id)] = true;
  }
}

void ChannelFlow::attention(nn::AttentionOp op) {
  std::vector<unsigned> q = getAlong(op.getQuery(), 2),
                        k = getAlong(op.getKey(), 2),
                        v = getAlong(op.getValue(), 2);
  Channels query{{2}, q};
  bool isKnown = !q.empty() && !k.empty() && !v.empty();
  if (isKnown) {
    uniteHeads(q, k);
    uniteHeads(q, v);
  }
  if (Value mask = op.getMask()) {
    // One per head, or the same for all.
    SmallVector<int64_t> sizes = sizesOf(mask);
    bool hasHeads = sizes.size() >= 3 && sizes[sizes.size() - 3] != 1;
    if (hasHeads && isKnown && isWeight(mask))
      label(op.getMaskMutable()[0], unsigned(sizes.size()) - 3, q);
    else if (hasHeads)
      isKnown = false;
    fix(get(mask));
  }
  if (!isKnown) {
    fix(query);
    fix({{2}, k});
    fix({{2}, v});
    return;
  }
  set(op.getResult(), std::move(query));
}

void ChannelFlow::append(nn::CacheAppendOp op) {
  Operation *cache =
      SymbolTable::lookupNearestSymbolFrom(op, op.getCacheAttr());
  std::vector<unsigned> k = getAlong(op.getKey(), 1),
                        v = getAlong(op.getValue(), 1);
  std::vector<unsigned> &heads = graph.caches[cache];
  if (heads.empty())
    heads = make(size_t(cast<nn::CacheOp>(cache).getHeads()));
  for (const std::vector<unsigned> &ids : {k, v})
    if (ids.empty())
      fix({{0}, heads});
    else
      uniteHeads(ids, heads);
}

void ChannelFlow::cachedAttention(nn::CachedAttentionOp op) {
  Operation *cache =
      SymbolTable::lookupNearestSymbolFrom(op, op.getCacheAttr());
  std::vector<unsigned> q = getAlong(op.getQuery(), 1);
  std::vector<unsigned> &heads = graph.caches[cache];
  if (heads.empty())
    heads = make(size_t(cast<nn::CacheOp>(cache).getHeads()));
  if (q.empty()) {
    fix({{0}, heads});
    return;
  }
  uniteHeads(q, heads);
  set(op.getResult(), {{1}, std::move(q)});
}

void ChannelFlow::visit(Operation *op) {
  auto last = [](Value x) { return unsigned(rankOf(x)) - 1; };
  /// All axes of an image but its channels.
  auto spatial = [&](Value x) {
    SmallVector<unsigned> axes(last(x));
    std::iota(axes.begin(), axes.end(), 0u);
    return axes;
  };
  llvm::TypeSwitch<Operation *>(op)
      .Case<nn::ParamOp, nn::ConstantOp, nn::DimValuesOp>([](auto) {})
      .Case<nn::UnaryOp, nn::BinaryOp, nn::SelectOp, nn::CastOp>(
          [&](auto x) { elementwise(x); })
      .Case([&](nn::MatMulOp x) { matmul(x); })
      .Case([&](nn::ExpertMatMulOp x) { expertMatmul(x); })
      .Case<nn::ConvOp, nn::ConvTransposeOp>([&](auto x) { convolution(x); })
      .Case([&](nn::BatchNormOp x) { batchNorm(x); })
      .Case([&](nn::ReduceOp x) { reduce(x); })
      .Case([&](nn::TransposeOp x) { transpose(x); })
      .Case([&](nn::ReshapeOp x) { reshape(x); })
      .Case([&](nn::ConcatOp x) { concat(x); })
      .Case([&](nn::SliceOp x) { slice(x); })
      .Case([&](nn::ExpandOp x) { expand(x); })
      .Case([&](nn::GatherOp x) { gather(x); })
      .Case([&](nn::PadOp x) { pad(x); })
      .Case([&](nn::AttentionOp x) { attention(x); })
      .Case([&](nn::CacheAppendOp x) { append(x); })
      .Case([&](nn::CachedAttentionOp x) { cachedAttention(x); })
      .Case<nn::PoolOp, nn::ResizeOp>(
          [&](auto x) { passOn(x, x.getX(), spatial(x.getX())); })
      .Case<nn::LayerNormOp, nn::RmsNormOp, nn::RopeOp>(
          [&](auto x) { passOn(x, x.getX(), {last(x.getX())}); })
      .Case([&](nn::SoftmaxOp x) {
        passOn(x, x.getX(), {unsigned(x.getAxis())});
      })
      .Default([&](Operation *other) { giveUp(other); });
}

} // namespace pare::prune
