//===- Tail.cpp - The elementwise end of a fused group
//----------------------===//
#include "backends/cpu/select/Tail.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/kernels/Vectors.h"
#include "backends/cpu/select/Scalar.h"

using namespace mlir;

namespace pare::cpu {

SmallVector<Operation *> getGroup(Operation *op) {
  auto fused = dyn_cast<nn::FusedOp>(op);
  if (!fused)
    return {op};
  SmallVector<Operation *> ops;
  for (Operation &member : fused.getBody().front().without_terminator())
    if (!isa<nn::ConstantOp>(member))
      ops.push_back(&member);
  return ops;
}

/// The ops of the group that come after the anchor.
static SmallVector<Operation *> opsAfter(Operation *op, Operation *anchor) {
  SmallVector<Operation *> group = getGroup(op);
  auto *it = llvm::find(group, anchor);
  return SmallVector<Operation *>(it + 1, group.end());
}

std::optional<double> getLiteral(Value value) {
  auto constant = value.getDefiningOp<nn::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                        : DenseElementsAttr();
  if (!dense || !dense.isSplat())
    return std::nullopt;
  if (isa<FloatType>(dense.getElementType()))
    return dense.getSplatValue<APFloat>().convertToDouble();
  APInt integer = dense.getSplatValue<APInt>();
  bool isUnsigned = dense.getElementType().isUnsignedInteger() ||
                    dense.getElementType().isInteger(1);
  return isUnsigned ? double(integer.getZExtValue())
                    : double(integer.getSExtValue());
}

Value emitLiteral(KernelBuilder &b, Value value, unsigned lanes) {
  Type type = computeType(b, *getDType(getElementTypeOrSelf(value.getType())));
  double number = *getLiteral(value);
  TypedAttr element = isa<FloatType>(type)
                          ? TypedAttr(b.getFloatAttr(type, number))
                          : TypedAttr(b.getIntegerAttr(type, int64_t(number)));
  return b.splat(arith::ConstantOp::create(b, element), lanes);
}

std::optional<std::string> Tail::whyNot(Operation *op, Operation *anchor) {
  nn::Shape space = nn::getShape(anchor->getResult(0).getType());
  for (Operation *member : opsAfter(op, anchor)) {
    if (!isElementwise(member))
      return ("'" + member->getName().getStringRef() + "' cannot follow '" +
              anchor->getName().getStringRef() + "' in one kernel")
          .str();
    if (nn::getShape(member->getResult(0).getType()) != space)
      return std::string(
          "an elementwise op of the group has another shape than its anchor");
  }
  if (auto fused = dyn_cast<nn::FusedOp>(op))
    for (Value value : fused.getBody().front().getTerminator()->getOperands())
      if (!value.getDefiningOp() || nn::getShape(value.getType()) != space)
        return std::string(
            "a result of the group has another shape than its anchor");
  return std::nullopt;
}

Tail::Tail(Operation *op, Operation *anchor, Selector &selector,
           KernelCall &call)
    : op_(op), anchor_(anchor), ops_(opsAfter(op, anchor)) {
  for (Value result : op->getResults())
    resultTypes_.push_back(*getDType(getElementTypeOrSelf(result.getType())));
  nn::Shape space = nn::getShape(anchor->getResult(0).getType());
  anchorColumns_ = selector.extent(call, space.back());
  llvm::SmallDenseSet<Value> inside(anchor->result_begin(),
                                    anchor->result_end());
  for (Operation *member : ops_) {
    for (Value operand : member->getOperands()) {
      if (!inside.insert(operand).second)
        continue;
      if (getLiteral(operand)) {
        literals_.push_back(operand);
        continue;
      }
      auto type = cast<RankedTensorType>(operand.getType());
      nn::Shape shape = nn::getShape(type);
      External external{operand,
                        unsigned(call.inputs.size()),
                        *getDType(type.getElementType()),
                        shape.empty() || nn::isConstant(shape.back(), 1),
                        External::None,
                        {},
                        {}};
      if (external.splat && nn::isConstant(space.back(), 1))
        external.splat = false;
      external.columns =
          shape.empty() ? Extent::of(1) : selector.extent(call, shape.back());
      ArrayRef<nn::Dim> leading =
                            ArrayRef(shape).drop_back(shape.empty() ? 0 : 1),
                        spaceLeading = ArrayRef(space).drop_back();
      SmallVector<bool> varies(spaceLeading.size(), false);
      for (size_t i = 0; i < leading.size(); ++i)
        varies[spaceLeading.size() - leading.size() + i] =
            !nn::isConstant(leading[i], 1);
      bool all = true, none = true;
      for (size_t i = 0; i < spaceLeading.size(); ++i)
        if (!nn::isConstant(spaceLeading[i], 1)) {
          all &= varies[i];
          none &= !varies[i];
        }
      external.rows = none  ? External::None
                      : all ? External::Linear
                            : External::General;
      if (external.rows == External::General)
        for (size_t i = 0; i < spaceLeading.size(); ++i)
          external.axes.push_back(
              {selector.extent(call, spaceLeading[i]), varies[i]});
      call.inputs.push_back(selector.operand(nn::getOuterValue(operand)));
      externals_.push_back(std::move(external));
    }
    inside.insert(member->result_begin(), member->result_end());
  }
}

std::string Tail::signature() const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  // Numbers stand for values, so that equal code has equal text whatever its
  // operands are called.
  DenseMap<Value, unsigned> number;
  auto name = [&](Value value) {
    return number.try_emplace(value, number.size()).first->second;
  };
  for (const External &external : externals_) {
    stream << "in" << name(external.value) << ":p" << external.ptr << ":"
           << external.type << ":" << external.splat << external.rows
           << external.columns.str();
    for (auto &[extent, varies] : external.axes)
      stream << "," << extent.str() << varies;
    stream << ";";
  }
  for (Value literal : literals_)
    stream << "literal" << name(literal) << "="
           << llvm::format("%a", *getLiteral(literal))
           << getElementTypeOrSelf(literal.getType()) << ";";
  name(anchor_->getResult(0));
  for (Operation *op : ops_) {
    stream << name(op->getResult(0)) << "=" << op->getName()
           << op->getAttrDictionary() << "(";
    if (auto properties = op->getPropertiesAsAttribute())
      stream << properties;
    for (Value operand : op->getOperands())
      stream << " " << name(operand);
    stream << "):" << getElementTypeOrSelf(op->getResult(0).getType()) << ";";
  }
  if (auto fused = dyn_cast<nn::FusedOp>(op_))
    for (Value value : fused.getBody().front().getTerminator()->getOperands())
      stream << "out" << name(value) << getElementTypeOrSelf(value.getType());
  return text;
}

Value Tail::load(KernelBuilder &b, const External &external, Value row,
                 Value col, Value count, unsigned lanes) const {
  Value base = b.ptr(external.ptr);
  Value line = b.idx(0);
  if (external.rows == External::Linear) {
    line = row;
  } else if (external.rows == External::General) {
    // Mixed radix: digits of the row number, least significant axis last.
    Value rest = row, stride = b.idx(1);
    for (auto &[extent, varies] : llvm::reverse(external.axes)) {
      Value size = b.extent(extent);
      if (varies) {
        line = b.add(line, b.mul(b.rem(rest, size), stride));
        stride = b.mul(stride, size);
      }
      rest = b.divFloor(rest, size);
    }
  }
  if (external.splat)
    return loadSplat(b, external.type, base, line, lanes);
  return loadAs(b, external.type, base,
                b.add(b.mul(line, b.extent(external.columns)), col), lanes,
                count);
}

SmallVector<Value> Tail::emit(KernelBuilder &b, Value vec, Value row, Value col,
                              Value count) const {
  unsigned lanes = cast<VectorType>(vec.getType()).getNumElements();
  DenseMap<Value, Value> values;
  values[anchor_->getResult(0)] = vec;
  for (Value literal : literals_)
    values[literal] = emitLiteral(b, literal, lanes);
  for (const External &external : externals_)
    values[external.value] = load(b, external, row, col, count, lanes);
  for (Operation *op : ops_) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(values.lookup(operand));
    values[op->getResult(0)] = emitScalar(b, op, operands);
  }
  auto fused = dyn_cast<nn::FusedOp>(op_);
  if (!fused)
    return {vec};
  SmallVector<Value> results;
  for (Value value : fused.getBody().front().getTerminator()->getOperands())
    results.push_back(values.lookup(value));
  return results;
}

void Tail::emitAndStore(KernelBuilder &b, Value vec, Value row, Value col,
                        Value count, unsigned firstResultPtr) const {
  Value offset = b.add(b.mul(row, b.extent(anchorColumns_)), col);
  for (auto [index, value] : llvm::enumerate(emit(b, vec, row, col, count)))
    storeAs(b, resultTypes_[index], value, b.ptr(firstResultPtr + index),
            offset, count);
}

} // namespace pare::cpu
