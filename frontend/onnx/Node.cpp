//===- Node.cpp - What the import of one ONNX node sees -------------------===//
#include "frontend/onnx/Node.h"
#include "frontend/onnx/GraphImporter.h"

using namespace mlir;

namespace pare::onnximport {

std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

int Node::getOpset() const { return importer_.getOpset(); }
GraphBuilder &Node::getGraph() const { return importer_.getGraph(); }

Location Node::getLoc() const {
  return nn::getNamedLoc(
      proto_.output_size() ? proto_.output(0) : proto_.name(), getContext());
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

bool Node::isUsed(unsigned i) const {
  return i < getNumOutputs() && importer_.isUsed(proto_.output(int(i)));
}

const ImportedValue *Node::lookUp(unsigned i) const {
  if (!hasInput(i)) {
    fail("input " + Twine(i) + " is missing");
    return nullptr;
  }
  return importer_.find(getInputName(i));
}

Value Node::getInput(unsigned i) const {
  return lookUp(i) ? importer_.getValue(getInputName(i)) : Value();
}

RankedTensorType Node::getInputType(unsigned i) const {
  return lookUp(i) ? importer_.getType(getInputName(i)) : RankedTensorType();
}

const Contents *Node::getContents(unsigned i) const {
  return hasInput(i) ? importer_.getContents(getInputName(i)) : nullptr;
}

std::optional<nn::Shape> Node::getIndices(unsigned i) const {
  const Contents *contents = getContents(i);
  std::optional<nn::Shape> dims;
  if (contents)
    dims = contents->getDims();
  if (!dims)
    fail("input " + Twine(i) + " ('" + (hasInput(i) ? getInputName(i) : "") +
         "') must be known at compile time");
  return dims;
}

std::optional<nn::Shape> Node::getDims(unsigned i) const {
  std::optional<nn::Shape> dims = getIndices(i);
  if (dims && !llvm::all_of(*dims, [](nn::Dim dim) {
        return GraphBuilder::isReasonable(dim);
      })) {
    fail("input " + Twine(i) + " ('" + getInputName(i) +
         "') holds a number that is no size");
    return std::nullopt;
  }
  return dims;
}

std::optional<SmallVector<int64_t>> Node::getIntegers(unsigned i) const {
  if (!getIndices(i))
    return std::nullopt;
  std::optional<SmallVector<int64_t>> integers = getContents(i)->getIntegers();
  if (!integers)
    fail("input " + Twine(i) + " ('" + getInputName(i) +
         "') must be constant, but depends on dynamic dimensions");
  return integers;
}

std::optional<SmallVector<double>> Node::getNumbers(unsigned i) const {
  const Contents *contents = getContents(i);
  std::optional<SmallVector<double>> numbers;
  if (contents)
    numbers = contents->getNumbers();
  if (!numbers)
    fail("input " + Twine(i) + " ('" + (hasInput(i) ? getInputName(i) : "") +
         "') must be constant");
  return numbers;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

const onnx::AttributeProto *Node::findAttribute(StringRef name) const {
  for (const onnx::AttributeProto &attribute : proto_.attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

int64_t Node::getInt(StringRef name, int64_t fallback) const {
  const onnx::AttributeProto *attribute = findAttribute(name);
  if (!attribute)
    return fallback;
  if (!attribute->has_i())
    fail("attribute '" + name + "' must be an integer");
  return attribute->i();
}

float Node::getFloat(StringRef name, float fallback) const {
  const onnx::AttributeProto *attribute = findAttribute(name);
  if (!attribute)
    return fallback;
  if (!attribute->has_f())
    fail("attribute '" + name + "' must be a number");
  return attribute->f();
}

std::string Node::getString(StringRef name, StringRef fallback) const {
  const onnx::AttributeProto *attribute = findAttribute(name);
  if (!attribute)
    return fallback.str();
  if (!attribute->has_s())
    fail("attribute '" + name + "' must be a string");
  return attribute->s();
}

SmallVector<int64_t> Node::getInts(StringRef name,
                                   ArrayRef<int64_t> fallback) const {
  const onnx::AttributeProto *attribute = findAttribute(name);
  if (!attribute)
    return SmallVector<int64_t>(fallback);
  return SmallVector<int64_t>(attribute->ints().begin(),
                              attribute->ints().end());
}

int64_t Node::getAxis(StringRef name, int64_t fallback, int64_t rank) const {
  int64_t axis = getInt(name, fallback);
  std::optional<int64_t> normalized = normalizeAxis(axis, rank);
  if (!normalized)
    fail("axis " + Twine(axis) + " is none of the " + Twine(rank) + " axes");
  return normalized.value_or(0);
}

std::optional<SmallVector<int64_t>> Node::getAxes(unsigned input, int since,
                                                  int64_t rank) const {
  SmallVector<int64_t> axes;
  if (getOpset() < since) {
    if (!hasAttribute("axes"))
      return std::nullopt;
    axes = getInts("axes");
  } else {
    if (!hasInput(input))
      return std::nullopt;
    std::optional<SmallVector<int64_t>> values = getIntegers(input);
    if (!values)
      return std::nullopt;
    axes = std::move(*values);
  }
  for (int64_t &axis : axes) {
    std::optional<int64_t> normalized = normalizeAxis(axis, rank);
    if (!normalized) {
      fail("axis " + Twine(axis) + " is none of the " + Twine(rank) + " axes");
      return std::nullopt;
    }
    axis = *normalized;
  }
  SmallVector<int64_t> sorted(axes);
  llvm::sort(sorted);
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    fail("names an axis twice");
    return std::nullopt;
  }
  return axes;
}

Type Node::getTypeAttribute(StringRef name, int fallback) const {
  int64_t code = getInt(name, fallback);
  Type type = getElementType(int(code), *getContext());
  if (!type)
    fail("element type " + getTypeName(int(code)) + " is not supported");
  return type;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void Node::setResult(unsigned i, Value value) const {
  if (value && i < getNumOutputs())
    importer_.define(proto_.output(int(i)), {value, std::nullopt, nullptr});
}

void Node::setContents(unsigned i, Contents contents) const {
  if (i < getNumOutputs())
    importer_.define(proto_.output(int(i)), {{}, std::move(contents), nullptr});
}

void Node::setTensor(unsigned i, TensorBytes tensor) const {
  if (i < getNumOutputs())
    importer_.define(
        proto_.output(int(i)),
        {{}, std::nullopt, std::make_shared<TensorBytes>(std::move(tensor))});
}

void Node::forward(unsigned i, unsigned j) const {
  const ImportedValue *input = lookUp(j);
  if (!input || i >= getNumOutputs())
    return;
  // A tensor becomes one weight, under its own name.
  if (input->tensor && !input->contents)
    getInput(j);
  ImportedValue copy = *input;
  importer_.define(proto_.output(int(i)), std::move(copy));
}

llvm::Expected<TensorBytes> Node::readTensor(const onnx::TensorProto &tensor,
                                             StringRef what) const {
  return importer_.readTensor(tensor, what);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

Value Node::unary(nn::UnaryKind kind, Value x, std::optional<float> alpha,
                  std::optional<float> beta) const {
  auto attribute = [&](std::optional<float> value) {
    return value ? getBuilder().getF32FloatAttr(*value) : FloatAttr();
  };
  return create<nn::UnaryOp>(kind, x, attribute(alpha), attribute(beta));
}

Value Node::transpose(Value x, ArrayRef<int64_t> permutation) const {
  if (!x || llvm::equal(permutation,
                        llvm::seq<int64_t>(0, int64_t(permutation.size()))))
    return x;
  return create<nn::TransposeOp>(x, permutation);
}

Value Node::scalarLike(Value x, double value) const {
  if (!x)
    return {};
  Type element = cast<RankedTensorType>(x.getType()).getElementType();
  auto type = RankedTensorType::get({}, element);
  Attribute attribute =
      isa<FloatType>(element)
          ? Attribute(FloatAttr::get(element, value))
          : IntegerAttr::get(element,
                             llvm::APInt(element.getIntOrFloatBitWidth(),
                                         uint64_t(int64_t(value)),
                                         /*isSigned=*/true,
                                         /*implicitTrunc=*/true));
  return getGraph().createConstant(getLoc(),
                                   DenseElementsAttr::get(type, attribute));
}

Value Node::slice(Value x, ArrayRef<nn::Dim> starts, ArrayRef<nn::Dim> sizes,
                  ArrayRef<int64_t> steps) const {
  if (!x)
    return {};
  auto type = cast<RankedTensorType>(x.getType());
  auto result = nn::getTensorType(sizes, type.getElementType());
  bool isWhole = result == type &&
                 llvm::all_of(steps, [](int64_t step) { return step == 1; });
  if (isWhole)
    return x;
  return createTyped<nn::SliceOp>(result, x, nn::getMap(starts, getContext()),
                                  steps);
}

static Value moveChannels(const Node &node, Value x, bool last) {
  if (!x)
    return {};
  int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
  if (rank < 3)
    return node.fail("needs an input with batch, channels and at least one "
                     "spatial axis");
  SmallVector<int64_t> permutation{0};
  if (!last)
    permutation.push_back(rank - 1);
  for (int64_t axis = last ? 2 : 1; axis < (last ? rank : rank - 1); ++axis)
    permutation.push_back(axis);
  if (last)
    permutation.push_back(1);
  return node.transpose(x, permutation);
}

Value toChannelsLast(const Node &node, Value x) {
  return moveChannels(node, x, true);
}
Value toChannelsFirst(const Node &node, Value x) {
  return moveChannels(node, x, false);
}

} // namespace pare::onnximport
