//===- Calibrate.cpp - Statistics of activations --------------------------===//
#include "passes/calibrate/Calibrate.h"
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
  for (float value : tensor.read<float>()) {
    double magnitude = std::abs(value);
    ++total;
    if (magnitude == 0)
      continue;
    largest = std::max(largest, magnitude);
    if (magnitude >= range)
      grow(magnitude);
    ++bins[size_t(magnitude / range * kBins)];
  }
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

llvm::Error calibrate(ModuleOp module, const WeightStore &weights,
                      ArrayRef<std::vector<HostTensor>> samples,
                      const DenseMap<Value, Observer> &observers,
                      const ProgressFn &listener) {
  PhaseProgress progress(listener, "calibrate", samples.size());
  Interpreter interpreter(module, weights);
  for (auto [number, sample] : llvm::enumerate(samples)) {
    std::string infinite;
    auto outputs =
        interpreter.run(sample, [&](Value value, const HostTensor &tensor) {
          auto it = observers.find(value);
          if (it == observers.end())
            return;
          if (!llvm::all_of(tensor.read<float>(),
                            [](float v) { return std::isfinite(v); }))
            infinite = nn::getValueName(value).str();
          else
            it->second(tensor);
        });
    std::string name = ("calibration sample " + Twine(number + 1)).str();
    if (!outputs)
      return llvm::createStringError(name + ": " +
                                     llvm::toString(outputs.takeError()));
    if (!infinite.empty())
      return llvm::createStringError(
          name + " makes '" + infinite +
          "' NaN or infinite: leave it out, or do not quantize this model");
    progress.finish();
  }
  return llvm::Error::success();
}

} // namespace pare
