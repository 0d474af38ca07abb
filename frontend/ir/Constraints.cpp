//===- Constraints.cpp - What shapes take for granted
//----------------------===//
#include "frontend/ir/NN.h"

using namespace mlir;

namespace pare::nn {

namespace {
class Collector {
public:
  void equal(Operation *op, Dim a, Dim b) {
    a = simplify(a);
    b = simplify(b);
    if (a == b || (getConstant(a) && getConstant(b)))
      return;
    if (compareProduct(a, b))
      return;
    for (const Constraint &known : constraints)
      if ((known.a == a && known.b == b) || (known.a == b && known.b == a))
        return;
    StringRef name = getValueName(op->getResult(0));
    constraints.push_back(
        {a, b, name.empty() ? op->getName().getStringRef().str() : name.str()});
  }

  void broadcast(Operation *op, Value x, Value y) {
    Shape a = getShape(x.getType()), b = getShape(y.getType());
    for (size_t i = 1; i <= std::min(a.size(), b.size()); ++i)
      if (Dim da = a[a.size() - i], db = b[b.size() - i];
          !isConstant(da, 1) && !isConstant(db, 1))
        equal(op, da, db);
  }

  SmallVector<Constraint> constraints;

private:
  /// The same sum of products written in another order.
  static bool compareProduct(Dim a, Dim b) {
    return isConstant(simplify(a - b), 0);
  }
};
} // namespace

SmallVector<Constraint> findConstraints(func::FuncOp entry) {
  Collector collect;
  entry.walk([&](Operation *op) {
    if (auto binary = dyn_cast<BinaryOp>(op)) {
      collect.broadcast(op, binary.getLhs(), binary.getRhs());
    } else if (auto select = dyn_cast<SelectOp>(op)) {
      collect.broadcast(op, select.getOnTrue(), select.getOnFalse());
      collect.broadcast(op, select.getCondition(), select.getOnTrue());
      collect.broadcast(op, select.getCondition(), select.getOnFalse());
    } else if (auto matmul = dyn_cast<MatMulOp>(op)) {
      Shape a = getShape(matmul.getLhs().getType()),
            b = getShape(matmul.getRhs().getType());
      collect.equal(op, a.back(),
                    b[b.size() - (matmul.getTransposeRhs() ? 1 : 2)]);
      size_t leading = std::min(a.size(), b.size()) - 2;
      for (size_t i = 0; i < leading; ++i)
        if (Dim da = a[a.size() - 3 - i], db = b[b.size() - 3 - i];
            !isConstant(da, 1) && !isConstant(db, 1))
          collect.equal(op, da, db);
    } else if (auto concat = dyn_cast<ConcatOp>(op)) {
      Shape result = getShape(concat.getResult().getType());
      for (Value input : concat.getInputs())
        for (auto [axis, dim] : llvm::enumerate(getShape(input.getType())))
          if (int64_t(axis) != int64_t(concat.getAxis()))
            collect.equal(op, dim, result[axis]);
    } else if (auto reshape = dyn_cast<ReshapeOp>(op)) {
      collect.equal(
          op, product(getShape(reshape.getX().getType()), op->getContext()),
          product(getShape(reshape.getResult().getType()), op->getContext()));
    } else if (auto expand = dyn_cast<ExpandOp>(op)) {
      collect.broadcast(op, expand.getX(), expand.getResult());
    }
  });
  return std::move(collect.constraints);
}

} // namespace pare::nn
