//===- DerivedWeights.cpp - Weights that passes make ----------------------===//
#include "passes/simplify/DerivedWeights.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace pare {

StringRef getSourceName(nn::WeightOp weight) {
  return weight.getSource().value_or(weight.getSymName());
}

static DenseElementsAttr toAttr(const HostTensor &tensor) {
  RankedTensorType type = tensor.type();
  if (!type.getElementType().isInteger(1)) {
    ArrayRef<uint8_t> bytes = tensor.bytes();
    return DenseElementsAttr::getFromRawBuffer(
        type,
        ArrayRef(reinterpret_cast<const char *>(bytes.data()), bytes.size()));
  }
  SmallVector<bool> values;
  for (uint8_t byte : tensor.bytes())
    values.push_back(byte != 0);
  return DenseElementsAttr::get(type, values);
}

Value createWeight(OpBuilder &builder, StringRef symbol, RankedTensorType type,
                   Value like, StringRef name) {
  Operation *function = builder.getInsertionBlock()->getParentOp();
  while (!isa<ModuleOp>(function->getParentOp()))
    function = function->getParentOp();
  OpBuilder atModule(function);
  nn::WeightOp::create(atModule, like.getLoc(), symbol, type,
                       name.empty() ? StringAttr()
                                    : builder.getStringAttr(name),
                       StringAttr(), StringAttr());
  return nn::ParamOp::create(builder, like.getLoc(), type, symbol);
}

Value makeDerivedWeight(OpBuilder &builder, WeightStore &weights,
                        const HostTensor &tensor, Value like, StringRef name,
                        StringRef suffix) {
  StringRef base = name.empty() ? nn::getValueName(like) : name;
  ArrayRef<uint8_t> bytes = tensor.bytes();
  std::string symbol = weights.addOwned(
      (base.empty() ? suffix : base + "." + suffix).str(), tensor.type(),
      std::vector<uint8_t>(bytes.begin(), bytes.end()));
  return createWeight(builder, symbol, tensor.type(), like, name);
}

Value makeDerived(OpBuilder &builder, WeightStore &weights,
                  const HostTensor &tensor, Value like, StringRef name,
                  StringRef suffix) {
  if (tensor.bytes().size() <= 1024)
    return nn::ConstantOp::create(builder, like.getLoc(), toAttr(tensor));
  return makeDerivedWeight(builder, weights, tensor, like, name, suffix);
}

Location getDerivedLoc(Location loc, StringRef suffix) {
  auto name = dyn_cast<NameLoc>(loc);
  if (!name)
    return loc;
  return nn::getNamedLoc((name.getName().getValue() + "." + suffix).str(),
                         loc.getContext());
}

void copySources(nn::WeightOp from, nn::WeightOp to) {
  for (StringRef name : {kSourcesAttr, kSourceSizesAttr})
    if (Attribute value = from->getAttr(name))
      to->setAttr(name, value);
}

void eraseUnusedWeights(ModuleOp module, WeightStore &weights) {
  llvm::StringSet<> used;
  SmallVector<Operation *> dead;
  module->walk([&](Operation *op) {
    if (auto param = dyn_cast<nn::ParamOp>(op)) {
      if (param->use_empty())
        dead.push_back(op);
      else
        used.insert(param.getWeight());
    }
  });
  for (auto weight : module.getOps<nn::WeightOp>())
    if (!used.contains(weight.getSymName())) {
      weights.erase(weight.getSymName());
      dead.push_back(weight);
    }
  for (Operation *op : dead)
    op->erase();
}

} // namespace pare
