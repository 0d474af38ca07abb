//===- Recognize.cpp - Finds the ops that exporters decompose -------------===//
#include "passes/simplify/Recognize.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
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

/// The function agrees at points that are dense where the candidates differ
/// (gelu and its tanh form by 5e-4) and reach where they saturate.
bool agrees(const Expression &expression, Value argument,
            const Function &function) {
  static const double points[] = {
      -1000, -30,  -10,  -6,   -4.5, -3.5, -3,  -2.7, -2.2, -1.9,
      -1.5,  -1.1, -0.7, -0.3, -0.1, 0.05, 0.2, 0.6,  1.0,  1.6,
      2.1,   2.6,  3.1,  4,    5,    7,    12,  40,   1000};
  return llvm::all_of(points, [&](double x) {
    double expected = function.evaluate(x),
           actual = expression.evaluate(argument, x);
    return std::abs(actual - expected) <= 2e-6 * std::max(1.0, std::abs(x));
  });
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
  for (const Function &function : kFunctions)
    if (agrees(expression, argument, function)) {
      rewriter.replaceOpWithNewOp<nn::UnaryOp>(op, function.kind, argument,
                                               FloatAttr(), FloatAttr());
      return success();
    }
  return failure();
}

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

bool isLastAxisMean(nn::ReduceOp op) {
  return op && op.getKind() == nn::ReduceKind::mean && op.getKeepDims() &&
         op.getAxes().size() == 1 && op.getAxes()[0] == rankOf(op.getX()) - 1;
}

/// The mean of `value` over its last axis, or null.
Value getMeanOperand(Value value) {
  auto op = value.getDefiningOp<nn::ReduceOp>();
  return isLastAxisMean(op) ? op.getX() : Value();
}

/// x of a * a, or null.
Value getSquared(Value value) {
  if (auto mul = getBinary(value, K::mul); mul && mul.getLhs() == mul.getRhs())
    return mul.getLhs();
  return {};
}

/// rsqrt(mean(d²) + epsilon), as d and epsilon.
std::optional<std::pair<Value, float>>
matchInverseDeviation(Value value, const WeightStore *weights) {
  auto rsqrt = getUnary(value, U::rsqrt);
  auto sum = rsqrt ? getBinary(rsqrt.getX(), K::add) : nn::BinaryOp();
  if (!sum)
    return std::nullopt;
  std::optional<double> epsilon = getSplat(sum.getRhs(), weights);
  Value squares = getMeanOperand(sum.getLhs());
  Value deviation = squares ? getSquared(squares) : Value();
  if (!epsilon || !deviation)
    return std::nullopt;
  return std::pair(deviation, float(*epsilon));
}

/// x of x - mean(x), or null.
Value getCentered(Value value) {
  auto sub = getBinary(value, K::sub);
  return sub && getMeanOperand(sub.getRhs()) == sub.getLhs() ? sub.getLhs()
                                                             : Value();
}

/// d * rsqrt(mean(d²) + epsilon), with d = x - mean(x) or x itself.
LogicalResult recognizeNormalization(nn::BinaryOp op, PatternRewriter &rewriter,
                                     const WeightStore *weights) {
  if (op.getKind() != K::mul)
    return failure();
  for (Value factor : op->getOperands()) {
    auto match = matchInverseDeviation(factor, weights);
    if (!match || getOther(op, factor) != match->first ||
        op.getType() != match->first.getType())
      continue;
    FloatAttr epsilon = rewriter.getF32FloatAttr(match->second);
    if (Value x = getCentered(match->first))
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(op, x, Value(), Value(),
                                                   epsilon);
    else
      rewriter.replaceOpWithNewOp<nn::RmsNormOp>(op, match->first, Value(),
                                                 epsilon);
    return success();
  }
  return failure();
}

/// x * g + (bias - mean(x) * g) with g = rsqrt(variance + epsilon) * scale, as
/// TensorFlow decomposes layer normalization.
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
      Value gain = getOther(product, x);
      Value mean = getOther(shift, gain);
      if (!mean || getMeanOperand(mean) != x || op.getType() != x.getType())
        continue;
      nn::Dim channels = shapeOf(x).back();
      Value inverse = gain, scale;
      if (auto scaled = getBinary(gain, K::mul))
        for (Value factor : scaled->getOperands())
          if (matchInverseDeviation(factor, weights)) {
            inverse = factor;
            scale = getOther(scaled, factor);
          }
      auto match = matchInverseDeviation(inverse, weights);
      if (!match || getCentered(match->first) != x ||
          (scale && !isVector(scale, channels)) ||
          !isVector(rest.getLhs(), channels))
        continue;
      Location loc = op.getLoc();
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
          op, x, scale ? asVector(rewriter, loc, scale, channels) : Value(),
          asVector(rewriter, loc, rest.getLhs(), channels),
          rewriter.getF32FloatAttr(match->second));
      return success();
    }
  }
  return failure();
}

/// layer_norm(x) * scale, + bias; rms_norm(x) * scale.
LogicalResult absorbScaleAndBias(nn::BinaryOp op, PatternRewriter &rewriter,
                                 const WeightStore *) {
  for (Value side : op->getOperands()) {
    Value parameter = getOther(op, side);
    Operation *norm = side.getDefiningOp();
    if (!norm || !norm->hasOneUse() || op.getType() != side.getType() ||
        !isKnown(parameter))
      continue;
    Value vector =
        asVector(rewriter, op.getLoc(), parameter, shapeOf(side).back());
    if (!vector)
      continue;
    if (auto layer = dyn_cast<nn::LayerNormOp>(norm)) {
      if (op.getKind() == K::mul && !layer.getScale() && !layer.getBias())
        rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
            op, layer.getX(), vector, Value(), layer.getEpsilonAttr());
      else if (op.getKind() == K::add && !layer.getBias())
        rewriter.replaceOpWithNewOp<nn::LayerNormOp>(
            op, layer.getX(), layer.getScale(), vector, layer.getEpsilonAttr());
      else
        continue;
      return success();
    }
    auto rms = dyn_cast<nn::RmsNormOp>(norm);
    if (!rms || rms.getScale() || op.getKind() != K::mul)
      continue;
    rewriter.replaceOpWithNewOp<nn::RmsNormOp>(op, rms.getX(), vector,
                                               rms.getEpsilonAttr());
    return success();
  }
  return failure();
}

/// exp(x - max(x)) / sum(exp(x - max(x)))
LogicalResult recognizeSoftmax(nn::BinaryOp op, PatternRewriter &rewriter,
                               const WeightStore *) {
  if (op.getKind() != K::div)
    return failure();
  auto exponential = getUnary(op.getLhs(), U::exp);
  auto sum = getReduce(op.getRhs(), nn::ReduceKind::sum);
  if (!exponential || !sum || sum.getX() != exponential || !sum.getKeepDims() ||
      sum.getAxes().size() != 1)
    return failure();
  auto shifted = getBinary(exponential.getX(), K::sub);
  auto largest = shifted ? getReduce(shifted.getRhs(), nn::ReduceKind::max)
                         : nn::ReduceOp();
  if (!largest || largest.getX() != shifted.getLhs() ||
      largest.getAxes() != sum.getAxes() || !largest.getKeepDims())
    return failure();
  rewriter.replaceOpWithNewOp<nn::SoftmaxOp>(
      op, largest.getX(), rewriter.getI64IntegerAttr(sum.getAxes()[0]),
      UnitAttr());
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
