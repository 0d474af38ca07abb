//===- ResidualStream.cpp - What products add to --------------------------===//
#include "passes/quantize/ResidualStream.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace pare {

bool staysInRows(Value x, const Segment &segment) {
  if (segment.outputs.size() != 1)
    return false;
  auto leading = [](Value value) {
    nn::Shape shape = nn::getShape(value.getType());
    return SmallVector<nn::Dim>(ArrayRef<nn::Dim>(shape).drop_back());
  };
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  llvm::SmallSetVector<Value, 8> reached;
  reached.insert(x);
  for (size_t i = 0; i < reached.size(); ++i) {
    Value value = reached[i];
    if (nn::getShape(value.getType()).empty() || leading(value) != leading(x))
      return false;
    for (OpOperand &use : value.getUses()) {
      Operation *op = use.getOwner();
      if (!own.contains(op))
        continue;
      bool isByRows = isa<nn::UnaryOp, nn::BinaryOp, nn::CastOp, nn::SliceOp,
                          nn::LayerNormOp, nn::RmsNormOp>(op) ||
                      (isa<nn::MatMulOp>(op) && use.getOperandNumber() == 0);
      if (!isByRows)
        return false;
      reached.insert(op->getResult(0));
    }
  }
  return reached.contains(segment.outputs.front());
}

Value findSum(nn::MatMulOp product, const Segment &segment) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  Value value = product.getResult();
  while (value.hasOneUse()) {
    OpOperand &use = *value.use_begin();
    auto sum = dyn_cast<nn::BinaryOp>(use.getOwner());
    if (!sum || sum.getKind() != nn::BinaryKind::add || !own.contains(sum))
      return {};
    Value other = sum->getOperand(1 - use.getOperandNumber());
    bool isBias =
        isa_and_nonnull<nn::ParamOp, nn::ConstantOp>(other.getDefiningOp());
    if (!isBias)
      return sum.getType() == product.getType() ? sum.getResult() : Value();
    value = sum.getResult();
  }
  return {};
}

std::vector<float> weighRows(const HostTensor &stream) {
  int64_t width = stream.shape().back(), rows = stream.size() / width;
  ArrayRef<float> values = stream.values<float>();
  std::vector<float> weights;
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 1e-30;
    for (float value : values.slice(row * width, width))
      sum += double(value) * value;
    weights.push_back(float(double(width) / sum));
  }
  return weights;
}

} // namespace pare
