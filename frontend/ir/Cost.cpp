//===- Cost.cpp - Arithmetic and traffic of nn ops
//--------------------------===//
#include "frontend/ir/NN.h"

using namespace mlir;

namespace pare::nn {

static AffineExpr elements(Value value) {
  return product(getShape(value.getType()), value.getContext());
}

AffineExpr operandAndResultBytes(Operation *op) {
  AffineExpr total = getAffineConstantExpr(0, op->getContext());
  auto add = [&](Value value) {
    if (auto type = dyn_cast<RankedTensorType>(value.getType()))
      total = total +
              elements(value) * int64_t(getElementBytes(type.getElementType()));
  };
  llvm::for_each(op->getOperands(), add);
  llvm::for_each(op->getResults(), add);
  return simplify(total);
}

AffineExpr MatMulOp::getFlops() {
  return elements(getResult()) * getShape(getLhs().getType()).back() * 2;
}

AffineExpr ConvOp::getFlops() {
  Shape filter = getShape(getFilter().getType());
  return elements(getResult()) *
         product(ArrayRef(filter).drop_front(), getContext()) * 2;
}

AffineExpr ConvTransposeOp::getFlops() {
  Shape filter = getShape(getFilter().getType());
  Dim perInput = product(ArrayRef(filter).drop_back(), getContext());
  return elements(getX()) * perInput.floorDiv(getGroups()) * 2;
}

AffineExpr PoolOp::getFlops() {
  int64_t window = 1;
  for (int64_t k : getKernel())
    window *= k;
  return elements(getResult()) * window;
}

AffineExpr AttentionOp::getFlops() {
  Shape q = getShape(getQuery().getType()), v = getShape(getValue().getType());
  Dim scores = product({q[0], q[1], q[2], v[1]}, getContext());
  return scores * ((q[3] + v[3]) * 2 + 5);
}

// Rows of a language model see half of a cache of typical length.
AffineExpr CachedAttentionOp::getFlops() {
  constexpr int64_t typicalLength = 512;
  Shape q = getShape(getQuery().getType());
  return q[0] * q[1] * (q[2] * 4 + 5) * (typicalLength / 2);
}
AffineExpr CacheAppendOp::getFlops() {
  return elements(getKey()) + elements(getValue());
}
AffineExpr RouteOp::getFlops() {
  return elements(getLogits()) * (int64_t(getUsed()) + 5);
}
AffineExpr GroupByExpertOp::getFlops() { return elements(getExperts()) * 4; }
AffineExpr ExpertMatMulOp::getFlops() {
  return elements(getResult()) * getShape(getX().getType()).back() * 2;
}
AffineExpr RopeOp::getFlops() { return elements(getX()) * 3; }

// Elementwise and row-wise ops: operations per element, roughly as many as a
// vector implementation issues.
AffineExpr UnaryOp::getFlops() { return elements(getResult()); }
AffineExpr BinaryOp::getFlops() { return elements(getResult()); }
AffineExpr SelectOp::getFlops() { return elements(getResult()); }
AffineExpr CastOp::getFlops() { return elements(getResult()); }
AffineExpr ReduceOp::getFlops() { return elements(getX()); }
AffineExpr SoftmaxOp::getFlops() { return elements(getX()) * 5; }
AffineExpr LayerNormOp::getFlops() { return elements(getX()) * 8; }
AffineExpr RmsNormOp::getFlops() { return elements(getX()) * 5; }
AffineExpr BatchNormOp::getFlops() { return elements(getX()) * 2; }
AffineExpr QuantizeOp::getFlops() { return elements(getX()) * 2; }
AffineExpr DynamicQuantizeOp::getFlops() { return elements(getX()) * 3; }
AffineExpr DequantizeOp::getFlops() { return elements(getCodes()); }
AffineExpr ResizeOp::getFlops() {
  return elements(getResult()) * (getMode() == ResizeMode::nearest ? 0 : 8);
}

static AffineExpr none(Operation *op) {
  return getAffineConstantExpr(0, op->getContext());
}
AffineExpr GatherOp::getFlops() { return none(*this); }
AffineExpr ReshapeOp::getFlops() { return none(*this); }
AffineExpr TransposeOp::getFlops() { return none(*this); }
AffineExpr ConcatOp::getFlops() { return none(*this); }
AffineExpr SliceOp::getFlops() { return none(*this); }
AffineExpr ExpandOp::getFlops() { return none(*this); }
AffineExpr PadOp::getFlops() { return none(*this); }

AffineExpr FusedOp::getFlops() {
  AffineExpr total = none(*this);
  for (Operation &op : getBody().front())
    if (auto cost = dyn_cast<CostInterface>(&op))
      total = total + cost.getFlops();
  return simplify(total);
}

} // namespace pare::nn
