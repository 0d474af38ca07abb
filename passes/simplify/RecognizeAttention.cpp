//===- RecognizeAttention.cpp - Scaled dot-product attention --------------===//
//
// Vaswani et al. 2017, section 3.2, as exporters write it. Heads are found in
// the layout of the products and moved to the one of nn.attention by
// transposes, which cancel with those that the exporter wrote for the same
// purpose; whatever cut query, key and value out of a common tensor stays as it
// is and is simplified on its own.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/IRMapping.h"
#include "passes/simplify/DerivedWeights.h"
#include "passes/simplify/Recognize.h"

using namespace mlir;

namespace pare {

namespace {

using K = nn::BinaryKind;

/// What leads from softmax back to q · kᵀ.
struct Scores {
  nn::MatMulOp product;
  double scale = 1;
  Value mask;      ///< added to the scaled scores
  Value condition; ///< where it is false, `masked` replaces the score
  double masked = 0;
};

bool findScores(Value value, Scores &scores, const WeightStore *weights) {
  if (!value.hasOneUse())
    return false;
  if (auto product = value.getDefiningOp<nn::MatMulOp>()) {
    scores.product = product;
    return true;
  }
  auto binary = value.getDefiningOp<nn::BinaryOp>();
  if (binary && binary.getKind() == K::mul) {
    std::optional<double> factor = getSplat(binary.getRhs(), weights);
    if (!factor)
      return false;
    scores.scale *= *factor;
    return findScores(binary.getLhs(), scores, weights);
  }
  // What is masked must not be scaled afterwards.
  if (scores.mask || scores.condition || scores.scale != 1)
    return false;
  if (binary && binary.getKind() == K::add) {
    for (Value side : binary->getOperands()) {
      if (side.getType() != value.getType())
        continue;
      Scores trial = scores;
      trial.mask = getOther(binary, side);
      if (findScores(side, trial, weights)) {
        scores = trial;
        return true;
      }
    }
    return false;
  }
  auto select = value.getDefiningOp<nn::SelectOp>();
  std::optional<double> masked =
      select ? getSplat(select.getOnFalse(), weights) : std::nullopt;
  if (!masked || *masked > -1000 ||
      select.getOnTrue().getType() != value.getType())
    return false;
  scores.condition = select.getCondition();
  scores.masked = std::max(*masked, -1e30);
  return findScores(select.getOnTrue(), scores, weights);
}

/// Takes a multiplication by a number out of `value`, also from below
/// transposes and reshapes.
Value peelScale(Value value, double &scale, OpBuilder &builder,
                const WeightStore *weights) {
  Operation *op = value.getDefiningOp();
  if (auto mul = getBinary(value, K::mul)) {
    std::optional<double> factor = getSplat(mul.getRhs(), weights);
    if (!factor || mul.getLhs().getType() != value.getType())
      return value;
    scale *= *factor;
    return peelScale(mul.getLhs(), scale, builder, weights);
  }
  if (!isa_and_nonnull<nn::TransposeOp, nn::ReshapeOp>(op))
    return value;
  Value inner = op->getOperand(0),
        peeled = peelScale(inner, scale, builder, weights);
  if (peeled == inner)
    return value;
  IRMapping mapping;
  mapping.map(inner, peeled);
  Operation *copy = builder.clone(*op, mapping);
  copy->setLoc(getDerivedLoc(op->getLoc(), "unscaled"));
  return copy->getResult(0);
}

/// [batch, heads, sequence, size] or [batch, sequence, size] to
/// [batch, sequence, heads, size]; with `transposed` the last two axes are
/// swapped in `value`.
Value toHeadsInside(OpBuilder &builder, Value value, bool transposed) {
  Location loc = getDerivedLoc(value.getLoc(), "heads");
  if (rankOf(value) == 4) {
    SmallVector<int64_t> permutation = {0, 2, 1, 3};
    if (transposed)
      permutation = {0, 3, 1, 2};
    return nn::TransposeOp::create(builder, loc, value, permutation);
  }
  if (transposed)
    value = nn::TransposeOp::create(builder, loc, value,
                                    ArrayRef<int64_t>({0, 2, 1}));
  nn::Shape shape = shapeOf(value);
  shape.insert(shape.begin() + 2, nn::constant(1, value.getContext()));
  return reshapeTo(builder, loc, value, shape);
}

} // namespace

LogicalResult recognizeAttention(nn::MatMulOp op, PatternRewriter &rewriter,
                                 const WeightStore *weights) {
  auto softmax = op.getLhs().getDefiningOp<nn::SoftmaxOp>();
  int64_t rank = rankOf(op);
  if (!softmax || softmax.getLog() || !softmax->hasOneUse() ||
      int64_t(softmax.getAxis()) != rankOf(softmax) - 1 || rank < 3 ||
      rank > 4 || !elementOf(op).isF32())
    return failure();
  Scores scores;
  if (!findScores(softmax.getX(), scores, weights))
    return failure();
  nn::MatMulOp product = scores.product;
  Value q = product.getLhs(), k = product.getRhs(), v = op.getRhs();
  if (rankOf(q) != rank || rankOf(k) != rank || rankOf(v) != rank ||
      shapeOf(product) != shapeOf(softmax))
    return failure();
  // Leading axes must be the same: broadcast keys are not heads.
  nn::Shape lead = shapeOf(q);
  lead.resize(rank - 2);
  for (Value value : {k, v})
    if (!llvm::equal(lead, ArrayRef(shapeOf(value)).take_front(rank - 2)))
      return failure();
  if (rank == 4 && !nn::getConstant(lead[1]))
    return failure();

  Location loc = op.getLoc();
  q = peelScale(q, scores.scale, rewriter, weights);
  k = peelScale(k, scores.scale, rewriter, weights);
  q = toHeadsInside(rewriter, q, false);
  k = toHeadsInside(rewriter, k, !product.getTransposeRhs());
  v = toHeadsInside(rewriter, v, op.getTransposeRhs());
  Location maskLoc = getDerivedLoc(loc, "mask");
  Value mask = scores.mask;
  if (scores.condition)
    mask = nn::SelectOp::create(
        rewriter, maskLoc, scores.condition,
        makeScalar(rewriter, maskLoc, 0, elementOf(op)),
        makeScalar(rewriter, maskLoc, scores.masked, elementOf(op)));
  if (mask && rank == 3 && rankOf(mask) == 3) {
    nn::Shape shape = shapeOf(mask);
    shape.insert(shape.begin() + 1, nn::constant(1, op.getContext()));
    mask = reshapeTo(rewriter, maskLoc, mask, shape);
  }
  Value result = nn::AttentionOp::create(
      rewriter, loc, q, k, v, mask,
      rewriter.getF32FloatAttr(float(scores.scale)), UnitAttr());
  if (rank == 4)
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(
        op, result, ArrayRef<int64_t>({0, 2, 1, 3}));
  else
    rewriter.replaceOp(op, reshapeTo(rewriter, loc, result, shapeOf(op)));
  return success();
}

} // namespace pare
