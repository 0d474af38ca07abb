//===- Scalar.cpp - Elementwise nn ops on registers
//-------------------------===//
#include "backends/cpu/select/Scalar.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "backends/cpu/kernels/Vectors.h"
#include "frontend/ir/Codes.h"

using namespace mlir;

namespace pare::cpu {

static Type elementOf(Type type) { return getElementTypeOrSelf(type); }

/// A constant of the shape and element type of `like`.
static Value constantLike(KernelBuilder &b, Value like, double value) {
  Type element = elementOf(like.getType());
  TypedAttr attr = isa<FloatType>(element)
                       ? TypedAttr(b.getFloatAttr(element, value))
                       : TypedAttr(b.getIntegerAttr(element, int64_t(value)));
  if (auto vector = dyn_cast<VectorType>(like.getType()))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, attr);
}

static Value select(KernelBuilder &b, Value condition, Value a, Value c) {
  return arith::SelectOp::create(b, condition, a, c);
}

static Value clamp(KernelBuilder &b, Value x, double low, double high) {
  bool isFloat = isa<FloatType>(elementOf(x.getType()));
  Value lo = constantLike(b, x, low), hi = constantLike(b, x, high);
  if (!isFloat)
    return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, x, lo), hi);
  // NaN stays NaN, as in ONNX Runtime.
  return minFloat(b, hi, maxFloat(b, lo, x));
}

static Value emitUnary(KernelBuilder &b, nn::UnaryOp op, Value x) {
  bool isFloat = isa<FloatType>(elementOf(x.getType()));
  auto alpha = [&](double otherwise) {
    return op.getAlpha() ? op.getAlpha()->convertToDouble() : otherwise;
  };
  auto beta = [&](double otherwise) {
    return op.getBeta() ? op.getBeta()->convertToDouble() : otherwise;
  };
  auto c = [&](double value) { return constantLike(b, x, value); };
  auto positive = [&](arith::CmpFPredicate predicate) {
    return arith::CmpFOp::create(b, predicate, x, c(0)).getResult();
  };
  switch (op.getKind()) {
  case nn::UnaryKind::abs:
    if (isFloat)
      return math::AbsFOp::create(b, x);
    return arith::MaxSIOp::create(b, x, arith::SubIOp::create(b, c(0), x));
  case nn::UnaryKind::neg:
    return isFloat ? Value(arith::NegFOp::create(b, x))
                   : Value(arith::SubIOp::create(b, c(0), x));
  case nn::UnaryKind::sign:
    if (!isFloat)
      return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, x, c(-1)),
                                    c(1));
    return select(b, positive(arith::CmpFPredicate::OGT), c(1),
                  select(b, positive(arith::CmpFPredicate::OLT), c(-1), x));
  case nn::UnaryKind::exp:
    return buildExp(b, x);
  case nn::UnaryKind::log:
    return buildLog(b, x);
  case nn::UnaryKind::sqrt:
    return math::SqrtOp::create(b, x);
  case nn::UnaryKind::rsqrt:
    return arith::DivFOp::create(b, c(1), math::SqrtOp::create(b, x));
  case nn::UnaryKind::reciprocal:
    return arith::DivFOp::create(b, c(1), x);
  case nn::UnaryKind::erf:
    return buildErf(b, x);
  case nn::UnaryKind::sin:
    return buildSin(b, x);
  case nn::UnaryKind::cos:
    return buildCos(b, x);
  case nn::UnaryKind::floor:
    return buildFloor(b, x);
  case nn::UnaryKind::ceil:
    return buildCeil(b, x);
  case nn::UnaryKind::round:
    return buildRoundEven(b, x);
  case nn::UnaryKind::relu:
    return isFloat ? maxFloat(b, c(0), x)
                   : Value(arith::MaxSIOp::create(b, x, c(0)));
  case nn::UnaryKind::sigmoid:
    return buildSigmoid(b, x);
  case nn::UnaryKind::tanh:
    return buildTanh(b, x);
  case nn::UnaryKind::gelu:
    return buildGelu(b, x);
  case nn::UnaryKind::gelu_tanh:
    return buildGeluTanh(b, x);
  case nn::UnaryKind::silu:
    return buildSilu(b, x);
  case nn::UnaryKind::softplus:
    return buildSoftplus(b, x);
  case nn::UnaryKind::hard_sigmoid:
    return clamp(b, b.fma(x, c(alpha(0.2)), c(beta(0.5))), 0, 1);
  case nn::UnaryKind::hard_swish:
    return arith::MulFOp::create(b, x,
                                 clamp(b, b.fma(x, c(1.0 / 6), c(0.5)), 0, 1));
  case nn::UnaryKind::leaky_relu:
    return select(b, positive(arith::CmpFPredicate::OLT),
                  arith::MulFOp::create(b, x, c(alpha(0.01))), x);
  case nn::UnaryKind::elu:
    return select(b, positive(arith::CmpFPredicate::OLT),
                  arith::MulFOp::create(b, buildExpm1(b, x), c(alpha(1))), x);
  case nn::UnaryKind::clip:
    return isFloat ? clamp(b, x, alpha(-std::numeric_limits<float>::infinity()),
                           beta(std::numeric_limits<float>::infinity()))
                   : clamp(b, x, alpha(-9e18), beta(9e18));
  case nn::UnaryKind::logical_not:
    return arith::XOrIOp::create(b, x, constantLike(b, x, 1));
  }
  llvm_unreachable("unknown unary kind");
}

static Value emitBinary(KernelBuilder &b, nn::BinaryOp op, Value x, Value y) {
  bool isFloat = isa<FloatType>(elementOf(x.getType()));
  auto compare = [&](arith::CmpFPredicate f, arith::CmpIPredicate i) {
    return isFloat ? Value(arith::CmpFOp::create(b, f, x, y))
                   : Value(arith::CmpIOp::create(b, i, x, y));
  };
  switch (op.getKind()) {
  case nn::BinaryKind::add:
    return isFloat ? Value(arith::AddFOp::create(b, x, y))
                   : Value(arith::AddIOp::create(b, x, y));
  case nn::BinaryKind::sub:
    return isFloat ? Value(arith::SubFOp::create(b, x, y))
                   : Value(arith::SubIOp::create(b, x, y));
  case nn::BinaryKind::mul:
    return isFloat ? Value(arith::MulFOp::create(b, x, y))
                   : Value(arith::MulIOp::create(b, x, y));
  case nn::BinaryKind::div: {
    if (isFloat)
      return arith::DivFOp::create(b, x, y);
    // A zero divisor has no result in the source; it must not trap here.
    Value isZero = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, y,
                                         constantLike(b, y, 0));
    return arith::DivSIOp::create(b, x,
                                  select(b, isZero, constantLike(b, y, 1), y));
  }
  case nn::BinaryKind::max:
    return isFloat ? Value(arith::MaximumFOp::create(b, x, y))
                   : Value(arith::MaxSIOp::create(b, x, y));
  case nn::BinaryKind::min:
    return isFloat ? Value(arith::MinimumFOp::create(b, x, y))
                   : Value(arith::MinSIOp::create(b, x, y));
  case nn::BinaryKind::pow:
    return buildPow(b, x, y);
  case nn::BinaryKind::mod:
    if (isFloat)
      return buildMod(b, x, y, /*floor=*/true);
    return arith::RemSIOp::create(b, x, y);
  case nn::BinaryKind::logical_and:
    return arith::AndIOp::create(b, x, y);
  case nn::BinaryKind::logical_or:
    return arith::OrIOp::create(b, x, y);
  case nn::BinaryKind::logical_xor:
    return arith::XOrIOp::create(b, x, y);
  case nn::BinaryKind::equal:
    return compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq);
  case nn::BinaryKind::less:
    return compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt);
  case nn::BinaryKind::less_equal:
    return compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle);
  case nn::BinaryKind::greater:
    return compare(arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt);
  case nn::BinaryKind::greater_equal:
    return compare(arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge);
  case nn::BinaryKind::prelu: {
    Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x,
                                           constantLike(b, x, 0));
    return select(b, negative, arith::MulFOp::create(b, x, y), x);
  }
  }
  llvm_unreachable("unknown binary kind");
}

static Value emitCast(KernelBuilder &b, Value x, Type sourceType,
                      Type targetType) {
  Type from = elementOf(x.getType()),
       to = computeType(b, *getDType(targetType));
  Type result = to;
  if (auto vector = dyn_cast<VectorType>(x.getType()))
    result = VectorType::get(vector.getShape(), to);
  if (result == x.getType())
    return x;
  // Registers are signless; signedness is in the types of the graph.
  auto isUnsigned = [](Type type) {
    return type.isUnsignedInteger() || type.isInteger(1);
  };
  if (to.isInteger(1))
    return isa<FloatType>(from)
               ? Value(arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x,
                                             constantLike(b, x, 0)))
               : Value(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x,
                                             constantLike(b, x, 0)));
  unsigned fromBits = from.getIntOrFloatBitWidth(),
           toBits = to.getIntOrFloatBitWidth();
  if (isa<FloatType>(from) && isa<FloatType>(to))
    return toBits > fromBits ? Value(arith::ExtFOp::create(b, result, x))
                             : Value(arith::TruncFOp::create(b, result, x));
  if (isa<FloatType>(from))
    return isUnsigned(targetType)
               ? Value(arith::FPToUIOp::create(b, result, x))
               : Value(arith::FPToSIOp::create(b, result, x));
  if (isa<FloatType>(to))
    return isUnsigned(sourceType)
               ? Value(arith::UIToFPOp::create(b, result, x))
               : Value(arith::SIToFPOp::create(b, result, x));
  if (toBits < fromBits)
    return arith::TruncIOp::create(b, result, x);
  return isUnsigned(sourceType) ? Value(arith::ExtUIOp::create(b, result, x))
                                : Value(arith::ExtSIOp::create(b, result, x));
}

/// Codes of x under `scale`, as they are stored.
static Value emitQuantize(KernelBuilder &b, Value x, Value scale, Type codes) {
  double limit = nn::getCodeLimit(codes);
  Value rounded = clamp(
      b, buildRoundEven(b, arith::DivFOp::create(b, x, scale)), -limit, limit);
  if (int64_t offset = nn::getCodeOffset(codes))
    rounded =
        arith::AddFOp::create(b, rounded, constantLike(b, rounded, offset));
  return emitCast(b, rounded, b.getF32Type(), codes);
}

bool isElementwise(Operation *op) {
  return isa<nn::UnaryOp, nn::BinaryOp, nn::SelectOp, nn::CastOp,
             nn::QuantizeOp>(op);
}

Value emitScalar(KernelBuilder &b, Operation *op, ArrayRef<Value> operands) {
  if (auto unary = dyn_cast<nn::UnaryOp>(op))
    return emitUnary(b, unary, operands[0]);
  if (auto binary = dyn_cast<nn::BinaryOp>(op))
    return emitBinary(b, binary, operands[0], operands[1]);
  if (isa<nn::SelectOp>(op))
    return select(b, operands[0], operands[1], operands[2]);
  if (auto quantize = dyn_cast<nn::QuantizeOp>(op))
    return emitQuantize(b, operands[0], operands[1], quantize.getCodes());
  auto cast = llvm::cast<nn::CastOp>(op);
  return emitCast(b, operands[0], elementOf(cast.getX().getType()),
                  cast.getTo());
}

} // namespace pare::cpu
