//===- Shape.cpp - ONNX constants, shapes and ranges ----------------------===//
#include "frontend/onnx/OpTable.h"
#include <cmath>

using namespace mlir;

namespace pare::onnximport {
namespace {

/// A Constant's value from whichever attribute holds it.
void importConstant(const Node &node) {
  MLIRContext *context = node.getContext();
  Builder b(context);
  auto integers = [&](ArrayRef<int64_t> values, ArrayRef<int64_t> shape) {
    Contents contents{b.getI64Type(), SmallVector<int64_t>(shape), {}};
    for (int64_t value : values)
      contents.values.push_back(Element::of(node.dim(value)));
    node.setContents(0, std::move(contents));
  };
  auto floats = [&](ArrayRef<float> values, ArrayRef<int64_t> shape) {
    Contents contents{b.getF32Type(), SmallVector<int64_t>(shape), {}};
    for (float value : values)
      contents.values.push_back(Element::of(double(value)));
    node.setContents(0, std::move(contents));
  };
  if (const onnx::AttributeProto *value = node.findAttribute("value")) {
    llvm::Expected<TensorBytes> tensor =
        node.readTensor(value->t(), "its value");
    if (!tensor)
      node.fail(llvm::toString(tensor.takeError()));
    else
      node.setTensor(0, std::move(*tensor));
  } else if (node.hasAttribute("value_int")) {
    integers({node.getInt("value_int", 0)}, {});
  } else if (node.hasAttribute("value_ints")) {
    SmallVector<int64_t> values = node.getInts("value_ints");
    integers(values, {int64_t(values.size())});
  } else if (node.hasAttribute("value_float")) {
    floats({node.getFloat("value_float", 0)}, {});
  } else if (const auto *value = node.findAttribute("value_floats")) {
    SmallVector<float> values(value->floats().begin(), value->floats().end());
    floats(values, {int64_t(values.size())});
  } else {
    node.fail("has no value");
  }
}

std::string checkConstant(const onnx::NodeProto &node, int) {
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    if (attribute.name() == "value")
      return isSupportedType(attribute.t().data_type())
                 ? ""
                 : getTypeName(attribute.t().data_type());
    if (attribute.name() == "sparse_value" ||
        attribute.name().starts_with("value_string"))
      return attribute.name();
  }
  return "";
}

/// One value under a shape: elements where it is small, else an expansion.
void importConstantOfShape(const Node &node) {
  std::optional<nn::Shape> shape = node.getDims(0);
  if (!shape)
    return;
  TensorBytes value;
  value.type = RankedTensorType::get({}, node.getBuilder().getF32Type());
  value.owned.assign(4, 0);
  if (const onnx::AttributeProto *attribute = node.findAttribute("value")) {
    llvm::Expected<TensorBytes> tensor =
        node.readTensor(attribute->t(), "its value");
    if (!tensor) {
      node.fail(llvm::toString(tensor.takeError()));
      return;
    }
    if (tensor->type.getNumElements() != 1) {
      node.fail("its value must have one element");
      return;
    }
    value = std::move(*tensor);
  }
  Type element = value.type.getElementType();
  RankedTensorType type = nn::getTensorType(*shape, element);
  if (llvm::any_of(*shape,
                   [&](nn::Dim dim) {
                     return node.getGraph().getRange(dim).first < 0;
                   }) ||
      !GraphBuilder::isReasonable(type)) {
    node.fail("has a negative or too large dimension");
    return;
  }
  TensorData data{value.type, value.bytes()};
  auto integer = dyn_cast<IntegerType>(element);
  bool isExact = integer && integer.getWidth() <= 32;
  if (type.hasStaticShape() && type.getNumElements() <= kMaxKnownFloats &&
      canBeKnown(element)) {
    // 64-bit values that a double cannot hold are no shapes.
    double number = data.get(0);
    if (isExact || !integer || std::abs(number) < 0x1p53) {
      Contents contents{element, SmallVector<int64_t>(type.getShape()), {}};
      contents.values.assign(type.getNumElements(),
                             integer ? Element::of(node.dim(int64_t(number)))
                                     : Element::of(number));
      node.setContents(0, std::move(contents));
      return;
    }
  }
  ArrayRef<uint8_t> bytes = value.bytes();
  auto scalarType = RankedTensorType::get({}, element);
  DenseElementsAttr attribute =
      element.isInteger(1)
          ? DenseElementsAttr::get(scalarType, bytes[0] != 0)
          : DenseElementsAttr::getFromRawBuffer(
                scalarType,
                ArrayRef(reinterpret_cast<const char *>(bytes.data()),
                         bytes.size()));
  Value scalar = node.getGraph().createConstant(node.getLoc(), attribute);
  node.setResult(node.createTyped<nn::ExpandOp>(type, scalar));
}

/// Dimensions [start, end) of the input (attributes from opset 15 on).
void importShape(const Node &node) {
  RankedTensorType type = node.getInputType(0);
  if (!type)
    return;
  nn::Shape shape = nn::getShape(type);
  int64_t rank = int64_t(shape.size());
  auto clamp = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  int64_t start = clamp(node.getInt("start", 0)),
          end = clamp(node.getInt("end", rank));
  Contents contents{
      node.getBuilder().getI64Type(), {std::max<int64_t>(end - start, 0)}, {}};
  for (int64_t axis = start; axis < end; ++axis)
    contents.values.push_back(Element::of(shape[axis]));
  node.setContents(0, std::move(contents));
}

void importSize(const Node &node) {
  if (RankedTensorType type = node.getInputType(0))
    node.setContents(
        0, {node.getBuilder().getI64Type(),
            {},
            {Element::of(nn::product(nn::getShape(type), node.getContext()))}});
}

constexpr int64_t kMaxRange = 1 << 20;

/// `count` elements from `start` on, in steps, as a weight under the node's
/// name.
Value makeRange(const Node &node, Type element, double start, double step,
                int64_t count) {
  std::vector<uint8_t> bytes;
  auto floating = dyn_cast<FloatType>(element);
  for (int64_t i = 0; i < count; ++i) {
    double value = start + double(i) * step;
    uint64_t bits =
        floating ? roundTo(value, floating).bitcastToAPInt().getZExtValue()
                 : uint64_t(int64_t(value));
    for (unsigned b = 0; b < nn::getElementBytes(element); ++b)
      bytes.push_back(uint8_t(bits >> (8 * b)));
  }
  return node.getGraph().createParam(node.getGraph().getStore().addOwned(
      cast<NameLoc>(node.getLoc()).getName(),
      RankedTensorType::get({count}, element), std::move(bytes)));
}

/// A range of constants is a weight; one whose length is dynamic is a slice of
/// the longest.
void importRange(const Node &node) {
  RankedTensorType type = node.getInputType(0);
  const Contents *known[3];
  for (unsigned i = 0; i < 3; ++i) {
    known[i] = node.getContents(i);
    if (!known[i] || known[i]->values.size() != 1)
      return (void)node.fail("its bounds must be known at compile time");
  }
  std::optional<double> start = known[0]->values[0].getNumber(),
                        limit = known[1]->values[0].getNumber(),
                        step = known[2]->values[0].getNumber();
  for (std::optional<double> value : {start, limit, step})
    if (value && !(std::abs(*value) < 0x1p53))
      return (void)node.fail("has a bound that is no number of elements");
  if (start && limit && step) {
    double count = std::ceil((*limit - *start) / *step);
    if (!(count <= double(kMaxRange)))
      return (void)node.fail("it is longer than " + Twine(kMaxRange));
    return node.setResult(makeRange(node, type.getElementType(), *start, *step,
                                    std::max<int64_t>(int64_t(count), 0)));
  }
  std::optional<nn::Shape> last = known[1]->getDims();
  if (!start || step != 1.0 || !last)
    return (void)node.fail(
        "a dynamic range must count up by one from a constant");
  nn::Dim length = nn::simplify(last->front() - int64_t(*start));
  auto [low, high] = node.getGraph().getRange(length);
  if (low < 0 || high > kMaxRange)
    return (void)node.fail("its length is not between 0 and " +
                           Twine(kMaxRange));
  node.setResult(
      node.slice(makeRange(node, type.getElementType(), *start, 1, high),
                 {node.dim(0)}, {length}, {1}));
}

const OpEntry ops[] = {
    {"Constant", importConstant, checkConstant},
    {"ConstantOfShape", importConstantOfShape},
    {"Range", importRange, nullptr, 11},
    {"Shape", importShape},
    {"Size", importSize},
};

} // namespace

ArrayRef<OpEntry> getShapeOps() { return ops; }

} // namespace pare::onnximport
