//===- ChannelCut.cpp - Takes channels out of a graph ---------------------===//
#include "passes/prune/ChannelGraph.h"
#include "passes/quantize/encode/Encode.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/Support/Parallel.h"
#include <map>

using namespace mlir;

namespace pare::prune {

namespace {

/// Indices that stay, per axis; empty: all.
using Kept = SmallVector<std::vector<int64_t>>;

/// Elements of a tensor at `kept`; `width` bytes each.
std::vector<uint8_t> selectBytes(ArrayRef<uint8_t> bytes,
                                 ArrayRef<int64_t> shape, const Kept &kept,
                                 size_t width) {
  std::vector<uint8_t> from(bytes.begin(), bytes.end());
  size_t inner = width;
  for (size_t axis = shape.size(); axis-- > 0;) {
    size_t row = inner * size_t(shape[axis]);
    if (!kept[axis].empty()) {
      std::vector<uint8_t> to;
      for (size_t begin = 0; begin < from.size(); begin += row)
        for (int64_t index : kept[axis]) {
          auto at = from.begin() + int64_t(begin + size_t(index) * inner);
          to.insert(to.end(), at, at + int64_t(inner));
        }
      from = std::move(to);
      row = inner * kept[axis].size();
    }
    inner = row;
  }
  return from;
}

class Cutter {
public:
  Cutter(ModuleOp module, WeightStore &weights, bool keepsFormats)
      : module(module), weights(weights), keepsFormats(keepsFormats) {}

  /// What a use reads once only `kept` is left. `format`: what the weight had
  /// before it was changed; may be null.
  Value cutWeight(OpOperand &use, const Kept &kept, const BlockFormat *format);

private:
  Value makeWeight(OpOperand &use, const Kept &kept, const BlockFormat *format);
  std::optional<std::string> cutBlocks(const TensorData &data, StringRef name,
                                       RankedTensorType type, const Kept &kept);
  std::string encode(const BlockFormat &format, StringRef name,
                     RankedTensorType type, ArrayRef<float> values);

  ModuleOp module;
  WeightStore &weights;
  bool keepsFormats;
  /// Weights that several uses cut alike are cut once.
  std::map<std::pair<std::string, SmallVector<std::vector<int64_t>>>,
           std::string>
      made;
};

} // namespace

/// A weight's blocks, where whole ones stay or go.
std::optional<std::string> Cutter::cutBlocks(const TensorData &data,
                                             StringRef name,
                                             RankedTensorType type,
                                             const Kept &kept) {
  SmallVector<int64_t> shape(data.type.getShape());
  int64_t size = data.storage->elements;
  Kept blocks = kept;
  if (std::vector<int64_t> &last = blocks.back(); !last.empty()) {
    std::vector<int64_t> whole;
    for (size_t i = 0; i < last.size(); i += size_t(size)) {
      if (last[i] % size != 0 || last.size() - i < size_t(size) ||
          last[i + size_t(size) - 1] != last[i] + size - 1)
        return std::nullopt;
      whole.push_back(last[i] / size);
    }
    last = std::move(whole);
  }
  shape.back() /= size;
  uint64_t bytes = data.storage->bytes;
  for (int64_t dim : shape)
    bytes *= uint64_t(dim);
  std::vector<uint8_t> all(bytes);
  data.copyTo(all);
  return weights.addOwnedBlocks(
      name, type, *data.storage,
      selectBytes(all, shape, blocks, data.storage->bytes));
}

std::string Cutter::encode(const BlockFormat &format, StringRef name,
                           RankedTensorType type, ArrayRef<float> values) {
  int64_t columns = type.getShape().back();
  encode::EncodeOptions how;
  how.method = encode::RoundMethod::Nearest;
  how.threads = llvm::parallel::strategy.compute_thread_count();
  encode::EncodedMatrix encoded = encode::encodeMatrix(
      values, int64_t(values.size()) / columns, columns, format, how);
  const BlockStorage &storage = getPlainStorage(format);
  return weights.addOwnedBlocks(name, type, storage,
                                storage.pack(encoded.planes));
}

Value Cutter::makeWeight(OpOperand &use, const Kept &kept,
                         const BlockFormat *format) {
  OpBuilder builder(use.getOwner());
  auto type = cast<RankedTensorType>(use.get().getType());
  SmallVector<int64_t> shape(type.getShape());
  for (auto [axis, indices] : llvm::enumerate(kept))
    if (!indices.empty())
      shape[axis] = int64_t(indices.size());
  nn::WeightOp weight = nn::getWeight(use.get());
  const TensorData *data = weight ? &weights.get(weight.getSymName()) : nullptr;
  bool isBlocks = data && data->storage;
  StringRef name = weight ? getSourceName(weight) : StringRef();
  auto cutType = RankedTensorType::get(shape, type.getElementType());
  std::optional<std::string> symbol;
  if (isBlocks) {
    format = &data->storage->format;
    symbol = cutBlocks(*data, (name + ".pruned").str(), cutType, kept);
  }
  if (!symbol) {
    HostTensor tensor = *getKnown(use.get(), &weights), result(cutType);
    llvm::copy(selectBytes(tensor.bytes(), type.getShape(), kept,
                           nn::getElementBytes(type.getElementType())),
               result.bytes().begin());
    if (!format || !keepsFormats || shape.back() % format->scaleGroup() != 0)
      return weight ? makeDerivedWeight(builder, weights, result, use.get(),
                                        name, "pruned")
                    : makeDerived(builder, weights, result, use.get(), name,
                                  "pruned");
    symbol = encode(*format, (name + ".pruned").str(), cutType,
                    result.values<float>());
  }
  OpBuilder atModule(weight);
  nn::WeightOp::create(atModule, use.get().getLoc(), *symbol, cutType,
                       atModule.getStringAttr(name), StringAttr(),
                       atModule.getStringAttr(format->name));
  return nn::ParamOp::create(builder, use.get().getLoc(), cutType, *symbol);
}

Value Cutter::cutWeight(OpOperand &use, const Kept &kept,
                        const BlockFormat *format) {
  nn::WeightOp weight = nn::getWeight(use.get());
  if (!weight)
    return makeWeight(use, kept, format);
  std::string &symbol = made[{weight.getSymName().str(), kept}];
  if (symbol.empty()) {
    Value value = makeWeight(use, kept, format);
    symbol = nn::getWeight(value).getSymName().str();
    return value;
  }
  auto known = module.lookupSymbol<nn::WeightOp>(symbol);
  OpBuilder builder(use.getOwner());
  return nn::ParamOp::create(builder, use.get().getLoc(), known.getType(),
                             symbol);
}

/// A weight that several were concatenated into is now made of less of each.
static void cutSources(nn::WeightOp from, nn::WeightOp to, const Kept &kept) {
  auto sizes = from->getAttrOfType<DenseI64ArrayAttr>(kSourceSizesAttr);
  if (!sizes)
    return;
  auto shape = cast<RankedTensorType>(from.getType()).getShape();
  int64_t total = 0;
  for (int64_t size : sizes.asArrayRef())
    total += size;
  SmallVector<int64_t> left(sizes.asArrayRef());
  // The other axis is the products' input.
  for (auto [axis, indices] : llvm::enumerate(kept)) {
    if (shape[axis] != total || indices.empty())
      continue;
    llvm::fill(left, 0);
    for (int64_t index : indices) {
      size_t source = 0;
      for (int64_t end = sizes[0]; index >= end; end += sizes[source])
        ++source;
      ++left[source];
    }
    break;
  }
  to->setAttr(kSourcesAttr, from->getAttr(kSourcesAttr));
  to->setAttr(kSourceSizesAttr, DenseI64ArrayAttr::get(to->getContext(), left));
}

/// Indices whose channel stays; empty where all do.
static std::vector<int64_t> keep(ArrayRef<unsigned> ids,
                                 llvm::function_ref<bool(unsigned)> goes) {
  std::vector<int64_t> kept;
  for (auto [index, id] : llvm::enumerate(ids))
    if (!goes(id))
      kept.push_back(int64_t(index));
  if (kept.size() == ids.size())
    kept.clear();
  return kept;
}

void ChannelGraph::cut(const llvm::DenseSet<unsigned> &channels,
                       WeightStore &weights, const Formats &formats,
                       bool keepsFormats) {
  auto goes = [&](unsigned id) { return channels.contains(find(id)); };
  Builder builder(module.getContext());

  // Attributes, from what axes were before.
  nn::getEntry(module).walk([&](nn::SliceOp slice) {
    auto from = values.find(slice.getX());
    if (from == values.end())
      return;
    unsigned axis = from->second.axes.front();
    nn::Shape starts = nn::getShape(slice.getStarts());
    std::optional<int64_t> start = nn::getConstant(starts[axis]);
    if (!start)
      return;
    ArrayRef<unsigned> before =
        ArrayRef(from->second.ids).take_front(size_t(*start));
    starts[axis] = nn::constant(*start - llvm::count_if(before, goes),
                                module.getContext());
    slice.setStarts(nn::getMap(starts, module.getContext()));
  });
  nn::getEntry(module).walk([&](nn::ConvOp conv) {
    auto from = values.find(conv.getX());
    // Depthwise ones have as many groups as channels.
    if (from != values.end() && conv.getGroups() > 1 &&
        nn::isConstant(shapeOf(conv.getFilter()).back(), 1))
      conv.setGroups(uint64_t(llvm::count_if(
          from->second.ids, [&](unsigned id) { return !goes(id); })));
  });
  for (auto &[op, heads] : caches)
    cast<nn::CacheOp>(op).setHeads(uint64_t(
        llvm::count_if(heads, [&](unsigned id) { return !goes(id); })));

  Cutter cutter(module, weights, keepsFormats);
  for (auto &[use, byAxis] : uses) {
    Kept kept;
    for (const std::vector<unsigned> &ids : byAxis)
      kept.push_back(keep(ids, goes));
    if (llvm::all_of(kept, [](const auto &indices) { return indices.empty(); }))
      continue;
    nn::WeightOp before = nn::getWeight(use->get());
    Value value = cutter.cutWeight(*use, kept, formats.lookup(use));
    if (nn::WeightOp after = nn::getWeight(value); before && after)
      cutSources(before, after, kept);
    use->set(value);
  }
  for (auto &[value, own] : values) {
    nn::Shape shape = nn::getShape(value.getType());
    auto left = llvm::count_if(own.ids, [&](unsigned id) { return !goes(id); });
    shape[own.axes.front()] = nn::constant(left, module.getContext());
    value.setType(nn::getTensorType(
        shape, cast<RankedTensorType>(value.getType()).getElementType()));
  }
  eraseUnusedWeights(module, weights);
}

} // namespace pare::prune
