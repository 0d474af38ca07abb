//===- FoldNormalization.cpp - Per-channel scaling into weights -----------===//
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"
#include "passes/simplify/DerivedWeights.h"
#include <cmath>

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_FOLDNORMALIZATION
#include "passes/Passes.h.inc"

namespace {

using K = nn::BinaryKind;
using Vector = std::vector<double>;

/// x · scale + shift per element of the last axis; an empty vector is absent.
struct Affine {
  Value x;
  Vector scale, shift;
  Value named; ///< whose weight gives the shift its name
};

/// A product with known weights.
struct Product {
  Operation *op;
  Value weight;
  int64_t outputAxis, inputAxis; ///< of the weight

  static std::optional<Product> get(Value value) {
    Operation *op = value.getDefiningOp();
    if (!isa_and_nonnull<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(op))
      return std::nullopt;
    Product product{op, op->getOperand(1), 0, rankOf(op->getOperand(1)) - 1};
    if (auto matmul = dyn_cast<nn::MatMulOp>(op);
        matmul && !matmul.getTransposeRhs())
      std::swap(product.outputAxis, product.inputAxis);
    bool fits =
        isa<nn::ParamOp, nn::ConstantOp>(product.weight.getDefiningOp()
                                             ? product.weight.getDefiningOp()
                                             : op) &&
        elementOf(product.weight).isF32() &&
        !nn::isBlockWeight(product.weight) &&
        (!isa<nn::MatMulOp>(op) || rankOf(product.weight) == 2);
    return fits ? std::optional(product) : std::nullopt;
  }
};

class NormalizationFolder {
public:
  NormalizationFolder(ModuleOp module, WeightStore &weights)
      : module(module), weights(weights) {}

  void run() {
    // In program order: a chain of scalings folds one by one.
    for (Operation *op : getOps())
      if (isa<nn::BatchNormOp, nn::BinaryOp>(op) && !foldIntoProducer(op))
        expandBatchNorm(op);
    for (Operation *op : getOps())
      if (isa<nn::ConvOp, nn::MatMulOp>(op))
        foldIntoConsumer(op);
    eraseUnusedWeights(module, weights);
  }

private:
  SmallVector<Operation *> getOps() {
    SmallVector<Operation *> ops;
    module->walk([&](Operation *op) { ops.push_back(op); });
    return ops;
  }

  /// A known value that varies along the last axis only, as `size` numbers.
  std::optional<Vector> getVector(Value value, nn::Dim size) {
    std::optional<int64_t> channels = nn::getConstant(size);
    std::optional<HostTensor> tensor = getKnown(value, &weights);
    if (!channels || !tensor || !isa<FloatType>(tensor->element()))
      return std::nullopt;
    Vector values = tensor->read<double>();
    if (values.size() == 1)
      return Vector(*channels, values[0]);
    bool fits = int64_t(values.size()) == *channels && isVector(value, size);
    return fits ? std::optional(values) : std::nullopt;
  }

  std::optional<Affine> getAffine(Operation *op) {
    if (!op || op->getNumResults() != 1 ||
        op->getOperand(0).getType() != op->getResult(0).getType() ||
        rankOf(op->getResult(0)) < 2)
      return std::nullopt;
    nn::Dim channels = shapeOf(op->getResult(0)).back();
    Affine affine{op->getOperand(0), {}, {}, {}};
    if (auto norm = dyn_cast<nn::BatchNormOp>(op)) {
      auto scale = getVector(norm.getScale(), channels),
           bias = getVector(norm.getBias(), channels),
           mean = getVector(norm.getMean(), channels),
           variance = getVector(norm.getVariance(), channels);
      if (!scale || !bias || !mean || !variance)
        return std::nullopt;
      double epsilon = norm.getEpsilon().convertToFloat();
      for (size_t i = 0; i < scale->size(); ++i) {
        double gain = (*scale)[i] / std::sqrt((*variance)[i] + epsilon);
        affine.scale.push_back(gain);
        affine.shift.push_back((*bias)[i] - (*mean)[i] * gain);
      }
      affine.named = norm.getBias();
      return affine;
    }
    auto binary = dyn_cast<nn::BinaryOp>(op);
    if (!binary || (binary.getKind() != K::mul && binary.getKind() != K::add))
      return std::nullopt;
    std::optional<Vector> vector = getVector(binary.getRhs(), channels);
    if (!vector)
      return std::nullopt;
    (binary.getKind() == K::mul ? affine.scale : affine.shift) =
        std::move(*vector);
    affine.named = binary.getRhs();
    return affine;
  }

  /// The f32 vector as a value that broadcasts along the last axis.
  Value makeVector(OpBuilder &builder, const Vector &vector, Value like,
                   Value named, StringRef suffix) {
    auto type =
        RankedTensorType::get({int64_t(vector.size())}, builder.getF32Type());
    HostTensor tensor(type);
    tensor.write<double>(vector);
    nn::WeightOp weight = named ? nn::getWeight(named) : nn::WeightOp();
    return makeDerived(builder, weights, tensor, like,
                       weight ? getSourceName(weight) : StringRef(), suffix);
  }

  /// The product's weight with each slice along `axis` scaled, as an operand.
  Value scaleWeight(OpBuilder &builder, const Product &product,
                    const Vector &scale, int64_t axis) {
    HostTensor tensor = *getKnown(product.weight, &weights);
    std::vector<double> values = tensor.read<double>();
    int64_t inner = 1;
    for (int64_t size : tensor.shape().drop_front(axis + 1))
      inner *= size;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= scale[i / inner % scale.size()];
    HostTensor scaled(tensor.type());
    scaled.write<double>(values);
    nn::WeightOp weight = nn::getWeight(product.weight);
    return makeDerived(builder, weights, scaled, product.weight,
                       weight ? getSourceName(weight) : StringRef(), "folded");
  }

  /// The product of `x` and `weight`, plus `shift` if there is one. Without the
  /// shift it is no value of the source and must not have one's name.
  static Value rebuild(OpBuilder &builder, const Product &product, Location loc,
                       Value x, Value weight, Value shift) {
    Operation *copy = builder.clone(*product.op);
    copy->setOperands({x, weight});
    copy->setLoc(shift ? getDerivedLoc(loc, "folded") : loc);
    Value result = copy->getResult(0);
    return shift ? Value(nn::BinaryOp::create(builder, loc, K::add, result,
                                              shift))
                 : result;
  }

  /// (x · w + b) * scale + shift → x · (w * scale) + (b * scale + shift)
  bool foldIntoProducer(Operation *op) {
    std::optional<Affine> outer = getAffine(op);
    if (!outer || outer->scale.empty() || !outer->x.hasOneUse())
      return false;
    Vector shift = outer->shift;
    Value source = outer->x, named = outer->named;
    if (auto inner = getAffine(source.getDefiningOp());
        inner && inner->scale.empty() && inner->x.hasOneUse()) {
      shift.resize(outer->scale.size(), 0);
      for (size_t i = 0; i < shift.size(); ++i)
        shift[i] += inner->shift[i] * outer->scale[i];
      source = inner->x;
      named = inner->named;
    }
    std::optional<Product> product = Product::get(source);
    if (!product)
      return false;
    OpBuilder builder(op);
    Value weight =
        scaleWeight(builder, *product, outer->scale, product->outputAxis);
    Value offset;
    if (llvm::any_of(shift, [](double v) { return v != 0; }))
      offset = makeVector(builder, shift, op->getResult(0), named, "folded");
    op->getResult(0).replaceAllUsesWith(rebuild(builder, *product, op->getLoc(),
                                                product->op->getOperand(0),
                                                weight, offset));
    Operation *between = outer->x.getDefiningOp();
    op->erase();
    if (between != product->op)
      between->erase();
    product->op->erase();
    return true;
  }

  /// What cannot be folded is still cheaper as one multiply-add.
  void expandBatchNorm(Operation *op) {
    if (!isa<nn::BatchNormOp>(op))
      return;
    std::optional<Affine> affine = getAffine(op);
    if (!affine)
      return;
    OpBuilder builder(op);
    auto norm = cast<nn::BatchNormOp>(op);
    Value scale = makeVector(builder, affine->scale, op->getResult(0),
                             norm.getScale(), "folded");
    Value shift = makeVector(builder, affine->shift, op->getResult(0),
                             norm.getBias(), "folded");
    Value scaled =
        nn::BinaryOp::create(builder, getDerivedLoc(op->getLoc(), "scaled"),
                             K::mul, affine->x, scale);
    Value result =
        nn::BinaryOp::create(builder, op->getLoc(), K::add, scaled, shift);
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }

  /// (x * scale + shift) · w → x · (scale * w) + shift · w
  void foldIntoConsumer(Operation *op) {
    std::optional<Product> product = Product::get(op->getResult(0));
    if (!product)
      return;
    auto conv = dyn_cast<nn::ConvOp>(op);
    if (conv && conv.getGroups() != 1)
      return;
    Value x = op->getOperand(0);
    std::optional<Affine> affine = getAffine(x.getDefiningOp());
    if (!affine || !x.hasOneUse())
      return;
    Vector shift = affine->shift;
    SmallVector<Operation *> dead = {x.getDefiningOp()};
    if (affine->scale.empty()) {
      if (!affine->x.hasOneUse())
        return;
      dead.push_back(affine->x.getDefiningOp());
      affine = getAffine(affine->x.getDefiningOp());
      if (!affine || affine->scale.empty() || !affine->shift.empty())
        return;
    }
    // Padding is zero after the shift, not before it.
    if (!shift.empty() && conv &&
        llvm::any_of(conv.getPads(), [](int64_t pad) { return pad != 0; }))
      return;
    OpBuilder builder(op);
    Value offset;
    if (!shift.empty())
      offset = makeVector(builder, contract(*product, shift), op->getResult(0),
                          product->weight, "shift");
    Value weight =
        scaleWeight(builder, *product, affine->scale, product->inputAxis);
    op->getResult(0).replaceAllUsesWith(
        rebuild(builder, *product, op->getLoc(), affine->x, weight, offset));
    op->erase();
    for (Operation *unused : dead)
      unused->erase();
  }

  /// Σ over taps and inputs of shift[input] · w: what a constant input adds.
  Vector contract(const Product &product, const Vector &shift) {
    HostTensor tensor = *getKnown(product.weight, &weights);
    std::vector<double> values = tensor.read<double>();
    auto innerSize = [&](int64_t axis) {
      int64_t inner = 1;
      for (int64_t size : tensor.shape().drop_front(axis + 1))
        inner *= size;
      return inner;
    };
    int64_t outputs = tensor.shape()[product.outputAxis],
            outputInner = innerSize(product.outputAxis),
            inputInner = innerSize(product.inputAxis);
    Vector sums(outputs, 0);
    for (size_t i = 0; i < values.size(); ++i)
      sums[i / outputInner % outputs] +=
          values[i] * shift[i / inputInner % shift.size()];
    return sums;
  }

  ModuleOp module;
  WeightStore &weights;
};

struct FoldNormalizationPass
    : impl::FoldNormalizationBase<FoldNormalizationPass> {
  explicit FoldNormalizationPass(WeightStore *weights) : weights(weights) {}
  void runOnOperation() override {
    NormalizationFolder(getOperation(), *weights).run();
  }
  WeightStore *weights;
};

} // namespace

std::unique_ptr<Pass> createFoldNormalizationPass(WeightStore *weights) {
  return std::make_unique<FoldNormalizationPass>(weights);
}

} // namespace pare
