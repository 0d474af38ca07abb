//===- Shape.cpp - Shapes as expressions of symbolic dimensions -----------===//
#include "frontend/ir/Shape.h"
#include "mlir/IR/AffineExprVisitor.h"

using namespace mlir;

namespace pare::nn {

static unsigned getNumSymbols(ArrayRef<Dim> shape) {
  unsigned count = 0;
  for (Dim dim : shape)
    dim.walk([&](AffineExpr e) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(e))
        count = std::max(count, symbol.getPosition() + 1);
    });
  return count;
}

Shape getShape(AffineMap map) { return Shape(map.getResults()); }

AffineMap getMap(ArrayRef<Dim> shape, MLIRContext *context) {
  return AffineMap::get(0, getNumSymbols(shape), shape, context);
}

Shape getShape(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (auto encoding = dyn_cast_or_null<AffineMapAttr>(tensor.getEncoding()))
    return getShape(encoding.getValue());
  assert(tensor.hasStaticShape() &&
         "a dynamic tensor type carries its shape as its encoding");
  Shape shape;
  for (int64_t dim : tensor.getShape())
    shape.push_back(getAffineConstantExpr(dim, type.getContext()));
  return shape;
}

RankedTensorType getTensorType(ArrayRef<Dim> shape, Type element) {
  SmallVector<int64_t, 6> sizes;
  Shape dims;
  bool isStatic = true;
  for (Dim dim : shape) {
    dims.push_back(simplify(dim));
    std::optional<int64_t> value = getConstant(dims.back());
    isStatic &= value.has_value();
    sizes.push_back(value.value_or(ShapedType::kDynamic));
  }
  if (isStatic)
    return RankedTensorType::get(sizes, element);
  return RankedTensorType::get(
      sizes, element, AffineMapAttr::get(getMap(dims, element.getContext())));
}

Dim constant(int64_t value, MLIRContext *context) {
  return getAffineConstantExpr(value, context);
}

std::optional<int64_t> getConstant(Dim dim) {
  if (auto c = dyn_cast<AffineConstantExpr>(dim))
    return c.getValue();
  return std::nullopt;
}

bool isConstant(Dim dim, int64_t value) { return getConstant(dim) == value; }

namespace {
/// A product: a constant times other expressions, sorted.
struct Factors {
  int64_t scale = 1;
  SmallVector<AffineExpr> terms;

  void collect(AffineExpr e) {
    if (auto c = dyn_cast<AffineConstantExpr>(e)) {
      scale *= c.getValue();
    } else if (e.getKind() == AffineExprKind::Mul) {
      auto binary = cast<AffineBinaryOpExpr>(e);
      collect(binary.getLHS());
      collect(binary.getRHS());
    } else {
      terms.push_back(e);
    }
  }
  AffineExpr build(MLIRContext *context) const {
    AffineExpr result;
    for (AffineExpr term : terms)
      result = result ? result * term : term;
    if (!result)
      return getAffineConstantExpr(scale, context);
    return scale == 1 ? result : result * scale;
  }
};

/// A fixed order of expressions, for canonical products.
int compare(AffineExpr a, AffineExpr b) {
  if (a == b)
    return 0;
  if (a.getKind() != b.getKind())
    return a.getKind() < b.getKind() ? -1 : 1;
  if (auto sa = dyn_cast<AffineSymbolExpr>(a))
    return sa.getPosition() < cast<AffineSymbolExpr>(b).getPosition() ? -1 : 1;
  if (auto ca = dyn_cast<AffineConstantExpr>(a))
    return ca.getValue() < cast<AffineConstantExpr>(b).getValue() ? -1 : 1;
  auto ba = dyn_cast<AffineBinaryOpExpr>(a),
       bb = dyn_cast<AffineBinaryOpExpr>(b);
  if (!ba || !bb)
    return 0;
  if (int c = compare(ba.getLHS(), bb.getLHS()))
    return c;
  return compare(ba.getRHS(), bb.getRHS());
}
} // namespace

static AffineExpr rebuild(AffineExpr e) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(e);
  if (!binary)
    return e;
  AffineExpr lhs = rebuild(binary.getLHS()), rhs = rebuild(binary.getRHS());
  switch (e.getKind()) {
  case AffineExprKind::Add:
    return lhs + rhs;
  case AffineExprKind::Mul: {
    Factors factors;
    factors.collect(lhs * rhs);
    llvm::stable_sort(factors.terms, [](AffineExpr a, AffineExpr b) {
      return compare(a, b) < 0;
    });
    return factors.build(e.getContext());
  }
  case AffineExprKind::FloorDiv:
    if (Dim exact = divideExactly(lhs, rhs))
      return exact;
    return lhs.floorDiv(rhs);
  case AffineExprKind::CeilDiv:
    if (Dim exact = divideExactly(lhs, rhs))
      return exact;
    return lhs.ceilDiv(rhs);
  case AffineExprKind::Mod:
    return lhs % rhs;
  default:
    return e;
  }
}

Dim simplify(Dim dim) {
  dim = rebuild(dim);
  return dim.isPureAffine() ? simplifyAffineExpr(dim, 0, getNumSymbols(dim))
                            : dim;
}

Dim product(ArrayRef<Dim> dims, MLIRContext *context) {
  AffineExpr result = getAffineConstantExpr(1, context);
  for (Dim dim : dims)
    result = result * dim;
  return rebuild(result);
}

Dim divideExactly(Dim numerator, Dim denominator) {
  Factors n, d;
  n.collect(numerator);
  d.collect(denominator);
  if (n.scale == 0)
    return numerator;
  if (d.scale == 0)
    return {};
  for (AffineExpr term : d.terms) {
    auto *it = llvm::find(n.terms, term);
    if (it == n.terms.end())
      return {};
    n.terms.erase(it);
  }
  if (n.scale % d.scale != 0) {
    // (4 * s0 + 8) / 4 has the factor inside the sum.
    return {};
  }
  n.scale /= d.scale;
  return n.build(numerator.getContext());
}

Dim broadcast(Dim a, Dim b) {
  if (a == b || isConstant(b, 1))
    return a;
  if (isConstant(a, 1))
    return b;
  std::optional<int64_t> ca = getConstant(a), cb = getConstant(b);
  if (ca && cb)
    return {};
  if (ca)
    return a;
  if (cb)
    return b;
  // Equal if the model is right; findConstraints makes artifacts check it.
  return a;
}

std::optional<Shape> broadcast(ArrayRef<Dim> a, ArrayRef<Dim> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Shape result(a);
  size_t skip = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    Dim dim = broadcast(a[skip + i], b[i]);
    if (!dim)
      return std::nullopt;
    result[skip + i] = dim;
  }
  return result;
}

int64_t evaluate(Dim dim, ArrayRef<int64_t> symbols) {
  if (auto c = dyn_cast<AffineConstantExpr>(dim))
    return c.getValue();
  if (auto s = dyn_cast<AffineSymbolExpr>(dim)) {
    assert(s.getPosition() < symbols.size() &&
           "no value for a symbolic dimension");
    return symbols[s.getPosition()];
  }
  auto binary = cast<AffineBinaryOpExpr>(dim);
  int64_t lhs = evaluate(binary.getLHS(), symbols),
          rhs = evaluate(binary.getRHS(), symbols);
  auto floorDiv = [](int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
  };
  switch (dim.getKind()) {
  case AffineExprKind::Add:
    return lhs + rhs;
  case AffineExprKind::Mul:
    return lhs * rhs;
  case AffineExprKind::FloorDiv:
    return floorDiv(lhs, rhs);
  case AffineExprKind::CeilDiv:
    return -floorDiv(-lhs, rhs);
  case AffineExprKind::Mod:
    return lhs - floorDiv(lhs, rhs) * rhs;
  default:
    llvm_unreachable("not a shape expression");
  }
}

SmallVector<int64_t, 6> evaluate(ArrayRef<Dim> shape,
                                 ArrayRef<int64_t> symbols) {
  SmallVector<int64_t, 6> result;
  for (Dim dim : shape)
    result.push_back(evaluate(dim, symbols));
  return result;
}

unsigned getElementBytes(Type element) {
  return (element.getIntOrFloatBitWidth() + 7) / 8;
}

} // namespace pare::nn
