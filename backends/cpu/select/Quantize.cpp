//===- Quantize.cpp - Codes of activations
//------------------------------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static std::optional<std::string> whyNotRows(Operation *op, const Isa &) {
  auto quantize = dyn_cast<nn::DynamicQuantizeOp>(op);
  if (!quantize || quantize.getGroup())
    return "";
  if (!getElementTypeOrSelf(quantize.getX().getType()).isF32())
    return "only f32 rows have a quantizer";
  return std::nullopt;
}

static llvm::Error buildRows(Operation *op, Selector &selector) {
  auto quantize = cast<nn::DynamicQuantizeOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape shape = nn::getShape(quantize.getX().getType());
  nn::Dim rows = nn::product(ArrayRef(shape).drop_back(), op->getContext());
  QuantizeRowsSpec spec;
  spec.m = selector.extent(call, rows);
  spec.k = spec.ldx = selector.extent(call, shape.back());
  call.inputs.push_back(selector.operand(quantize.getX()));
  addOutputs(call, op);
  if (quantize.getAsymmetric())
    spec.ptrZero = 3;
  call.grid = rows.ceilDiv(quantizeRowsPerTask(spec));
  call.kernel = selector.kernel(
      "quantize_rows",
      spec.m.str() + " " + spec.k.str() + (spec.ptrZero ? " asymmetric" : ""),
      [&](KernelBuilder &b) { emitQuantizeRows(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getQuantizeEntries() {
  static const KernelEntry entries[] = {
      {"quantize-rows", "generated", whyNotRows, buildRows}};
  return entries;
}

} // namespace pare::cpu
