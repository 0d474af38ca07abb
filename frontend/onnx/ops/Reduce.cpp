//===- Reduce.cpp - ONNX reductions and softmax ---------------------------===//
#include "frontend/onnx/OpTable.h"

using namespace mlir;
using pare::nn::ReduceKind;
using pare::nn::UnaryKind;

namespace pare::onnximport {
namespace {

int64_t rankOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank();
}

/// Reduces `x` over the node's axes: an attribute before opset `since`, an
/// input from then on; all axes where none are given.
Value reduce(const Node &node, ReduceKind kind, Value x, int since) {
  if (!x)
    return {};
  std::optional<SmallVector<int64_t>> axes = node.getAxes(1, since, rankOf(x));
  if (!axes || axes->empty()) {
    if (node.getInt("noop_with_empty_axes", 0))
      return x;
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rankOf(x)));
  }
  llvm::sort(*axes);
  return node.create<nn::ReduceOp>(kind, x, *axes,
                                   node.getInt("keepdims", 1) != 0);
}

template <ReduceKind kind, int since = 18> void importReduce(const Node &node) {
  node.setResult(reduce(node, kind, node.getInput(0), since));
}
void importReduceL1(const Node &node) {
  node.setResult(reduce(node, ReduceKind::sum,
                        node.unary(UnaryKind::abs, node.getInput(0)), 18));
}
void importReduceLogSum(const Node &node) {
  node.setResult(node.unary(
      UnaryKind::log, reduce(node, ReduceKind::sum, node.getInput(0), 18)));
}

/// Before opset 13 the axes from `axis` on are one.
template <bool isLog> void importSoftmax(const Node &node) {
  Value x = node.getInput(0);
  if (!x)
    return;
  nn::Shape shape = nn::getShape(x.getType());
  bool flattens = node.getOpset() < 13;
  if (shape.empty()) {
    node.fail("needs an input with at least one axis");
    return;
  }
  int64_t axis = node.getAxis("axis", flattens ? 1 : -1, rankOf(x));
  if (node.getGraph().hasFailed())
    return;
  if (!flattens || axis == rankOf(x) - 1) {
    node.setResult(node.create<nn::SoftmaxOp>(x, axis, isLog));
    return;
  }
  nn::Shape flat(ArrayRef(shape).take_front(axis));
  flat.push_back(
      nn::product(ArrayRef(shape).drop_front(axis), node.getContext()));
  Value result = node.create<nn::SoftmaxOp>(node.reshape(x, flat), axis, isLog);
  node.setResult(node.reshape(result, shape));
}

const OpEntry ops[] = {
    {"LogSoftmax", importSoftmax<true>},
    {"ReduceL1", importReduceL1},
    {"ReduceL2", importReduce<ReduceKind::l2>},
    {"ReduceLogSum", importReduceLogSum},
    {"ReduceMax", importReduce<ReduceKind::max>},
    {"ReduceMean", importReduce<ReduceKind::mean>},
    {"ReduceMin", importReduce<ReduceKind::min>},
    {"ReduceProd", importReduce<ReduceKind::prod>},
    {"ReduceSum", importReduce<ReduceKind::sum, 13>},
    {"ReduceSumSquare", importReduce<ReduceKind::sum_square>},
    {"Softmax", importSoftmax<false>},
};

} // namespace

ArrayRef<OpEntry> getReduceOps() { return ops; }

} // namespace pare::onnximport
