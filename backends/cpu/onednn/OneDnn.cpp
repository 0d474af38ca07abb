//===- OneDnn.cpp - oneDNN in the selection table -------------------------===//
#include "backends/cpu/onednn/OneDnn.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"
#include "backends/runtime/onednn/Shim.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

namespace {
/// activation(x * w + bias) + addend.
struct WeightProduct {
  nn::MatMulOp matmul;
  Value bias, addend; ///< may be null
  PareOneDnnActivation activation = PARE_ONEDNN_NONE;
};
} // namespace

static std::optional<PareOneDnnActivation> getActivation(nn::UnaryKind kind) {
  switch (kind) {
  case nn::UnaryKind::relu:
    return PARE_ONEDNN_RELU;
  case nn::UnaryKind::gelu:
    return PARE_ONEDNN_GELU;
  case nn::UnaryKind::gelu_tanh:
    return PARE_ONEDNN_GELU_TANH;
  case nn::UnaryKind::tanh:
    return PARE_ONEDNN_TANH;
  case nn::UnaryKind::sigmoid:
    return PARE_ONEDNN_SIGMOID;
  case nn::UnaryKind::silu:
    return PARE_ONEDNN_SILU;
  default:
    return std::nullopt;
  }
}

/// The group as one call of the shim; nullopt where it is none.
static std::optional<WeightProduct> matchProduct(Operation *op) {
  SmallVector<Operation *> group = getGroup(op);
  WeightProduct product;
  product.matmul = dyn_cast<nn::MatMulOp>(group.front());
  if (!product.matmul || op->getNumResults() != 1)
    return std::nullopt;
  Value rhs = product.matmul.getRhs(), value = product.matmul.getResult();
  if (!nn::getWeight(rhs) || shapeOf(rhs).size() != 2 ||
      !getElementTypeOrSelf(product.matmul.getLhs()).isF32() ||
      !getElementTypeOrSelf(rhs).isF32())
    return std::nullopt;
  Type type = value.getType();
  nn::Shape bias = {shapeOf(value).back()};
  for (Operation *member : ArrayRef(group).drop_front()) {
    if (member->getNumResults() != 1 ||
        member->getResult(0).getType() != type || !value.hasOneUse() ||
        product.addend)
      return std::nullopt;
    if (auto unary = dyn_cast<nn::UnaryOp>(member)) {
      auto activation = getActivation(unary.getKind());
      if (!activation || product.activation || unary.getX() != value)
        return std::nullopt;
      product.activation = *activation;
    } else if (auto binary = dyn_cast<nn::BinaryOp>(member)) {
      bool isLeft = binary.getLhs() == value;
      Value other = isLeft ? binary.getRhs() : binary.getLhs();
      if (binary.getKind() != nn::BinaryKind::add || other == value ||
          (!isLeft && binary.getRhs() != value))
        return std::nullopt;
      if (nn::getWeight(other) && shapeOf(other) == bias && !product.bias &&
          !product.activation)
        product.bias = other;
      else if (other.getType() == type && !isConstant(other))
        product.addend = other;
      else
        return std::nullopt;
    } else {
      return std::nullopt;
    }
    value = member->getResult(0);
  }
  if (auto fused = dyn_cast<nn::FusedOp>(op))
    if (fused.getBody().front().getTerminator()->getOperand(0) != value)
      return std::nullopt;
  return product;
}

static std::optional<std::string> whyNot(Operation *op, const Isa &isa) {
  return isa.isX86() && matchProduct(op) ? std::nullopt
                                         : std::optional<std::string>("");
}

/// Rows of a task: enough for oneDNN's tiles, and two tasks for two threads
/// where the product is known to be small.
static int64_t chooseRows(nn::Dim m) {
  std::optional<int64_t> rows = nn::getConstant(m);
  return rows && *rows <= 32 ? 16 : 32;
}

static llvm::Error build(Operation *op, Selector &selector) {
  WeightProduct product = *matchProduct(op);
  MLIRContext *context = op->getContext();
  auto constant = [&](int64_t value) { return nn::constant(value, context); };
  KernelCall call = beginCall(op);
  call.provider = "onednn";
  call.kernel = "pare_onednn_product";
  call.state = "pare_onednn_product_state";
  nn::Shape lhs = shapeOf(product.matmul.getLhs());
  nn::Dim m = nn::product(ArrayRef(lhs).drop_back(), context);
  int64_t rows = chooseRows(m);
  int64_t flags =
      (product.matmul.getTransposeRhs() ? PARE_ONEDNN_TRANSPOSED : 0) |
      (product.bias ? PARE_ONEDNN_BIAS : 0) |
      (product.addend ? PARE_ONEDNN_ADDEND : 0);
  call.dims.resize(PARE_ONEDNN_NUM_DIMS);
  call.dims[PARE_ONEDNN_M] = m;
  call.dims[PARE_ONEDNN_N] = shapeOf(product.matmul.getResult()).back();
  call.dims[PARE_ONEDNN_K] = lhs.back();
  call.dims[PARE_ONEDNN_ROWS] = constant(rows);
  call.dims[PARE_ONEDNN_FLAGS] = constant(flags);
  call.dims[PARE_ONEDNN_ACTIVATION] = constant(product.activation);
  call.inputs = {selector.operand(product.matmul.getLhs()),
                 selector.operand(product.matmul.getRhs())};
  for (Value value : {product.bias, product.addend})
    if (value)
      call.inputs.push_back(selector.operand(value));
  addOutputs(call, op);
  call.grid = m.ceilDiv(rows);
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getOneDnnEntries() {
  static const KernelEntry entries[] = {
      {"matmul-f32", "onednn", whyNot, build},
  };
  return entries;
}

} // namespace pare::cpu
