//===- Recognize.cpp - Finds the ops that exporters decompose -------------===//
#include "passes/simplify/Recognize.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_RECOGNIZE
#include "passes/Passes.h.inc"

namespace {

using K = nn::BinaryKind;
using U = nn::UnaryKind;

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

/// An elementwise expression of one value and known numbers, such as the six
/// ops that an exporter writes for GELU, in whatever order. What function it is
/// is found by evaluating it at some points, so that no list of orderings is
/// needed.
class Expression {
public:
  Expression(Value root, const WeightStore *weights)
      : root(root), weights(weights) {}

  /// The value that `root` is a function of: one that is used several times
  /// within the expression and reached on every path that does not end in a
  /// number. Null if there is none within a dozen ops.
  Value findArgument() {
    llvm::SetVector<Value> seen;
    seen.insert(root);
    for (size_t i = 0; i < seen.size() && seen.size() < 24; ++i)
      if (Operation *op = seen[i].getDefiningOp(); isExpanded(op))
        for (Value operand : op->getOperands())
          seen.insert(operand);
    for (Value value : llvm::drop_begin(seen)) {
      // With one use the expression would only be a chain: nothing to gain.
      if (value.hasOneUse() || getSplat(value, weights) ||
          value.getType() != root.getType())
        continue;
      budget = 24;
      if (dependsOnlyOn(root, value))
        return value;
    }
    return {};
  }

  double evaluate(Value argument, double x) const {
    return evaluate(root, argument, x);
  }

private:
  static bool isExpanded(Operation *op) {
    if (auto unary = dyn_cast_or_null<nn::UnaryOp>(op))
      return llvm::is_contained({U::neg, U::exp, U::erf, U::tanh, U::sigmoid,
                                 U::relu, U::clip, U::hard_sigmoid, U::softplus,
                                 U::reciprocal},
                                unary.getKind());
    if (auto binary = dyn_cast_or_null<nn::BinaryOp>(op))
      return llvm::is_contained({K::add, K::sub, K::mul, K::div, K::pow},
                                binary.getKind());
    return false;
  }

  bool dependsOnlyOn(Value value, Value argument) {
    if (value == argument || getSplat(value, weights))
      return true;
    Operation *op = value.getDefiningOp();
    return isExpanded(op) && budget-- > 0 &&
           value.getType() == root.getType() &&
           llvm::all_of(op->getOperands(), [&](Value operand) {
             return dependsOnlyOn(operand, argument);
           });
  }

  double evaluate(Value value, Value argument, double x) const {
    if (value == argument)
      return x;
    if (std::optional<double> number = getSplat(value, weights))
      return *number;
    Operation *op = value.getDefiningOp();
    double a = evaluate(op->getOperand(0), argument, x);
    if (auto unary = dyn_cast<nn::UnaryOp>(op)) {
      auto bound = [](std::optional<llvm::APFloat> attr, double absent) {
        return attr ? double(attr->convertToFloat()) : absent;
      };
      switch (unary.getKind()) {
      case U::neg:
        return -a;
      case U::exp:
        return std::exp(a);
      case U::erf:
        return std::erf(a);
      case U::tanh:
        return std::tanh(a);
      case U::sigmoid:
        return 1 / (1 + std::exp(-a));
      case U::relu:
        return std::max(a, 0.0);
      case U::softplus:
        return a > 30 ? a : std::log1p(std::exp(a));
      case U::reciprocal:
        return 1 / a;
      case U::clip:
        return std::min(std::max(a, bound(unary.getAlpha(), -INFINITY)),
                        bound(unary.getBeta(), INFINITY));
      case U::hard_sigmoid:
        return std::clamp(a * bound(unary.getAlpha(), 0.2) +
                              bound(unary.getBeta(), 0.5),
                          0.0, 1.0);
      default:
        llvm_unreachable("not expanded");
      }
    }
    double b = evaluate(op->getOperand(1), argument, x);
    switch (cast<nn::BinaryOp>(op).getKind()) {
    case K::add:
      return a + b;
    case K::sub:
      return a - b;
    case K::mul:
      return a * b;
    case K::div:
      return a / b;
    case K::pow:
      return std::pow(a, b);
    default:
      llvm_unreachable("not expanded");
    }
  }

  Value root;
  const WeightStore *weights;
  int budget = 0;
};

struct Function {
  U kind;
  double (*evaluate)(double);
};

const Function kFunctions[] = {
    {U::gelu, [](double x) { return x * 0.5 * (1 + std::erf(x * M_SQRT1_2)); }},
    {U::gelu_tanh,
     [](double x) {
       return x * 0.5 *
              (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
     }},
    {U::silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {U::hard_swish,
     [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }},
};

/// The factor c with which the expression is c times the function, or nullopt.
/// The points are dense where the candidates differ (gelu and its tanh form by
/// 5e-4) and reach where they saturate.
std::optional<double> matchFunction(const Expression &expression,
                                    Value argument, const Function &function) {
  static const double points[] = {
      -1000, -30,  -10,  -6,   -4.5, -3.5, -3,  -2.7, -2.2, -1.9,
      -1.5,  -1.1, -0.7, -0.3, -0.1, 0.05, 0.2, 0.6,  1.0,  1.6,
      2.1,   2.6,  3.1,  4,    5,    7,    12,  40,   1000};
  double factor = expression.evaluate(argument, 5) / function.evaluate(5);
  if (!std::isfinite(factor) || factor == 0)
    return std::nullopt;
  bool agrees = llvm::all_of(points, [&](double x) {
    double expected = function.evaluate(x),
           actual = expression.evaluate(argument, x) / factor;
    return std::abs(actual - expected) <= 2e-6 * std::max(1.0, std::abs(x));
  });
  return agrees ? std::optional(factor) : std::nullopt;
}

LogicalResult recognizeActivation(nn::BinaryOp op, PatternRewriter &rewriter,
                                  const WeightStore *weights) {
  if (op.getKind() != K::mul && op.getKind() != K::div)
    return failure();
  if (!isa<FloatType>(elementOf(op)))
    return failure();
  Expression expression(op, weights);
  Value argument = expression.findArgument();
  if (!argument)
    return failure();
  for (const Function &function : kFunctions) {
    auto factor = matchFunction(expression, argument, function);
    if (!factor)
      continue;
    // A factor that is left merges with the next one.
    bool isScaled = std::abs(*factor - 1) > 1e-6;
    Value result = nn::UnaryOp::create(
        rewriter,
        isScaled ? getDerivedLoc(op.getLoc(), "unscaled") : op.getLoc(),
        function.kind, argument, FloatAttr(), FloatAttr());
    if (isScaled)
      result = nn::BinaryOp::create(
          rewriter, op.getLoc(), K::mul, result,
          makeScalar(rewriter, op.getLoc(), *factor, elementOf(op)));
    rewriter.replaceOp(op, result);
    return success();
  }
  return failure();
}

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

/// x of a reduction of x over its last axis alone, or null.
Value getRowOperand(Value value, nn::ReduceKind kind) {
  auto op = getReduce(value, kind);
  return op && op.getAxes().size() == 1 &&
                 op.getAxes()[0] == rankOf(op.getX()) - 1
             ? op.getX()
             : Value();
}

/// The same where the reduced axis is kept with size 1, by the reduction or by
/// a reshape after it.
Value getRowReduced(Value value, nn::ReduceKind kind) {
  Value reduced = value;
  if (auto reshape = value.getDefiningOp<nn::ReshapeOp>())
    reduced = reshape.getX();
  Value x = getRowOperand(reduced, kind);
  if (!x)
    return {};
  nn::Shape kept = shapeOf(x);
  kept.back() = nn::constant(1, value.getContext());
  return shapeOf(value) == kept ? x : Value();
}

/// x of a * a, or null.
Value getSquared(Value value) {
  if (auto mul = getBinary(value, K::mul); mul && mul.getLhs() == mul.getRhs())
    return mul.getLhs();
  return {};
}

/// x of x - mean(x), or null.
Value getCentered(Value value) {
  auto sub = getBinary(value, K::sub);
  return sub && getRowReduced(sub.getRhs(), nn::ReduceKind::mean) ==
                     sub.getLhs()
             ? sub.getLhs()
             : Value();
}

/// x of mean(x²) - mean(x)², possibly clipped at 0, or null.
Value getVarianceOperand(Value value) {
  if (auto relu = getUnary(value, U::relu))
    value = relu.getX();
  auto sub = getBinary(value, K::sub);
  if (!sub)
    return {};
  Value squares = getRowOperand(sub.getLhs(), nn::ReduceKind::mean),
        mean = getSquared(sub.getRhs());
  Value x = squares ? getSquared(squares) : Value();
  return x && mean && getRowOperand(mean, nn::ReduceKind::mean) == x ? x
                                                                     : Value();
}

/// rsqrt(v + epsilon) * scale, where v is the variance of `centered` or, with
/// `centered` null, the mean square of `squared`. The scale may be absent.
struct Gain {
  Value centered, squared, scale;
  float epsilon;
};

std::optional<Gain> matchGain(Value value, const WeightStore *weights) {
  if (auto scaled = getBinary(value, K::mul)) {
    for (Value factor : scaled->getOperands())
      if (getUnary(factor, U::rsqrt))
        if (auto gain = matchGain(factor, weights)) {
          gain->scale = getOther(scaled, factor);
          return gain;
        }
    return std::nullopt;
  }
  auto rsqrt = getUnary(value, U::rsqrt);
  auto sum = rsqrt ? getBinary(rsqrt.getX(), K::add) : nn::BinaryOp();
  std::optional<double> epsilon =
      sum ? getSplat(sum.getRhs(), weights) : std::nullopt;
  if (!epsilon)
    return std::nullopt;
  Gain gain{{}, {}, {}, float(*epsilon)};
  Value variance = sum.getLhs();
  if (Value squares = getRowReduced(variance, nn::ReduceKind::mean)) {
    gain.squared = getSquared(squares);
    if (!gain.squared)
      return std::nullopt;
    gain.centered = getCentered(gain.squared);
    return gain;
  }
  if (auto reshape = variance.getDefiningOp<nn::ReshapeOp>())
    variance = reshape.getX();
  gain.centered = getVarianceOperand(variance);
  return gain.centered ? std::optional(gain) : std::nullopt;
}

/// (x - mean(x)) * gain is layer normalization, x * gain the other one.
LogicalResult recognizeNormalization(nn::BinaryOp op, PatternRewriter &rewriter,
                                     const WeightStore *weights) {
  if (op.getKind() != K::mul)
    return failure();
  for (Value factor : op->getOperands()) {
    Value other = getOther(op, factor);
    auto gain = matchGain(factor, weights);
    if (!gain || op.getType() != other.getType())
      continue;
    nn::Dim channels = shapeOf(op).back();
    Value scale = gain->scale;
    if (scale && !isVector(scale, channels))
      continue;
    if (scale)
      scale = asVector(rewriter, op.getLoc(), scale, channels);
    FloatAttr epsilon = rewriter.getF32FloatAttr(gain->epsilon);
    if (gain->centered && getCentered(other) == gain->centered)
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(op, gain->centered, scale,
                                                   Value(), epsilon);
    else if (gain->squared == other)
      rewriter.replaceOpWithNewOp<nn::RmsNormOp>(op, other, scale, epsilon);
    else
      continue;
    return success();
  }
  return failure();
}

/// x * gain + (bias - mean(x) * gain), as TensorFlow decomposes layer
/// normalization.
LogicalResult recognizeFactoredNorm(nn::BinaryOp op, PatternRewriter &rewriter,
                                    const WeightStore *weights) {
  if (op.getKind() != K::add)
    return failure();
  for (Value side : op->getOperands()) {
    auto product = getBinary(side, K::mul);
    auto rest = getBinary(getOther(op, side), K::sub);
    auto shift = rest ? getBinary(rest.getRhs(), K::mul) : nn::BinaryOp();
    if (!product || !shift)
      continue;
    for (Value x : product->getOperands()) {
      Value factor = getOther(product, x), mean = getOther(shift, factor);
      if (!mean || getRowReduced(mean, nn::ReduceKind::mean) != x ||
          op.getType() != x.getType())
        continue;
      nn::Dim channels = shapeOf(x).back();
      auto gain = matchGain(factor, weights);
      if (!gain || gain->centered != x ||
          (gain->scale && !isVector(gain->scale, channels)) ||
          !isVector(rest.getLhs(), channels))
        continue;
      Location loc = op.getLoc();
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
          op, x,
          gain->scale ? asVector(rewriter, loc, gain->scale, channels)
                      : Value(),
          asVector(rewriter, loc, rest.getLhs(), channels),
          rewriter.getF32FloatAttr(gain->epsilon));
      return success();
    }
  }
  return failure();
}

/// layer_norm(x) * scale, + bias; rms_norm(x) * scale.
LogicalResult absorbScaleAndBias(nn::BinaryOp op, PatternRewriter &rewriter,
                                 const WeightStore *) {
  bool isScale = op.getKind() == K::mul;
  if (!isScale && op.getKind() != K::add)
    return failure();
  for (Value side : op->getOperands()) {
    Value parameter = getOther(op, side);
    nn::Dim channels = shapeOf(op).empty() ? nn::Dim() : shapeOf(op).back();
    if (!side.hasOneUse() || op.getType() != side.getType() ||
        !isKnown(parameter) || !isVector(parameter, channels))
      continue;
    auto vector = [&] {
      return asVector(rewriter, op.getLoc(), parameter, channels);
    };
    auto layer = side.getDefiningOp<nn::LayerNormOp>();
    auto rms = side.getDefiningOp<nn::RmsNormOp>();
    if (layer && isScale && !layer.getScale() && !layer.getBias())
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
          op, layer.getX(), vector(), Value(), layer.getEpsilonAttr());
    else if (layer && !isScale && !layer.getBias())
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
          op, layer.getX(), layer.getScale(), vector(), layer.getEpsilonAttr());
    else if (rms && isScale && !rms.getScale())
      rewriter.replaceOpWithNewOp<nn::RmsNormOp>(op, rms.getX(), vector(),
                                                 rms.getEpsilonAttr());
    else
      continue;
    return success();
  }
  return failure();
}

/// exp(x - max(x)) / sum(exp(x - max(x))) over the last axis
LogicalResult recognizeSoftmax(nn::BinaryOp op, PatternRewriter &rewriter,
                               const WeightStore *) {
  if (op.getKind() != K::div)
    return failure();
  auto exponential = getUnary(op.getLhs(), U::exp);
  if (!exponential ||
      getRowReduced(op.getRhs(), nn::ReduceKind::sum) != exponential)
    return failure();
  auto shifted = getBinary(exponential.getX(), K::sub);
  if (!shifted ||
      getRowReduced(shifted.getRhs(), nn::ReduceKind::max) != shifted.getLhs())
    return failure();
  Value x = shifted.getLhs();
  rewriter.replaceOpWithNewOp<nn::SoftmaxOp>(
      op, x, rewriter.getI64IntegerAttr(rankOf(x) - 1), UnitAttr());
  return success();
}

struct RecognizePass : impl::RecognizeBase<RecognizePass> {
  explicit RecognizePass(const WeightStore *weights) : weights(weights) {}

  void runOnOperation() override {
    Rewrites rewrites(&getContext(), weights);
    rewrites.add(recognizeActivation);
    rewrites.add(recognizeNormalization);
    rewrites.add(recognizeFactoredNorm);
    rewrites.add(absorbScaleAndBias);
    rewrites.add(recognizeSoftmax);
    rewrites.add(recognizeAttention);
    if (failed(applyPatternsGreedily(getOperation(),
                                     std::move(rewrites.patterns))))
      signalPassFailure();
  }

  const WeightStore *weights;
};

} // namespace

std::unique_ptr<Pass> createRecognizePass(const WeightStore *weights) {
  return std::make_unique<RecognizePass>(weights);
}

} // namespace pare
