//===- Epilogue.cpp - What oneDNN does after a product --------------------===//
#include "backends/cpu/onednn/Epilogue.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"
#include <limits>

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

static std::optional<Epilogue::Post> getPost(nn::UnaryOp op) {
  auto alpha = [&](double otherwise) {
    return float(op.getAlpha() ? op.getAlpha()->convertToDouble() : otherwise);
  };
  auto beta = [&](double otherwise) {
    return float(op.getBeta() ? op.getBeta()->convertToDouble() : otherwise);
  };
  constexpr float infinity = std::numeric_limits<float>::infinity();
  switch (op.getKind()) {
  case nn::UnaryKind::relu:
    return Epilogue::Post{PARE_ONEDNN_RELU};
  case nn::UnaryKind::leaky_relu:
    return Epilogue::Post{PARE_ONEDNN_RELU, alpha(0.01)};
  case nn::UnaryKind::elu:
    return Epilogue::Post{PARE_ONEDNN_ELU, alpha(1)};
  case nn::UnaryKind::gelu:
    return Epilogue::Post{PARE_ONEDNN_GELU};
  case nn::UnaryKind::gelu_tanh:
    return Epilogue::Post{PARE_ONEDNN_GELU_TANH};
  case nn::UnaryKind::tanh:
    return Epilogue::Post{PARE_ONEDNN_TANH};
  case nn::UnaryKind::sigmoid:
    return Epilogue::Post{PARE_ONEDNN_SIGMOID};
  case nn::UnaryKind::silu:
    return Epilogue::Post{PARE_ONEDNN_SILU};
  case nn::UnaryKind::hard_sigmoid:
    return Epilogue::Post{PARE_ONEDNN_HARD_SIGMOID, alpha(0.2), beta(0.5)};
  case nn::UnaryKind::hard_swish:
    return Epilogue::Post{PARE_ONEDNN_HARD_SWISH, 1.0f / 6, 0.5f};
  case nn::UnaryKind::clip:
    return Epilogue::Post{PARE_ONEDNN_CLIP, alpha(-infinity), beta(infinity)};
  case nn::UnaryKind::neg:
    return Epilogue::Post{PARE_ONEDNN_LINEAR, -1, 0};
  default:
    return std::nullopt;
  }
}

/// v + c, v - c, c - v, v * c.
static std::optional<Epilogue::Post> getLinear(nn::BinaryKind kind,
                                               float constant, bool isLeft) {
  switch (kind) {
  case nn::BinaryKind::add:
    return Epilogue::Post{PARE_ONEDNN_LINEAR, 1, constant};
  case nn::BinaryKind::sub:
    return isLeft ? Epilogue::Post{PARE_ONEDNN_LINEAR, 1, -constant}
                  : Epilogue::Post{PARE_ONEDNN_LINEAR, -1, constant};
  case nn::BinaryKind::mul:
    return Epilogue::Post{PARE_ONEDNN_LINEAR, constant, 0};
  default:
    return std::nullopt;
  }
}

static std::optional<PareOneDnnPost> getBinary(nn::BinaryKind kind,
                                               bool isLeft) {
  switch (kind) {
  case nn::BinaryKind::add:
    return PARE_ONEDNN_ADD;
  case nn::BinaryKind::mul:
    return PARE_ONEDNN_MUL;
  case nn::BinaryKind::sub:
    return isLeft ? std::optional(PARE_ONEDNN_SUB) : std::nullopt;
  default:
    return std::nullopt;
  }
}

/// Whether a value has one number per column of a result of shape `space`.
static bool isPerColumn(Value value, const nn::Shape &space) {
  nn::Shape shape = shapeOf(value);
  return !shape.empty() && shape.back() == space.back() &&
         llvm::all_of(ArrayRef(shape).drop_back(),
                      [](nn::Dim dim) { return nn::isConstant(dim, 1); });
}

/// Appends `op`, which reads `value`; false where there is no such post.
static bool append(Epilogue &epilogue, nn::BinaryOp op, Value value) {
  bool isLeft = op.getLhs() == value;
  Value other = isLeft ? op.getRhs() : op.getLhs();
  if (other == value || (!isLeft && op.getRhs() != value) ||
      !getElementTypeOrSelf(other.getType()).isF32())
    return false;
  if (std::optional<double> constant = getLiteral(nn::getOuterValue(other))) {
    auto post = getLinear(op.getKind(), *constant, isLeft);
    if (!post)
      return false;
    // v * a + b is one post.
    if (!epilogue.posts.empty() && post->alpha == 1 &&
        epilogue.posts.back().kind == PARE_ONEDNN_LINEAR)
      epilogue.posts.back().beta += post->beta;
    else
      epilogue.posts.push_back(*post);
    return true;
  }
  auto kind = getBinary(op.getKind(), isLeft);
  bool isWhole = other.getType() == value.getType(),
       isColumns = isPerColumn(other, shapeOf(value));
  if (!kind || (!isWhole && !isColumns))
    return false;
  if (*kind == PARE_ONEDNN_ADD && isColumns && isConstant(other) &&
      !epilogue.bias && epilogue.posts.empty()) {
    epilogue.bias = other;
    return true;
  }
  epilogue.posts.push_back({*kind, isWhole ? 0.0f : 1.0f});
  epilogue.operands.push_back(other);
  return true;
}

std::optional<Epilogue> matchEpilogue(Operation *op, Operation *anchor,
                                      std::string &why) {
  auto fail = [&](const Twine &reason) {
    why = reason.str();
    return std::nullopt;
  };
  if (op->getNumResults() != 1 ||
      !getElementTypeOrSelf(op->getResult(0).getType()).isF32())
    return fail("its group has not one f32 result");
  Epilogue epilogue;
  Value value = anchor->getResult(0);
  SmallVector<Operation *> group = getGroup(op);
  for (Operation *member :
       ArrayRef(llvm::find(group, anchor) + 1, group.end())) {
    bool isChain = member->getNumResults() == 1 && value.hasOneUse() &&
                   member->getResult(0).getType() == value.getType();
    bool matches = false;
    if (auto unary = dyn_cast<nn::UnaryOp>(member); isChain && unary) {
      std::optional<Epilogue::Post> post = getPost(unary);
      if (post && unary.getX() == value) {
        epilogue.posts.push_back(*post);
        matches = true;
      }
    } else if (auto binary = dyn_cast<nn::BinaryOp>(member);
               isChain && binary) {
      matches = append(epilogue, binary, value);
    }
    if (!matches)
      return fail("no post-op for '" + member->getName().getStringRef() +
                  "' here");
    value = member->getResult(0);
  }
  if (auto fused = dyn_cast<nn::FusedOp>(op))
    if (fused.getBody().front().getTerminator()->getOperand(0) != value)
      return fail("its group has not one f32 result");
  if (epilogue.posts.size() > PARE_ONEDNN_MAX_POSTS)
    return fail("too many post-ops");
  return epilogue;
}

void Epilogue::addTo(KernelCall &call, Selector &selector) const {
  MLIRContext *context = call.source->getContext();
  auto bits = [&](float value) {
    return nn::constant(llvm::bit_cast<int32_t>(value), context);
  };
  for (Post post : posts)
    llvm::append_values(call.dims, nn::constant(post.kind, context),
                        bits(post.alpha), bits(post.beta));
  if (bias)
    call.inputs.push_back(selector.operand(nn::getOuterValue(bias)));
  for (Value operand : operands)
    call.inputs.push_back(selector.operand(nn::getOuterValue(operand)));
}

} // namespace pare::cpu
