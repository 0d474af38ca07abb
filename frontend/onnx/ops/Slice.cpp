//===- Slice.cpp - ONNX ops that take parts of tensors --------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

/// Beyond any size: an index that means the end.
constexpr int64_t kUnbounded = int64_t(1) << 40;

/// `value` cut to [low, high]. Where the symbols' bounds leave open which of
/// them it is, they are narrowed to `value` being inside; null if they cannot.
nn::Dim clamp(GraphBuilder &graph, nn::Dim value, nn::Dim low, nn::Dim high) {
  if (std::optional<int64_t> constant = nn::getConstant(value)) {
    if (*constant >= kUnbounded)
      return high;
    if (*constant <= -kUnbounded)
      return low;
  }
  nn::Dim above = nn::simplify(value - low), below = nn::simplify(high - value);
  if (graph.getRange(above).second <= 0)
    return low;
  if (graph.getRange(below).second <= 0)
    return high;
  return graph.constrain(above, 0, kUnbounded) &&
                 graph.constrain(below, 0, kUnbounded)
             ? value
             : nn::Dim();
}

/// First index and size of one axis of a slice; false after an error.
bool sliceAxis(const Node &node, nn::Dim start, nn::Dim end, int64_t step,
               nn::Dim &first, nn::Dim &size) {
  GraphBuilder &graph = node.getGraph();
  nn::Dim zero = node.dim(0);
  bool forward = step > 0;
  // Negative indices count from the end.
  auto resolve = [&](nn::Dim value) {
    return graph.getRange(value).second < 0 &&
                   graph.getRange(value).first > -kUnbounded
               ? nn::simplify(value + size)
               : value;
  };
  nn::Dim from, to;
  if (forward) {
    from = clamp(graph, resolve(start), zero, size);
    to = from ? clamp(graph, resolve(end), zero, size) : nn::Dim();
  } else {
    from = clamp(graph, resolve(start), zero, nn::simplify(size - 1));
    to = from ? clamp(graph, resolve(end), node.dim(-1), nn::simplify(size - 1))
              : nn::Dim();
  }
  if (!from || !to) {
    node.fail("whether a slice's bounds are inside the axis depends on open "
              "dimensions");
    return false;
  }
  nn::Dim span = nn::simplify(forward ? to - from : from - to);
  if (graph.getRange(span).second <= 0)
    span = zero;
  else if (!graph.constrain(span, 0, kUnbounded)) {
    node.fail("a slice may have a negative size");
    return false;
  }
  first = from;
  size = nn::simplify(span.ceilDiv(std::abs(step)));
  return true;
}

void importSlice(const Node &node) {
  Value x = node.getInput(0);
  std::optional<nn::Shape> starts = node.getIndices(1),
                           ends = node.getIndices(2);
  if (!x || !starts || !ends)
    return;
  nn::Shape sizes = shapeOf(x);
  int64_t rank = int64_t(sizes.size());
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(0, int64_t(starts->size())));
  SmallVector<int64_t> given(starts->size(), 1);
  if (node.hasInput(3)) {
    std::optional<SmallVector<int64_t>> values = node.getAxes(3, 0, rank);
    if (!values)
      return;
    axes = *values;
  }
  if (node.hasInput(4)) {
    std::optional<SmallVector<int64_t>> values = node.getIntegers(4);
    if (!values)
      return;
    given = *values;
  }
  if (ends->size() != starts->size() || axes.size() != starts->size() ||
      given.size() != starts->size() || int64_t(axes.size()) > rank)
    return (void)node.fail("needs one start, end, axis and step each");
  nn::Shape first(rank, node.dim(0));
  SmallVector<int64_t> steps(rank, 1);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    // A step beyond the axis takes one element, however large it is.
    steps[axis] = std::clamp(given[i], -kUnbounded, kUnbounded);
    if (steps[axis] == 0)
      return (void)node.fail("has a step of zero");
    if (!sliceAxis(node, (*starts)[i], (*ends)[i], steps[axis], first[axis],
                   sizes[axis]))
      return;
  }
  node.setResult(node.slice(x, first, sizes, steps));
}

/// Sizes of the parts of a split of `dim`; nothing after an error.
std::optional<nn::Shape> getParts(const Node &node, nn::Dim dim) {
  unsigned count = node.getNumOutputs();
  std::optional<SmallVector<int64_t>> given;
  if (node.getOpset() >= 13) {
    if (node.hasInput(1))
      return node.getDims(1);
  } else if (node.hasAttribute("split")) {
    given = node.getInts("split");
    for (int64_t &size : *given)
      size = std::clamp(size, -kUnbounded, kUnbounded);
  }
  nn::Shape parts;
  if (given) {
    for (int64_t size : *given)
      parts.push_back(node.dim(size));
    return parts;
  }
  if (nn::Dim part = nn::divideExactly(dim, node.dim(count))) {
    parts.assign(count, part);
    return parts;
  }
  // From opset 18 on the last part may be smaller.
  std::optional<int64_t> size = nn::getConstant(dim);
  int64_t part = size ? (*size + count - 1) / count : 0;
  if (node.getOpset() < 18 || part * (count - 1) >= size.value_or(0)) {
    node.fail("the axis does not divide into " + Twine(count) + " parts");
    return std::nullopt;
  }
  parts.assign(count - 1, node.dim(part));
  parts.push_back(node.dim(*size - part * (count - 1)));
  return parts;
}

void importSplit(const Node &node) {
  Value x = node.getInput(0);
  if (!x || node.getNumOutputs() == 0)
    return;
  nn::Shape sizes = shapeOf(x), starts(sizes.size(), node.dim(0));
  SmallVector<int64_t> steps(sizes.size(), 1);
  int64_t axis = node.getAxis("axis", 0, int64_t(sizes.size()));
  if (node.getGraph().hasFailed())
    return;
  nn::Dim whole = sizes[axis];
  std::optional<nn::Shape> parts = getParts(node, whole);
  if (!parts)
    return;
  if (parts->size() != node.getNumOutputs())
    return (void)node.fail("has " + Twine(node.getNumOutputs()) +
                           " outputs, but the sizes of " +
                           Twine(parts->size()));
  for (auto [i, part] : llvm::enumerate(*parts)) {
    nn::Dim rest = nn::simplify(whole - starts[axis] - part);
    if (node.getGraph().getRange(part).first < 0 ||
        node.getGraph().getRange(rest).second < 0)
      return (void)node.fail("its parts are larger than the axis");
    sizes[axis] = part;
    node.setResult(i, node.slice(x, starts, sizes, steps));
    starts[axis] = nn::simplify(starts[axis] + part);
  }
}

/// A gather at one known index is a slice.
bool gatherSlice(const Node &node, Value x, int64_t axis) {
  const Contents *indices = node.getContents(1);
  std::optional<nn::Shape> index;
  if (indices)
    index = indices->getDims();
  if (!index || index->size() != 1)
    return false;
  GraphBuilder &graph = node.getGraph();
  nn::Shape sizes = shapeOf(x), starts(sizes.size(), node.dim(0));
  nn::Dim start = index->front();
  if (!GraphBuilder::isReasonable(start)) {
    node.fail("its index is outside of axis " + Twine(axis));
    return true;
  }
  if (graph.getRange(start).second < 0)
    start = nn::simplify(start + sizes[axis]);
  if (graph.getRange(start).first < 0 ||
      graph.getRange(nn::simplify(sizes[axis] - start)).first < 1) {
    if (!nn::getConstant(index->front()))
      return false;
    if (!graph.constrain(start, 0, kUnbounded) ||
        !graph.constrain(nn::simplify(sizes[axis] - start), 1, kUnbounded)) {
      node.fail("its index is outside of axis " + Twine(axis));
      return true;
    }
  }
  nn::Shape result(ArrayRef(sizes).take_front(axis));
  for (int64_t size : indices->shape)
    result.push_back(node.dim(size));
  result.append(sizes.begin() + axis + 1, sizes.end());
  starts[axis] = start;
  sizes[axis] = node.dim(1);
  Value part =
      node.slice(x, starts, sizes, SmallVector<int64_t>(sizes.size(), 1));
  node.setResult(node.reshape(part, result));
  return true;
}

void importGather(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  int64_t axis = node.getAxis("axis", 0, int64_t(shapeOf(x).size()));
  if (node.getGraph().hasFailed() || gatherSlice(node, x, axis))
    return;
  node.setResult(node.create<nn::GatherOp>(x, node.getInput(1), axis));
}

const OpEntry ops[] = {
    {"Gather", importGather},
    {"Slice", importSlice},
    {"Split", importSplit},
};

} // namespace

ArrayRef<OpEntry> getSliceOps() { return ops; }

} // namespace pare::onnximport
