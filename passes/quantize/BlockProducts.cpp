//===- BlockProducts.cpp - Products of weights in blocks ------------------===//
#include "passes/quantize/BlockProducts.h"
#include "frontend/ir/Codes.h"
#include "frontend/weights/BlockFormat.h"
#include "passes/Passes.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_QUANTIZEBLOCKPRODUCTS
#include "passes/Passes.h.inc"

namespace {

class BlockProducts {
public:
  BlockProducts(ModuleOp module, const BlockProductOptions &options)
      : module(module), options(options) {}

  LogicalResult run() {
    if (!nn::getEntry(module))
      return success();
    SmallVector<nn::ParamOp> params;
    module->walk([&](nn::ParamOp param) {
      if (nn::isBlockWeight(param))
        params.push_back(param);
    });
    llvm::StringSet<> seen;
    for (nn::ParamOp param : params) {
      nn::WeightOp weight = nn::getWeight(param);
      const BlockFormat *format = findBlockFormat(*weight.getBlocks());
      if (!format)
        return weight.emitOpError("has blocks of the unknown format '")
               << *weight.getBlocks() << "'; there are "
               << describeBlockFormats();
      std::string reason = rewriteUses(param, *format);
      if (options.decisions && seen.insert(param.getWeight()).second)
        record(weight, *format, reason);
    }
    return success();
  }

private:
  /// Why the product keeps activations in f32; nullopt if they get codes.
  std::optional<std::string> whyFloat(OpOperand &use,
                                      const BlockFormat &format) const {
    auto matmul = dyn_cast<nn::MatMulOp>(use.getOwner());
    auto type = cast<RankedTensorType>(use.get().getType());
    if (options.activations == BlockActivations::F32)
      return "f32 as --activations says";
    if (matmul && (use.getOperandNumber() != 1 || !matmul.getTransposeRhs() ||
                   type.getRank() != 2))
      return "f32, its rows are not what the product sums over";
    if (!elementOf(use.getOwner()->getOperand(0)).isF32())
      return "not f32";
    if (type.getShape().back() % nn::kBlockCodeGroup != 0)
      return llvm::formatv("f32, rows are no multiples of {0}",
                           nn::kBlockCodeGroup)
          .str();
    if (options.target)
      if (std::optional<std::string> why =
              options.target->whyNoBlockProduct(format))
        return "f32: " + *why;
    return std::nullopt;
  }

  /// Gives products by `param` codes for their activations. Returns how the
  /// weight is used, for people.
  std::string rewriteUses(nn::ParamOp param, const BlockFormat &format) {
    SmallVector<OpOperand *> uses;
    for (OpOperand &use : param->getUses())
      uses.push_back(&use);
    std::string product, table;
    for (OpOperand *use : llvm::reverse(uses)) {
      if (isa<nn::GatherOp>(use->getOwner()))
        table = "rows are looked up";
      Operation *op = use->getOwner();
      if (!isa<nn::MatMulOp, nn::ExpertMatMulOp>(op))
        continue;
      if (std::optional<std::string> why = whyFloat(*use, format)) {
        product = "activations stay " + *why;
        continue;
      }
      product = llvm::formatv("activations in int8, one scale per {0}",
                              nn::kBlockCodeGroup);
      OpBuilder builder(op);
      auto [codes, scales] = quantize(op->getOperand(0));
      op->setOperand(0, nn::DequantizeOp::create(builder, codes.getLoc(), codes,
                                                 scales, Value()));
    }
    return product + (product.empty() || table.empty() ? "" : "; ") + table;
  }

  /// Codes and scales of an activation, made once, where it is made.
  std::pair<Value, Value> quantize(Value x) {
    auto [it, isNew] = activations.try_emplace(x);
    if (!isNew)
      return it->second;
    OpBuilder builder(module.getContext());
    builder.setInsertionPointAfterValue(x);
    auto codes = nn::DynamicQuantizeOp::create(
        builder, getDerivedLoc(x.getLoc(), "codes"), x, builder.getI8Type(),
        /*asymmetric=*/false, builder.getI64IntegerAttr(nn::kBlockCodeGroup));
    return it->second = {codes.getResult(), codes.getScales()};
  }

  void record(nn::WeightOp weight, const BlockFormat &format,
              std::string reason) {
    auto type = cast<RankedTensorType>(weight.getType());
    std::string name = getSourceName(weight).str();
    SmallVector<StringRef> names = {name};
    if (auto sources = weight->getAttrOfType<ArrayAttr>(kSourcesAttr))
      names.append(sources.getAsValueRange<StringAttr>().begin(),
                   sources.getAsValueRange<StringAttr>().end());
    bool isKnown = false; // to the pass that made the blocks
    for (TensorDecision &decision : *options.decisions)
      if (llvm::is_contained(names, decision.tensor)) {
        decision.reason += "; " + reason;
        isKnown = true;
      }
    if (isKnown)
      return;
    double bits = format.getBitsPerWeight();
    uint64_t bytes = uint64_t(double(type.getNumElements()) * bits / 8);
    options.decisions->push_back(
        {std::move(name), type.getShape().vec(),
         llvm::formatv("{0}, {1:f2} bits", format.name, bits).str(), bytes,
         bytes, std::move(reason), 0});
  }

  ModuleOp module;
  const BlockProductOptions &options;
  DenseMap<Value, std::pair<Value, Value>> activations;
};

struct QuantizeBlockProductsPass
    : impl::QuantizeBlockProductsBase<QuantizeBlockProductsPass> {
  explicit QuantizeBlockProductsPass(BlockProductOptions options)
      : options(std::move(options)) {}

  void runOnOperation() override {
    if (failed(BlockProducts(getOperation(), options).run()))
      signalPassFailure();
  }

  BlockProductOptions options;
};

} // namespace

std::unique_ptr<Pass>
createQuantizeBlockProductsPass(BlockProductOptions options) {
  return std::make_unique<QuantizeBlockProductsPass>(std::move(options));
}

} // namespace pare
