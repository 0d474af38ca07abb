//===- Norm.cpp - ONNX normalizations -------------------------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;
using pare::nn::BinaryKind;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

llvm::APFloat getEpsilon(const Node &node) {
  return llvm::APFloat(node.getFloat("epsilon", 1e-5f));
}

void importBatchNorm(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  bool isSpatial = shapeOf(x).size() > 2;
  Value input = isSpatial ? toChannelsLast(node, x) : x;
  Value result = node.create<nn::BatchNormOp>(
      input, node.getInput(1), node.getInput(2), node.getInput(3),
      node.getInput(4), getEpsilon(node));
  node.setResult(isSpatial ? toChannelsFirst(node, result) : result);
}
std::string checkBatchNorm(const onnx::NodeProto &node, int) {
  return getIntAttribute(node, "training_mode", 0) ? "training_mode" : "";
}

/// The second and third output of LayerNormalization: mean and 1 / standard
/// deviation of each row, with axes of one where the input was reduced.
void setStatistics(const Node &node, Value rows, nn::Shape shape,
                   int64_t axis) {
  if (!rows)
    return;
  auto mean = [&](Value x) {
    return node.create<nn::ReduceOp>(nn::ReduceKind::mean, x,
                                     ArrayRef<int64_t>{axis},
                                     /*keep_dims=*/true);
  };
  Value average = mean(rows);
  Value centered = node.binary(BinaryKind::sub, rows, average);
  Value variance = mean(node.binary(BinaryKind::mul, centered, centered));
  Value stable =
      node.binary(BinaryKind::add, variance,
                  node.scalarLike(variance, node.getFloat("epsilon", 1e-5f)));
  for (nn::Dim &dim : MutableArrayRef(shape).drop_front(axis))
    dim = node.dim(1);
  node.setResult(1, node.reshape(average, shape));
  node.setResult(2,
                 node.reshape(node.unary(nn::UnaryKind::rsqrt, stable), shape));
}

/// Axes from `axis` on are normalized together: flattened into one.
void importLayerNorm(const Node &node) {
  Value x = node.getInput(0), scale = node.getInput(1),
        bias = node.getOptionalInput(2);
  if (!x || !scale || node.getGraph().hasFailed())
    return;
  nn::Shape shape = shapeOf(x);
  int64_t axis = node.getAxis("axis", -1, int64_t(shape.size()));
  if (node.getGraph().hasFailed())
    return;
  nn::Dim width =
      nn::product(ArrayRef(shape).drop_front(axis), node.getContext());
  nn::Shape flat(ArrayRef(shape).take_front(axis));
  flat.push_back(width);
  auto flatten = [&](Value parameter) {
    return parameter ? node.reshape(parameter, {width}) : parameter;
  };
  Value rows = node.reshape(x, flat);
  Value result = node.create<nn::LayerNormOp>(rows, flatten(scale),
                                              flatten(bias), getEpsilon(node));
  node.setResult(node.reshape(result, shape));
  if (node.isUsed(1) || node.isUsed(2))
    setStatistics(node, rows, shape, axis);
}

/// Normalizes each of `groups` groups of channels of x [N, C, …], then scales
/// and shifts; scale and bias have one value per group or per channel.
void normalizeGroups(const Node &node, int64_t groups, bool perGroup) {
  Value x = node.getInput(0), scale = node.getInput(1), bias = node.getInput(2);
  if (!x || !scale || !bias)
    return;
  nn::Shape shape = shapeOf(x);
  if (shape.size() < 3) {
    node.fail("needs an input with batch, channels and spatial axes");
    return;
  }
  std::optional<int64_t> channels = nn::getConstant(shape[1]);
  if (!channels || groups < 1 || *channels % groups != 0) {
    node.fail("the channels do not divide into " + Twine(groups) + " groups");
    return;
  }
  MLIRContext *context = node.getContext();
  nn::Dim spatial = nn::product(ArrayRef(shape).drop_front(2), context);
  nn::Dim perGroupSize = nn::simplify(spatial * (*channels / groups));
  Value normalized = node.create<nn::LayerNormOp>(
      node.reshape(x, {shape[0], node.dim(groups), perGroupSize}), Value(),
      Value(), getEpsilon(node));
  nn::Shape parameter{node.dim(perGroup ? groups : *channels)};
  if (perGroup) {
    parameter.push_back(node.dim(1));
  } else {
    normalized = node.reshape(normalized, shape);
    parameter.append(shape.size() - 2, node.dim(1));
  }
  Value scaled =
      node.binary(BinaryKind::mul, normalized, node.reshape(scale, parameter));
  Value shifted =
      node.binary(BinaryKind::add, scaled, node.reshape(bias, parameter));
  node.setResult(node.reshape(shifted, shape));
}

void importGroupNorm(const Node &node) {
  normalizeGroups(node, node.getInt("num_groups", 0), node.getOpset() < 21);
}

void importInstanceNorm(const Node &node) {
  RankedTensorType type = node.getInputType(0);
  if (!type)
    return;
  if (type.getRank() < 3 || type.isDynamicDim(1)) {
    node.fail("needs an input with a known number of channels");
    return;
  }
  normalizeGroups(node, type.getDimSize(1), /*perGroup=*/false);
}

/// x / norm, the norm taken over one axis; zeros stay zeros.
void importLpNormalization(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  int64_t axis = node.getAxis("axis", -1, int64_t(shapeOf(x).size()));
  bool isL1 = node.getInt("p", 2) == 1;
  Value norm = node.create<nn::ReduceOp>(
      isL1 ? nn::ReduceKind::sum : nn::ReduceKind::l2,
      isL1 ? node.unary(nn::UnaryKind::abs, x) : x, ArrayRef<int64_t>{axis},
      /*keep_dims=*/true);
  Value isZero = node.binary(BinaryKind::equal, norm, node.scalarLike(norm, 0));
  Value divisor =
      node.create<nn::SelectOp>(isZero, node.scalarLike(norm, 1), norm);
  node.setResult(node.binary(BinaryKind::div, x, divisor));
}

const OpEntry ops[] = {
    {"BatchNormalization", importBatchNorm, checkBatchNorm},
    {"GroupNormalization", importGroupNorm, nullptr, 18},
    {"InstanceNormalization", importInstanceNorm},
    {"LayerNormalization", importLayerNorm, nullptr, 17},
    {"LpNormalization", importLpNormalization},
};

} // namespace

ArrayRef<OpEntry> getNormOps() { return ops; }

} // namespace pare::onnximport
