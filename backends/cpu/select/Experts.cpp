//===- Experts.cpp - Mixture of experts -----------------------------------===//
#include "backends/cpu/kernels/Experts.h"
#include "backends/cpu/DType.h"
#include "backends/cpu/kernels/Pack.h"
#include "backends/cpu/select/Blocks.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotRoute(Operation *op, const Isa &) {
  if (isa<nn::RouteOp>(op))
    return std::nullopt;
  return "";
}

static llvm::Error buildRoute(Operation *op, Selector &selector) {
  auto route = cast<nn::RouteOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape logits = shapeOf(route.getLogits());
  RouteSpec spec;
  spec.rows = selector.extent(call, logits[0]);
  spec.experts = *nn::getConstant(logits[1]);
  spec.used = route.getUsed();
  spec.normalize = route.getNormalize();
  call.inputs.push_back(selector.operand(route.getLogits()));
  addOutputs(call, op);
  call.grid = toDim(routeGrid(spec), call, op->getContext());
  call.scratchBytes = nn::constant(routeScratchBytes(spec), op->getContext());
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.rows.str() << "," << spec.experts << "," << spec.used << ","
      << spec.normalize;
  call.kernel = selector.kernel(call.op, signature,
                                [&](KernelBuilder &b) { emitRoute(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

static std::optional<std::string> whyNotGroup(Operation *op, const Isa &) {
  if (isa<nn::GroupByExpertOp>(op))
    return std::nullopt;
  return "";
}

static llvm::Error buildGroup(Operation *op, Selector &selector) {
  auto group = cast<nn::GroupByExpertOp>(op);
  KernelCall call = beginCall(op);
  MLIRContext *context = op->getContext();
  GroupByExpertSpec spec;
  spec.slots =
      selector.extent(call, nn::product(shapeOf(group.getExperts()), context));
  spec.experts = group.getCount();
  call.inputs.push_back(selector.operand(group.getExperts()));
  addOutputs(call, op);
  call.grid = nn::constant(1, context);
  call.scratchBytes = nn::constant(groupByExpertScratchBytes(spec), context);
  call.kernel = selector.kernel(
      call.op, spec.slots.str() + "," + std::to_string(spec.experts),
      [&](KernelBuilder &b) { emitGroupByExpert(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The element type of weights that are not in blocks, as kernels take it.
static std::optional<PareDType> getPlainType(Value weights) {
  std::optional<PareDType> type =
      getDType(getElementTypeOrSelf(weights.getType()));
  if (type != PARE_F32 && type != PARE_F16 && type != PARE_BF16)
    return std::nullopt;
  return type;
}

static std::optional<std::string> whyNotProduct(Operation *op, const Isa &) {
  auto product = findAnchor<nn::ExpertMatMulOp>(op);
  if (!product)
    return "";
  if (!nn::getWeight(product.getWeights()))
    return "experts whose matrices are computed have no kernel";
  const BlockFormat *format = getBlockFormat(product.getWeights());
  if (!format && !getPlainType(product.getWeights()))
    return "experts of this element type have no kernel";
  return whyNoProduct(op, product, format);
}

/// Adds the experts' matrices, packed one after the other.
static Operand packExperts(Value value, const BlockGemmSpec &spec,
                           Selector &selector) {
  nn::WeightOp weight = nn::getWeight(value);
  TensorData data = *selector.constantData(value);
  int64_t count = spec.experts->count, n = spec.n, k = spec.k;
  uint64_t bytes = uint64_t(packedBytes(spec));
  auto write = [=, each = bytes / uint64_t(count),
                plain = spec.plain](MutableArrayRef<uint8_t> out) {
    for (int64_t i = 0; i < count; ++i) {
      TensorData expert = data.at(i);
      MutableArrayRef<uint8_t> to = out.slice(uint64_t(i) * each, each);
      if (expert.storage)
        packBlocks(*expert.storage, expert.bytes, n, k, to);
      else
        packElements(expert.bytes, n, k, elementBytes(plain), to);
    }
  };
  return selector.pack({("experts:" + weight.getSymName()).str(),
                        weight.getSource().value_or(weight.getSymName()).str(),
                        bytes, write});
}

static llvm::Error buildProduct(Operation *op, Selector &selector) {
  auto product = findAnchor<nn::ExpertMatMulOp>(op);
  const BlockFormat *format = getBlockFormat(product.getWeights());
  nn::Shape x = shapeOf(product.getX()), order = shapeOf(product.getOrder()),
            weights = shapeOf(product.getWeights());
  nn::Dim slots = nn::product(order, op->getContext());

  BlockGemmSpec spec;
  spec.format = format;
  spec.isInteger = bool(getCodes(product));
  std::string suffix = format ? (" " + format->name).str() : "";
  KernelCall call = beginCall(op, suffix + (spec.isInteger ? " int8" : ""));
  if (!format)
    spec.plain = *getPlainType(product.getWeights());
  spec.m = selector.extent(call, slots);
  spec.n = *nn::getConstant(weights[1]);
  spec.k = *nn::getConstant(weights[2]);
  ExpertRows experts;
  experts.count = *nn::getConstant(weights[0]);
  experts.slotsPerRow = x.size() == 2 ? *nn::getConstant(order[1]) : 1;
  spec.ptrScales = addRows(call, product, selector);
  spec.experts = experts;
  spec.ptrW = call.inputs.size();
  call.inputs.push_back(packExperts(product.getWeights(), spec, selector));
  auto addNumbers = [&](Value value) {
    call.inputs.push_back(selector.operand(nn::getOuterValue(value)));
    return unsigned(call.inputs.size() - 1);
  };
  spec.experts->ptrOrder = addNumbers(product.getOrder());
  spec.experts->ptrStarts = addNumbers(product.getStarts());
  // Of the weights, which the graph counts whole, few rows read a matrix each.
  call.bytes = nn::simplify(
      call.bytes -
      *getTensorBytes(
          cast<RankedTensorType>(product.getWeights().getType()).getShape(),
          getElementTypeOrSelf(product.getWeights().getType())) +
      slots * (packedBytes(spec) / experts.count));
  addProduct(op, product, std::move(spec), slots, std::move(call), selector);
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getExpertEntries() {
  static const KernelEntry entries[] = {
      {"route", "generated", whyNotRoute, buildRoute},
      {"group-by-expert", "generated", whyNotGroup, buildGroup},
      {"expert-matmul", "generated", whyNotProduct, buildProduct},
  };
  return entries;
}

} // namespace pare::cpu
