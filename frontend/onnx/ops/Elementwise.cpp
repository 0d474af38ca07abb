//===- Elementwise.cpp - ONNX elementwise ops -----------------------------===//
#include "frontend/onnx/OpTable.h"
#include <limits>

using namespace mlir;
using pare::nn::BinaryKind;
using pare::nn::UnaryKind;

namespace pare::onnximport {
namespace {

Type getElement(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}

template <UnaryKind kind> void importUnary(const Node &node) {
  node.setResult(node.unary(kind, node.getInput(0)));
}

/// Ops with one or two parameters, by attribute name and default.
void importLeakyRelu(const Node &node) {
  node.setResult(node.unary(UnaryKind::leaky_relu, node.getInput(0),
                            node.getFloat("alpha", 0.01f)));
}
void importElu(const Node &node) {
  node.setResult(node.unary(UnaryKind::elu, node.getInput(0),
                            node.getFloat("alpha", 1.0f)));
}
void importSelu(const Node &node) {
  Value x = node.getInput(0);
  Value elu = node.unary(UnaryKind::elu, x,
                         node.getFloat("alpha", 1.67326319217681884765625f));
  float gamma = node.getFloat("gamma", 1.05070102214813232421875f);
  node.setResult(
      node.binary(BinaryKind::mul, elu, node.scalarLike(elu, gamma)));
}
void importHardSigmoid(const Node &node) {
  node.setResult(node.unary(UnaryKind::hard_sigmoid, node.getInput(0),
                            node.getFloat("alpha", 0.2f),
                            node.getFloat("beta", 0.5f)));
}
void importGelu(const Node &node) {
  bool isTanh = node.getString("approximate", "none") == "tanh";
  node.setResult(node.unary(isTanh ? UnaryKind::gelu_tanh : UnaryKind::gelu,
                            node.getInput(0)));
}
void importSoftsign(const Node &node) {
  Value x = node.getInput(0);
  Value scale = node.binary(BinaryKind::add, node.unary(UnaryKind::abs, x),
                            node.scalarLike(x, 1));
  node.setResult(node.binary(BinaryKind::div, x, scale));
}
void importMish(const Node &node) {
  Value x = node.getInput(0);
  node.setResult(node.binary(
      BinaryKind::mul, x,
      node.unary(UnaryKind::tanh, node.unary(UnaryKind::softplus, x))));
}

template <BinaryKind kind> void importBinary(const Node &node) {
  node.setResult(node.binary(kind, node.getInput(0), node.getInput(1)));
}

/// The remainder has the divisor's sign, as in Python.
void importMod(const Node &node) {
  RankedTensorType type = node.getInputType(0);
  if (type && isa<FloatType>(type.getElementType()))
    node.fail("a remainder of floating-point numbers is not supported");
  node.setResult(
      node.binary(BinaryKind::mod, node.getInput(0), node.getInput(1)));
}

/// The exponent may have another type than the base.
void importPow(const Node &node) {
  Value base = node.getInput(0), exponent = node.getInput(1);
  if (base && exponent && getElement(base) != getElement(exponent))
    exponent = node.create<nn::CastOp>(exponent, getElement(base));
  node.setResult(node.binary(BinaryKind::pow, base, exponent));
}

template <BinaryKind kind> void importVariadic(const Node &node) {
  Value result = node.getInput(0);
  for (unsigned i = 1; i < node.getNumInputs(); ++i)
    result = node.binary(kind, result, node.getInput(i));
  node.setResult(result);
}
void importMean(const Node &node) {
  Value sum = node.getInput(0);
  for (unsigned i = 1; i < node.getNumInputs(); ++i)
    sum = node.binary(BinaryKind::add, sum, node.getInput(i));
  node.setResult(node.binary(BinaryKind::div, sum,
                             node.scalarLike(sum, node.getNumInputs())));
}

/// Constant bounds of a float tensor become one clip, others max and min.
void importClip(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  bool isFloat = isa<FloatType>(getElement(x)), isConstant = isFloat;
  float low = std::numeric_limits<float>::lowest(),
        high = std::numeric_limits<float>::max();
  if (node.getOpset() < 11) {
    low = node.getFloat("min", low);
    high = node.getFloat("max", high);
  } else {
    for (unsigned i : {1u, 2u})
      isConstant &=
          !node.hasInput(i) ||
          (node.getContents(i) && node.getContents(i)->values.size() == 1 &&
           node.getContents(i)->getNumbers());
  }
  if (isConstant) {
    if (node.getOpset() >= 11) {
      if (node.hasInput(1))
        low = float(node.getNumbers(1)->front());
      if (node.hasInput(2))
        high = float(node.getNumbers(2)->front());
    }
    node.setResult(node.unary(UnaryKind::clip, x, low, high));
    return;
  }
  if (node.hasInput(1))
    x = node.binary(BinaryKind::max, x, node.getInput(1));
  if (node.hasInput(2))
    x = node.binary(BinaryKind::min, x, node.getInput(2));
  node.setResult(x);
}

void importWhere(const Node &node) {
  node.setResult(node.create<nn::SelectOp>(node.getInput(0), node.getInput(1),
                                           node.getInput(2)));
}

/// A number is true where it is not zero.
void castTo(const Node &node, Type to) {
  Value x = node.getInput(0);
  if (!x || !to)
    return;
  if (getElement(x) == to)
    return node.forward(0, 0);
  if (to.isInteger(1))
    node.setResult(
        node.unary(UnaryKind::logical_not,
                   node.binary(BinaryKind::equal, x, node.scalarLike(x, 0))));
  else
    node.setResult(node.create<nn::CastOp>(x, to));
}
void importCast(const Node &node) {
  castTo(node, node.getTypeAttribute("to", 0));
}
void importCastLike(const Node &node) {
  RankedTensorType like = node.getInputType(1);
  if (!like)
    return;
  const Contents *contents = node.getContents(0);
  std::optional<Contents> known;
  if (contents)
    known = castContents(node, *contents, like.getElementType());
  if (known)
    node.setContents(0, std::move(*known));
  else
    castTo(node, like.getElementType());
}
std::string checkCast(const onnx::NodeProto &node, int) {
  int to = int(getIntAttribute(node, "to", 0));
  bool isFloat8 = to >= onnx::TensorProto::FLOAT8E4M3FN &&
                  to <= onnx::TensorProto::FLOAT8E5M2FNUZ;
  return isSupportedType(to) && !isFloat8 ? "" : "to " + getTypeName(to);
}

void importIdentity(const Node &node) { node.forward(0, 0); }

/// In inference a dropout keeps everything; its mask says so.
void importDropout(const Node &node) {
  node.forward(0, 0);
  RankedTensorType type = node.getInputType(0);
  if (!type || !node.isUsed(1))
    return;
  Value yes = node.getGraph().createConstant(
      node.getLoc(),
      DenseElementsAttr::get(
          RankedTensorType::get({}, node.getBuilder().getI1Type()), true));
  node.setResult(1, node.createTyped<nn::ExpandOp>(
                        nn::getTensorType(nn::getShape(type),
                                          node.getBuilder().getI1Type()),
                        yes));
}

std::string checkDropout(const onnx::NodeProto &node, int) {
  return node.input_size() > 2 && !node.input(2).empty() ? "training mode" : "";
}
std::string checkMod(const onnx::NodeProto &node, int) {
  return getIntAttribute(node, "fmod", 0) ? "fmod" : "";
}

const OpEntry ops[] = {
    {"Abs", importUnary<UnaryKind::abs>},
    {"Add", importBinary<BinaryKind::add>},
    {"And", importBinary<BinaryKind::logical_and>},
    {"Cast", importCast, checkCast},
    {"CastLike", importCastLike, nullptr, 15},
    {"Ceil", importUnary<UnaryKind::ceil>},
    {"Clip", importClip},
    {"Cos", importUnary<UnaryKind::cos>},
    {"Div", importBinary<BinaryKind::div>},
    {"Dropout", importDropout, checkDropout},
    {"Elu", importElu},
    {"Equal", importBinary<BinaryKind::equal>},
    {"Erf", importUnary<UnaryKind::erf>},
    {"Exp", importUnary<UnaryKind::exp>},
    {"Floor", importUnary<UnaryKind::floor>},
    {"Gelu", importGelu, nullptr, 20},
    {"Greater", importBinary<BinaryKind::greater>},
    {"GreaterOrEqual", importBinary<BinaryKind::greater_equal>, nullptr, 12},
    {"HardSigmoid", importHardSigmoid},
    {"HardSwish", importUnary<UnaryKind::hard_swish>, nullptr, 14},
    {"Identity", importIdentity},
    {"LeakyRelu", importLeakyRelu},
    {"Less", importBinary<BinaryKind::less>},
    {"LessOrEqual", importBinary<BinaryKind::less_equal>, nullptr, 12},
    {"Log", importUnary<UnaryKind::log>},
    {"Max", importVariadic<BinaryKind::max>},
    {"Mean", importMean},
    {"Min", importVariadic<BinaryKind::min>},
    {"Mish", importMish, nullptr, 18},
    {"Mod", importMod, checkMod},
    {"Mul", importBinary<BinaryKind::mul>},
    {"Neg", importUnary<UnaryKind::neg>},
    {"Not", importUnary<UnaryKind::logical_not>},
    {"Or", importBinary<BinaryKind::logical_or>},
    {"PRelu", importBinary<BinaryKind::prelu>},
    {"Pow", importPow},
    {"Reciprocal", importUnary<UnaryKind::reciprocal>},
    {"Relu", importUnary<UnaryKind::relu>},
    {"Round", importUnary<UnaryKind::round>},
    {"Selu", importSelu},
    {"Sigmoid", importUnary<UnaryKind::sigmoid>},
    {"Sign", importUnary<UnaryKind::sign>},
    {"Sin", importUnary<UnaryKind::sin>},
    {"Softplus", importUnary<UnaryKind::softplus>},
    {"Softsign", importSoftsign},
    {"Sqrt", importUnary<UnaryKind::sqrt>},
    {"Sub", importBinary<BinaryKind::sub>},
    {"Sum", importVariadic<BinaryKind::add>},
    {"Tanh", importUnary<UnaryKind::tanh>},
    {"Where", importWhere},
    {"Xor", importBinary<BinaryKind::logical_xor>},
};

} // namespace

ArrayRef<OpEntry> getElementwiseOps() { return ops; }

} // namespace pare::onnximport
