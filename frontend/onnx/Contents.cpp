//===- Contents.cpp - Tensors whose values are known at import ------------===//
#include "frontend/onnx/Contents.h"
#include <cmath>

using namespace mlir;
using pare::nn::BinaryKind;
using pare::nn::Dim;
using pare::nn::UnaryKind;

namespace pare::onnximport {

bool canBeKnown(Type element) {
  auto floating = dyn_cast<FloatType>(element);
  return floating ? floating.getWidth() >= 16 : isa<IntegerType>(element);
}

llvm::APFloat roundTo(double value, FloatType type) {
  llvm::APFloat result(value);
  bool lossy;
  result.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                 &lossy);
  return result;
}

std::optional<double> Element::getNumber() const {
  if (number)
    return number;
  std::optional<int64_t> n = nn::getConstant(numerator),
                         d = denominator ? nn::getConstant(denominator) : 1;
  if (!n || !d)
    return std::nullopt;
  return double(*n) / double(*d);
}

std::optional<nn::Shape> Contents::getDims() const {
  nn::Shape dims;
  for (const Element &value : values) {
    if (value.number || value.denominator)
      return std::nullopt;
    dims.push_back(value.numerator);
  }
  return dims;
}

std::optional<SmallVector<int64_t>> Contents::getIntegers() const {
  std::optional<nn::Shape> dims = getDims();
  if (!dims)
    return std::nullopt;
  SmallVector<int64_t> integers;
  for (Dim dim : *dims) {
    std::optional<int64_t> value = nn::getConstant(dim);
    if (!value)
      return std::nullopt;
    integers.push_back(*value);
  }
  return integers;
}

std::optional<SmallVector<double>> Contents::getNumbers() const {
  SmallVector<double> numbers;
  for (const Element &value : values) {
    std::optional<double> number = value.getNumber();
    if (!number)
      return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

Algebra::Result Algebra::makeInteger(Dim value) {
  if (!value)
    return std::nullopt;
  if (nn::getConstant(value))
    return Element::of(value);
  if (!GraphBuilder::isReasonable(value))
    return std::nullopt;
  value = nn::simplify(value);
  return GraphBuilder::isReasonable(value) ? Result(Element::of(value))
                                           : std::nullopt;
}

Algebra::Result Algebra::makeRatio(Dim numerator, Dim denominator) {
  if (!GraphBuilder::isReasonable(numerator) ||
      !GraphBuilder::isReasonable(denominator))
    return std::nullopt;
  numerator = nn::simplify(numerator);
  denominator = nn::simplify(denominator);
  if (Dim exact = nn::divideExactly(numerator, denominator))
    return Element::of(exact);
  return Element{std::nullopt, numerator, denominator};
}

static Element makeNumber(double value, Type type) {
  llvm::APFloat rounded = roundTo(value, cast<FloatType>(type));
  bool lossy;
  rounded.convert(llvm::APFloat::IEEEdouble(),
                  llvm::APFloat::rmNearestTiesToEven, &lossy);
  return Element::of(rounded.convertToDouble());
}

Dim Algebra::divide(Dim a, Dim b, bool ceil) {
  if (Dim exact = nn::divideExactly(a, b))
    return exact;
  if (graph_.getRange(b).first < 1)
    return {};
  return ceil ? a.ceilDiv(b) : a.floorDiv(b);
}

/// Integers, dyadic fractions and reciprocals of integers, as models write
/// scales.
std::optional<Algebra::Ratio> Algebra::getRatio(const Element &x) {
  if (!x.number)
    return Ratio{x.numerator, x.denominator ? x.denominator : dim(1)};
  constexpr double maxExact = 1 << 30;
  double value = *x.number;
  if (!(std::abs(value) < maxExact))
    return std::nullopt;
  for (int64_t scale = 1; scale <= 1 << 10; scale *= 2)
    if (value * double(scale) == std::floor(value * double(scale)))
      return Ratio{dim(int64_t(value * double(scale))), dim(scale)};
  double inverse = std::round(1.0 / value);
  if (inverse >= 1 && inverse < maxExact &&
      float(1.0 / inverse) == float(value))
    return Ratio{dim(1), dim(int64_t(inverse))};
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

Algebra::Result Algebra::applyIntegers(BinaryKind kind, Dim a, Dim b) {
  std::optional<int64_t> ca = nn::getConstant(a), cb = nn::getConstant(b);
  int64_t value;
  switch (kind) {
  case BinaryKind::add:
    if (ca && cb)
      return __builtin_add_overflow(*ca, *cb, &value) ? Result()
                                                      : makeInteger(dim(value));
    return makeInteger(a + b);
  case BinaryKind::sub:
    if (ca && cb)
      return __builtin_sub_overflow(*ca, *cb, &value) ? Result()
                                                      : makeInteger(dim(value));
    return makeInteger(a - b);
  case BinaryKind::mul:
    if (ca && cb)
      return __builtin_mul_overflow(*ca, *cb, &value) ? Result()
                                                      : makeInteger(dim(value));
    return makeInteger(a * b);
  case BinaryKind::div:
    if (ca && cb)
      return *cb == 0 || (*ca == INT64_MIN && *cb == -1)
                 ? Result()
                 : makeInteger(dim(*ca / *cb));
    return makeInteger(divide(a, b));
  case BinaryKind::mod:
    if (!cb || *cb < 1)
      return std::nullopt;
    return makeInteger(ca ? dim((*ca % *cb + *cb) % *cb) : a % b);
  default:
    break;
  }
  // The rest compares.
  auto [low, high] =
      ca && cb ? std::pair<int64_t, int64_t>{*ca < *cb ? -1 : *ca > *cb,
                                             *ca < *cb ? -1 : *ca > *cb}
               : graph_.getRange(nn::simplify(a - b));
  auto decide = [&](bool isTrue, bool isFalse) -> Result {
    if (!isTrue && !isFalse)
      return std::nullopt;
    return Element::of(dim(isTrue));
  };
  switch (kind) {
  case BinaryKind::max:
    return low >= 0    ? Result(Element::of(a))
           : high <= 0 ? Result(Element::of(b))
                       : std::nullopt;
  case BinaryKind::min:
    return low >= 0    ? Result(Element::of(b))
           : high <= 0 ? Result(Element::of(a))
                       : std::nullopt;
  case BinaryKind::equal:
    return decide(low == 0 && high == 0, low > 0 || high < 0);
  case BinaryKind::less:
    return decide(high < 0, low >= 0);
  case BinaryKind::less_equal:
    return decide(high <= 0, low > 0);
  case BinaryKind::greater:
    return decide(low > 0, high <= 0);
  case BinaryKind::greater_equal:
    return decide(low >= 0, high < 0);
  case BinaryKind::logical_and:
    return ca && cb ? Result(Element::of(dim(*ca && *cb))) : std::nullopt;
  case BinaryKind::logical_or:
    return ca && cb ? Result(Element::of(dim(*ca || *cb))) : std::nullopt;
  default:
    return std::nullopt;
  }
}

static std::optional<double> applyNumbers(BinaryKind kind, double a, double b) {
  switch (kind) {
  case BinaryKind::add:
    return a + b;
  case BinaryKind::sub:
    return a - b;
  case BinaryKind::mul:
    return a * b;
  case BinaryKind::div:
    return a / b;
  case BinaryKind::max:
    return std::max(a, b);
  case BinaryKind::min:
    return std::min(a, b);
  case BinaryKind::pow:
    return std::pow(a, b);
  default:
    return std::nullopt;
  }
}

Algebra::Result Algebra::applyFloats(BinaryKind kind, const Element &a,
                                     const Element &b, Type type) {
  if (std::optional<double> x = a.getNumber(), y = b.getNumber(); x && y) {
    if (std::optional<double> result = applyNumbers(kind, *x, *y))
      return makeNumber(*result, type);
    return std::nullopt;
  }
  std::optional<Ratio> x = getRatio(a), y = getRatio(b);
  if (!x || !y)
    return std::nullopt;
  switch (kind) {
  case BinaryKind::add:
    return makeRatio(x->numerator * y->denominator +
                         y->numerator * x->denominator,
                     x->denominator * y->denominator);
  case BinaryKind::sub:
    return makeRatio(x->numerator * y->denominator -
                         y->numerator * x->denominator,
                     x->denominator * y->denominator);
  case BinaryKind::mul:
    return makeRatio(x->numerator * y->numerator,
                     x->denominator * y->denominator);
  case BinaryKind::div:
    if (graph_.getRange(y->numerator).first < 1)
      return std::nullopt;
    return makeRatio(x->numerator * y->denominator,
                     x->denominator * y->numerator);
  default:
    return std::nullopt;
  }
}

Algebra::Result Algebra::apply(BinaryKind kind, const Element &a,
                               const Element &b, Type type) {
  if (isa<FloatType>(type))
    return applyFloats(kind, a, b, type);
  if (a.number || b.number || a.denominator || b.denominator)
    return std::nullopt;
  return applyIntegers(kind, a.numerator, b.numerator);
}

Algebra::Result Algebra::apply(UnaryKind kind, const Element &x, Type type) {
  if (std::optional<double> value = x.getNumber();
      value && isa<FloatType>(type)) {
    switch (kind) {
    case UnaryKind::neg:
      return makeNumber(-*value, type);
    case UnaryKind::abs:
      return makeNumber(std::abs(*value), type);
    case UnaryKind::sqrt:
      return makeNumber(std::sqrt(*value), type);
    case UnaryKind::reciprocal:
      return makeNumber(1.0 / *value, type);
    case UnaryKind::floor:
      return makeNumber(std::floor(*value), type);
    case UnaryKind::ceil:
      return makeNumber(std::ceil(*value), type);
    default:
      return std::nullopt;
    }
  }
  Dim denominator = x.denominator ? x.denominator : dim(1);
  switch (kind) {
  case UnaryKind::neg:
    if (x.denominator || nn::getConstant(x.numerator) == INT64_MIN)
      return std::nullopt;
    return makeInteger(x.numerator * -1);
  case UnaryKind::abs:
    return graph_.getRange(x.numerator).first >= 0 ? Result(x) : std::nullopt;
  case UnaryKind::floor:
    return makeInteger(divide(x.numerator, denominator));
  case UnaryKind::ceil:
    return makeInteger(divide(x.numerator, denominator, /*ceil=*/true));
  case UnaryKind::logical_not:
    if (std::optional<int64_t> value = nn::getConstant(x.numerator))
      return Element::of(dim(*value == 0));
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

Algebra::Result Algebra::cast(const Element &x, Type from, Type to) {
  bool fromFloat = isa<FloatType>(from), toFloat = isa<FloatType>(to);
  std::optional<double> value = x.getNumber();
  if (to.isInteger(1))
    return value ? Result(Element::of(dim(*value != 0))) : std::nullopt;
  if (toFloat)
    return value ? makeNumber(*value, to) : x;
  if (!fromFloat) {
    // Narrowing would wrap.
    unsigned width = to.getIntOrFloatBitWidth();
    auto [low, high] = graph_.getRange(x.numerator);
    int64_t limit = width >= 64 ? INT64_MAX : int64_t(1) << (width - 1);
    return low >= -limit && high <= limit - (width < 64) ? Result(x)
                                                         : std::nullopt;
  }
  if (value) {
    if (!(std::abs(*value) < 0x1p62))
      return std::nullopt;
    return Element::of(dim(int64_t(*value)));
  }
  // Shapes are not negative: truncation is the floor.
  return makeInteger(
      divide(x.numerator, x.denominator ? x.denominator : dim(1)));
}

} // namespace pare::onnximport
