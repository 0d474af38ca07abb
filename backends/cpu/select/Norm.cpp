//===- Norm.cpp - Normalizations and softmax
//---------------------------------===//
#include "backends/cpu/kernels/Norm.h"
#include "backends/cpu/kernels/Softmax.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

namespace {
/// A group around a normalization: [residual add] → norm → [dynamic_quantize],
/// yielding any of the sum, the normalized rows, their codes and row scales.
struct NormGroup {
  Operation *norm = nullptr;
  nn::BinaryOp residual;
  nn::DynamicQuantizeOp quantize;
  std::string why;

  explicit NormGroup(Operation *op) {
    SmallVector<Operation *> group = getGroup(op);
    for (Operation *member : group)
      if (isa<nn::LayerNormOp, nn::RmsNormOp>(member))
        norm = member;
    if (!norm)
      return;
    for (Operation *member : group) {
      auto binary = dyn_cast<nn::BinaryOp>(member);
      if (member == norm)
        continue;
      if (binary && binary.getKind() == nn::BinaryKind::add &&
          norm->getOperand(0) == binary.getResult() &&
          binary.getLhs().getType() == binary.getRhs().getType())
        residual = binary;
      else if (auto codes = dyn_cast<nn::DynamicQuantizeOp>(member);
               codes && codes.getX() == norm->getResult(0) && !codes.getGroup())
        quantize = codes;
      else
        why = "a normalization's group holds '" +
              member->getName().getStringRef().str() +
              "', which its kernel does not compute";
    }
    if (!cast<RankedTensorType>(norm->getOperand(0).getType())
             .getElementType()
             .isF32())
      why = "only f32 normalizations have a kernel";
  }
};
} // namespace

static std::optional<std::string> whyNotNorm(Operation *op, const Isa &) {
  NormGroup group(op);
  if (!group.norm)
    return "";
  return group.why.empty() ? std::nullopt : std::optional(group.why);
}

static llvm::Error buildNorm(Operation *op, Selector &selector) {
  NormGroup group(op);
  KernelCall call = beginCall(op);
  MLIRContext *context = op->getContext();
  nn::Shape shape = shapeOf(group.norm->getResult(0));
  nn::Dim rows = nn::product(ArrayRef(shape).drop_back(), context);
  NormSpec spec;
  spec.rows = selector.extent(call, rows);
  spec.columns = selector.extent(call, shape.back());
  auto input = [&](Value value) {
    call.inputs.push_back(selector.operand(nn::getOuterValue(value)));
    return unsigned(call.inputs.size() - 1);
  };
  if (group.residual) {
    spec.ptrX = input(group.residual.getLhs());
    spec.ptrResidual = input(group.residual.getRhs());
  } else {
    spec.ptrX = input(group.norm->getOperand(0));
  }
  if (auto layer = dyn_cast<nn::LayerNormOp>(group.norm)) {
    spec.epsilon = layer.getEpsilon().convertToFloat();
    if (layer.getScale())
      spec.ptrScale = input(layer.getScale());
    if (layer.getBias())
      spec.ptrBias = input(layer.getBias());
  } else {
    auto rms = cast<nn::RmsNormOp>(group.norm);
    spec.rms = true;
    spec.epsilon = rms.getEpsilon().convertToFloat();
    if (rms.getScale())
      spec.ptrScale = input(rms.getScale());
  }
  addOutputs(call, op);
  auto fused = dyn_cast<nn::FusedOp>(op);
  for (unsigned i = 0; i < op->getNumResults(); ++i) {
    Value yielded = fused
                        ? fused.getBody().front().getTerminator()->getOperand(i)
                        : op->getResult(i);
    unsigned ptr = call.inputs.size() + i;
    if (yielded == group.norm->getResult(0))
      spec.ptrOut = ptr;
    else if (group.residual && yielded == group.residual.getResult())
      spec.ptrSum = ptr;
    else if (group.quantize && yielded == group.quantize.getResult())
      spec.ptrCodes = ptr;
    else if (group.quantize && yielded == group.quantize.getZeroPoints())
      spec.ptrRowZero = ptr;
    else
      spec.ptrRowScale = ptr;
  }
  if (spec.ptrOut)
    for (unsigned in = 0; in < (group.residual ? 2u : 1u); ++in)
      if (call.inputs[in].value && !spec.ptrSum)
        call.inPlace.push_back(
            {*spec.ptrOut - unsigned(call.inputs.size()), in});

  call.grid = toDim(normGrid(spec), call, context);
  call.scratchBytes = toDim(normScratchBytes(spec), call, context);
  std::string signature;
  auto ptr = [](std::optional<unsigned> p) {
    return p ? std::to_string(*p) : std::string("-");
  };
  llvm::raw_string_ostream(signature)
      << spec.rows.str() << " " << spec.columns.str() << " " << spec.rms << " "
      << llvm::format("%a", double(spec.epsilon)) << " "
      << ptr(spec.ptrResidual) << ptr(spec.ptrSum) << ptr(spec.ptrScale)
      << ptr(spec.ptrBias) << ptr(spec.ptrOut) << ptr(spec.ptrCodes)
      << ptr(spec.ptrRowScale) << ptr(spec.ptrRowZero);
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitNorm(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

static std::optional<std::string> whyNotSoftmax(Operation *op, const Isa &) {
  auto softmax = dyn_cast<nn::SoftmaxOp>(op);
  if (!softmax)
    return "";
  if (!getElementTypeOrSelf(softmax.getX().getType()).isF32())
    return "only f32 softmax has a kernel";
  return std::nullopt;
}

static llvm::Error buildSoftmax(Operation *op, Selector &selector) {
  auto softmax = cast<nn::SoftmaxOp>(op);
  KernelCall call = beginCall(op);
  SoftmaxSpec spec;
  std::string signature;
  for (nn::Dim dim : shapeOf(softmax.getX())) {
    spec.shape.push_back(selector.extent(call, dim));
    signature += spec.shape.back().str() + ",";
  }
  spec.axis = softmax.getAxis();
  spec.log = softmax.getLog();
  call.inputs.push_back(selector.operand(softmax.getX()));
  addOutputs(call, op);
  call.inPlace.push_back({0, 0});
  call.grid = toDim(softmaxGrid(spec, selector.isa()), call, op->getContext());
  signature += "axis" + std::to_string(spec.axis) + (spec.log ? "log" : "");
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitSoftmax(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getNormEntries() {
  static const KernelEntry entries[] = {
      {"norm", "generated", whyNotNorm, buildNorm},
      {"softmax", "generated", whyNotSoftmax, buildSoftmax},
  };
  return entries;
}

} // namespace pare::cpu
