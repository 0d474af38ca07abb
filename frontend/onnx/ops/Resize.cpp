//===- Resize.cpp - ONNX Resize -------------------------------------------===//
#include "frontend/onnx/OpTable.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;

namespace pare::onnximport {
namespace {

std::optional<nn::ResizeMode> getMode(StringRef name) {
  return llvm::StringSwitch<std::optional<nn::ResizeMode>>(name)
      .Case("nearest", nn::ResizeMode::nearest)
      .Case("linear", nn::ResizeMode::linear)
      .Case("cubic", nn::ResizeMode::cubic)
      .Default(std::nullopt);
}
std::optional<nn::ResizeCoord> getCoord(StringRef name) {
  return llvm::StringSwitch<std::optional<nn::ResizeCoord>>(name)
      .Case("half_pixel", nn::ResizeCoord::half_pixel)
      .Case("pytorch_half_pixel", nn::ResizeCoord::pytorch_half_pixel)
      .Case("align_corners", nn::ResizeCoord::align_corners)
      .Case("asymmetric", nn::ResizeCoord::asymmetric)
      .Default(std::nullopt);
}
std::optional<nn::NearestMode> getNearest(StringRef name) {
  return llvm::StringSwitch<std::optional<nn::NearestMode>>(name)
      .Case("round_prefer_floor", nn::NearestMode::round_prefer_floor)
      .Case("round_prefer_ceil", nn::NearestMode::round_prefer_ceil)
      .Case("floor", nn::NearestMode::floor)
      .Case("ceil", nn::NearestMode::ceil)
      .Default(std::nullopt);
}

std::string checkResize(const onnx::NodeProto &node, int opset) {
  auto check = [&](StringRef name, StringRef fallback, auto parse) {
    StringRef value = getStringAttribute(node, name, fallback);
    return parse(value) ? "" : (name + " " + value).str();
  };
  if (opset < 11)
    return "before opset 11";
  for (const std::string &why :
       {check("mode", "nearest", getMode),
        check("coordinate_transformation_mode", "half_pixel", getCoord),
        check("nearest_mode", "round_prefer_floor", getNearest)})
    if (!why.empty())
      return why;
  if (getIntAttribute(node, "antialias", 0))
    return "antialias";
  if (getIntAttribute(node, "exclude_outside", 0) &&
      getStringAttribute(node, "mode", "nearest") == "cubic")
    return "exclude_outside";
  StringRef policy =
      getStringAttribute(node, "keep_aspect_ratio_policy", "stretch");
  return policy == "stretch" ? "" : "keep_aspect_ratio_policy " + policy.str();
}

/// New sizes of all axes, and the scales where the node gives those.
struct Target {
  nn::Shape sizes;
  std::optional<SmallVector<double>> scales; ///< one per axis
};

/// floor(size * scale); scales of dynamic sizes must be simple fractions.
nn::Dim scaleSize(const Node &node, nn::Dim size, double scale) {
  if (std::optional<int64_t> constant = nn::getConstant(size))
    return node.dim(
        int64_t(std::floor(double(*constant) * double(float(scale)))));
  Algebra algebra(node.getGraph());
  Type f32 = node.getBuilder().getF32Type();
  Algebra::Result product = algebra.apply(
      nn::BinaryKind::mul, Element::of(size), Element::of(scale), f32);
  Algebra::Result floor;
  if (product)
    floor = algebra.apply(nn::UnaryKind::floor, *product, f32);
  return floor && !floor->number ? floor->numerator : nn::Dim();
}

bool readScales(const Node &node, unsigned input, ArrayRef<int64_t> axes,
                Target &target) {
  std::optional<SmallVector<double>> scales = node.getNumbers(input);
  if (!scales)
    return false;
  if (scales->size() != axes.size()) {
    node.fail("needs one scale per axis");
    return false;
  }
  target.scales = SmallVector<double>(target.sizes.size(), 1.0);
  for (auto [axis, scale] : llvm::zip(axes, *scales)) {
    if (!(scale > 0 && scale < 1e6)) {
      node.fail("has a scale that is not positive and sane");
      return false;
    }
    nn::Dim size = scaleSize(node, target.sizes[axis], scale);
    if (!size) {
      node.fail("a scale of " + std::to_string(scale) +
                " on a dynamic dimension is not supported");
      return false;
    }
    target.sizes[axis] = size;
    (*target.scales)[axis] = scale;
  }
  return true;
}

std::optional<Target> readTarget(const Node &node, Value x) {
  Target target;
  target.sizes = nn::getShape(x.getType());
  int64_t rank = int64_t(target.sizes.size());
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (node.hasAttribute("axes")) {
    axes = node.getInts("axes");
    for (int64_t &axis : axes) {
      std::optional<int64_t> normalized = normalizeAxis(axis, rank);
      if (!normalized) {
        node.fail("names an axis that the input does not have");
        return std::nullopt;
      }
      axis = *normalized;
    }
  }
  constexpr unsigned scales = 2, sizes = 3;
  auto isGiven = [&](unsigned i) {
    return node.hasInput(i) &&
           !(node.getContents(i) && node.getContents(i)->values.empty());
  };
  if (isGiven(sizes)) {
    std::optional<nn::Shape> given = node.getDims(sizes);
    if (!given)
      return std::nullopt;
    if (given->size() != axes.size()) {
      node.fail("needs one size per axis");
      return std::nullopt;
    }
    for (auto [axis, size] : llvm::zip(axes, *given))
      target.sizes[axis] = size;
    return target;
  }
  if (!isGiven(scales)) {
    node.fail("has neither scales nor sizes");
    return std::nullopt;
  }
  return readScales(node, scales, axes, target) ? std::optional(target)
                                                : std::nullopt;
}

/// A permutation that puts the resized axes between the first and the last of
/// the others, as nn.resize wants them; nothing where it does not exist.
std::optional<SmallVector<int64_t>> placeSpatial(ArrayRef<nn::Dim> from,
                                                 const Target &target) {
  SmallVector<int64_t> kept, resized;
  for (size_t axis = 0; axis < from.size(); ++axis)
    (from[axis] == target.sizes[axis] &&
             (!target.scales || (*target.scales)[axis] == 1.0)
         ? kept
         : resized)
        .push_back(int64_t(axis));
  // Where fewer axes change than nn.resize needs, an unchanged one joins.
  while (kept.size() > 2) {
    resized.push_back(kept.pop_back_val());
    llvm::sort(resized);
  }
  if (kept.size() < 2 || resized.empty())
    return std::nullopt;
  SmallVector<int64_t> permutation{kept[0]};
  permutation.append(resized);
  permutation.push_back(kept[1]);
  return permutation;
}

void importResize(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  std::optional<Target> target = readTarget(node, x);
  if (!target)
    return;
  nn::Shape from = nn::getShape(x.getType());
  auto type = cast<RankedTensorType>(x.getType());
  if (target->sizes == from) {
    node.forward(0, 0);
    return;
  }
  std::optional<SmallVector<int64_t>> permutation = placeSpatial(from, *target);
  if (!permutation)
    return (void)node.fail("must keep two axes (batch and channels)");
  nn::Shape sizes;
  SmallVector<float> scales;
  for (auto [i, axis] : llvm::enumerate(*permutation)) {
    sizes.push_back(target->sizes[axis]);
    if (target->scales && i > 0 && i + 1 < permutation->size())
      scales.push_back(float((*target->scales)[axis]));
  }
  std::optional<nn::ResizeMode> mode =
      getMode(node.getString("mode", "nearest"));
  std::optional<nn::ResizeCoord> coord =
      getCoord(node.getString("coordinate_transformation_mode", "half_pixel"));
  std::optional<nn::NearestMode> nearest =
      getNearest(node.getString("nearest_mode", "round_prefer_floor"));
  if (!mode || !coord || !nearest)
    return (void)node.fail("has an unknown mode");
  auto result = nn::getTensorType(sizes, type.getElementType());
  Value resized = node.createTyped<nn::ResizeOp>(
      result, node.transpose(x, *permutation), *mode, *coord, *nearest,
      target->scales ? node.getBuilder().getDenseF32ArrayAttr(scales)
                     : DenseF32ArrayAttr(),
      llvm::APFloat(node.getFloat("cubic_coeff_a", -0.75f)));
  SmallVector<int64_t> inverse(permutation->size());
  for (auto [i, axis] : llvm::enumerate(*permutation))
    inverse[axis] = int64_t(i);
  node.setResult(node.transpose(resized, inverse));
}

const OpEntry ops[] = {
    {"Resize", importResize, checkResize},
};

} // namespace

ArrayRef<OpEntry> getResizeOps() { return ops; }

} // namespace pare::onnximport
