//===- Quant.cpp - ONNX's quantized ops -----------------------------------===//
//
// Imported in float arithmetic over the same codes: what a model computes is
// kept, how it is quantized for the target is decided by pare's own passes.
//
//===----------------------------------------------------------------------===//
#include "frontend/onnx/OpTable.h"
#include "frontend/onnx/ops/Conv.h"
#include <cmath>

using namespace mlir;
using pare::nn::BinaryKind;
using pare::nn::UnaryKind;

namespace pare::onnximport {
namespace {

nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }
Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}

Value toFloat(const Node &node, Value x) {
  Type f32 = node.getBuilder().getF32Type();
  return !x || elementOf(x) == f32 ? x : node.create<nn::CastOp>(x, f32);
}

/// A scale or zero point as f32, shaped to broadcast over `axis` of a tensor
/// with `rank` axes: one for all, or one per index of the axis.
Value getParameter(const Node &node, Value parameter, int64_t rank,
                   int64_t axis) {
  Value x = toFloat(node, parameter);
  if (!x)
    return {};
  nn::Shape shape = shapeOf(x);
  if (shape.size() > 1)
    return node.fail("scales and zero points per block are not supported");
  if (shape.empty() || nn::isConstant(shape[0], 1))
    return node.reshape(x, {});
  std::optional<int64_t> normalized = normalizeAxis(axis, rank);
  if (!normalized)
    return node.fail("axis " + Twine(axis) + " is none of the " + Twine(rank) +
                     " axes");
  nn::Shape wide(rank, node.dim(1));
  wide[*normalized] = shape[0];
  return node.reshape(x, wide);
}

/// (codes - zero point) * scale; `zero` may be null.
Value dequantize(const Node &node, Value codes, Value scale, Value zero,
                 int64_t axis) {
  if (!codes || !scale)
    return {};
  int64_t rank = int64_t(shapeOf(codes).size());
  Value x = toFloat(node, codes);
  if (zero)
    x = node.binary(BinaryKind::sub, x, getParameter(node, zero, rank, axis));
  return node.binary(BinaryKind::mul, x, getParameter(node, scale, rank, axis));
}

/// The codes of `rounded + zero point`, saturated to the type's range.
Value saturate(const Node &node, Value rounded, Value zero, Type codes) {
  auto integer = dyn_cast<IntegerType>(codes);
  if (!integer || integer.getWidth() < 8 || integer.getWidth() > 16)
    return node.fail("codes must be 8- or 16-bit integers");
  double levels = std::ldexp(1.0, int(integer.getWidth()));
  double low = integer.isUnsigned() ? 0 : -levels / 2;
  Value shifted = zero ? node.binary(BinaryKind::add, rounded, zero) : rounded;
  return node.create<nn::CastOp>(
      node.unary(UnaryKind::clip, shifted, float(low), float(low + levels - 1)),
      codes);
}

Value quantize(const Node &node, Value x, Value scale, Value zero, Type codes,
               int64_t axis) {
  if (!x || !scale)
    return {};
  int64_t rank = int64_t(shapeOf(x).size());
  Value scaled = node.binary(BinaryKind::div, toFloat(node, x),
                             getParameter(node, scale, rank, axis));
  return saturate(node, node.unary(UnaryKind::round, scaled),
                  zero ? getParameter(node, zero, rank, axis) : Value(), codes);
}

/// The type of a zero point, which is that of the codes.
Type getCodes(const Node &node, Value zero) {
  if (zero)
    return elementOf(zero);
  int64_t type = node.getInt("output_dtype", 0);
  return type ? node.getTypeAttribute("output_dtype", int(type))
              : node.getBuilder().getIntegerType(8, /*isSigned=*/false);
}

void importQuantizeLinear(const Node &node) {
  Value zero = node.getOptionalInput(2);
  if (Type codes = getCodes(node, zero))
    node.setResult(quantize(node, node.getInput(0), node.getInput(1), zero,
                            codes, node.getInt("axis", 1)));
}

void importDequantizeLinear(const Node &node) {
  node.setResult(dequantize(node, node.getInput(0), node.getInput(1),
                            node.getOptionalInput(2), node.getInt("axis", 1)));
}

std::string checkBlocks(const onnx::NodeProto &node, int) {
  return getIntAttribute(node, "block_size", 0) ? "block_size" : "";
}

/// Codes, scale and zero point from the range of all of x, zero included.
void importDynamicQuantizeLinear(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  SmallVector<int64_t> axes =
      llvm::to_vector(llvm::seq<int64_t>(0, int64_t(shapeOf(x).size())));
  auto extreme = [&](nn::ReduceKind reduce, BinaryKind limit) {
    Value value = node.create<nn::ReduceOp>(reduce, x, axes,
                                            /*keep_dims=*/false);
    return node.binary(limit, value, node.scalarLike(x, 0));
  };
  Value high = extreme(nn::ReduceKind::max, BinaryKind::max),
        low = extreme(nn::ReduceKind::min, BinaryKind::min);
  Value scale =
      node.binary(BinaryKind::div, node.binary(BinaryKind::sub, high, low),
                  node.scalarLike(x, 255));
  Value zero =
      node.unary(UnaryKind::round,
                 node.unary(UnaryKind::clip,
                            node.binary(BinaryKind::div,
                                        node.unary(UnaryKind::neg, low), scale),
                            0.0f, 255.0f));
  Type codes = node.getBuilder().getIntegerType(8, /*isSigned=*/false);
  Value scaled =
      node.unary(UnaryKind::round, node.binary(BinaryKind::div, x, scale));
  node.setResult(0, saturate(node, scaled, zero, codes));
  node.setResult(1, scale);
  node.setResult(2, node.create<nn::CastOp>(zero, codes));
}

void importQLinearConv(const Node &node) {
  Value xScale = node.getInput(1), wScale = node.getInput(4),
        zero = node.getInput(7);
  Value x = dequantize(node, node.getInput(0), xScale, node.getInput(2), 1);
  Value filter =
      dequantize(node, node.getInput(3), wScale, node.getInput(5), 0);
  Value bias;
  if (node.hasInput(8))
    bias = node.binary(BinaryKind::mul, toFloat(node, node.getInput(8)),
                       node.binary(BinaryKind::mul,
                                   getParameter(node, xScale, 1, 0),
                                   getParameter(node, wScale, 1, 0)));
  Value result = buildConv(node, x, filter, bias);
  if (result && zero)
    node.setResult(
        quantize(node, result, node.getInput(6), zero, elementOf(zero), 1));
}

/// Scales of the left side are per row, of the right side per column.
void importQLinearMatMul(const Node &node) {
  Value zero = node.getInput(7);
  Value a = dequantize(node, node.getInput(0), node.getInput(1),
                       node.getInput(2), -2);
  Value b = dequantize(node, node.getInput(3), node.getInput(4),
                       node.getInput(5), -1);
  Value result = node.create<nn::MatMulOp>(a, b, /*transpose_rhs=*/false);
  if (result && zero)
    node.setResult(
        quantize(node, result, node.getInput(6), zero, elementOf(zero), -2));
}

/// codes - zero point as f32, which is exact.
Value centre(const Node &node, unsigned codes, unsigned zero, int64_t axis) {
  Value x = toFloat(node, node.getInput(codes));
  if (!x || !node.hasInput(zero))
    return x;
  return node.binary(BinaryKind::sub, x,
                     getParameter(node, node.getInput(zero),
                                  int64_t(shapeOf(x).size()), axis));
}

void setInteger(const Node &node, Value result) {
  node.setResult(
      node.create<nn::CastOp>(result, node.getBuilder().getI32Type()));
}

void importMatMulInteger(const Node &node) {
  Value a = centre(node, 0, 2, -2), b = centre(node, 1, 3, -1);
  setInteger(node, node.create<nn::MatMulOp>(a, b, /*transpose_rhs=*/false));
}

void importConvInteger(const Node &node) {
  Value x = centre(node, 0, 2, 1), filter = centre(node, 1, 3, 0);
  setInteger(node, buildConv(node, x, filter, Value()));
}

const OpEntry ops[] = {
    {"ConvInteger", importConvInteger},
    {"DequantizeLinear", importDequantizeLinear, checkBlocks},
    {"DynamicQuantizeLinear", importDynamicQuantizeLinear, nullptr, 11},
    {"MatMulInteger", importMatMulInteger},
    {"QLinearConv", importQLinearConv},
    {"QLinearMatMul", importQLinearMatMul},
    {"QuantizeLinear", importQuantizeLinear, checkBlocks},
};

} // namespace

ArrayRef<OpEntry> getQuantOps() { return ops; }

} // namespace pare::onnximport
