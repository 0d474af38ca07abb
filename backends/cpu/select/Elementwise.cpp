//===- Elementwise.cpp - Chains of elementwise ops
//--------------------------===//
#include "backends/cpu/kernels/Elementwise.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Scalar.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static std::optional<std::string> whyNot(Operation *op, const Isa &) {
  SmallVector<Operation *> group = getGroup(op);
  if (group.empty() || !llvm::all_of(group, isElementwise))
    return "";
  if (op->getNumResults() != 1)
    return "elementwise groups have one result";
  return std::nullopt;
}

nn::Dim toDim(const Product &product, const KernelCall &call,
              MLIRContext *context) {
  nn::Dim dim = nn::constant(product.scale(), context);
  for (unsigned index : product.dims())
    dim = dim * call.dims[index];
  return dim;
}

nn::Dim toDim(const Grid &grid, const KernelCall &call, MLIRContext *context) {
  nn::Dim tasks = nn::constant(1, context);
  for (const Grid::Factor &factor : grid.factors)
    tasks = tasks * toDim(factor.size, call, context).ceilDiv(factor.block);
  return nn::simplify(tasks);
}

static llvm::Error build(Operation *op, Selector &selector) {
  KernelCall call = beginCall(op);
  SmallVector<Operation *> group = getGroup(op);
  Value result = op->getResult(0);
  nn::Shape space = nn::getShape(result.getType());

  ElementwiseSpec spec;
  for (nn::Dim dim : space)
    spec.shape.push_back(selector.extent(call, dim));
  if (space.empty())
    spec.shape.push_back(Extent::of(1));

  // Operands of the group, in order of first use.
  SmallVector<Value> externals, literals;
  std::string signature;
  llvm::raw_string_ostream text(signature);
  DenseMap<Value, unsigned> number;
  auto name = [&](Value value) {
    return number.try_emplace(value, number.size()).first->second;
  };
  llvm::SmallDenseSet<Value> inside;
  for (Operation *member : group) {
    for (Value operand : member->getOperands()) {
      if (!inside.insert(operand).second)
        continue;
      if (std::optional<double> literal = getLiteral(operand)) {
        literals.push_back(operand);
        text << "literal" << name(operand) << "="
             << llvm::format("%a", *literal);
        continue;
      }
      auto type = cast<RankedTensorType>(operand.getType());
      nn::Shape shape = nn::getShape(type);
      SmallVector<bool> broadcast(spec.shape.size(), true);
      for (size_t i = 0; i < shape.size(); ++i)
        broadcast[space.size() - shape.size() + i] =
            nn::isConstant(shape[i], 1) &&
            !nn::isConstant(space[space.size() - shape.size() + i], 1);
      for (size_t i = 0; i < spec.shape.size(); ++i)
        if (spec.shape[i].isFixed() && spec.shape[i].fixed == 1)
          broadcast[i] = false;
      PareDType dtype = *getDType(type.getElementType());
      spec.addInput(call.inputs.size(), dtype, broadcast);
      call.inputs.push_back(selector.operand(operand));
      externals.push_back(operand);
      text << "in" << name(operand) << ":" << dtype << ":";
      for (bool b : broadcast)
        text << b;
    }
    inside.insert(member->result_begin(), member->result_end());
  }
  PareDType outType = *getDType(getElementTypeOrSelf(result.getType()));
  spec.setOutput(call.inputs.size(), outType);
  addOutputs(call, op);
  for (unsigned i = 0; i < externals.size(); ++i)
    if (externals[i].getType() == result.getType())
      call.inPlace.push_back({0, i});

  for (const Extent &extent : spec.shape)
    text << " " << extent.str();
  for (Operation *member : group) {
    text << ";" << name(member->getResult(0)) << "=" << member->getName()
         << member->getPropertiesAsAttribute();
    for (Value operand : member->getOperands())
      text << " " << name(operand) << ":"
           << getElementTypeOrSelf(operand.getType());
  }
  text << "->" << outType;

  spec.body = [&](KernelBuilder &b, ArrayRef<Value> values, unsigned lanes) {
    DenseMap<Value, Value> registers;
    for (auto [external, value] : llvm::zip(externals, values))
      registers[external] = value;
    for (Value literal : literals)
      registers[literal] = emitLiteral(b, literal, lanes);
    for (Operation *member : group) {
      SmallVector<Value> operands;
      for (Value operand : member->getOperands())
        operands.push_back(registers.lookup(operand));
      registers[member->getResult(0)] = emitScalar(b, member, operands);
    }
    return registers.lookup(group.back()->getResult(0));
  };
  call.grid = toDim(elementwiseGrid(spec), call, op->getContext());
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitElementwise(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getElementwiseEntries() {
  static const KernelEntry entries[] = {
      {"elementwise", "generated", whyNot, build}};
  return entries;
}

} // namespace pare::cpu
