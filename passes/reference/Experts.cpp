//===- Experts.cpp - Mixture of experts -----------------------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>
#include <numeric>

using namespace mlir;

namespace pare::reference {

llvm::Error evaluate(nn::RouteOp op, Frame &frame) {
  const HostTensor &logits = frame[op.getLogits()];
  HostTensor shares(frame.typeOf(op.getShares())),
      experts(frame.typeOf(op.getExperts()));
  int64_t count = logits.shape()[1], used = op.getUsed();
  for (int64_t row = 0; row < logits.shape()[0]; ++row) {
    ArrayRef<float> from = logits.values<float>().slice(row * count, count);
    std::vector<int32_t> ranked(count);
    std::iota(ranked.begin(), ranked.end(), 0);
    llvm::stable_sort(ranked,
                      [&](int32_t a, int32_t b) { return from[a] > from[b]; });
    double total = 0, largest = from[ranked[0]];
    for (int32_t expert :
         ArrayRef(ranked).take_front(op.getNormalize() ? used : count))
      total += std::exp(from[expert] - largest);
    for (int64_t i = 0; i < used; ++i) {
      experts.values<int32_t>()[row * used + i] = ranked[i];
      shares.values<float>()[row * used + i] =
          float(std::exp(from[ranked[i]] - largest) / total);
    }
  }
  frame.set(op.getShares(), std::move(shares));
  frame.set(op.getExperts(), std::move(experts));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::GroupByExpertOp op, Frame &frame) {
  ArrayRef<int32_t> experts = frame[op.getExperts()].values<int32_t>();
  int64_t count = op.getCount();
  for (int32_t expert : experts)
    if (expert < 0 || expert >= count)
      return fail(op, "expert " + llvm::Twine(expert) + " of " +
                          llvm::Twine(count));
  HostTensor order(frame.typeOf(op.getOrder())),
      starts(frame.typeOf(op.getStarts()));
  llvm::MutableArrayRef<int32_t> slots = order.values<int32_t>();
  std::iota(slots.begin(), slots.end(), 0);
  llvm::stable_sort(
      slots, [&](int32_t a, int32_t b) { return experts[a] < experts[b]; });
  for (int64_t e = 0; e <= count; ++e)
    starts.values<int32_t>()[e] = int32_t(
        llvm::count_if(experts, [&](int32_t expert) { return expert < e; }));
  frame.set(op.getOrder(), std::move(order));
  frame.set(op.getStarts(), std::move(starts));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ExpertMatMulOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()], &weights = frame[op.getWeights()];
  ArrayRef<int32_t> order = frame[op.getOrder()].values<int32_t>(),
                    starts = frame[op.getStarts()].values<int32_t>();
  int64_t experts = weights.shape()[0], n = weights.shape()[1],
          k = weights.shape()[2], slots = int64_t(order.size());
  int64_t slotsPerRow = slots / std::max<int64_t>(count(x.shape()) / k, 1);
  std::vector<float> rows = x.read<float>(), w = weights.read<float>(),
                     result(slots * n);
  for (int64_t e = 0; e < experts; ++e) {
    if (starts[e] < 0 || starts[e] > starts[e + 1] || starts[e + 1] > slots)
      return fail(op, "the experts' slots are not in order");
    for (int32_t slot : order.slice(starts[e], starts[e + 1] - starts[e])) {
      if (slot < 0 || slot >= slots)
        return fail(op, "there is no slot " + llvm::Twine(slot));
      // The matrix times a column, so that its rows are read as they lie.
      multiply(&w[e * n * k], &rows[slot / slotsPerRow * k], &result[slot * n],
               n, int64_t(1), k);
    }
  }
  HostTensor tensor(frame.typeOf(op));
  tensor.write<float>(result);
  frame.set(op, std::move(tensor));
  return llvm::Error::success();
}

} // namespace pare::reference
