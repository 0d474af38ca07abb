//===- Calibrate.cpp - Statistics of activations --------------------------===//
#include "passes/calibrate/Calibrate.h"
#include "passes/calibrate/Segments.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;

namespace pare {

void ActivationStatistics::grow(double magnitude) {
  if (range == 0) {
    bins.assign(kBins, 0);
    range = 2 * magnitude;
  }
  while (magnitude >= range) {
    for (size_t i = 0; i < kBins / 2; ++i)
      bins[i] = bins[2 * i] + bins[2 * i + 1];
    std::fill(bins.begin() + kBins / 2, bins.end(), 0);
    range *= 2;
  }
}

void ActivationStatistics::add(const HostTensor &tensor) {
  for (float value : tensor.read<float>())
    add(value);
}

void ActivationStatistics::add(float value) {
  double magnitude = std::abs(value);
  ++total;
  if (magnitude == 0)
    return;
  largest = std::max(largest, magnitude);
  if (magnitude >= range)
    grow(magnitude);
  ++bins[size_t(magnitude / range * kBins)];
}

double ActivationStatistics::getClipped(double threshold) const {
  double width = range / kBins, sum = 0;
  for (size_t i = 0; i < bins.size(); ++i)
    if (double excess = (i + 0.5) * width - threshold; excess > 0)
      sum += double(bins[i]) * excess * excess;
  return sum;
}

double ActivationStatistics::chooseThreshold(int64_t limit) const {
  if (largest == 0)
    return 0;
  double best = largest, bestError = INFINITY, width = range / kBins;
  constexpr int kCandidates = 100;
  for (int c = kCandidates; c >= kCandidates / 10; --c) {
    double threshold = largest * c / kCandidates;
    double step = threshold / limit, rounding = step * step / 12, error = 0;
    for (size_t i = 0; i < kBins; ++i) {
      if (!bins[i])
        continue;
      double excess = (i + 0.5) * width - threshold;
      error += bins[i] * (excess > 0 ? excess * excess : rounding);
    }
    if (error < bestError) {
      bestError = error;
      best = threshold;
    }
  }
  return best;
}

namespace {

/// Shows values to their observers and remembers what went wrong.
class Audience {
public:
  explicit Audience(const DenseMap<Value, Observer> &observers)
      : observers(observers) {}

  void show(Value value, const HostTensor &tensor) {
    auto it = observers.find(value);
    if (it == observers.end() || !problem.empty())
      return;
    if (!llvm::all_of(tensor.read<float>(),
                      [](float v) { return std::isfinite(v); }))
      problem = (" makes '" + nn::getValueName(value) +
                 "' NaN or infinite: leave it out, or do not quantize this "
                 "model")
                    .str();
    else if (llvm::Error error = it->second(tensor))
      problem = ": " + llvm::toString(std::move(error));
  }

  llvm::Error check(size_t sample) const {
    std::string name = ("calibration sample " + Twine(sample + 1)).str();
    return problem.empty() ? llvm::Error::success()
                           : llvm::createStringError(name + problem);
  }
  llvm::Error fail(size_t sample, llvm::Error error) {
    problem = ": " + llvm::toString(std::move(error));
    return check(sample);
  }

private:
  const DenseMap<Value, Observer> &observers;
  std::string problem;
};

/// Observed results of ops, in order, in groups of up to 512 MiB.
std::vector<SmallVector<Value>>
groupResults(func::FuncOp entry, const DenseMap<Value, Observer> &observers) {
  constexpr int64_t kMaxBytes = int64_t(512) << 20;
  SmallVector<int64_t> symbols = nn::getTypicalSymbols(entry);
  std::vector<SmallVector<Value>> groups;
  int64_t held = kMaxBytes;
  for (Operation &op : entry.front())
    for (Value value : op.getResults()) {
      if (!observers.contains(value))
        continue;
      auto type = cast<RankedTensorType>(value.getType());
      int64_t bytes = nn::getElementBytes(type.getElementType());
      for (int64_t size : nn::evaluate(nn::getShape(type), symbols))
        bytes *= size;
      if (held + bytes > kMaxBytes) {
        groups.emplace_back();
        held = 0;
      }
      groups.back().push_back(value);
      held += bytes;
    }
  return groups;
}

/// The graph up to each group's values; empty where one cannot be compiled.
std::vector<std::unique_ptr<Executable>>
compileGroups(ModuleOp module, const WeightStore &weights,
              ArrayRef<SmallVector<Value>> groups, Executor &executor) {
  std::vector<std::unique_ptr<Executable>> compiled;
  for (const SmallVector<Value> &group : groups) {
    llvm::SetVector<Operation *> needed;
    SmallVector<Value> open(group);
    while (!open.empty())
      if (Operation *op = open.pop_back_val().getDefiningOp();
          op && needed.insert(op))
        open.append(op->operand_begin(), op->operand_end());
    SmallVector<Operation *> ops;
    for (Operation &op : nn::getEntry(module).front())
      if (needed.contains(&op))
        ops.push_back(&op);
    auto made = executor.compile(extractOps(module, ops, {}, group), weights);
    if (!made) {
      llvm::consumeError(made.takeError());
      return {};
    }
    compiled.push_back(std::move(*made));
  }
  return compiled;
}

} // namespace

llvm::Error calibrate(ModuleOp module, const WeightStore &weights,
                      ArrayRef<std::vector<HostTensor>> samples,
                      const DenseMap<Value, Observer> &observers,
                      const ProgressFn &listener, Executor *executor) {
  PhaseProgress progress(listener, "calibrate", samples.size());
  func::FuncOp entry = nn::getEntry(module);
  std::vector<SmallVector<Value>> groups;
  std::vector<std::unique_ptr<Executable>> compiled;
  if (executor) {
    groups = groupResults(entry, observers);
    compiled = compileGroups(module, weights, groups, *executor);
  }
  bool isCompiled = executor && compiled.size() == groups.size();
  Interpreter interpreter(module, weights);
  for (auto [number, sample] : llvm::enumerate(samples)) {
    Audience audience(observers);
    if (isCompiled) {
      for (auto [argument, tensor] : llvm::zip(entry.getArguments(), sample))
        audience.show(argument, tensor);
      for (auto [group, executable] : llvm::zip_equal(groups, compiled)) {
        auto results = executable->run(sample);
        if (!results)
          return audience.fail(number, results.takeError());
        for (auto [value, tensor] : llvm::zip_equal(group, *results))
          audience.show(value, tensor);
      }
    } else {
      auto outputs =
          interpreter.run(sample, [&](Value value, const HostTensor &tensor) {
            audience.show(value, tensor);
          });
      if (!outputs)
        return audience.fail(number, outputs.takeError());
    }
    if (llvm::Error error = audience.check(number))
      return error;
    progress.finish();
  }
  return llvm::Error::success();
}

} // namespace pare
