//===- MergeMatMuls.cpp - Query, key and value in one product -------------===//
#include "passes/Passes.h"
#include "passes/simplify/DerivedWeights.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_MERGEMATMULS
#include "passes/Passes.h.inc"

namespace {

/// reshape(x · w + bias), an operand of an attention.
struct Projection {
  nn::MatMulOp product;
  Value bias;   ///< of shape [N]; may be null
  Value result; ///< with the bias
  int64_t size; ///< N
};

std::optional<Projection> matchProjection(Value value) {
  auto reshape = value.getDefiningOp<nn::ReshapeOp>();
  if (!reshape || !reshape->hasOneUse() || !reshape.getX().hasOneUse())
    return std::nullopt;
  Projection projection;
  projection.result = reshape.getX();
  Value source = projection.result;
  if (auto add = getBinary(source, nn::BinaryKind::add)) {
    if (!isa_and_nonnull<nn::ParamOp, nn::ConstantOp>(
            add.getRhs().getDefiningOp()) ||
        !isVector(add.getRhs(), shapeOf(add).back()) ||
        rankOf(add.getRhs()) != 1 || !add.getLhs().hasOneUse() ||
        add.getLhs().getType() != add.getType())
      return std::nullopt;
    projection.bias = add.getRhs();
    source = add.getLhs();
  }
  projection.product = source.getDefiningOp<nn::MatMulOp>();
  if (!projection.product ||
      !projection.product.getRhs().getDefiningOp<nn::ParamOp>() ||
      rankOf(projection.product.getRhs()) != 2 ||
      nn::isBlockWeight(projection.product.getRhs()))
    return std::nullopt;
  std::optional<int64_t> size = nn::getConstant(shapeOf(source).back());
  if (!size)
    return std::nullopt;
  projection.size = *size;
  return projection;
}

bool canMerge(const Projection &a, const Projection &b) {
  nn::MatMulOp x = a.product, y = b.product;
  size_t inner = x.getTransposeRhs() ? 1 : 0;
  return x.getLhs() == y.getLhs() &&
         x.getTransposeRhs() == y.getTransposeRhs() &&
         elementOf(x.getRhs()) == elementOf(y.getRhs()) &&
         shapeOf(x.getRhs())[inner] == shapeOf(y.getRhs())[inner];
}

class Merger {
public:
  Merger(ModuleOp module, WeightStore &weights)
      : module(module), weights(weights) {}

  void run() {
    SmallVector<nn::AttentionOp> attentions;
    module->walk([&](nn::AttentionOp op) { attentions.push_back(op); });
    for (nn::AttentionOp op : attentions) {
      SmallVector<Projection> group;
      // Keys and values of cross attention share an input; the query does not.
      for (Value operand : {op.getValue(), op.getKey(), op.getQuery()})
        if (auto projection = matchProjection(operand);
            projection && (group.empty() || canMerge(group[0], *projection)))
          group.insert(group.begin(), *projection);
      if (group.size() > 1)
        merge(group);
    }
    eraseUnusedWeights(module, weights);
  }

private:
  void merge(ArrayRef<Projection> group) {
    nn::MatMulOp first = group[0].product;
    for (const Projection &projection : group)
      if (projection.product->isBeforeInBlock(first))
        first = projection.product;
    OpBuilder builder(first);
    Value weight = concatenateWeights(builder, group);
    Location loc = getDerivedLoc(first.getLoc(), "merged");
    Value merged = nn::MatMulOp::create(builder, loc, first.getLhs(), weight,
                                        first.getTransposeRhs());
    if (Value bias = concatenateBiases(builder, group))
      merged =
          nn::BinaryOp::create(builder, loc, nn::BinaryKind::add, merged, bias);
    MLIRContext *context = module.getContext();
    int64_t offset = 0;
    for (const Projection &projection : group) {
      nn::Shape starts(rankOf(merged), nn::constant(0, context));
      starts.back() = nn::constant(offset, context);
      offset += projection.size;
      Value result = projection.result;
      result.replaceAllUsesWith(nn::SliceOp::create(
          builder, result.getLoc(), cast<RankedTensorType>(result.getType()),
          merged, nn::getMap(starts, context),
          SmallVector<int64_t>(starts.size(), 1)));
    }
    for (const Projection &projection : group) {
      nn::MatMulOp product = projection.product;
      if (Operation *add = projection.result.getDefiningOp(); add != product)
        add->erase();
      product->erase();
    }
  }

  Value concatenateWeights(OpBuilder &builder, ArrayRef<Projection> group) {
    nn::MatMulOp first = group[0].product;
    bool transposed = first.getTransposeRhs();
    auto firstType = cast<RankedTensorType>(first.getRhs().getType());
    int64_t inner = firstType.getDimSize(transposed ? 1 : 0), total = 0;
    for (const Projection &projection : group)
      total += projection.size;
    HostTensor merged(
        RankedTensorType::get(transposed ? ArrayRef<int64_t>({total, inner})
                                         : ArrayRef<int64_t>({inner, total}),
                              firstType.getElementType()));
    // [N, K] weights follow each other; [K, N] ones interleave by rows.
    int64_t rows = transposed ? 1 : inner;
    size_t stride = merged.bytes().size() / rows, at = 0;
    for (const Projection &projection : group) {
      nn::MatMulOp product = projection.product;
      HostTensor weight = *getKnown(product.getRhs(), &weights);
      size_t width = weight.bytes().size() / rows;
      for (int64_t row = 0; row < rows; ++row)
        std::memcpy(merged.bytes().data() + row * stride + at,
                    weight.bytes().data() + row * width, width);
      at += width;
    }
    Value value = makeDerivedWeight(
        builder, weights, merged, first.getRhs(),
        getSourceName(nn::getWeight(first.getRhs())), "merged");
    SmallVector<Attribute> names;
    SmallVector<int64_t> sizes;
    for (const Projection &projection : group) {
      nn::MatMulOp product = projection.product;
      names.push_back(builder.getStringAttr(
          getSourceName(nn::getWeight(product.getRhs()))));
      sizes.push_back(projection.size);
    }
    nn::WeightOp weight = nn::getWeight(value);
    weight->setAttr(kSourcesAttr, builder.getArrayAttr(names));
    weight->setAttr(kSourceSizesAttr, builder.getDenseI64ArrayAttr(sizes));
    return value;
  }

  /// Null if no projection has a bias.
  Value concatenateBiases(OpBuilder &builder, ArrayRef<Projection> group) {
    const Projection *named = nullptr;
    std::vector<double> values;
    for (const Projection &projection : group) {
      if (!projection.bias) {
        values.insert(values.end(), projection.size, 0);
        continue;
      }
      named = &projection;
      std::vector<double> bias =
          getKnown(projection.bias, &weights)->read<double>();
      values.insert(values.end(), bias.begin(), bias.end());
    }
    if (!named)
      return {};
    HostTensor merged(RankedTensorType::get({int64_t(values.size())},
                                            elementOf(named->bias)));
    merged.write<double>(values);
    nn::WeightOp weight = nn::getWeight(named->bias);
    return makeDerived(builder, weights, merged, named->bias,
                       weight ? getSourceName(weight) : StringRef(), "merged");
  }

  ModuleOp module;
  WeightStore &weights;
};

struct MergeMatMulsPass : impl::MergeMatMulsBase<MergeMatMulsPass> {
  explicit MergeMatMulsPass(WeightStore *weights) : weights(weights) {}
  void runOnOperation() override { Merger(getOperation(), *weights).run(); }
  WeightStore *weights;
};

} // namespace

std::unique_ptr<Pass> createMergeMatMulsPass(WeightStore *weights) {
  return std::make_unique<MergeMatMulsPass>(weights);
}

} // namespace pare
