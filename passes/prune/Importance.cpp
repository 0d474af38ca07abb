//===- Importance.cpp - What channels and layers do -----------------------===//
#include "passes/prune/Importance.h"
#include "passes/calibrate/Segments.h"
#include "passes/prune/SampleRuns.h"
#include "passes/simplify/Match.h"
#include <cmath>

using namespace mlir;

namespace pare::prune {

llvm::Expected<Squares> sumSquares(ModuleOp module, const WeightStore &weights,
                                   ArrayRef<Value> values,
                                   const PruneOptions &options) {
  Squares squares;
  for (Value value : values)
    squares[value].resize(size_t(*nn::getConstant(shapeOf(value).back())));
  PhaseProgress progress(options.progress, "score channels",
                         options.calibration.size());
  SampleRuns runs(module, weights, options);
  llvm::Error error =
      runs.run(wholeEntry(module), values, Stream(),
               [&](size_t, const NamedTensors &named) {
                 progress.finish();
                 for (Value value : values) {
                   std::vector<double> &sums = squares[value];
                   for (auto [i, x] :
                        llvm::enumerate(named.lookup(value).values<float>()))
                     sums[i % sums.size()] += double(x) * double(x);
                 }
               });
  if (error)
    return std::move(error);
  for (Value value : values)
    if (!llvm::all_of(squares[value],
                      [](double x) { return std::isfinite(x); }))
      return llvm::createStringError(
          "calibration samples make '" + nn::getValueName(value) +
          "' NaN or infinite: leave them out, or do not calibrate");
  return squares;
}

/// What a product's inputs are multiplied by last, where that is known: the
/// scale of a normalization; empty elsewhere.
static std::vector<double> getInputScale(OpOperand &weight,
                                         const WeightStore &weights) {
  auto matmul = dyn_cast<nn::MatMulOp>(weight.getOwner());
  Operation *norm = matmul ? matmul.getLhs().getDefiningOp() : nullptr;
  Value scale;
  if (auto rms = dyn_cast_or_null<nn::RmsNormOp>(norm))
    scale = rms.getScale();
  else if (auto layer = dyn_cast_or_null<nn::LayerNormOp>(norm))
    scale = layer.getScale();
  std::optional<HostTensor> known =
      scale ? getKnown(scale, &weights) : std::nullopt;
  return known ? known->read<double>() : std::vector<double>();
}

/// Σw² of a weight for each index along `axis`; others are multiplied by
/// `scale` where it is not empty.
static std::vector<double> sumWeights(WeightAxis axis,
                                      const WeightStore &weights,
                                      ArrayRef<double> scale = {}) {
  Value value = axis.use->get();
  HostTensor tensor = *getKnown(value, &weights);
  size_t inner = 1;
  for (int64_t size : tensor.shape().drop_front(axis.axis + 1))
    inner *= size_t(size);
  auto count = size_t(tensor.shape()[axis.axis]);
  std::vector<double> sums(count, 0);
  for (auto [i, w] : llvm::enumerate(tensor.read<float>())) {
    size_t own = i / inner % count;
    // A matrix: the other index.
    double factor =
        scale.empty() ? 1 : scale[inner == 1 ? i / count : i % inner];
    sums[own] += double(w) * double(w) * factor * factor;
  }
  return sums;
}

std::vector<double> scoreChannels(const ChannelGraph &graph,
                                  const ChannelGroup &group,
                                  const WeightStore &weights,
                                  const Squares *squares) {
  llvm::DenseMap<unsigned, size_t> places;
  for (auto [place, channel] : llvm::enumerate(group.channels))
    places[channel] = place;
  size_t count = group.channels.size();
  // The mean of what several weights say, each on average 1.
  auto average = [&](ArrayRef<std::pair<WeightAxis, std::vector<double>>> all) {
    std::vector<double> scores(count, 0);
    unsigned parts = 0;
    for (const auto &[axis, perIndex] : all) {
      std::vector<double> own(count, 0);
      double total = 0;
      for (auto [channel, value] :
           llvm::zip_equal(graph.getChannels(axis), perIndex))
        if (auto it = places.find(channel); it != places.end()) {
          own[it->second] += value;
          total += value;
        }
      if (total <= 0)
        continue;
      ++parts;
      for (auto [score, value] : llvm::zip_equal(scores, own))
        score += value * double(count) / total;
    }
    for (double &score : scores)
      score = parts ? score / parts : 1;
    return scores;
  };
  SmallVector<std::pair<WeightAxis, std::vector<double>>> made, read;
  bool isByInputs = squares && !group.consumers.empty();
  for (const Consumer &consumer : group.consumers) {
    std::vector<double> sums = sumWeights(consumer.weight, weights);
    if (isByInputs)
      for (auto [sum, square] :
           llvm::zip_equal(sums, squares->find(consumer.x)->second))
        sum *= square;
    read.emplace_back(consumer.weight, std::move(sums));
  }
  std::vector<double> scores = average(read);
  if (isByInputs)
    return scores;
  for (WeightAxis producer : group.producers)
    made.emplace_back(
        producer,
        sumWeights(producer, weights, getInputScale(*producer.use, weights)));
  for (auto [score, own] : llvm::zip_equal(scores, average(made)))
    score *= own;
  return scores;
}

llvm::Expected<std::vector<double>>
measureInfluence(ModuleOp module, const WeightStore &weights,
                 ArrayRef<Layer> layers, const PruneOptions &options) {
  llvm::SmallSetVector<Value, 16> values;
  for (const Layer &layer : layers) {
    values.insert(layer.in);
    values.insert(layer.out);
  }
  PhaseProgress progress(options.progress, "score layers",
                         options.calibration.size());
  std::vector<double> sums(layers.size(), 0);
  std::vector<size_t> rows(layers.size(), 0);
  SampleRuns runs(module, weights, options);
  llvm::Error error = runs.run(
      wholeEntry(module), values.getArrayRef(), Stream(),
      [&](size_t, const NamedTensors &named) {
        progress.finish();
        for (auto [i, layer] : llvm::enumerate(layers)) {
          if (layer.in.getType() != layer.out.getType())
            continue;
          HostTensor in = named.lookup(layer.in), out = named.lookup(layer.out);
          auto width = size_t(in.shape().back());
          ArrayRef<float> x = in.values<float>(), y = out.values<float>();
          for (size_t begin = 0; begin < x.size(); begin += width) {
            double xx = 0, yy = 0, xy = 0;
            for (size_t k = begin; k < begin + width; ++k) {
              xx += double(x[k]) * x[k];
              yy += double(y[k]) * y[k];
              xy += double(x[k]) * y[k];
            }
            sums[i] += 1 - xy / std::sqrt(std::max(1e-300, xx * yy));
            ++rows[i];
          }
        }
      });
  if (error)
    return std::move(error);
  for (auto [i, sum] : llvm::enumerate(sums)) {
    sum /= double(std::max<size_t>(1, rows[i]));
    if (!std::isfinite(sum))
      return llvm::createStringError(
          "calibration samples make '" + nn::getValueName(layers[i].out) +
          "' NaN or infinite: leave them out, or do not calibrate");
  }
  return sums;
}

} // namespace pare::prune
