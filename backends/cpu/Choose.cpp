//===- Choose.cpp - Between the kernels of two providers ------------------===//
#include "backends/cpu/Choose.h"
#include "backends/cpu/select/Tail.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

static const char *getName(nn::ConvOp conv, int64_t taps) {
  int64_t groups = conv.getGroups();
  if (groups > 1 && nn::isConstant(shapeOf(conv.getFilter()).back(), 1))
    return "depthwise";
  return taps == 1 ? "conv1x1" : "conv";
}

std::optional<TimedOp> getTimedOp(Operation *op) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  auto conv = findAnchor<nn::ConvOp>(op);
  if (!matmul && !conv)
    return std::nullopt;
  Operation *anchor = matmul ? matmul.getOperation() : conv.getOperation();
  Value weight = anchor->getOperand(1);
  nn::Shape result = shapeOf(anchor->getResult(0));
  SmallVector<int64_t> symbols =
      nn::getTypicalSymbols(op->getParentOfType<func::FuncOp>());
  auto evaluate = [&](ArrayRef<nn::Dim> dims) {
    return nn::evaluate(nn::product(dims, op->getContext()), symbols);
  };
  TimedOp timed;
  timed.op = "matmul";
  timed.format = weight.getDefiningOp<nn::DequantizeOp>() ? "int8" : "f32";
  timed.shape.m = evaluate(ArrayRef(result).drop_back());
  timed.shape.n = evaluate(result.back());
  if (matmul) {
    timed.shape.k = evaluate(shapeOf(matmul.getLhs()).back());
    return timed;
  }
  nn::Shape filter = shapeOf(weight);
  timed.shape.k = evaluate(ArrayRef(filter).drop_front());
  timed.op = getName(conv, evaluate(ArrayRef(filter).drop_front().drop_back()));
  return timed;
}

/// Timings say no more of a kernel with other ops fused into it, and a library
/// beside the artifact has its price.
static constexpr double kMargin = 1.1;

bool prefersOneDnn(Operation *op, const SelectOptions &options,
                   std::string &reason) {
  if (options.providers == Providers::OneDnn) {
    reason = "asked for";
    return true;
  }
  std::optional<TimedOp> timed = getTimedOp(op);
  if (!timed || !options.timings) {
    reason = "no timings";
    return false;
  }
  auto estimate = [&](StringRef provider) {
    return options.timings->estimate(timed->op, timed->format, provider,
                                     timed->shape);
  };
  auto ours = estimate("generated"), theirs = estimate("onednn");
  if (!ours || !theirs) {
    reason = "no timings of both";
    return false;
  }
  reason = llvm::formatv("generated {0:f1} us, onednn {1:f1} us",
                         ours->nanoseconds * 1e-3, theirs->nanoseconds * 1e-3)
               .str();
  return theirs->nanoseconds * kMargin < ours->nanoseconds;
}

} // namespace pare::cpu
