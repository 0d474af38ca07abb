//===- InputMover.cpp - Inputs of products, moved and scaled --------------===//
#include "passes/quantize/InputMover.h"
#include "passes/simplify/DerivedWeights.h"

using namespace mlir;

namespace pare {

//===----------------------------------------------------------------------===//
// Biases
//===----------------------------------------------------------------------===//

/// A known value of one number per channel of `like`, as numbers.
static std::optional<std::vector<double>>
getVector(Value value, Value like, const WeightStore &weights) {
  nn::Dim channels = shapeOf(like).back();
  std::optional<HostTensor> tensor = getKnown(value, &weights);
  if (!tensor || !elementOf(value).isF32() || !isVector(value, channels) ||
      tensor->size() != nn::getConstant(channels))
    return std::nullopt;
  return tensor->read<double>();
}

static Value makeVector(OpBuilder &builder, ArrayRef<double> numbers,
                        Value like, WeightStore &weights) {
  HostTensor tensor(
      RankedTensorType::get({int64_t(numbers.size())}, builder.getF32Type()));
  tensor.write<double>(numbers);
  nn::WeightOp weight = nn::getWeight(like);
  return makeDerived(builder, weights, tensor, like,
                     weight ? getSourceName(weight) : StringRef(), "moved");
}

/// The operand of the addition after `product` that is its bias; null if it has
/// none.
static OpOperand *findBias(Value product, const WeightStore &weights) {
  if (!product.hasOneUse())
    return nullptr;
  auto add = dyn_cast<nn::BinaryOp>(*product.user_begin());
  if (!add || add.getKind() != nn::BinaryKind::add ||
      add.getType() != product.getType())
    return nullptr;
  OpOperand &bias = add->getOpOperand(add.getLhs() == product ? 1 : 0);
  return getVector(bias.get(), product, weights) ? &bias : nullptr;
}

/// Gives a bias other numbers.
static void setBias(OpOperand &bias, ArrayRef<double> numbers,
                    WeightStore &weights) {
  OpBuilder builder(bias.getOwner());
  bias.set(makeVector(builder, numbers, bias.get(), weights));
}

Value addToProduct(Value product, ArrayRef<double> numbers,
                   WeightStore &weights) {
  if (OpOperand *bias = findBias(product, weights)) {
    std::vector<double> sum = *getVector(bias->get(), product, weights);
    for (auto [a, b] : llvm::zip_equal(sum, numbers))
      a += b;
    setBias(*bias, sum, weights);
    return product;
  }
  Operation *op = product.getDefiningOp();
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfter(op);
  Location loc = op->getLoc();
  op->setLoc(getDerivedLoc(loc, "product"));
  Value vector = makeVector(builder, numbers, product, weights);
  auto add =
      nn::BinaryOp::create(builder, loc, nn::BinaryKind::add, product, vector);
  product.replaceAllUsesExcept(add, add);
  return add;
}

//===----------------------------------------------------------------------===//
// Weights of products
//===----------------------------------------------------------------------===//

static bool isTransposed(OpOperand &use) {
  return cast<nn::MatMulOp>(use.getOwner()).getTransposeRhs();
}

/// Whether nothing else reads the weight of a matrix product.
bool InputMover::isOwn(OpOperand &use) const {
  auto param = use.get().getDefiningOp<nn::ParamOp>();
  if (!param || !param->hasOneUse() || rankOf(param) != 2 ||
      !elementOf(param).isF32() || nn::isBlockWeight(param))
    return false;
  auto uses = SymbolTable::getSymbolUses(param.getWeightAttr().getAttr(),
                                         param->getParentOfType<ModuleOp>());
  return uses && llvm::hasSingleElement(*uses);
}

/// Calls change(input, output, weight) for each element of a weight and puts
/// the result in its place.
void InputMover::rewriteWeight(
    OpOperand &use,
    llvm::function_ref<double(int64_t, int64_t, double)> change) {
  HostTensor tensor = *getKnown(use.get(), &weights);
  std::vector<double> values = tensor.read<double>();
  int64_t columns = tensor.shape()[1];
  bool transposed = isTransposed(use);
  for (auto [i, value] : llvm::enumerate(values)) {
    int64_t row = int64_t(i) / columns, column = int64_t(i) % columns;
    value =
        transposed ? change(column, row, value) : change(row, column, value);
  }
  HostTensor changed(tensor.type());
  changed.write<double>(values);
  nn::WeightOp old = nn::getWeight(use.get());
  OpBuilder builder(use.getOwner());
  Value made = makeDerivedWeight(builder, weights, changed, use.get(),
                                 getSourceName(old), "equalized");
  copySources(old, nn::getWeight(made));
  use.set(made);
}

/// (x - shift) / scale · w' + b' = x · w + b
void InputMover::undo(OpOperand &use, const InputTransform &to) {
  auto product = cast<nn::MatMulOp>(use.getOwner());
  std::vector<double> sums(*nn::getConstant(shapeOf(product).back()), 0);
  rewriteWeight(use, [&](int64_t input, int64_t output, double w) {
    sums[output] += to.shift[input] * w;
    return to.scale[input] * w;
  });
  if (llvm::all_of(to.shift, [](double v) { return v == 0; }))
    return;
  Value result = product.getResult(),
        moved = addToProduct(result, sums, weights);
  if (moved != result && onReplace)
    onReplace(result, moved);
}

//===----------------------------------------------------------------------===//
// What makes inputs
//===----------------------------------------------------------------------===//

/// Gives a normalization with weights of its own other ones: (y - shift) /
/// scale.
template <typename Norm>
static void moveNorm(Norm norm, const InputTransform &to,
                     WeightStore &weights) {
  std::vector<double> scale = *getVector(norm.getScale(), norm, weights);
  for (auto [value, by] : llvm::zip_equal(scale, to.scale))
    value /= by;
  OpBuilder builder(norm);
  if constexpr (std::is_same_v<Norm, nn::LayerNormOp>)
    if (norm.getBias()) {
      std::vector<double> bias = *getVector(norm.getBias(), norm, weights);
      for (size_t k = 0; k < bias.size(); ++k)
        bias[k] = (bias[k] - to.shift[k]) / to.scale[k];
      norm.getBiasMutable().assign(
          makeVector(builder, bias, norm.getBias(), weights));
    }
  norm.getScaleMutable().assign(
      makeVector(builder, scale, norm.getScale(), weights));
  norm->setLoc(getDerivedLoc(norm.getLoc(), "equalized"));
}

void InputMover::moveProduct(const ProductChannels &values,
                             const InputTransform &to) {
  auto count = int64_t(to.scale.size());
  auto find = [&](int64_t output) {
    int64_t k = output - values.begin;
    return k >= 0 && k < count ? k : -1;
  };
  nn::MatMulOp product = values.product;
  if (values.bias) {
    std::vector<double> bias = *getVector(values.bias->get(), product, weights);
    for (int64_t k = 0; k < count; ++k)
      bias[values.begin + k] =
          (bias[values.begin + k] - to.shift[k]) / to.scale[k];
    setBias(*values.bias, bias, weights);
  }
  rewriteWeight(product->getOpOperand(1),
                [&](int64_t, int64_t output, double w) {
                  int64_t k = find(output);
                  return k < 0 ? w : w / to.scale[k];
                });
}

static Value throughReshape(Value value) {
  auto reshape = value.getDefiningOp<nn::ReshapeOp>();
  return reshape && reshape.getX().hasOneUse() ? reshape.getX() : Value();
}

/// The first channel of a slice of the last axis, by single steps.
static std::optional<int64_t> getFirstChannel(nn::SliceOp slice) {
  auto starts = slice.getStarts().getResults();
  for (auto [axis, start] : llvm::enumerate(starts))
    if (axis + 1 < starts.size() && !nn::isConstant(start, 0))
      return std::nullopt;
  bool steps = llvm::all_of(slice.getSteps(), [](int64_t s) { return s == 1; });
  nn::Shape from = shapeOf(slice.getX()), to = shapeOf(slice);
  if (!steps || ArrayRef(from).drop_back() != ArrayRef(to).drop_back())
    return std::nullopt;
  return nn::getConstant(starts.back());
}

/// The product, with or without a bias, that only `value` and what it is made
/// into read.
std::optional<InputMover::ProductChannels>
InputMover::findProduct(Value value, int64_t begin) const {
  if (auto product = value.getDefiningOp<nn::MatMulOp>())
    return isOwn(product->getOpOperand(1))
               ? std::optional(ProductChannels{product, nullptr, begin})
               : std::nullopt;
  auto add = value.getDefiningOp<nn::BinaryOp>();
  if (!add)
    return std::nullopt;
  for (Value operand : {add.getLhs(), add.getRhs()})
    if (auto product = operand.getDefiningOp<nn::MatMulOp>())
      if (OpOperand *bias = findBias(product, weights);
          bias && bias->getOwner() == add && isOwn(product->getOpOperand(1)))
        return ProductChannels{product, bias, begin};
  return std::nullopt;
}

/// x = reshape(attention(q, k, reshape(channels of a product + bias))), heads
/// side by side in both.
std::optional<InputMover::ProductChannels>
InputMover::findValues(Value x) const {
  Value heads = throughReshape(x);
  auto attention =
      heads ? heads.getDefiningOp<nn::AttentionOp>() : nn::AttentionOp();
  if (!attention || !attention.getValue().hasOneUse() ||
      shapeOf(attention.getQuery())[2] != shapeOf(attention.getValue())[2])
    return std::nullopt;
  Value source = throughReshape(attention.getValue());
  std::optional<int64_t> size = nn::getConstant(shapeOf(x).back());
  auto isFlat = [&](Value flat, Value split) {
    nn::Shape shape = shapeOf(split);
    return rankOf(flat) == 3 && rankOf(split) == 4 && size &&
           nn::isConstant(shapeOf(flat).back(), *size) &&
           shapeOf(flat)[1] == shape[1];
  };
  if (!source || !isFlat(x, heads) || !isFlat(source, attention.getValue()))
    return std::nullopt;
  int64_t begin = 0;
  Value whole = source;
  if (auto slice = source.getDefiningOp<nn::SliceOp>()) {
    whole = slice.getX();
    std::optional<int64_t> first = getFirstChannel(slice);
    if (!first)
      return std::nullopt;
    begin = *first;
    for (Operation *user : whole.getUsers()) {
      auto other = dyn_cast<nn::SliceOp>(user);
      std::optional<int64_t> start =
          other ? getFirstChannel(other) : std::nullopt;
      std::optional<int64_t> length =
          other ? nn::getConstant(shapeOf(other).back()) : std::nullopt;
      if (!start || !length ||
          (other != slice && *start < begin + *size &&
           begin < *start + *length))
        return std::nullopt;
    }
  } else if (!whole.hasOneUse()) {
    return std::nullopt;
  }
  return findProduct(whole, begin);
}

/// x = f(a) · (product + bias): a gated layer; or relu(product + bias).
std::optional<InputMover::ProductChannels>
InputMover::findUnits(Value x) const {
  auto find = [&](Value value) -> std::optional<ProductChannels> {
    if (!value.hasOneUse() || value.getType() != x.getType())
      return std::nullopt;
    return findProduct(value, 0);
  };
  if (auto relu = getUnary(x, nn::UnaryKind::relu))
    return find(relu.getX());
  auto gated = getBinary(x, nn::BinaryKind::mul);
  if (!gated)
    return std::nullopt;
  for (Value operand : {gated.getRhs(), gated.getLhs()})
    if (auto found = find(operand))
      return found;
  return std::nullopt;
}

std::optional<InputMover::Maker> InputMover::find(Value x, bool shifts) const {
  if (auto norm = x.getDefiningOp<nn::LayerNormOp>())
    if (norm.getScale() && getVector(norm.getScale(), x, weights) &&
        (norm.getBias() ? getVector(norm.getBias(), x, weights).has_value()
                        : !shifts))
      return Maker{norm, {}};
  if (auto norm = x.getDefiningOp<nn::RmsNormOp>())
    if (!shifts && norm.getScale() && getVector(norm.getScale(), x, weights))
      return Maker{norm, {}};
  std::optional<ProductChannels> product = findValues(x);
  if (product && shifts && !product->bias)
    return std::nullopt;
  if (!product && !shifts)
    product = findUnits(x);
  if (!product)
    return std::nullopt;
  return Maker{nullptr, *product};
}

void InputMover::move(const Maker &maker, ArrayRef<OpOperand *> uses,
                      const InputTransform &to) {
  if (auto norm = dyn_cast_or_null<nn::LayerNormOp>(maker.norm))
    moveNorm(norm, to, weights);
  else if (auto norm = dyn_cast_or_null<nn::RmsNormOp>(maker.norm))
    moveNorm(norm, to, weights);
  else
    moveProduct(maker.product, to);
  for (OpOperand *use : uses)
    undo(*use, to);
}

Value InputMover::scaleByProduct(Value x, ArrayRef<OpOperand *> uses,
                                 ArrayRef<double> scale) {
  std::vector<double> inverse;
  for (double value : scale)
    inverse.push_back(1 / value);
  Operation *first = uses.front()->getOwner();
  for (OpOperand *use : uses)
    if (use->getOwner()->isBeforeInBlock(first))
      first = use->getOwner();
  OpBuilder builder(first);
  Value vector = makeVector(builder, inverse, x, weights);
  auto scaled =
      nn::BinaryOp::create(builder, getDerivedLoc(x.getLoc(), "scaled"),
                           nn::BinaryKind::mul, x, vector);
  InputTransform to{std::vector<double>(scale.size(), 0), scale.vec()};
  for (OpOperand *use : uses) {
    undo(*use, to);
    use->getOwner()->setOperand(0, scaled);
  }
  return scaled;
}

} // namespace pare
