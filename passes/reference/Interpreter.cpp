//===- Interpreter.cpp - The meaning of nn graphs, executed ---------------===//
#include "passes/reference/Interpreter.h"
#include "passes/reference/Evaluate.h"

using namespace mlir;

namespace pare {
namespace reference {

RankedTensorType Frame::typeOf(Value value) const {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.hasStaticShape())
    return type;
  return RankedTensorType::get(nn::evaluate(nn::getShape(type), symbols),
                               type.getElementType());
}

llvm::Error fail(Operation *op, const llvm::Twine &message) {
  StringRef name =
      op->getNumResults() ? nn::getValueName(op->getResult(0)) : StringRef();
  return llvm::createStringError("'" + (name.empty() ? "?" : name) + "' (" +
                                 op->getName().getStringRef() +
                                 "): " + message);
}

template <typename... Ops>
static llvm::Error dispatch(Operation *op, Frame &frame) {
  llvm::Error error = llvm::Error::success();
  bool found = ([&] {
    auto typed = dyn_cast<Ops>(op);
    if (typed) {
      llvm::consumeError(std::move(error));
      error = evaluate(typed, frame);
    }
    return bool(typed);
  }() || ...);
  if (!found) {
    llvm::consumeError(std::move(error));
    return fail(op, "is not an nn op");
  }
  return error;
}

static llvm::Error evaluateAny(Operation *op, Frame &frame) {
  return dispatch<
#define GET_OP_LIST
#include "frontend/ir/Ops.cpp.inc"
      >(op, frame);
}

llvm::Error evaluateBlock(Block &block, Frame &frame) {
  DenseMap<Value, unsigned> uses;
  for (Operation &op : block.without_terminator()) {
    if (llvm::Error error = evaluateAny(&op, frame))
      return error;
    for (Value result : op.getResults())
      if (result.use_empty())
        frame.drop(result);
    for (Value operand : op.getOperands()) {
      auto [it, isNew] = uses.try_emplace(operand, 0);
      if (isNew)
        it->second = std::distance(operand.use_begin(), operand.use_end());
      if (--it->second == 0)
        frame.drop(operand);
    }
  }
  return llvm::Error::success();
}

llvm::Error evaluate(nn::FusedOp op, Frame &frame) {
  Block &body = op.getBody().front();
  for (auto [arg, input] : llvm::zip(body.getArguments(), op.getInputs()))
    frame.set(arg, frame[input]);
  if (llvm::Error error = evaluateBlock(body, frame))
    return error;
  for (auto [result, value] :
       llvm::zip(op.getOutputs(), body.getTerminator()->getOperands()))
    frame.set(result, frame[value]);
  return llvm::Error::success();
}

llvm::Error evaluate(nn::YieldOp op, Frame &) {
  return fail(op, "is run with its group");
}
llvm::Error evaluate(nn::WeightOp op, Frame &) {
  return fail(op, "is a declaration");
}
llvm::Error evaluate(nn::CacheOp op, Frame &) {
  return fail(op, "is a declaration");
}

llvm::Error evaluate(nn::ParamOp op, Frame &frame) {
  if (!frame.weights || !frame.weights->contains(op.getWeight()))
    return fail(op, "the bytes of weight '" + op.getWeight() +
                        "' are not in the weight store");
  const TensorData &weight = frame.weights->get(op.getWeight());
  if (weight.type != op.getType())
    return fail(op, "the weight store holds another type");
  frame.set(op, HostTensor::view(weight));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ConstantOp op, Frame &frame) {
  llvm::Expected<HostTensor> tensor = HostTensor::fromAttr(op.getValue());
  if (!tensor)
    return fail(op, llvm::toString(tensor.takeError()));
  frame.set(op, std::move(*tensor));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::DimValuesOp op, Frame &frame) {
  SmallVector<int64_t, 6> values =
      nn::evaluate(nn::getShape(op.getValues()), frame.symbols);
  frame.set(op, HostTensor(frame.typeOf(op), ArrayRef<int64_t>(values)));
  return llvm::Error::success();
}

} // namespace reference

static std::string text(ArrayRef<int64_t> shape) {
  std::string result;
  llvm::raw_string_ostream stream(result);
  llvm::interleave(shape, stream, "x");
  return "[" + result + "]";
}

llvm::Expected<SmallVector<int64_t>> bindSymbols(func::FuncOp entry,
                                                 ArrayRef<HostTensor> inputs) {
  if (inputs.size() != entry.getNumArguments())
    return llvm::createStringError(
        "the model has " + llvm::Twine(entry.getNumArguments()) +
        " inputs, but " + llvm::Twine(inputs.size()) + " were given");
  SmallVector<int64_t> symbols;
  SmallVector<bool> known;
  for (auto [arg, input] : llvm::zip(entry.getArguments(), inputs)) {
    auto type = cast<RankedTensorType>(arg.getType());
    nn::Shape shape = nn::getShape(type);
    std::string name = ("input '" + nn::getValueName(arg) + "'").str();
    if (input.element() != type.getElementType())
      return llvm::createStringError(name + " has another element type");
    if (input.shape().size() != shape.size())
      return llvm::createStringError(name + " must have " +
                                     llvm::Twine(shape.size()) + " axes, not " +
                                     llvm::Twine(input.shape().size()));
    for (auto [dim, size] : llvm::zip(shape, input.shape()))
      if (auto symbol = dyn_cast<AffineSymbolExpr>(dim)) {
        size_t position = symbol.getPosition();
        symbols.resize(std::max(symbols.size(), position + 1));
        known.resize(symbols.size());
        if (!known[position])
          symbols[position] = size;
        known[position] = true;
      }
  }
  if (llvm::is_contained(known, false))
    return llvm::createStringError(
        "a symbolic dimension is no axis of any input");
  for (auto [arg, input] : llvm::zip(entry.getArguments(), inputs)) {
    SmallVector<int64_t, 6> expected =
        nn::evaluate(nn::getShape(arg.getType()), symbols);
    if (ArrayRef(expected) != input.shape())
      return llvm::createStringError("input '" + nn::getValueName(arg) +
                                     "' has shape " + text(input.shape()) +
                                     ", expected " + text(expected));
  }
  return symbols;
}

llvm::Expected<std::vector<HostTensor>>
Interpreter::run(ArrayRef<HostTensor> inputs, ProbeFn probe,
                 CacheState *caches) const {
  func::FuncOp entry = nn::getEntry(module);
  if (!entry || entry.isExternal())
    return llvm::createStringError("the module has no entry point '@main'");
  llvm::Expected<SmallVector<int64_t>> symbols = bindSymbols(entry, inputs);
  if (!symbols)
    return symbols.takeError();
  CacheState ownCaches;
  reference::Frame frame(&weights, *symbols, probe,
                         caches ? caches : &ownCaches);
  Block &body = entry.getBody().front();
  for (auto [arg, input] : llvm::zip(body.getArguments(), inputs))
    frame.set(arg, input);
  if (llvm::Error error = reference::evaluateBlock(body, frame))
    return error;
  std::vector<HostTensor> results;
  for (Value value : body.getTerminator()->getOperands())
    results.push_back(frame[value]);
  return results;
}

llvm::Expected<std::vector<HostTensor>>
evaluateOp(Operation *op, ArrayRef<HostTensor> operands) {
  reference::Frame frame(nullptr, {}, nullptr, nullptr);
  for (auto [operand, tensor] : llvm::zip(op->getOperands(), operands))
    frame.set(operand, tensor);
  if (llvm::Error error = reference::evaluateAny(op, frame))
    return error;
  std::vector<HostTensor> results;
  for (Value result : op->getResults())
    results.push_back(frame[result]);
  return results;
}

} // namespace pare
