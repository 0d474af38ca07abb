//===- SinkTransposes.cpp - Moves layout changes to where they cancel -----===//
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
#include "passes/simplify/Match.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_SINKTRANSPOSES
#include "passes/Passes.h.inc"

namespace {

using Permutation = SmallVector<int64_t>;

/// The transpose that `value` is, unless it is of something known, which folds.
nn::TransposeOp getTranspose(Value value) {
  auto op = value.getDefiningOp<nn::TransposeOp>();
  return op && !isKnown(op.getX()) ? op : nn::TransposeOp();
}

bool isIdentity(ArrayRef<int64_t> permutation) {
  return llvm::equal(permutation,
                     llvm::seq<int64_t>(0, int64_t(permutation.size())));
}

/// `shape` of a transpose's result as the shape of its operand.
template <typename T>
SmallVector<T, 6> unpermute(ArrayRef<T> values, ArrayRef<int64_t> permutation) {
  SmallVector<T, 6> result(values);
  for (auto [i, axis] : llvm::enumerate(permutation))
    result[axis] = values[i];
  return result;
}

Permutation invert(ArrayRef<int64_t> permutation) {
  Permutation result(permutation.size());
  for (auto [i, axis] : llvm::enumerate(permutation))
    result[axis] = i;
  return result;
}

/// True if a transpose moves nothing but axes of size 1.
bool movesUnitAxesOnly(ArrayRef<nn::Dim> shape, ArrayRef<int64_t> permutation) {
  int64_t last = -1;
  for (int64_t axis : permutation) {
    if (nn::isConstant(shape[axis], 1))
      continue;
    if (axis < last)
      return false;
    last = axis;
  }
  return true;
}

/// Replaces `op` by the transpose of `value`.
void replaceByTranspose(Operation *op, Value value,
                        ArrayRef<int64_t> permutation,
                        PatternRewriter &rewriter) {
  if (isIdentity(permutation))
    rewriter.replaceOp(op, value);
  else
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, value, permutation);
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

/// `value` with as many axes as `permutation`.
nn::Shape getFullShape(Value value, ArrayRef<int64_t> permutation) {
  nn::Shape shape = shapeOf(value), full(permutation.size() - shape.size(),
                                         nn::constant(1, value.getContext()));
  full.append(shape);
  return full;
}

/// True if `relayout` moves no data at run time.
bool canRelayout(Value value, ArrayRef<int64_t> permutation) {
  auto transpose = getTranspose(value);
  return (transpose && transpose.getPermutation() == permutation) ||
         isKnown(value) ||
         movesUnitAxesOnly(getFullShape(value, permutation),
                           invert(permutation));
}

/// `value`, which broadcasts to the result of a transpose, as it broadcasts to
/// the transpose's operand.
Value relayout(Value value, ArrayRef<int64_t> permutation,
               PatternRewriter &rewriter) {
  if (auto transpose = getTranspose(value);
      transpose && transpose.getPermutation() == permutation)
    return transpose.getX();
  Location loc = value.getLoc();
  nn::Shape full = getFullShape(value, permutation);
  if (movesUnitAxesOnly(full, invert(permutation)))
    return reshapeTo(rewriter, loc, value,
                     unpermute(ArrayRef<nn::Dim>(full), permutation));
  return nn::TransposeOp::create(rewriter, loc,
                                 reshapeTo(rewriter, loc, value, full),
                                 invert(permutation));
}

/// f(transpose(x), y, …) → transpose(f(x, y', …))
template <typename Op>
LogicalResult sinkElementwise(Op op, PatternRewriter &rewriter,
                              const WeightStore *) {
  nn::TransposeOp transpose;
  for (Value operand : op->getOperands())
    if (auto found = getTranspose(operand);
        found && rankOf(operand) == rankOf(op->getResult(0))) {
      transpose = found;
      break;
    }
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  if (!llvm::all_of(op->getOperands(), [&](Value operand) {
        return canRelayout(operand, permutation);
      }))
    return failure();
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, relayout(operand, permutation, rewriter));
  Operation *moved = rewriter.clone(*op, mapping);
  moved->getResult(0).setType(nn::getTensorType(
      unpermute(ArrayRef<nn::Dim>(shapeOf(op->getResult(0))), permutation),
      elementOf(op->getResult(0))));
  replaceByTranspose(op, moved->getResult(0), permutation, rewriter);
  return success();
}

//===----------------------------------------------------------------------===//
// Ops with axes
//===----------------------------------------------------------------------===//

LogicalResult sinkConcat(nn::ConcatOp op, PatternRewriter &rewriter,
                         const WeightStore *) {
  auto first = getTranspose(op.getInputs()[0]);
  if (!first)
    return failure();
  SmallVector<Value> inputs;
  for (Value input : op.getInputs()) {
    auto transpose = getTranspose(input);
    if (!transpose || transpose.getPermutation() != first.getPermutation())
      return failure();
    inputs.push_back(transpose.getX());
  }
  Value moved = nn::ConcatOp::create(rewriter, op.getLoc(), inputs,
                                     first.getPermutation()[op.getAxis()]);
  replaceByTranspose(op, moved, first.getPermutation(), rewriter);
  return success();
}

LogicalResult sinkReduce(nn::ReduceOp op, PatternRewriter &rewriter,
                         const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  Permutation axes, kept;
  for (int64_t axis : op.getAxes())
    axes.push_back(permutation[axis]);
  llvm::sort(axes);
  for (int64_t axis : permutation)
    if (!llvm::is_contained(axes, axis))
      kept.push_back(axis -
                     llvm::count_if(axes, [&](int64_t a) { return a < axis; }));
  Value moved = nn::ReduceOp::create(rewriter, op.getLoc(), op.getKind(),
                                     transpose.getX(), axes, op.getKeepDims());
  replaceByTranspose(op, moved,
                     op.getKeepDims() ? permutation : ArrayRef<int64_t>(kept),
                     rewriter);
  return success();
}

LogicalResult sinkSoftmax(nn::SoftmaxOp op, PatternRewriter &rewriter,
                          const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  Value moved = nn::SoftmaxOp::create(
      rewriter, op.getLoc(), transpose.getX(),
      rewriter.getI64IntegerAttr(permutation[op.getAxis()]), op.getLogAttr());
  replaceByTranspose(op, moved, permutation, rewriter);
  return success();
}

LogicalResult sinkPad(nn::PadOp op, PatternRewriter &rewriter,
                      const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  Value moved = nn::PadOp::create(
      rewriter, op.getLoc(), transpose.getX(), op.getModeAttr(),
      rewriter.getDenseI64ArrayAttr(unpermute(op.getLow(), permutation)),
      rewriter.getDenseI64ArrayAttr(unpermute(op.getHigh(), permutation)),
      op.getValueAttr());
  replaceByTranspose(op, moved, permutation, rewriter);
  return success();
}

LogicalResult sinkSlice(nn::SliceOp op, PatternRewriter &rewriter,
                        const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  auto shape = unpermute(ArrayRef<nn::Dim>(shapeOf(op)), permutation);
  auto starts =
      unpermute(ArrayRef<nn::Dim>(nn::getShape(op.getStarts())), permutation);
  Value moved = nn::SliceOp::create(
      rewriter, op.getLoc(), nn::getTensorType(shape, elementOf(op)),
      transpose.getX(), nn::getMap(starts, op.getContext()),
      unpermute(op.getSteps(), permutation));
  replaceByTranspose(op, moved, permutation, rewriter);
  return success();
}

LogicalResult sinkExpand(nn::ExpandOp op, PatternRewriter &rewriter,
                         const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose || rankOf(op) != rankOf(op.getX()))
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  auto shape = unpermute(ArrayRef<nn::Dim>(shapeOf(op)), permutation);
  Value moved = nn::ExpandOp::create(rewriter, op.getLoc(),
                                     nn::getTensorType(shape, elementOf(op)),
                                     transpose.getX());
  replaceByTranspose(op, moved, permutation, rewriter);
  return success();
}

//===----------------------------------------------------------------------===//
// Reshape
//===----------------------------------------------------------------------===//

/// Axes of one shape and axes of another that hold the same elements.
struct AxisGroup {
  SmallVector<int64_t> from, to;
};

/// Splits a reshape into the smallest groups of neighbouring axes whose
/// products agree. Axes of size 1 in `from` are left out, those in `to` go with
/// the axis before them; the first ones, which are batches, are a group of
/// their own. nullopt where sizes cannot be told apart or together.
std::optional<SmallVector<AxisGroup>> matchAxes(ArrayRef<nn::Dim> from,
                                                ArrayRef<nn::Dim> to) {
  auto nonUnit = [](ArrayRef<nn::Dim> shape) {
    SmallVector<int64_t> axes;
    for (auto [i, dim] : llvm::enumerate(shape))
      if (!nn::isConstant(dim, 1))
        axes.push_back(i);
    return axes;
  };
  SmallVector<int64_t> fromAxes = nonUnit(from), toAxes = nonUnit(to);
  SmallVector<AxisGroup> groups;
  size_t i = 0, j = 0;
  while (i < fromAxes.size() && j < toAxes.size()) {
    AxisGroup group{{fromAxes[i]}, {toAxes[j]}};
    nn::Dim a = from[fromAxes[i++]], b = to[toAxes[j++]];
    while (nn::simplify(a) != nn::simplify(b)) {
      if (i < fromAxes.size() && nn::divideExactly(b, a)) {
        group.from.push_back(fromAxes[i]);
        a = nn::simplify(a * from[fromAxes[i++]]);
      } else if (j < toAxes.size() && nn::divideExactly(a, b)) {
        group.to.push_back(toAxes[j]);
        b = nn::simplify(b * to[toAxes[j++]]);
      } else {
        return std::nullopt;
      }
    }
    groups.push_back(std::move(group));
  }
  if (i != fromAxes.size() || j != toAxes.size() || groups.empty())
    return std::nullopt;
  // Now the axes of size 1 in `to`.
  AxisGroup first;
  for (int64_t axis = 0; axis < toAxes.front(); ++axis)
    first.to.push_back(axis);
  for (size_t g = 0; g < groups.size(); ++g) {
    SmallVector<int64_t> &axes = groups[g].to;
    int64_t end =
        g + 1 < groups.size() ? groups[g + 1].to.front() : int64_t(to.size());
    for (int64_t axis = axes.front() + 1; axis < end; ++axis)
      if (!llvm::is_contained(axes, axis))
        axes.push_back(axis);
    llvm::sort(axes);
  }
  if (!first.to.empty())
    groups.insert(groups.begin(), first);
  return groups;
}

/// reshape(transpose(x)) → transpose(reshape(x)), where axes that the reshape
/// merges are neighbours in x too.
LogicalResult sinkReshape(nn::ReshapeOp op, PatternRewriter &rewriter,
                          const WeightStore *) {
  auto transpose = getTranspose(op.getX());
  if (!transpose)
    return failure();
  ArrayRef<int64_t> permutation = transpose.getPermutation();
  nn::Shape x = shapeOf(transpose.getX()), to = shapeOf(op);
  auto groups = matchAxes(shapeOf(transpose), to);
  if (!groups)
    return failure();
  for (AxisGroup &group : *groups) {
    for (int64_t &axis : group.from)
      axis = permutation[axis];
    for (size_t k = 1; k < group.from.size(); ++k) {
      if (group.from[k] < group.from[k - 1])
        return failure();
      for (int64_t between = group.from[k - 1] + 1; between < group.from[k];
           ++between)
        if (!nn::isConstant(x[between], 1))
          return failure();
    }
  }
  SmallVector<const AxisGroup *> sorted;
  for (const AxisGroup &group : *groups)
    sorted.push_back(&group);
  auto position = [](const AxisGroup *group) {
    return group->from.empty() ? -1 : group->from.front();
  };
  llvm::sort(sorted, [&](const AxisGroup *a, const AxisGroup *b) {
    return position(a) < position(b);
  });
  nn::Shape shape;
  Permutation result(to.size());
  for (const AxisGroup *group : sorted)
    for (int64_t axis : group->to) {
      result[axis] = shape.size();
      shape.push_back(to[axis]);
    }
  Value moved = reshapeTo(rewriter, op.getLoc(), transpose.getX(), shape);
  replaceByTranspose(op, moved, result, rewriter);
  return success();
}

/// A slice of an axis that a reshape split off: slice first, without gaps.
LogicalResult sliceBeforeReshape(nn::SliceOp op, PatternRewriter &rewriter,
                                 const WeightStore *) {
  auto reshape = op.getX().getDefiningOp<nn::ReshapeOp>();
  if (!reshape || llvm::any_of(op.getSteps(), [](int64_t s) { return s != 1; }))
    return failure();
  nn::Shape from = shapeOf(reshape.getX()), middle = shapeOf(reshape),
            to = shapeOf(op), starts = nn::getShape(op.getStarts());
  std::optional<int64_t> sliced;
  for (size_t i = 0; i < middle.size(); ++i)
    if (middle[i] != to[i]) {
      if (sliced)
        return failure();
      sliced = i;
    }
  auto groups = matchAxes(from, middle);
  if (!sliced || !groups)
    return failure();
  for (const AxisGroup &group : *groups) {
    if (!llvm::is_contained(group.to, *sliced))
      continue;
    // The sliced axis must be the outermost of those made of one axis.
    auto *outermost = llvm::find_if(group.to, [&](int64_t axis) {
      return !nn::isConstant(middle[axis], 1);
    });
    if (group.from.size() != 1 || *outermost != *sliced)
      return failure();
    MLIRContext *context = op.getContext();
    nn::Dim inner = nn::constant(1, context);
    for (int64_t axis : group.to)
      if (axis != *sliced)
        inner = inner * middle[axis];
    int64_t axis = group.from[0];
    nn::Shape offsets(from.size(), nn::constant(0, context));
    offsets[axis] = nn::simplify(starts[*sliced] * inner);
    from[axis] = nn::simplify(to[*sliced] * inner);
    Value slice = nn::SliceOp::create(
        rewriter, op.getLoc(), nn::getTensorType(from, elementOf(op)),
        reshape.getX(), nn::getMap(offsets, context),
        SmallVector<int64_t>(from.size(), 1));
    rewriter.replaceOpWithNewOp<nn::ReshapeOp>(op, op.getType(), slice);
    return success();
  }
  return failure();
}

//===----------------------------------------------------------------------===//
// What remains
//===----------------------------------------------------------------------===//

/// True if the shapes differ in axes of size 1 only.
bool differInUnitAxes(ArrayRef<nn::Dim> a, ArrayRef<nn::Dim> b) {
  auto isUnit = [](nn::Dim dim) { return nn::isConstant(dim, 1); };
  nn::Shape x(a), y(b);
  llvm::erase_if(x, isUnit);
  llvm::erase_if(y, isUnit);
  return x == y;
}

/// f(reshape(product), vector) → reshape(f(product, vector)), so that the two
/// fuse: exporters write one-dimensional convolutions as two-dimensional ones
/// with an axis of size 1 that they drop at once.
template <typename Op>
LogicalResult sinkUnitReshape(Op op, PatternRewriter &rewriter,
                              const WeightStore *) {
  auto reshape = op->getOperand(0).template getDefiningOp<nn::ReshapeOp>();
  if (!reshape || !reshape->hasOneUse() || !reshape.getX().hasOneUse() ||
      rankOf(reshape) == 0 || shapeOf(op) != shapeOf(reshape))
    return failure();
  Value x = reshape.getX();
  if (!isa_and_nonnull<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp,
                       nn::UnaryOp, nn::BinaryOp>(x.getDefiningOp()) ||
      rankOf(x) == 0 || !differInUnitAxes(shapeOf(x), shapeOf(reshape)) ||
      shapeOf(x).back() != shapeOf(reshape).back())
    return failure();
  IRMapping mapping;
  mapping.map(op->getOperand(0), x);
  Value vector;
  if (op->getNumOperands() == 2) {
    vector = op->getOperand(1);
    if (vector == op->getOperand(0) || !isKnown(vector))
      return failure();
    bool isNumber = llvm::all_of(
        shapeOf(vector), [](nn::Dim dim) { return nn::isConstant(dim, 1); });
    if (!isNumber && !isVector(vector, shapeOf(x).back()))
      return failure();
    nn::Shape shape;
    if (!isNumber)
      shape.push_back(shapeOf(x).back());
    mapping.map(vector, reshapeTo(rewriter, op.getLoc(), vector, shape));
  }
  Operation *moved = rewriter.clone(*op.getOperation(), mapping);
  moved->getResult(0).setType(
      nn::getTensorType(shapeOf(x), elementOf(op->getResult(0))));
  rewriter.replaceOpWithNewOp<nn::ReshapeOp>(op, op->getResult(0).getType(),
                                             moved->getResult(0));
  return success();
}

LogicalResult reshapeForUnitTranspose(nn::TransposeOp op,
                                      PatternRewriter &rewriter,
                                      const WeightStore *) {
  if (!movesUnitAxesOnly(shapeOf(op.getX()), op.getPermutation()))
    return failure();
  rewriter.replaceOpWithNewOp<nn::ReshapeOp>(op, op.getType(), op.getX());
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// Elements that transposes move in one run, with every symbolic dimension
/// taken as 32.
int64_t countMovedElements(ModuleOp module) {
  int64_t total = 0;
  SmallVector<int64_t> symbols(64, 32);
  module->walk([&](nn::TransposeOp op) {
    nn::Shape shape = shapeOf(op);
    if (!isKnown(op) &&
        !movesUnitAxesOnly(shapeOf(op.getX()), op.getPermutation()))
      total += nn::evaluate(nn::product(shape, op.getContext()), symbols);
  });
  return total;
}

struct SinkTransposesPass : impl::SinkTransposesBase<SinkTransposesPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    OwningOpRef<ModuleOp> before = module.clone();
    Rewrites sink(&getContext(), nullptr);
    sink.add(sinkElementwise<nn::UnaryOp>);
    sink.add(sinkElementwise<nn::BinaryOp>);
    sink.add(sinkElementwise<nn::SelectOp>);
    sink.add(sinkElementwise<nn::CastOp>);
    sink.add(sinkConcat);
    sink.add(sinkReduce);
    sink.add(sinkSoftmax);
    sink.add(sinkPad);
    sink.add(sinkSlice);
    sink.add(sinkExpand);
    sink.add(sinkReshape);
    sink.add(sliceBeforeReshape);
    if (failed(applyPatternsGreedily(module, std::move(sink.patterns))))
      return signalPassFailure();
    if (countMovedElements(module) > countMovedElements(*before))
      for (auto [after, original] : llvm::zip(module.getOps<func::FuncOp>(),
                                              before->getOps<func::FuncOp>()))
        after.getBody().takeBody(original.getBody());

    Rewrites finish(&getContext(), nullptr);
    finish.add(reshapeForUnitTranspose);
    finish.add(sinkUnitReshape<nn::UnaryOp>);
    finish.add(sinkUnitReshape<nn::BinaryOp>);
    if (failed(applyPatternsGreedily(module, std::move(finish.patterns))))
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> createSinkTransposesPass() {
  return std::make_unique<SinkTransposesPass>();
}

} // namespace pare
