//===- NN.cpp - The nn dialect
//---------------------------------------------===//
#include "frontend/ir/NN.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

#include "frontend/ir/Dialect.cpp.inc"
#include "frontend/ir/Enums.cpp.inc"
#include "frontend/ir/Interfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "frontend/ir/Attrs.cpp.inc"
#define GET_OP_CLASSES
#include "frontend/ir/Ops.cpp.inc"

namespace pare::nn {

void NNDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "frontend/ir/Attrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "frontend/ir/Ops.cpp.inc"
      >();
}

func::FuncOp getEntry(ModuleOp module) {
  return module.lookupSymbol<func::FuncOp>("main");
}

SmallVector<int64_t> getTypicalSymbols(func::FuncOp entry) {
  SmallVector<int64_t> symbols(64, 64);
  for (auto [attribute, isBelow] :
       {std::pair(kDimMaxAttr, false), {kDimMinAttr, true}})
    if (auto bounds = entry->getAttrOfType<DenseI64ArrayAttr>(attribute))
      for (auto [size, bound] : llvm::zip(symbols, bounds.asArrayRef()))
        size = isBelow ? std::max(size, bound) : std::min(size, bound);
  return symbols;
}

Value getOuterValue(Value value) {
  auto arg = dyn_cast<BlockArgument>(value);
  if (!arg)
    return value;
  auto fused = dyn_cast<FusedOp>(arg.getOwner()->getParentOp());
  return fused ? getOuterValue(fused.getInputs()[arg.getArgNumber()]) : value;
}

WeightOp getWeight(Value value) {
  auto param = getOuterValue(value).getDefiningOp<ParamOp>();
  return param ? SymbolTable::lookupNearestSymbolFrom<WeightOp>(
                     param, param.getWeightAttr())
               : WeightOp();
}

bool isBlockWeight(Value value) {
  WeightOp weight = getWeight(value);
  return weight && weight.getBlocks();
}

std::optional<int64_t> getGroupSize(Value codes, Value scale) {
  Shape all = getShape(codes.getType()), some = getShape(scale.getType());
  if (all.empty() || all.size() != some.size() ||
      !std::equal(all.begin(), all.end() - 1, some.begin()))
    return std::nullopt;
  std::optional<int64_t> size = getConstant(all.back()),
                         groups = getConstant(some.back());
  if (!size || !groups || *groups <= 1 || *groups >= *size ||
      *size % *groups != 0)
    return std::nullopt;
  return *size / *groups;
}

StringRef getValueName(Value value) {
  value = getOuterValue(value);
  if (auto arg = dyn_cast<BlockArgument>(value)) {
    auto function = dyn_cast<func::FuncOp>(arg.getOwner()->getParentOp());
    if (!function)
      return "";
    auto name =
        function.getArgAttrOfType<StringAttr>(arg.getArgNumber(), kNameAttr);
    return name ? name.getValue() : "";
  }
  if (auto param = value.getDefiningOp<ParamOp>())
    return param.getWeight();
  if (auto name = dyn_cast<NameLoc>(value.getLoc()))
    return name.getName();
  return "";
}

Location getNamedLoc(StringRef name, MLIRContext *context) {
  return NameLoc::get(StringAttr::get(context, name.empty() ? "?" : name));
}

LogicalResult WeightOp::verify() {
  if (!getBlocks())
    return success();
  auto type = cast<RankedTensorType>(getType());
  if (!type.getElementType().isF32() || !type.hasStaticShape() ||
      type.getRank() == 0)
    return emitOpError("has blocks, so its type must be f32 of known shape");
  return success();
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("refers to weight '")
           << getWeight() << "', which the module does not have";
  if (weight.getType() != getResult().getType())
    return emitOpError("has type ")
           << getResult().getType() << " but weight '" << getWeight()
           << "' has " << weight.getType();
  return success();
}

LogicalResult CacheOp::verify() {
  if (getHeads() < 1 || getHeadDim() < 1 || getCapacity() < 1)
    return emitOpError("needs at least one head, element and position");
  if (!getType().isF16() && !getType().isF32() &&
      !getType().isSignlessInteger(8))
    return emitOpError("holds f32, f16 or i8, not ") << getType();
  return success();
}

/// Checks the cache that `op` uses and that `x`, of its rows, has its heads, or
/// a multiple of them.
static LogicalResult verifyCacheUse(Operation *op, FlatSymbolRefAttr symbol,
                                    SymbolTableCollection &symbols, Value x,
                                    bool isQuery) {
  auto cache = symbols.lookupNearestSymbolFrom<CacheOp>(op, symbol);
  if (!cache)
    return op->emitOpError("refers to cache '")
           << symbol.getValue() << "', which the module does not have";
  Shape shape = getShape(x.getType());
  std::optional<int64_t> heads =
      shape.size() == 3 ? getConstant(shape[1]) : std::nullopt;
  if (!heads || !nn::isConstant(shape[2], cache.getHeadDim()) ||
      (isQuery ? *heads % int64_t(cache.getHeads()) != 0
               : *heads != int64_t(cache.getHeads())))
    return op->emitOpError("has ")
           << x.getType() << " for a cache of " << cache.getHeads()
           << " heads of " << cache.getHeadDim() << " elements";
  return success();
}

LogicalResult CacheAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (getKey().getType() != getValue().getType())
    return emitOpError("has keys and values of different types");
  return verifyCacheUse(*this, getCacheAttr(), symbols, getKey(), false);
}

LogicalResult
CachedAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyCacheUse(*this, getCacheAttr(), symbols, getQuery(), true);
}

LogicalResult FusedOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != getInputs().size())
    return emitOpError("has ")
           << getInputs().size() << " inputs but its body has "
           << block.getNumArguments() << " arguments";
  for (auto [input, arg] : llvm::zip(getInputs(), block.getArguments()))
    if (input.getType() != arg.getType())
      return emitOpError("passes ")
             << input.getType() << " to a body argument of type "
             << arg.getType();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getValues().getTypes() != getOutputs().getTypes())
    return emitOpError("must yield values of its result types");
  return success();
}

} // namespace pare::nn
