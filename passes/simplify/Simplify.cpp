//===- Simplify.cpp - Algebraic identities on single ops ------------------===//
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
#include "passes/simplify/DerivedWeights.h"
#include <cmath>

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_SIMPLIFY
#include "passes/Passes.h.inc"

namespace {

using K = nn::BinaryKind;
using U = nn::UnaryKind;

bool isFloat(Value value) { return isa<FloatType>(elementOf(value)); }

Value makeUnary(PatternRewriter &rewriter, Location loc, U kind, Value x) {
  return nn::UnaryOp::create(rewriter, loc, kind, x, FloatAttr(), FloatAttr());
}

Value makeBinary(PatternRewriter &rewriter, Location loc, K kind, Value a,
                 Value b) {
  return nn::BinaryOp::create(rewriter, loc, kind, a, b);
}

/// Replaces `op` by `value` if that has op's type.
LogicalResult replaceIfSame(Operation *op, Value value,
                            PatternRewriter &rewriter) {
  if (!value || value.getType() != op->getResult(0).getType())
    return failure();
  rewriter.replaceOp(op, value);
  return success();
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

/// c + x → x + c, and the same for other commutative ops.
LogicalResult moveConstantRight(nn::BinaryOp op, PatternRewriter &rewriter,
                                const WeightStore *) {
  if (!llvm::is_contained({K::add, K::mul, K::max, K::min}, op.getKind()) ||
      !isKnown(op.getLhs()) || isKnown(op.getRhs()))
    return failure();
  rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, op.getKind(), op.getRhs(),
                                            op.getLhs());
  return success();
}

/// x + 0, x - 0, x * 1, x / 1, pow(x, 1).
LogicalResult removeNeutral(nn::BinaryOp op, PatternRewriter &rewriter,
                            const WeightStore *weights) {
  double neutral;
  switch (op.getKind()) {
  case K::add:
  case K::sub:
    neutral = 0;
    break;
  case K::mul:
  case K::div:
  case K::pow:
    neutral = 1;
    break;
  default:
    return failure();
  }
  std::optional<double> number = getSplat(op.getRhs(), weights);
  // A factor that differs from 1 by half a unit in the last place comes from
  // products such as 6 * (1 / 6).
  if (!number || std::abs(*number - neutral) > (neutral == 1 ? 6e-8 : 0))
    return failure();
  return replaceIfSame(op, op.getLhs(), rewriter);
}

/// Division as multiplication, where the divisor allows it.
LogicalResult simplifyDivision(nn::BinaryOp op, PatternRewriter &rewriter,
                               const WeightStore *weights) {
  if (op.getKind() != K::div || !isFloat(op))
    return failure();
  Location loc = op.getLoc(), inverseLoc = getDerivedLoc(loc, "inverse");
  Value lhs = op.getLhs(), rhs = op.getRhs();
  if (auto root = getUnary(rhs, U::sqrt)) {
    Value inverse = makeUnary(rewriter, inverseLoc, U::rsqrt, root.getX());
    rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, K::mul, lhs, inverse);
    return success();
  }
  if (getSplat(lhs, weights) == 1.0 && op.getType() == rhs.getType()) {
    rewriter.replaceOp(op, makeUnary(rewriter, loc, U::reciprocal, rhs));
    return success();
  }
  if (std::optional<double> divisor = getSplat(rhs, weights);
      divisor && *divisor != 0 && std::isfinite(1 / *divisor)) {
    // The constant keeps its shape, which may broadcast the result.
    auto type = cast<RankedTensorType>(rhs.getType());
    Value factor =
        type.hasStaticShape() && type.getNumElements() <= 256
            ? Value(nn::ConstantOp::create(
                  rewriter, inverseLoc,
                  DenseElementsAttr::get(
                      type, Attribute(rewriter.getFloatAttr(
                                type.getElementType(), 1 / *divisor)))))
            : makeUnary(rewriter, inverseLoc, U::reciprocal, rhs);
    rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, K::mul, lhs, factor);
    return success();
  }
  if (isKnown(rhs) && !isKnown(lhs)) {
    Value inverse = makeUnary(rewriter, inverseLoc, U::reciprocal, rhs);
    rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, K::mul, lhs, inverse);
    return success();
  }
  return failure();
}

LogicalResult simplifyPower(nn::BinaryOp op, PatternRewriter &rewriter,
                            const WeightStore *weights) {
  if (op.getKind() != K::pow || !isFloat(op) ||
      op.getType() != op.getLhs().getType())
    return failure();
  std::optional<double> exponent = getSplat(op.getRhs(), weights);
  Value x = op.getLhs();
  if (exponent == 2.0)
    rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, K::mul, x, x);
  else if (exponent == 0.5)
    rewriter.replaceOp(op, makeUnary(rewriter, op.getLoc(), U::sqrt, x));
  else if (exponent == -0.5)
    rewriter.replaceOp(op, makeUnary(rewriter, op.getLoc(), U::rsqrt, x));
  else if (exponent == -1.0)
    rewriter.replaceOp(op, makeUnary(rewriter, op.getLoc(), U::reciprocal, x));
  else
    return failure();
  return success();
}

/// (x + c) + d → x + (c + d), which then folds; the same for products.
LogicalResult mergeConstants(nn::BinaryOp op, PatternRewriter &rewriter,
                             const WeightStore *weights) {
  K kind = op.getKind();
  auto inner = op.getLhs().getDefiningOp<nn::BinaryOp>();
  if ((kind != K::add && kind != K::mul) || !isFloat(op) || !inner ||
      inner.getKind() != kind || !inner->hasOneUse() ||
      !isKnown(inner.getRhs()) || !isKnown(op.getRhs()) ||
      inner.getType() != inner.getLhs().getType())
    return failure();
  std::optional<nn::Shape> shape =
      nn::broadcast(shapeOf(inner.getRhs()), shapeOf(op.getRhs()));
  if (!shape || !nn::broadcast(*shape, shapeOf(inner.getLhs())))
    return failure();
  std::optional<double> a = getSplat(inner.getRhs(), weights),
                        b = getSplat(op.getRhs(), weights);
  bool isScalar = a && b && op.getType() == inner.getLhs().getType();
  Value constant =
      isScalar ? makeScalar(rewriter, op.getLoc(),
                            kind == K::add ? *a + *b : *a * *b, elementOf(op))
               : makeBinary(rewriter, getDerivedLoc(op.getLoc(), "constant"),
                            kind, inner.getRhs(), op.getRhs());
  rewriter.replaceOpWithNewOp<nn::BinaryOp>(op, kind, inner.getLhs(), constant);
  return success();
}

/// sum(x) * (1 / n) → mean(x)
LogicalResult makeMean(nn::BinaryOp op, PatternRewriter &rewriter,
                       const WeightStore *weights) {
  if (op.getKind() != K::mul)
    return failure();
  auto sum = getReduce(op.getLhs(), nn::ReduceKind::sum);
  if (!sum || !isFloat(sum) || sum.getType() != op.getType())
    return failure();
  nn::Shape shape = shapeOf(sum.getX()), reduced;
  for (int64_t axis : sum.getAxes())
    reduced.push_back(shape[axis]);
  std::optional<int64_t> size =
      nn::getConstant(nn::product(reduced, op.getContext()));
  if (!size || *size == 0 || !isSplat(op.getRhs(), 1.0 / *size, weights))
    return failure();
  rewriter.replaceOpWithNewOp<nn::ReduceOp>(
      op, nn::ReduceKind::mean, sum.getX(), sum.getAxes(), sum.getKeepDims());
  return success();
}

/// max(x, c), min(x, c) → clip
LogicalResult makeClip(nn::BinaryOp op, PatternRewriter &rewriter,
                       const WeightStore *weights) {
  bool isMax = op.getKind() == K::max;
  std::optional<double> bound = getSplat(op.getRhs(), weights);
  if ((!isMax && op.getKind() != K::min) || !isFloat(op) || !bound ||
      op.getType() != op.getLhs().getType())
    return failure();
  FloatAttr attr = rewriter.getF32FloatAttr(float(*bound));
  rewriter.replaceOpWithNewOp<nn::UnaryOp>(op, U::clip, op.getLhs(),
                                           isMax ? attr : FloatAttr(),
                                           isMax ? FloatAttr() : attr);
  return success();
}

/// Bounds of clip and relu, infinite where absent.
std::optional<std::pair<float, float>> getBounds(nn::UnaryOp op) {
  if (op.getKind() == U::relu)
    return std::pair(0.0f, INFINITY);
  if (op.getKind() != U::clip)
    return std::nullopt;
  return std::pair(op.getAlpha() ? op.getAlpha()->convertToFloat() : -INFINITY,
                   op.getBeta() ? op.getBeta()->convertToFloat() : INFINITY);
}

/// Clips of clips merge; a clip to [0, ∞) is relu, one to (-∞, ∞) nothing.
LogicalResult simplifyClip(nn::UnaryOp op, PatternRewriter &rewriter,
                           const WeightStore *) {
  std::optional<std::pair<float, float>> bounds = getBounds(op);
  if (!bounds || !isFloat(op))
    return failure();
  auto [low, high] = *bounds;
  Value x = op.getX();
  if (auto inner = x.getDefiningOp<nn::UnaryOp>())
    if (auto innerBounds = getBounds(inner)) {
      auto [innerLow, innerHigh] = *innerBounds;
      // The outer bounds win where the intervals do not meet.
      low = std::clamp(innerLow, low, high);
      high = std::clamp(innerHigh, low, high);
      x = inner.getX();
    }
  if (low == -INFINITY && high == INFINITY)
    return replaceIfSame(op, x, rewriter);
  bool isRelu = low == 0 && high == INFINITY;
  if (x == op.getX() && (op.getKind() == U::relu || !isRelu))
    return failure();
  if (isRelu) {
    rewriter.replaceOp(op, makeUnary(rewriter, op.getLoc(), U::relu, x));
    return success();
  }
  auto bound = [&](float value) {
    return std::isinf(value) ? FloatAttr() : rewriter.getF32FloatAttr(value);
  };
  rewriter.replaceOpWithNewOp<nn::UnaryOp>(op, U::clip, x, bound(low),
                                           bound(high));
  return success();
}

/// 1 / sqrt(x) → rsqrt(x)
LogicalResult makeRsqrt(nn::UnaryOp op, PatternRewriter &rewriter,
                        const WeightStore *) {
  if (op.getKind() != U::reciprocal)
    return failure();
  auto root = getUnary(op.getX(), U::sqrt);
  if (!root)
    return failure();
  rewriter.replaceOp(op,
                     makeUnary(rewriter, op.getLoc(), U::rsqrt, root.getX()));
  return success();
}

/// clip(x * slope + offset, 0, 1) → hard_sigmoid
LogicalResult makeHardSigmoid(nn::UnaryOp op, PatternRewriter &rewriter,
                              const WeightStore *weights) {
  if (getBounds(op) != std::pair(0.0f, 1.0f) || !isFloat(op))
    return failure();
  auto sum = getBinary(op.getX(), K::add);
  auto scaled = sum ? getBinary(sum.getLhs(), K::mul) : nn::BinaryOp();
  if (!scaled || scaled.getLhs().getType() != op.getType())
    return failure();
  std::optional<double> slope = getSplat(scaled.getRhs(), weights),
                        offset = getSplat(sum.getRhs(), weights);
  if (!slope || !offset)
    return failure();
  rewriter.replaceOpWithNewOp<nn::UnaryOp>(
      op, U::hard_sigmoid, scaled.getLhs(),
      rewriter.getF32FloatAttr(float(*slope)),
      rewriter.getF32FloatAttr(float(*offset)));
  return success();
}

LogicalResult removeCast(nn::CastOp op, PatternRewriter &rewriter,
                         const WeightStore *) {
  return replaceIfSame(op, op.getX(), rewriter);
}

/// A small known operand of shape [1, 1, C] is as good as one of [C], which is
/// how kernels know a bias.
LogicalResult dropLeadingOnes(nn::BinaryOp op, PatternRewriter &rewriter,
                              const WeightStore *) {
  auto type = dyn_cast<RankedTensorType>(op.getRhs().getType());
  if (!isKnown(op.getRhs()) || isKnown(op.getLhs()) || !type.hasStaticShape() ||
      type.getNumElements() > 16384 || op.getLhs().getType() != op.getType())
    return failure();
  nn::Shape shape = shapeOf(op.getRhs());
  auto *first =
      llvm::find_if(shape, [](nn::Dim dim) { return !nn::isConstant(dim, 1); });
  if (first == shape.begin())
    return failure();
  shape.erase(shape.begin(), first);
  Value vector = reshapeTo(rewriter, op.getLoc(), op.getRhs(), shape);
  rewriter.modifyOpInPlace(op, [&] { op.getRhsMutable().assign(vector); });
  return success();
}

/// Elementwise ops broadcast by themselves.
LogicalResult removeExpandedOperand(nn::BinaryOp op, PatternRewriter &rewriter,
                                    const WeightStore *) {
  for (OpOperand &operand : op->getOpOperands()) {
    auto expand = operand.get().getDefiningOp<nn::ExpandOp>();
    if (!expand)
      continue;
    Value other = op->getOperand(1 - operand.getOperandNumber());
    std::optional<nn::Shape> shape =
        nn::broadcast(shapeOf(expand.getX()), shapeOf(other));
    if (!shape || *shape != shapeOf(op))
      continue;
    rewriter.modifyOpInPlace(op, [&] { operand.set(expand.getX()); });
    return success();
  }
  return failure();
}

//===----------------------------------------------------------------------===//
// Movement, products
//===----------------------------------------------------------------------===//

bool isUnitStep(nn::SliceOp op) {
  return llvm::all_of(op.getSteps(), [](int64_t step) { return step == 1; });
}

/// A slice of everything; a slice of a slice.
LogicalResult simplifySlice(nn::SliceOp op, PatternRewriter &rewriter,
                            const WeightStore *) {
  if (!isUnitStep(op))
    return failure();
  if (op.getX().getType() == op.getType())
    return replaceIfSame(op, op.getX(), rewriter);
  auto inner = op.getX().getDefiningOp<nn::SliceOp>();
  if (!inner || !isUnitStep(inner))
    return failure();
  nn::Shape starts = nn::getShape(op.getStarts());
  for (auto [start, offset] :
       llvm::zip(starts, nn::getShape(inner.getStarts())))
    start = nn::simplify(start + offset);
  rewriter.replaceOpWithNewOp<nn::SliceOp>(op, op.getType(), inner.getX(),
                                           nn::getMap(starts, op.getContext()),
                                           op.getSteps());
  return success();
}

/// One known index: a slice.
LogicalResult sliceForGather(nn::GatherOp op, PatternRewriter &rewriter,
                             const WeightStore *weights) {
  auto indices = cast<RankedTensorType>(op.getIndices().getType());
  if (!indices.hasStaticShape() || indices.getNumElements() != 1 ||
      isKnown(op.getData()))
    return failure();
  std::optional<double> index = getSplat(op.getIndices(), weights);
  if (!index)
    return failure();
  MLIRContext *context = op.getContext();
  nn::Shape shape = shapeOf(op.getData()),
            starts(shape.size(), nn::constant(0, context));
  int64_t axis = op.getAxis();
  nn::Dim start = nn::constant(int64_t(*index), context);
  if (*index < 0)
    start = nn::simplify(shape[axis] + int64_t(*index));
  if (std::optional<int64_t> size = nn::getConstant(shape[axis]);
      size && (*nn::getConstant(start) < 0 || *nn::getConstant(start) >= *size))
    return failure();
  starts[axis] = start;
  shape[axis] = nn::constant(1, context);
  Value slice = nn::SliceOp::create(rewriter, op.getLoc(),
                                    nn::getTensorType(shape, elementOf(op)),
                                    op.getData(), nn::getMap(starts, context),
                                    SmallVector<int64_t>(shape.size(), 1));
  rewriter.replaceOpWithNewOp<nn::ReshapeOp>(op, op.getType(), slice);
  return success();
}

LogicalResult removeConcat(nn::ConcatOp op, PatternRewriter &rewriter,
                           const WeightStore *) {
  return op.getInputs().size() == 1
             ? replaceIfSame(op, op.getInputs()[0], rewriter)
             : failure();
}

LogicalResult removePad(nn::PadOp op, PatternRewriter &rewriter,
                        const WeightStore *) {
  return replaceIfSame(op, op.getX(), rewriter);
}

LogicalResult removeReduce(nn::ReduceOp op, PatternRewriter &rewriter,
                           const WeightStore *) {
  return op.getAxes().empty() && op.getKind() != nn::ReduceKind::sum_square &&
                 op.getKind() != nn::ReduceKind::l2
             ? replaceIfSame(op, op.getX(), rewriter)
             : failure();
}

/// Zero padding of spatial axes as the convolution's own.
LogicalResult mergePad(nn::ConvOp op, PatternRewriter &rewriter,
                       const WeightStore *) {
  auto pad = op.getX().getDefiningOp<nn::PadOp>();
  if (!pad || pad.getMode() != nn::PadMode::constant ||
      !pad.getValue().isZero() || pad.getLow().front() || pad.getLow().back() ||
      pad.getHigh().front() || pad.getHigh().back())
    return failure();
  SmallVector<int64_t> pads(op.getPads());
  size_t spatial = pads.size() / 2;
  for (size_t i = 0; i < spatial; ++i) {
    pads[i] += pad.getLow()[1 + i];
    pads[spatial + i] += pad.getHigh()[1 + i];
  }
  if (llvm::any_of(pads, [](int64_t p) { return p < 0; }))
    return failure();
  rewriter.replaceOpWithNewOp<nn::ConvOp>(
      op, pad.getX(), op.getFilter(), op.getStridesAttr(),
      rewriter.getDenseI64ArrayAttr(pads), op.getDilationsAttr(),
      op.getGroupsAttr());
  return success();
}

/// A transposed right-hand side is read the other way.
LogicalResult absorbTranspose(nn::MatMulOp op, PatternRewriter &rewriter,
                              const WeightStore *) {
  auto transpose = op.getRhs().getDefiningOp<nn::TransposeOp>();
  if (!transpose)
    return failure();
  SmallVector<int64_t> swapped =
      llvm::to_vector(llvm::seq<int64_t>(0, rankOf(op.getRhs())));
  std::swap(swapped[swapped.size() - 1], swapped[swapped.size() - 2]);
  if (transpose.getPermutation() != ArrayRef(swapped))
    return failure();
  rewriter.replaceOpWithNewOp<nn::MatMulOp>(op, op.getLhs(), transpose.getX(),
                                            !op.getTransposeRhs());
  return success();
}

struct SimplifyPass : impl::SimplifyBase<SimplifyPass> {
  explicit SimplifyPass(const WeightStore *weights) : weights(weights) {}

  void runOnOperation() override {
    Rewrites rewrites(&getContext(), weights);
    rewrites.add(moveConstantRight);
    rewrites.add(removeNeutral);
    rewrites.add(simplifyDivision);
    rewrites.add(simplifyPower);
    rewrites.add(mergeConstants);
    rewrites.add(makeMean);
    rewrites.add(makeClip);
    rewrites.add(dropLeadingOnes);
    rewrites.add(removeExpandedOperand);
    rewrites.add(simplifyClip);
    rewrites.add(makeRsqrt);
    rewrites.add(makeHardSigmoid);
    rewrites.add(removeCast);
    rewrites.add(simplifySlice);
    rewrites.add(sliceForGather);
    rewrites.add(removeConcat);
    rewrites.add(removePad);
    rewrites.add(removeReduce);
    rewrites.add(mergePad);
    rewrites.add(absorbTranspose);
    if (failed(applyPatternsGreedily(getOperation(),
                                     std::move(rewrites.patterns))))
      signalPassFailure();
  }

  const WeightStore *weights;
};

} // namespace

std::unique_ptr<Pass> createSimplifyPass(const WeightStore *weights) {
  return std::make_unique<SimplifyPass>(weights);
}

} // namespace pare
