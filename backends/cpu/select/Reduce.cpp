//===- Reduce.cpp - Reductions
//---------------------------------------------------===//
#include "backends/cpu/kernels/Reduce.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/select/Entries.h"

using namespace mlir;

namespace pare::cpu {

static ReduceKind kindOf(nn::ReduceKind kind) {
  switch (kind) {
  case nn::ReduceKind::sum:
    return ReduceKind::Sum;
  case nn::ReduceKind::mean:
    return ReduceKind::Mean;
  case nn::ReduceKind::max:
    return ReduceKind::Max;
  case nn::ReduceKind::min:
    return ReduceKind::Min;
  case nn::ReduceKind::prod:
    return ReduceKind::Prod;
  case nn::ReduceKind::sum_square:
    return ReduceKind::SumSquare;
  case nn::ReduceKind::l2:
    return ReduceKind::L2;
  }
  llvm_unreachable("unknown reduction");
}

static std::optional<std::string> whyNot(Operation *op, const Isa &) {
  auto reduce = dyn_cast<nn::ReduceOp>(op);
  if (!reduce)
    return "";
  Type element = getElementTypeOrSelf(reduce.getX().getType());
  if (!element.isF32() && !element.isInteger(32) && !element.isInteger(64))
    return "reductions of this element type have no kernel";
  if (isa<IntegerType>(element) && (reduce.getKind() == nn::ReduceKind::mean ||
                                    reduce.getKind() == nn::ReduceKind::l2))
    return "a mean of integers has no kernel";
  return std::nullopt;
}

static llvm::Error build(Operation *op, Selector &selector) {
  auto reduce = cast<nn::ReduceOp>(op);
  KernelCall call = beginCall(op);
  ReduceSpec spec;
  spec.kind = kindOf(reduce.getKind());
  spec.type = *getDType(getElementTypeOrSelf(reduce.getX().getType()));
  std::string signature =
      std::to_string(int(spec.kind)) + ":" + std::to_string(spec.type);
  for (auto [axis, dim] :
       llvm::enumerate(nn::getShape(reduce.getX().getType()))) {
    spec.shape.push_back(selector.extent(call, dim));
    spec.reduced.push_back(llvm::is_contained(reduce.getAxes(), int64_t(axis)));
    signature +=
        "," + spec.shape.back().str() + (spec.reduced.back() ? "r" : "");
  }
  call.inputs.push_back(selector.operand(reduce.getX()));
  addOutputs(call, op);
  call.grid = toDim(reduceGrid(spec, selector.isa()), call, op->getContext());
  call.kernel = selector.kernel("reduce", signature,
                                [&](KernelBuilder &b) { emitReduce(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getReduceEntries() {
  static const KernelEntry entries[] = {{"reduce", "generated", whyNot, build}};
  return entries;
}

} // namespace pare::cpu
