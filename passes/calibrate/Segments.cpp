//===- Segments.cpp - A model in parts, layer by layer --------------------===//
#include "passes/calibrate/Segments.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace pare {

/// Params and constants belong to whoever reads them.
static bool isSource(Operation *op) {
  return isa<nn::ParamOp, nn::ConstantOp>(op);
}

/// The values that `ops` read and do not make.
static SmallVector<Value> findInputs(ArrayRef<Operation *> ops) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, ops);
  llvm::SmallSetVector<Value, 4> inputs;
  for (Operation *op : ops)
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp();
          def && !isSource(def) && !own.contains(def))
        inputs.insert(operand);
  return inputs.takeVector();
}

/// The values of `ops` that other ops than the return read.
static SmallVector<Value> findOutputs(ArrayRef<Operation *> ops) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, ops);
  SmallVector<Value> outputs;
  for (Operation *op : ops)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !own.contains(user) &&
                   !user->hasTrait<OpTrait::IsTerminator>();
          }))
        outputs.push_back(result);
  return outputs;
}

std::vector<Segment>
cutIntoSegments(func::FuncOp entry,
                llvm::function_ref<bool(Operation *)> isChanged) {
  std::vector<Segment> segments(1);
  SmallVector<Operation *> rest;
  llvm::SmallPtrSet<Operation *, 32> dependent;
  for (Operation &op : entry.front().without_terminator()) {
    if (isSource(&op))
      continue;
    bool depends =
        isChanged(&op) || llvm::any_of(op.getOperands(), [&](Value v) {
          return v.getDefiningOp() && dependent.contains(v.getDefiningOp());
        });
    // Writing to a cache changes what is read from it: both stay together.
    if (depends || isa<nn::CacheAppendOp, nn::CachedAttentionOp>(op))
      dependent.insert(&op), rest.push_back(&op);
    else
      segments.front().ops.push_back(&op);
  }

  /// Uses of values made so far that are still to come.
  DenseMap<Value, unsigned> pending;
  size_t lastChange = 0;
  for (auto [index, op] : llvm::enumerate(rest))
    if (isChanged(op))
      lastChange = index;
  bool hasChange = false;
  segments.emplace_back();
  for (auto [index, op] : llvm::enumerate(rest)) {
    segments.back().ops.push_back(op);
    hasChange |= isChanged(op);
    for (Value operand : op->getOperands())
      if (auto it = pending.find(operand);
          it != pending.end() && --it->second == 0)
        pending.erase(it);
    for (Value result : op->getResults())
      if (unsigned uses = llvm::count_if(result.getUses(), [](OpOperand &use) {
            return !use.getOwner()->hasTrait<OpTrait::IsTerminator>();
          }))
        pending[result] = uses;
    if (hasChange && pending.size() == 1 && index < lastChange) {
      segments.emplace_back();
      hasChange = false;
    }
  }
  for (Segment &segment : segments) {
    segment.inputs = findInputs(segment.ops);
    segment.outputs = findOutputs(segment.ops);
  }
  return segments;
}

OwningOpRef<ModuleOp> extractOps(ModuleOp module, ArrayRef<Operation *> ops,
                                 ArrayRef<Value> inputs,
                                 ArrayRef<Value> results) {
  OwningOpRef<ModuleOp> part = ModuleOp::create(module.getLoc());
  func::FuncOp whole = nn::getEntry(module);
  OpBuilder builder = OpBuilder::atBlockEnd(part->getBody());

  // Symbols that the ops name, in the module's order.
  llvm::StringSet<> symbols;
  auto addSymbols = [&](Operation *op) {
    if (auto uses = SymbolTable::getSymbolUses(op))
      for (SymbolTable::SymbolUse use : *uses)
        symbols.insert(use.getSymbolRef().getRootReference());
  };
  for (Operation *op : ops) {
    addSymbols(op);
    for (Value operand : op->getOperands())
      if (auto param = operand.getDefiningOp<nn::ParamOp>())
        symbols.insert(param.getWeight());
  }
  for (Operation &op : *module.getBody())
    if (!isa<func::FuncOp>(op))
      if (auto symbol = dyn_cast<SymbolOpInterface>(op);
          symbol && symbols.contains(symbol.getName()))
        builder.clone(op);

  SmallVector<Type> argumentTypes(whole.getArgumentTypes());
  SmallVector<DictionaryAttr> argumentAttrs;
  for (unsigned i = 0, e = whole.getNumArguments(); i < e; ++i)
    argumentAttrs.push_back(whole.getArgAttrDict(i));
  for (auto [index, input] : llvm::enumerate(inputs)) {
    argumentTypes.push_back(input.getType());
    argumentAttrs.push_back(builder.getDictionaryAttr(builder.getNamedAttr(
        nn::kNameAttr, builder.getStringAttr("input " + Twine(index)))));
  }
  SmallVector<Type> resultTypes = llvm::map_to_vector(
      results, [](Value result) { return result.getType(); });
  auto entry =
      func::FuncOp::create(builder, whole.getLoc(), whole.getName(),
                           builder.getFunctionType(argumentTypes, resultTypes));
  for (StringRef name : {nn::kDimNamesAttr, nn::kDimMinAttr, nn::kDimMaxAttr})
    if (Attribute attr = whole->getAttr(name))
      entry->setAttr(name, attr);
  entry.setAllArgAttrs(argumentAttrs);

  Block *body = entry.addEntryBlock();
  builder.setInsertionPointToStart(body);
  IRMapping mapping;
  unsigned own = whole.getNumArguments();
  for (auto [from, to] : llvm::zip(whole.getArguments(), body->getArguments()))
    mapping.map(from, to);
  for (auto [input, argument] :
       llvm::zip(inputs, body->getArguments().drop_front(own)))
    mapping.map(input, argument);
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp();
          def && isSource(def) && !mapping.contains(operand))
        builder.clone(*def, mapping);
    builder.clone(*op, mapping);
  }
  SmallVector<Value> returned = llvm::map_to_vector(
      results, [&](Value result) { return mapping.lookup(result); });
  func::ReturnOp::create(builder, whole.getLoc(), returned);
  return part;
}

} // namespace pare
