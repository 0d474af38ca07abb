//===- Movement.cpp - ONNX ops that move data -----------------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

constexpr int64_t kUnbounded = int64_t(1) << 40;

//===----------------------------------------------------------------------===//
// New shapes for the same elements
//===----------------------------------------------------------------------===//

/// The dimension that -1 stands for: all elements by those of the other
/// dimensions.
nn::Dim inferDim(const Node &node, ArrayRef<nn::Dim> from,
                 ArrayRef<nn::Dim> others) {
  MLIRContext *context = node.getContext();
  nn::Dim total = nn::product(from, context),
          known = nn::product(others, context);
  if (nn::Dim exact = nn::divideExactly(total, known))
    return exact;
  std::optional<int64_t> a = nn::getConstant(total), b = nn::getConstant(known);
  if ((a && b) || node.getGraph().getRange(known).first < 1) {
    node.fail("the elements do not divide into the new shape");
    return {};
  }
  return nn::simplify(total.floorDiv(known));
}

void importReshape(const Node &node) {
  Value x = node.getInput(0);
  std::optional<nn::Shape> wanted = node.getDims(1);
  if (!x || !wanted)
    return;
  nn::Shape from = shapeOf(x), others;
  std::optional<size_t> open;
  for (auto [i, dim] : llvm::enumerate(*wanted)) {
    if (nn::isConstant(dim, 0) && !node.getInt("allowzero", 0)) {
      if (i >= from.size()) {
        node.fail("the new shape keeps axis " + Twine(i) +
                  ", which the input does not have");
        return;
      }
      dim = from[i];
    }
    if (nn::isConstant(dim, -1) && !open) {
      open = i;
      continue;
    }
    if (nn::getConstant(dim).value_or(0) < 0) {
      node.fail("the new shape has a negative dimension");
      return;
    }
    others.push_back(dim);
  }
  if (open) {
    nn::Dim dim = inferDim(node, from, others);
    if (!dim)
      return;
    (*wanted)[*open] = dim;
  }
  node.setResult(node.reshape(x, *wanted));
}

void importFlatten(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  nn::Shape shape = shapeOf(x);
  int64_t rank = int64_t(shape.size()), axis = node.getInt("axis", 1);
  if (axis < -rank || axis > rank) {
    node.fail("axis " + Twine(axis) + " is none of the " + Twine(rank) +
              " axes");
    return;
  }
  axis = axis < 0 ? axis + rank : axis;
  MLIRContext *context = node.getContext();
  node.setResult(node.reshape(
      x, {nn::product(ArrayRef(shape).take_front(axis), context),
          nn::product(ArrayRef(shape).drop_front(axis), context)}));
}

void importSqueeze(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  nn::Shape from = shapeOf(x), to;
  std::optional<SmallVector<int64_t>> axes =
      node.getAxes(1, 13, int64_t(from.size()));
  if (node.getGraph().hasFailed())
    return;
  for (auto [axis, dim] : llvm::enumerate(from)) {
    if (!(axes ? llvm::is_contained(*axes, int64_t(axis))
               : nn::isConstant(dim, 1))) {
      to.push_back(dim);
    } else if (!node.getGraph().constrain(dim, 1, 1)) {
      node.fail("axis " + Twine(axis) + " must have size 1");
      return;
    }
  }
  node.setResult(node.reshape(x, to));
}

void importUnsqueeze(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  nn::Shape from = shapeOf(x), to;
  int64_t added = int64_t(node.getInts("axes").size());
  if (node.getOpset() >= 13) {
    std::optional<SmallVector<int64_t>> values = node.getIntegers(1);
    if (!values)
      return;
    added = int64_t(values->size());
  }
  int64_t rank = int64_t(from.size()) + added;
  std::optional<SmallVector<int64_t>> axes = node.getAxes(1, 13, rank);
  if (!axes)
    return (void)node.fail("needs axes");
  for (int64_t i = 0, next = 0; i < rank; ++i)
    to.push_back(llvm::is_contained(*axes, i) ? node.dim(1) : from[next++]);
  node.setResult(node.reshape(x, to));
}

//===----------------------------------------------------------------------===//
// Permutations
//===----------------------------------------------------------------------===//

void importTranspose(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  int64_t rank = int64_t(shapeOf(x).size());
  SmallVector<int64_t> permutation =
      llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank)));
  if (node.hasAttribute("perm"))
    permutation = node.getInts("perm");
  node.setResult(node.create<nn::TransposeOp>(x, permutation));
}

/// The sizes of an image [N, C, H, W] and a block size for it; false after an
/// error.
bool readBlocks(const Node &node, Value x, nn::Shape &shape, int64_t &block) {
  if (!x)
    return false;
  shape = shapeOf(x);
  block = node.getInt("blocksize", 0);
  if (shape.size() == 4 && block >= 1 && block <= (1 << 15))
    return true;
  node.fail("needs a batch of images and a blocksize");
  return false;
}

void importDepthToSpace(const Node &node) {
  Value x = node.getInput(0);
  nn::Shape shape;
  int64_t block;
  if (!readBlocks(node, x, shape, block))
    return;
  nn::Dim b = node.dim(block),
          channels = nn::divideExactly(shape[1], node.dim(block * block));
  if (!channels)
    return (void)node.fail("the channels do not divide into blocks");
  bool isCrd = node.getString("mode", "DCR") == "CRD";
  nn::Shape split =
      isCrd ? nn::Shape{shape[0], channels, b, b, shape[2], shape[3]}
            : nn::Shape{shape[0], b, b, channels, shape[2], shape[3]};
  SmallVector<int64_t> permutation =
      isCrd ? SmallVector<int64_t>{0, 1, 4, 2, 5, 3}
            : SmallVector<int64_t>{0, 3, 4, 1, 5, 2};
  Value moved = node.transpose(node.reshape(x, split), permutation);
  node.setResult(
      node.reshape(moved, {shape[0], channels, nn::simplify(shape[2] * block),
                           nn::simplify(shape[3] * block)}));
}

void importSpaceToDepth(const Node &node) {
  Value x = node.getInput(0);
  nn::Shape shape;
  int64_t block;
  if (!readBlocks(node, x, shape, block))
    return;
  nn::Dim b = node.dim(block), height = nn::divideExactly(shape[2], b),
          width = nn::divideExactly(shape[3], b);
  if (!height || !width)
    return (void)node.fail("height and width do not divide into blocks");
  Value split = node.reshape(x, {shape[0], shape[1], height, b, width, b});
  bool isCrd = node.getString("mode", "DCR") == "CRD";
  SmallVector<int64_t> permutation =
      isCrd ? SmallVector<int64_t>{0, 1, 3, 5, 2, 4}
            : SmallVector<int64_t>{0, 3, 5, 1, 2, 4};
  Value moved = node.transpose(split, permutation);
  node.setResult(
      node.reshape(moved, {shape[0], nn::simplify(shape[1] * (block * block)),
                           height, width}));
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

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
  std::optional<nn::Shape> starts = node.getDims(1), ends = node.getDims(2);
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

//===----------------------------------------------------------------------===//
// Larger results
//===----------------------------------------------------------------------===//

void importConcat(const Node &node) {
  Value first = node.getInput(0);
  if (!first)
    return;
  SmallVector<Value> inputs;
  int64_t axis = node.getAxis("axis", 0, int64_t(shapeOf(first).size()));
  for (unsigned i = 0; i < node.getNumInputs(); ++i)
    inputs.push_back(node.getInput(i));
  node.setResult(inputs.size() == 1
                     ? first
                     : node.create<nn::ConcatOp>(ValueRange(inputs), axis));
}

void importExpand(const Node &node) {
  Value x = node.getInput(0);
  std::optional<nn::Shape> wanted = node.getDims(1);
  if (!x || !wanted)
    return;
  std::optional<nn::Shape> shape = nn::broadcast(shapeOf(x), *wanted);
  if (!shape || llvm::any_of(*wanted, [](nn::Dim dim) {
        return nn::getConstant(dim).value_or(0) < 0;
      }))
    return (void)node.fail("the input does not broadcast to the new shape");
  auto type = cast<RankedTensorType>(x.getType());
  auto result = nn::getTensorType(*shape, type.getElementType());
  node.setResult(result == type ? x
                                : node.createTyped<nn::ExpandOp>(result, x));
}

/// Each repeated axis becomes [repeats, size], expanded and merged.
void importTile(const Node &node) {
  Value x = node.getInput(0);
  std::optional<nn::Shape> repeats = node.getDims(1);
  if (!x || !repeats)
    return;
  nn::Shape shape = shapeOf(x), split, expanded, merged;
  if (repeats->size() != shape.size())
    return (void)node.fail("needs one repeat count per axis");
  for (auto [dim, count] : llvm::zip(shape, *repeats)) {
    if (node.getGraph().getRange(count).first < 0)
      return (void)node.fail("has a negative repeat count");
    if (!nn::isConstant(count, 1)) {
      split.push_back(node.dim(1));
      expanded.push_back(count);
    }
    split.push_back(dim);
    expanded.push_back(dim);
    merged.push_back(nn::simplify(dim * count));
  }
  Value wide = node.reshape(x, split);
  if (!wide)
    return;
  auto type = nn::getTensorType(
      expanded, cast<RankedTensorType>(x.getType()).getElementType());
  if (type != wide.getType())
    wide = node.createTyped<nn::ExpandOp>(type, wide);
  node.setResult(node.reshape(wide, merged));
}

/// Negative padding is a slice.
Value cropNegative(const Node &node, Value x, SmallVector<int64_t> &low,
                   SmallVector<int64_t> &high) {
  nn::Shape sizes = shapeOf(x), starts;
  for (size_t i = 0; i < sizes.size(); ++i) {
    int64_t before = std::max<int64_t>(-low[i], 0),
            after = std::max<int64_t>(-high[i], 0);
    starts.push_back(node.dim(before));
    sizes[i] = nn::simplify(sizes[i] - (before + after));
    if (node.getGraph().getRange(sizes[i]).first < 0)
      return node.fail("crops more than an axis has");
    low[i] = std::max<int64_t>(low[i], 0);
    high[i] = std::max<int64_t>(high[i], 0);
  }
  return node.slice(x, starts, sizes, SmallVector<int64_t>(sizes.size(), 1));
}

void importPad(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  int64_t rank = int64_t(shapeOf(x).size());
  SmallVector<int64_t> pads = node.getInts("pads");
  float value = node.getFloat("value", 0.0f);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (node.getOpset() >= 11) {
    std::optional<SmallVector<int64_t>> given = node.getIntegers(1);
    if (!given)
      return;
    pads = *given;
    if (node.hasInput(2)) {
      std::optional<SmallVector<double>> constant = node.getNumbers(2);
      if (!constant || constant->size() != 1)
        return (void)node.fail("its value must be one constant");
      value = float(constant->front());
    }
    if (node.hasInput(3)) {
      std::optional<SmallVector<int64_t>> given = node.getAxes(3, 18, rank);
      if (!given)
        return;
      axes = *given;
    }
  }
  if (pads.size() != 2 * axes.size() ||
      llvm::any_of(pads, [](int64_t pad) { return std::abs(pad) > (1 << 30); }))
    return (void)node.fail("needs a sane padding before and after each axis");
  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    low[axis] = pads[i];
    high[axis] = pads[axes.size() + i];
  }
  x = cropNegative(node, x, low, high);
  std::string mode = node.getString("mode", "constant");
  nn::PadMode kind = mode == "reflect" ? nn::PadMode::reflect
                     : mode == "edge"  ? nn::PadMode::edge
                                       : nn::PadMode::constant;
  bool isNothing = llvm::all_of(pads, [](int64_t pad) { return pad <= 0; });
  node.setResult(isNothing ? x
                           : node.create<nn::PadOp>(x, kind, low, high,
                                                    llvm::APFloat(value)));
}
std::string checkPad(const onnx::NodeProto &node, int) {
  StringRef mode = getStringAttribute(node, "mode", "constant");
  return mode == "wrap" ? "mode wrap" : "";
}

const OpEntry ops[] = {
    {"Concat", importConcat},
    {"DepthToSpace", importDepthToSpace},
    {"Expand", importExpand},
    {"Flatten", importFlatten},
    {"Gather", importGather},
    {"Pad", importPad, checkPad},
    {"Reshape", importReshape},
    {"Slice", importSlice},
    {"SpaceToDepth", importSpaceToDepth},
    {"Split", importSplit},
    {"Squeeze", importSqueeze},
    {"Tile", importTile},
    {"Transpose", importTranspose},
    {"Unsqueeze", importUnsqueeze},
};

} // namespace

ArrayRef<OpEntry> getMovementOps() { return ops; }

} // namespace pare::onnximport
