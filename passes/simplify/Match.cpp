//===- Match.cpp - What simplification asks of values ---------------------===//
#include "passes/simplify/Match.h"
#include <cmath>

using namespace mlir;

namespace pare {

std::optional<HostTensor> getKnown(Value value, const WeightStore *weights) {
  if (auto constant = value.getDefiningOp<nn::ConstantOp>()) {
    llvm::Expected<HostTensor> tensor =
        HostTensor::fromAttr(constant.getValue());
    if (tensor)
      return *tensor;
    llvm::consumeError(tensor.takeError());
    return std::nullopt;
  }
  auto param = value.getDefiningOp<nn::ParamOp>();
  if (param && weights && weights->contains(param.getWeight()))
    return HostTensor::view(weights->get(param.getWeight()));
  return std::nullopt;
}

bool isKnown(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<nn::ConstantOp, nn::ParamOp>(op))
    return true;
  // Dimensions are known when running only.
  if (op->getNumOperands() == 0 || !op->getDialect() ||
      !isa<nn::NNDialect>(op->getDialect()))
    return false;
  return llvm::all_of(op->getOperands(), isKnown);
}

std::optional<double> getSplat(Value value, const WeightStore *weights) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (isa<nn::ReshapeOp, nn::ExpandOp>(op))
    return getSplat(op->getOperand(0), weights);
  if (auto cast = dyn_cast<nn::CastOp>(op);
      cast && isa<FloatType>(cast.getTo()) &&
      isa<FloatType>(elementOf(cast.getX())))
    return getSplat(cast.getX(), weights);
  auto type = cast<RankedTensorType>(value.getType());
  if (!type.hasStaticShape() || type.getNumElements() > 4096 ||
      type.getNumElements() == 0)
    return std::nullopt;
  std::optional<HostTensor> tensor = getKnown(value, weights);
  if (!tensor)
    return std::nullopt;
  std::vector<double> values = tensor->read<double>();
  if (!llvm::all_equal(values))
    return std::nullopt;
  return values.front();
}

bool isSplat(Value value, double number, const WeightStore *weights) {
  std::optional<double> splat = getSplat(value, weights);
  return splat && std::abs(*splat - number) <= 1e-6 * std::abs(number);
}

Value makeScalar(OpBuilder &builder, Location loc, double number,
                 Type element) {
  auto type = RankedTensorType::get({}, element);
  Attribute value =
      isa<FloatType>(element)
          ? Attribute(builder.getFloatAttr(element, number))
          : Attribute(builder.getIntegerAttr(element, int64_t(number)));
  return nn::ConstantOp::create(builder, loc,
                                DenseElementsAttr::get(type, value));
}

nn::BinaryOp getBinary(Value value, nn::BinaryKind kind) {
  auto op = value.getDefiningOp<nn::BinaryOp>();
  return op && op.getKind() == kind ? op : nn::BinaryOp();
}
nn::UnaryOp getUnary(Value value, nn::UnaryKind kind) {
  auto op = value.getDefiningOp<nn::UnaryOp>();
  return op && op.getKind() == kind ? op : nn::UnaryOp();
}
nn::ReduceOp getReduce(Value value, nn::ReduceKind kind) {
  auto op = value.getDefiningOp<nn::ReduceOp>();
  return op && op.getKind() == kind ? op : nn::ReduceOp();
}

Value getOther(nn::BinaryOp op, Value operand) {
  if (op.getLhs() == operand)
    return op.getRhs();
  return op.getRhs() == operand ? op.getLhs() : Value();
}

Value reshapeTo(OpBuilder &builder, Location loc, Value value,
                ArrayRef<nn::Dim> shape) {
  RankedTensorType type = nn::getTensorType(shape, elementOf(value));
  if (value.getType() == type)
    return value;
  return nn::ReshapeOp::create(builder, loc, type, value);
}

bool isVector(Value value, nn::Dim size) {
  nn::Shape shape = shapeOf(value);
  return !shape.empty() && shape.back() == size &&
         llvm::all_of(ArrayRef(shape).drop_back(),
                      [](nn::Dim dim) { return nn::isConstant(dim, 1); });
}

Value asVector(OpBuilder &builder, Location loc, Value value, nn::Dim size) {
  if (!isVector(value, size))
    return {};
  return reshapeTo(builder, loc, value, {size});
}

} // namespace pare
