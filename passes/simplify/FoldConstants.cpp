//===- FoldConstants.cpp - Evaluates what depends on weights only ---------===//
#include "passes/Passes.h"
#include "passes/reference/Interpreter.h"
#include "passes/simplify/DerivedWeights.h"

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_FOLDCONSTANTS
#include "passes/Passes.h.inc"

namespace {

/// A fold must not make a file much larger than what it came from.
constexpr int64_t kMaxGrowth = 4;
constexpr int64_t kAlwaysFoldedBytes = 64 << 10;

class Folder {
public:
  Folder(ModuleOp module, WeightStore &weights)
      : module(module), weights(weights) {}

  void run() {
    SmallVector<Operation *> ops;
    module->walk([&](Operation *op) {
      if (isFoldable(op))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      fold(op);
    eraseUnusedWeights(module, weights);
  }

private:
  bool isFoldable(Operation *op) const {
    if (op->getNumOperands() == 0 || op->getNumResults() != 1 ||
        !isa_and_nonnull<nn::NNDialect>(op->getDialect()) ||
        isa<nn::DequantizeOp, nn::FusedOp>(op) ||
        op->getParentOfType<nn::FusedOp>())
      return false;
    return cast<RankedTensorType>(op->getResult(0).getType()).hasStaticShape();
  }

  void fold(Operation *op) {
    if (auto cast = dyn_cast<nn::CastOp>(op); cast && widen(cast))
      return;
    std::vector<HostTensor> operands;
    int64_t bytes = 0;
    for (Value operand : op->getOperands()) {
      if (nn::isBlockWeight(operand))
        return;
      std::optional<HostTensor> tensor = getKnown(operand, &weights);
      if (!tensor)
        return;
      bytes += tensor->bytes().size();
      operands.push_back(std::move(*tensor));
    }
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    int64_t size =
        type.getNumElements() * nn::getElementBytes(type.getElementType());
    if (size > kAlwaysFoldedBytes && size > kMaxGrowth * bytes)
      return;
    // Slices may depend on symbolic dimensions.
    if (auto slice = dyn_cast<nn::SliceOp>(op);
        slice && slice.getStarts().getNumSymbols() > 0)
      return;
    llvm::Expected<std::vector<HostTensor>> results = evaluateOp(op, operands);
    if (!results) {
      // The same error comes again where it belongs: when the graph runs.
      llvm::consumeError(results.takeError());
      return;
    }
    OpBuilder builder(op);
    op->getResult(0).replaceAllUsesWith(
        makeDerived(builder, weights, results->front(), op->getResult(0),
                    findSource(op), getSuffix(op)));
    op->erase();
  }

  /// A large weight of 16 bits is read as f32 where it lies: copies of all of
  /// them would be twice the model.
  bool widen(nn::CastOp op) {
    nn::WeightOp weight = nn::getWeight(op.getX());
    auto type = cast<RankedTensorType>(op.getType());
    if (!weight || !type.getElementType().isF32() ||
        type.getNumElements() * 4 <= kAlwaysFoldedBytes)
      return false;
    OpBuilder builder(op);
    Value result;
    // A tied table stays one weight.
    if (auto it = widened.find(weight.getSymName()); it != widened.end()) {
      result =
          nn::ParamOp::create(builder, op.getX().getLoc(), type, it->second);
    } else {
      StringRef name = getSourceName(weight);
      std::optional<std::string> symbol = weights.addWidened(
          (name + "." + getSuffix(op)).str(), weight.getSymName());
      if (!symbol)
        return false;
      result = createWeight(builder, *symbol, type, op.getX(), name);
      widened[weight.getSymName()] = std::move(*symbol);
    }
    op.replaceAllUsesWith(result);
    op.erase();
    return true;
  }

  static StringRef findSource(Operation *op) {
    for (Value operand : op->getOperands())
      if (nn::WeightOp weight = nn::getWeight(operand))
        return getSourceName(weight);
    return "";
  }

  static std::string getSuffix(Operation *op) {
    return op->getName().stripDialect().str();
  }

  ModuleOp module;
  WeightStore &weights;
  llvm::StringMap<std::string> widened; ///< weights of 16 bits to those of f32
};

struct FoldConstantsPass : impl::FoldConstantsBase<FoldConstantsPass> {
  explicit FoldConstantsPass(WeightStore *weights) : weights(weights) {}
  void runOnOperation() override { Folder(getOperation(), *weights).run(); }
  WeightStore *weights;
};

} // namespace

std::unique_ptr<Pass> createFoldConstantsPass(WeightStore *weights) {
  return std::make_unique<FoldConstantsPass>(weights);
}

} // namespace pare
