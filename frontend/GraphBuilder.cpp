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
    if (max && !symbol.max)
      symbol = {symbol.name, min, max, false};
    return getAffineSymbolExpr(i, getContext());
  }
  symbols_.push_back({name.str(), min, max, false});
  return getAffineSymbolExpr(symbols_.size() - 1, getContext());
}

void GraphBuilder::setDefaultBounds(unsigned symbol, int64_t min, int64_t max) {
  if (symbols_[symbol].max == 0)
    symbols_[symbol] = {symbols_[symbol].name, min, max, true};
}

/// Cuts to ±2^62, so that sums of two stay within 64 bits.
static int64_t saturate(__int128 value) {
  constexpr int64_t limit = int64_t(1) << 62;
  return value > limit ? limit : value < -limit ? -limit : int64_t(value);
}

std::pair<int64_t, int64_t> GraphBuilder::getRange(nn::Dim dim) const {
  if (std::optional<int64_t> value = nn::getConstant(dim))
    return {*value, *value};
  if (auto symbol = dyn_cast<AffineSymbolExpr>(dim))
    return {symbols_[symbol.getPosition()].min,
            symbols_[symbol.getPosition()].max};
  auto binary = cast<AffineBinaryOpExpr>(dim);
  auto [a, b] = getRange(binary.getLHS());
  auto [c, d] = getRange(binary.getRHS());
  auto floorDiv = [](int64_t x, int64_t y) {
    return x / y - (x % y != 0 && (x < 0) != (y < 0));
  };
  switch (dim.getKind()) {
  case AffineExprKind::Add:
    return {saturate(__int128(a) + c), saturate(__int128(b) + d)};
  case AffineExprKind::Mul: {
    auto [low, high] = std::minmax(
        {__int128(a) * c, __int128(a) * d, __int128(b) * c, __int128(b) * d});
    return {saturate(low), saturate(high)};
  }
  case AffineExprKind::FloorDiv: {
    assert(c > 0 && "divisors are positive");
    auto [low, high] = std::minmax(
        {floorDiv(a, c), floorDiv(a, d), floorDiv(b, c), floorDiv(b, d)});
    return {low, high};
  }
  case AffineExprKind::CeilDiv: {
    assert(c > 0 && "divisors are positive");
    auto [low, high] = std::minmax({-floorDiv(-a, c), -floorDiv(-a, d),
                                    -floorDiv(-b, c), -floorDiv(-b, d)});
    return {low, high};
  }
  case AffineExprKind::Mod:
    return {0, std::max<int64_t>(d - 1, 0)};
  default:
    llvm_unreachable("not a shape expression");
  }
}

bool GraphBuilder::constrain(nn::Dim dim, int64_t min, int64_t max) {
  auto [low, high] = getRange(dim);
  if (low >= min && high <= max)
    return true;
  if (low > max || high < min)
    return false;
  std::optional<unsigned> position;
  bool isSingle = true;
  dim.walk([&](AffineExpr e) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(e)) {
      isSingle &=
          position.value_or(symbol.getPosition()) == symbol.getPosition();
      position = symbol.getPosition();
    }
  });
  constexpr int64_t maxScan = 1 << 20;
  if (!position || !isSingle)
    return false;
  Symbol &symbol = symbols_[*position];
  if (!symbol.isChosen || symbol.max - symbol.min > maxScan)
    return false;
  // Expressions of shapes are monotone: the values that fit are contiguous.
  SmallVector<int64_t> values(symbols_.size(), 1);
  std::optional<int64_t> first, last;
  for (int64_t v = symbol.min; v <= symbol.max; ++v) {
    values[*position] = v;
    int64_t value = nn::evaluate(dim, values);
    if (value < min || value > max) {
      if (first)
        break;
      continue;
    }
    first = first.value_or(v);
    last = v;
  }
  if (!first)
    return false;
  if (*first == symbol.min && *last == symbol.max)
    return true;
  symbol.min = *first;
  symbol.max = *last;
  warnings_.push_back("dimension '" + symbol.name + "' is limited to " +
                      std::to_string(*first) + ".." + std::to_string(*last) +
                      (scope_.empty() ? "" : ": " + scope_ + " needs it"));
  return true;
}

/// Whether an expression is of a size and with constants that shapes have;
/// files with others are damaged or hostile.
static bool isReasonable(AffineExpr expr, unsigned &budget) {
  constexpr int64_t maxConstant = int64_t(1) << 40;
  if (budget == 0)
    return false;
  --budget;
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue() >= -maxConstant &&
           constant.getValue() <= maxConstant;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  return !binary || (isReasonable(binary.getLHS(), budget) &&
                     isReasonable(binary.getRHS(), budget));
}

bool GraphBuilder::isReasonable(nn::Dim dim) {
  unsigned budget = 1000;
  return ::pare::isReasonable(dim, budget);
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
    const BlockStorage *storage = store_->get(name).storage;
    nn::WeightOp::create(builder_, loc, builder_.getStringAttr(name),
                         TypeAttr::get(type), StringAttr(), StringAttr(),
                         storage ? builder_.getStringAttr(storage->format.name)
                                 : StringAttr());
  }
  return value = nn::ParamOp::create(builder_, loc, type, name);
}

void GraphBuilder::createCache(StringRef name, int64_t heads, int64_t headDim,
                               int64_t capacity, Type type) {
  OpBuilder::InsertionGuard guard(builder_);
  builder_.setInsertionPoint(entry_);
  nn::CacheOp::create(builder_, nn::getNamedLoc(name, getContext()), name,
                      heads, headDim, capacity, type, StringAttr());
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

bool GraphBuilder::isReasonable(RankedTensorType type) {
  if (type.hasStaticShape())
    return getTensorBytes(type.getShape(), type.getElementType()).has_value();
  return llvm::all_of(nn::getShape(type),
                      [](nn::Dim dim) { return isReasonable(dim); });
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
  for (Type type : op->getResultTypes())
    if (!isReasonable(cast<RankedTensorType>(type))) {
      op->erase();
      return fail("a result is larger than any memory");
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
