//===- StaticRanges.cpp - Fixed scales of activations ---------------------===//
#include "passes/calibrate/StaticRanges.h"
#include "frontend/ir/NN.h"
#include "passes/calibrate/ProductMoments.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace pare {

void RangeStatistics::add(const HostTensor &tensor) {
  for (float value : tensor.read<float>())
    (value < 0 ? below : above).add(value);
}

ValueRange RangeStatistics::chooseRange(int64_t steps) const {
  constexpr int kCandidates = 50, kLeast = 5;
  ValueRange best{float(-below.absMax()), float(above.absMax())};
  double bestError = INFINITY;
  auto clipped = [](const ActivationStatistics &side) {
    std::vector<double> errors;
    for (int c = 0; c <= kCandidates; ++c)
      errors.push_back(side.getClipped(side.absMax() * c / kCandidates));
    return errors;
  };
  std::vector<double> lows = clipped(below), highs = clipped(above);
  double count = double(below.count() + above.count());
  for (int i = kCandidates; i >= kLeast; --i)
    for (int j = kCandidates; j >= kLeast; --j) {
      double low = below.absMax() * i / kCandidates,
             high = above.absMax() * j / kCandidates,
             step = (low + high) / double(steps),
             error = lows[i] + highs[j] + count * step * step / 12;
      if (error < bestError) {
        bestError = error;
        best = {float(-low), float(high)};
      }
    }
  return best;
}

/// Ops whose results have these names; of several the last, which makes what
/// the source's node does.
static llvm::StringMap<Value> findValues(ModuleOp module,
                                         ArrayRef<std::string> names) {
  llvm::StringSet<> wanted(llvm::from_range, names);
  llvm::StringMap<Value> found;
  func::FuncOp entry = nn::getEntry(module);
  auto note = [&](Value value) {
    StringRef name = nn::getValueName(value);
    if (wanted.contains(name) &&
        isa<FloatType>(getElementTypeOrSelf(value.getType())))
      found[name] = value;
  };
  for (Value argument : entry.getArguments())
    note(argument);
  for (Operation &op : entry.front())
    for (Value result : op.getResults())
      note(result);
  return found;
}

llvm::Expected<StaticObservations>
observeRanges(ModuleOp module, const WeightStore &weights,
              ArrayRef<std::vector<HostTensor>> samples,
              ArrayRef<std::string> tensors, ArrayRef<std::string> products,
              const ProgressFn &progress, Executor *executor) {
  DenseMap<Value, std::vector<Observer>> several;
  llvm::StringMap<RangeStatistics> ranges;
  for (const auto &[name, value] : findValues(module, tensors)) {
    RangeStatistics &seen = ranges[name];
    several[value].push_back([&seen](const HostTensor &x) {
      seen.add(x);
      return llvm::Error::success();
    });
  }

  StaticObservations found;
  std::optional<CrossProducts> sums;
  if (executor)
    sums.emplace(*executor, *module.getContext());
  llvm::StringSet<> ofProducts(llvm::from_range, products);
  DenseMap<Value, std::shared_ptr<SecondMoments>> moments;
  for (Operation &op : nn::getEntry(module).front()) {
    if (!isa<nn::MatMulOp, nn::ConvOp>(op))
      continue;
    StringRef name = nn::getValueName(op.getResult(0));
    Value x = op.getOperand(0);
    std::optional<int64_t> size =
        nn::getConstant(nn::getShape(x.getType()).back());
    if (!ofProducts.contains(name) || !size)
      continue;
    std::shared_ptr<SecondMoments> &seen = moments[x];
    if (!seen) {
      seen = std::make_shared<SecondMoments>(*size);
      several[x].push_back([seen, &sums](const HostTensor &rows) {
        return seen->add(rows, sums ? &*sums : nullptr);
      });
    }
    found.inputs[name] = seen;
  }

  DenseMap<Value, Observer> observers;
  for (auto &[value, all] : several)
    observers[value] = [&all](const HostTensor &x) -> llvm::Error {
      for (const Observer &observer : all)
        if (llvm::Error error = observer(x))
          return error;
      return llvm::Error::success();
    };
  if (llvm::Error error =
          calibrate(module, weights, samples, observers, progress, executor))
    return std::move(error);
  for (const auto &[name, seen] : ranges)
    found.ranges[name] = seen.chooseRange();
  return std::move(found);
}

} // namespace pare
