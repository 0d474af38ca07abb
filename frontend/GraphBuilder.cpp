//===- GraphBuilder.cpp - Making nn graphs from files ---------------------===//
#include "frontend/GraphBuilder.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace pare {

GraphBuilder::GraphBuilder(MLIRContext &context,
                           std::shared_ptr<WeightStore> store)
    : store_(std::move(store)), builder_(&context),
      diagnostics_(&context, [this](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
          fail(diagnostic.str());
        return success();
      }) {
  context.loadDialect<func::FuncDialect, nn::NNDialect>();
  Location loc = builder_.getUnknownLoc();
  module_ = ModuleOp::create(loc);
  builder_.setInsertionPointToEnd(module_->getBody());
  entry_ = func::FuncOp::create(builder_, loc, "main",
                                builder_.getFunctionType({}, {}));
  builder_.setInsertionPointToStart(entry_.addEntryBlock());
}

Value GraphBuilder::fail(const Twine &message) {
  if (error_.empty()) {
    error_ = scope_.empty() ? message.str() : (scope_ + ": " + message).str();
    llvm::replace(error_, '\n', ' ');
  }
  return {};
}

llvm::Error GraphBuilder::takeError() {
  return hasFailed() ? llvm::createStringError(error_) : llvm::Error::success();
}

nn::Dim GraphBuilder::getSymbol(StringRef name, int64_t min, int64_t max) {
  for (auto [i, symbol] : llvm::enumerate(symbols_)) {
    if (symbol.name != name)
      continue;
    if (max && symbol.max && (min != symbol.min || max != symbol.max))
      fail("dimension '" + name + "' is given two different ranges");
    if (max)
      setDefaultBounds(i, min, max);
    return getAffineSymbolExpr(i, getContext());
  }
  symbols_.push_back({name.str(), min, max});
  return getAffineSymbolExpr(symbols_.size() - 1, getContext());
}

void GraphBuilder::setDefaultBounds(unsigned symbol, int64_t min, int64_t max) {
  if (symbols_[symbol].max == 0) {
    symbols_[symbol].min = min;
    symbols_[symbol].max = max;
  }
}

Value GraphBuilder::addInput(StringRef name, RankedTensorType type) {
  inputNames_.push_back(name.str());
  return entry_.front().addArgument(type, nn::getNamedLoc(name, getContext()));
}

Value GraphBuilder::createParam(StringRef name) {
  if (hasFailed())
    return {};
  Value &value = params_[name];
  if (value)
    return value;
  if (name == entry_.getSymName())
    return fail("a tensor may not be named '" + name + "'");
  Location loc = nn::getNamedLoc(name, getContext());
  RankedTensorType type = store_->get(name).type;
  {
    OpBuilder::InsertionGuard guard(builder_);
    builder_.setInsertionPoint(entry_);
    nn::WeightOp::create(builder_, loc, builder_.getStringAttr(name),
                         TypeAttr::get(type), StringAttr(), StringAttr());
  }
  return value = nn::ParamOp::create(builder_, loc, type, name);
}

Value GraphBuilder::createConstant(Location loc, DenseElementsAttr value) {
  if (hasFailed())
    return {};
  return nn::ConstantOp::create(builder_, loc, value.getType(), value);
}

Value GraphBuilder::createScalar(Location loc, float value) {
  return createConstant(
      loc, DenseElementsAttr::get(
               RankedTensorType::get({}, builder_.getF32Type()), value));
}

Value GraphBuilder::createInferred(OperationState &state, InferFunction infer) {
  if (failed(infer(getContext(), state.location, state.operands,
                   state.attributes.getDictionary(getContext()),
                   state.getRawProperties(), state.regions, state.types)))
    return fail("shape inference failed");
  return createVerified(state);
}

Value GraphBuilder::createVerified(OperationState &state) {
  Operation *op = builder_.create(state);
  if (failed(verify(op, /*verifyRecursively=*/false))) {
    op->erase();
    return fail("the op is not valid");
  }
  return op->getResult(0);
}

Value GraphBuilder::createReshape(Location loc, Value x,
                                  ArrayRef<nn::Dim> shape) {
  if (hasFailed())
    return {};
  Type element = cast<RankedTensorType>(x.getType()).getElementType();
  RankedTensorType type = nn::getTensorType(shape, element);
  return type == x.getType() ? x : createTyped<nn::ReshapeOp>(loc, type, x);
}

llvm::Expected<OwningOpRef<ModuleOp>>
GraphBuilder::finish(ArrayRef<Value> outputs, ArrayRef<std::string> names) {
  setScope("");
  if (hasFailed())
    return takeError();
  func::ReturnOp::create(builder_, builder_.getUnknownLoc(), outputs);
  Block &body = entry_.front();
  entry_.setFunctionType(
      builder_.getFunctionType(body.getArgumentTypes(), TypeRange(outputs)));
  for (auto [i, name] : llvm::enumerate(inputNames_))
    entry_.setArgAttr(i, nn::kNameAttr, builder_.getStringAttr(name));
  for (auto [i, name] : llvm::enumerate(names))
    entry_.setResultAttr(i, nn::kNameAttr, builder_.getStringAttr(name));

  SmallVector<Attribute> dimNames;
  SmallVector<int64_t> dimMin, dimMax;
  for (const Symbol &symbol : symbols_) {
    assert(symbol.max && "a symbol without bounds");
    dimNames.push_back(builder_.getStringAttr(symbol.name));
    dimMin.push_back(symbol.min);
    dimMax.push_back(symbol.max);
  }
  entry_->setAttr(nn::kDimNamesAttr, builder_.getArrayAttr(dimNames));
  entry_->setAttr(nn::kDimMinAttr, builder_.getDenseI64ArrayAttr(dimMin));
  entry_->setAttr(nn::kDimMaxAttr, builder_.getDenseI64ArrayAttr(dimMax));
  if (failed(verify(*module_)))
    fail("the imported graph is not valid");
  if (hasFailed())
    return takeError();
  return std::move(module_);
}

} // namespace pare
