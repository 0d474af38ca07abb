//===- Movement.cpp - ONNX ops that move data -----------------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

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
  if (pads.size() != 2 * axes.size() || llvm::any_of(pads, [](int64_t pad) {
        return pad < -(1 << 30) || pad > (1 << 30);
      }))
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
    {"Pad", importPad, checkPad},
    {"Reshape", importReshape},
    {"SpaceToDepth", importSpaceToDepth},
    {"Squeeze", importSqueeze},
    {"Tile", importTile},
    {"Transpose", importTranspose},
    {"Unsqueeze", importUnsqueeze},
};

} // namespace

ArrayRef<OpEntry> getMovementOps() { return ops; }

} // namespace pare::onnximport
