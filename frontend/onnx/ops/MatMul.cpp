//===- MatMul.cpp - ONNX matrix products ----------------------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;
using pare::nn::BinaryKind;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

/// Vectors are matrices with one row or column, as in numpy.
void importMatMul(const Node &node) {
  Value a = node.getInput(0), b = node.getInput(1);
  if (!a || !b)
    return;
  nn::Shape shapeA = shapeOf(a), shapeB = shapeOf(b);
  if (shapeA.empty() || shapeB.empty()) {
    node.fail("operands need at least one axis");
    return;
  }
  bool isRow = shapeA.size() == 1, isColumn = shapeB.size() == 1;
  if (isRow)
    a = node.reshape(a, {node.dim(1), shapeA[0]});
  if (isColumn)
    b = node.reshape(b, {shapeB[0], node.dim(1)});
  Value result = node.create<nn::MatMulOp>(a, b, /*transpose_rhs=*/false);
  if (result && (isRow || isColumn)) {
    nn::Shape shape = shapeOf(result);
    if (isColumn)
      shape.pop_back();
    if (isRow)
      shape.erase(shape.end() - (isColumn ? 1 : 2));
    result = node.reshape(result, shape);
  }
  node.setResult(result);
}

/// alpha * A' * B' + beta * C.
void importGemm(const Node &node) {
  Value a = node.getInput(0), b = node.getInput(1);
  if (!a || !b)
    return;
  if (shapeOf(a).size() != 2 || shapeOf(b).size() != 2) {
    node.fail("operands must be matrices");
    return;
  }
  if (node.getInt("transA", 0))
    a = node.transpose(a, {1, 0});
  auto scale = [&](Value x, float factor) {
    return factor == 1.0f
               ? x
               : node.binary(BinaryKind::mul, x, node.scalarLike(x, factor));
  };
  Value result =
      scale(node.create<nn::MatMulOp>(
                a, b, /*transpose_rhs=*/node.getInt("transB", 0) != 0),
            node.getFloat("alpha", 1.0f));
  float beta = node.getFloat("beta", 1.0f);
  if (node.hasInput(2) && beta != 0.0f)
    result =
        node.binary(BinaryKind::add, result, scale(node.getInput(2), beta));
  node.setResult(result);
}

const OpEntry ops[] = {
    {"Gemm", importGemm},
    {"MatMul", importMatMul},
};

} // namespace

ArrayRef<OpEntry> getMatMulOps() { return ops; }

} // namespace pare::onnximport
