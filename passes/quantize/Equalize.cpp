//===- Equalize.cpp - Inputs that lose less in 8 bits ---------------------===//
#include "passes/quantize/Equalize.h"
#include "frontend/ir/Codes.h"
#include "passes/simplify/DerivedWeights.h"
#include <cmath>

using namespace mlir;

namespace pare {

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

namespace {

/// What is expected of a product's output error under a transform.
class NoiseModel {
public:
  NoiseModel(const SecondMoments &moments, ArrayRef<float> weights,
             Type codeType)
      : moments(moments), weights(weights), size(moments.size()),
        outputs(weights.size() / size), codeType(codeType),
        mean(moments.means()), norms(size, 0), variances(size) {
    for (int64_t k = 0; k < size; ++k) {
      double square = moments.sums()[k * size + k] / double(moments.rows());
      variances[k] = std::max(square - mean[k] * mean[k], 0.0);
      for (float w : weights.slice(k * outputs, outputs))
        norms[k] += double(w) * w;
    }
  }

  /// SmoothQuant's scales at `alpha`, of geometric mean 1; 1 for an input that
  /// is constant or that no output reads.
  std::vector<double> getScales(ArrayRef<double> shift, double alpha) {
    std::vector<double> most(size, 0), scale(size, 1);
    for (auto [i, x] : llvm::enumerate(moments.samples()))
      most[i % size] = std::max(most[i % size], std::abs(x - shift[i % size]));
    double floor = 1e-4 * *llvm::max_element(most), sum = 0;
    double weightFloor = 1e-8 * *llvm::max_element(norms);
    int64_t count = 0;
    for (int64_t k = 0; k < size; ++k) {
      if (most[k] <= floor || norms[k] <= weightFloor)
        continue;
      scale[k] =
          std::pow(most[k], alpha) / std::pow(std::sqrt(norms[k]), 1 - alpha);
      sum += std::log(scale[k]);
      ++count;
    }
    double middle = count ? std::exp(sum / count) : 1;
    for (int64_t k = 0; k < size; ++k)
      if (most[k] > floor && norms[k] > weightFloor)
        scale[k] /= middle;
    return scale;
  }

  double getNoise(const InputTransform &to) const {
    return getInputNoise(to) + getWeightNoise(to);
  }

  const std::vector<double> &getMean() const { return mean; }

private:
  /// Mean over rows of step² / 12 · Σ (scale · ‖w‖)².
  double getInputNoise(const InputTransform &to) const {
    double squares = 0, gain = 0;
    ArrayRef<float> samples = moments.samples();
    int64_t rows = samples.size() / size;
    for (int64_t row = 0; row < rows; ++row) {
      double low = INFINITY, high = -INFINITY;
      for (int64_t k = 0; k < size; ++k) {
        double x = (samples[row * size + k] - to.shift[k]) / to.scale[k];
        low = std::min(low, x);
        high = std::max(high, x);
      }
      double most = std::max(high, -low), limit = nn::getCodeLimit(codeType);
      // Bytes have a zero point.
      double step = codeType.getIntOrFloatBitWidth() == 8
                        ? (high - low) / (2 * limit)
                        : most / limit;
      squares += step * step;
    }
    for (int64_t k = 0; k < size; ++k)
      gain += to.scale[k] * to.scale[k] * norms[k];
    return squares / double(std::max<int64_t>(rows, 1)) / 12 * gain;
  }

  /// Σ over outputs of step² / 12 · Σ (deviation / scale)².
  double getWeightNoise(const InputTransform &to) const {
    constexpr double kLeftByGptq = 0.25; // of squares
    double squares = 0, spread = 0;
    std::vector<double> most(outputs, 0);
    for (int64_t k = 0; k < size; ++k) {
      spread += variances[k] / (to.scale[k] * to.scale[k]);
      for (int64_t c = 0; c < outputs; ++c)
        most[c] =
            std::max(most[c], to.scale[k] * std::abs(weights[k * outputs + c]));
    }
    for (double value : most)
      squares += value / 127 * (value / 127);
    return kLeftByGptq * squares / 12 * spread;
  }

  const SecondMoments &moments;
  ArrayRef<float> weights; ///< [size, outputs]
  int64_t size, outputs;
  Type codeType;
  std::vector<double> mean, norms, variances;
};

} // namespace

std::optional<InputTransform> chooseInputTransform(const SecondMoments &moments,
                                                   ArrayRef<float> weights,
                                                   Type codeType) {
  // Of fewer rows the mean and the largest are chance.
  constexpr int64_t kLeastRows = 4; // per input
  if (moments.rows() < kLeastRows * moments.size())
    return std::nullopt;
  NoiseModel model(moments, weights, codeType);
  std::vector<double> zeros(moments.size(), 0), ones(moments.size(), 1);
  InputTransform best{zeros, ones};
  double none = model.getNoise(best), least = none;
  for (const std::vector<double> &shift : {zeros, model.getMean()})
    for (double alpha : {0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) {
      InputTransform next{shift, alpha ? model.getScales(shift, alpha) : ones};
      double noise = model.getNoise(next);
      if (noise < least) {
        least = noise;
        best = std::move(next);
      }
    }
  return least < 0.9 * none ? std::optional(best) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

namespace {

class Equalizer {
public:
  using OnReplace = llvm::function_ref<void(Value, Value)>;

  Equalizer(WeightStore &weights, Type codeType, OnReplace onReplace)
      : weights(weights), codeType(codeType), mover(weights, onReplace) {}

  /// Whether it changed `x`, whose products' weights are `uses`.
  bool equalize(Value x, ArrayRef<OpOperand *> uses, SecondMoments &moments) {
    std::optional<InputMover::Maker> maker = mover.find(x, /*shifts=*/true);
    if (!maker)
      return false;
    std::optional<InputTransform> to = chooseInputTransform(
        moments, concatenate(uses, moments.size()), codeType);
    if (!to)
      return false;
    mover.move(*maker, uses, *to);
    moments = moments.transformed(to->shift, to->scale);
    return true;
  }

  bool isOwn(OpOperand &use) const { return mover.isOwn(use); }

private:
  /// Weights [inner, outputs] of all products.
  std::vector<float> concatenate(ArrayRef<OpOperand *> uses, int64_t inner) {
    std::vector<std::vector<float>> parts;
    for (OpOperand *use : uses)
      parts.push_back(getKnown(use->get(), &weights)->read<float>());
    std::vector<float> result;
    for (int64_t k = 0; k < inner; ++k)
      for (auto [use, part] : llvm::zip_equal(uses, parts)) {
        int64_t outputs = part.size() / inner;
        for (int64_t c = 0; c < outputs; ++c)
          result.push_back(
              part[cast<nn::MatMulOp>(use->getOwner()).getTransposeRhs()
                       ? c * inner + k
                       : k * outputs + c]);
      }
    return result;
  }

  WeightStore &weights;
  Type codeType;
  InputMover mover;
};

} // namespace

void equalizeInputs(ModuleOp module, WeightStore &weights,
                    llvm::DenseMap<Value, SecondMoments> &moments,
                    llvm::function_ref<bool(OpOperand &)> isQuantized,
                    Type codeType,
                    llvm::function_ref<void(Value from, Value to)> onReplace) {
  SmallVector<Value> inputs;
  module->walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (moments.contains(result))
        inputs.push_back(result);
  });
  auto replace = [&](Value from, Value to) {
    llvm::replace(inputs, from, to);
    onReplace(from, to);
  };
  Equalizer equalizer(weights, codeType, replace);
  for (size_t i = 0; i < inputs.size(); ++i) {
    SmallVector<OpOperand *> uses;
    bool all = llvm::all_of(inputs[i].getUses(), [&](OpOperand &use) {
      auto product = dyn_cast<nn::MatMulOp>(use.getOwner());
      if (!product || use.getOperandNumber() != 0)
        return false;
      OpOperand &weight = product->getOpOperand(1);
      uses.push_back(&weight);
      return equalizer.isOwn(weight) && isQuantized(weight);
    });
    if (all)
      equalizer.equalize(inputs[i], uses, moments.find(inputs[i])->second);
  }
  eraseUnusedWeights(module, weights);
}

} // namespace pare
