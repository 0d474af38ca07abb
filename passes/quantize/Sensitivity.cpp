//===- Sensitivity.cpp - What rounding each weight does to outputs --------===//
#include "passes/quantize/Sensitivity.h"
#include "passes/quantize/encode/Encode.h"
#include "passes/simplify/DerivedWeights.h"
#include "llvm/Support/Parallel.h"
#include <cmath>

using namespace mlir;

namespace pare {

namespace {

constexpr encode::EncodeOptions kNearest = {.method =
                                                encode::RoundMethod::Nearest};

/// Puts rounded weights in the places of others for as long as it lives.
class Substitution {
public:
  explicit Substitution(WeightStore &weights) : weights(weights) {}
  Substitution(const Substitution &) = delete;
  Substitution &operator=(const Substitution &) = delete;

  ~Substitution() {
    for (auto &[use, value, isTransposed] : llvm::reverse(old)) {
      use->set(value);
      if (auto matmul = dyn_cast<nn::MatMulOp>(use->getOwner()))
        matmul.setTransposeRhs(isTransposed);
    }
    for (Operation *op : made)
      op->erase();
    for (StringRef symbol : symbols)
      weights.erase(symbol);
  }

  /// Those uses of a probe's weight that `ops` have.
  void put(const WeightTarget &probe, StringRef symbol, RankedTensorType type,
           const llvm::SmallPtrSetImpl<Operation *> &ops) {
    for (OpOperand *use : probe.uses) {
      Operation *op = use->getOwner();
      if (!ops.contains(op))
        continue;
      auto matmul = dyn_cast<nn::MatMulOp>(op);
      old.push_back({use, use->get(), matmul && matmul.getTransposeRhs()});
      made.push_back(useBlocks(*use, symbol, type));
    }
  }

  /// The probe's weight rounded, as a new weight; its symbol and type.
  std::pair<std::string, RankedTensorType>
  makeRounded(const WeightTarget &probe) {
    nn::WeightOp weight = probe.weight;
    const TensorData &data = weights.get(probe.symbol());
    RankedTensorType type = probe.blockType();
    encode::EncodeOptions how = kNearest;
    how.threads = llvm::parallel::strategy.compute_thread_count();
    const BlockStorage &storage = getPlainStorage(*probe.format);
    std::vector<uint8_t> bytes =
        storage.pack(encode::encodeMatrix(
                         readRows(data, probe.isTransposed), type.getDimSize(0),
                         type.getDimSize(1), *probe.format, how)
                         .planes);
    std::string symbol =
        weights.addOwnedBlocks((weight.getSymName() + ".probe").str(), type,
                               storage, std::move(bytes));
    OpBuilder builder(weight);
    auto op = nn::WeightOp::create(builder, weight.getLoc(), symbol, type,
                                   StringAttr(), StringAttr(),
                                   builder.getStringAttr(probe.format->name));
    made.insert(made.begin(), op);
    symbols.push_back(symbol);
    return {symbol, type};
  }

private:
  struct Old {
    OpOperand *use;
    Value value;
    bool isTransposed;
  };
  WeightStore &weights;
  SmallVector<Old> old;
  SmallVector<Operation *> made;
  SmallVector<std::string> symbols;
};

/// Sums of a metric over samples.
struct Distance {
  double error = 0, norm = 0;

  void addSquares(const HostTensor &exact, const HostTensor &changed) {
    if (!exact.element().isF32())
      return;
    for (auto [a, b] :
         llvm::zip_equal(exact.values<float>(), changed.values<float>())) {
      error += (double(a) - b) * (double(a) - b);
      norm += double(a) * a;
    }
  }
  void addDivergence(const HostTensor &exact, const HostTensor &changed) {
    int64_t width = exact.shape().back(), rows = exact.size() / width;
    std::vector<double> found(rows);
    llvm::parallelFor(0, rows, [&](size_t row) {
      found[row] =
          getDivergence(exact.values<float>().slice(row * width, width),
                        changed.values<float>().slice(row * width, width));
    });
    for (double value : found)
      error += value;
    norm += double(rows);
  }
  double get() const { return norm > 0 ? error / norm : 0; }

private:
  static double getDivergence(ArrayRef<float> exact, ArrayRef<float> changed) {
    float most = *llvm::max_element(exact),
          mostChanged = *llvm::max_element(changed);
    double sum = 0, sumChanged = 0, difference = 0;
    for (auto [a, b] : llvm::zip_equal(exact, changed)) {
      double p = std::exp(a - most);
      sum += p;
      sumChanged += std::exp(b - mostChanged);
      difference += p * (double(a - most) - double(b - mostChanged));
    }
    return std::max(difference / sum - std::log(sum) + std::log(sumChanged),
                    0.0);
  }
};

class Prober {
public:
  Prober(ModuleOp module, WeightStore &weights, Executor &executor,
         Samples samples, ArrayRef<WeightTarget> probes, OutputMetric metric,
         const ProgressFn &progress)
      : module(module), weights(weights),
        runner(module, weights, executor, samples), probes(probes),
        metric(metric), progress(progress), costs(probes.size()) {}

  llvm::Expected<std::vector<double>> run();

private:
  /// One layer rounded, and what its weights alone did to its outputs.
  struct Layer {
    Stream stream;
    SmallVector<std::pair<size_t, double>> shares; ///< by probe
    Distance distance = {};                        ///< of the model's outputs
  };

  llvm::Error runSegment(const Segment &segment, ArrayRef<Segment> later);
  llvm::Error compare(Executable &executable, const Segment &segment,
                      ArrayRef<Value> results, const Stream &stream,
                      ArrayRef<NamedTensors> exact, Distance &outputs,
                      Distance *local, Stream *next);

  ModuleOp module;
  WeightStore &weights;
  SegmentRunner runner;
  ArrayRef<WeightTarget> probes;
  OutputMetric metric;
  const ProgressFn &progress;
  std::vector<double> costs;
  Stream exact;
  std::vector<Layer> layers;
};

/// Runs a segment on `stream`: adds how far the model's outputs are from the
/// exact ones, and the segment's own; hands its outputs on to `next`.
llvm::Error Prober::compare(Executable &executable, const Segment &segment,
                            ArrayRef<Value> results, const Stream &stream,
                            ArrayRef<NamedTensors> exact, Distance &outputs,
                            Distance *local, Stream *next) {
  OperandRange returned =
      nn::getEntry(module).front().getTerminator()->getOperands();
  return runner.forEach(executable, segment, results, stream,
                        [&](size_t sample, const NamedTensors &found) {
                          for (Value result : results) {
                            const HostTensor &a = exact[sample].at(result),
                                             &b = found.at(result);
                            if (local)
                              local->addSquares(a, b);
                            if (!llvm::is_contained(returned, result))
                              continue;
                            if (metric == OutputMetric::RelativeSquare)
                              outputs.addSquares(a, b);
                            else if (result == returned.front())
                              outputs.addDivergence(a, b);
                          }
                          if (next)
                            for (Value output : segment.outputs)
                              (*next)[output].push_back(found.at(output));
                        });
}

llvm::Error Prober::runSegment(const Segment &segment,
                               ArrayRef<Segment> later) {
  llvm::SmallPtrSet<Operation *, 32> own(llvm::from_range, segment.ops);
  SmallVector<Value> results(segment.outputs);
  for (Value value :
       nn::getEntry(module).front().getTerminator()->getOperands())
    if (own.contains(value.getDefiningOp()) &&
        !llvm::is_contained(results, value))
      results.push_back(value);
  auto executable = runner.compile(segment, results);
  if (!executable)
    return executable.takeError();

  std::vector<NamedTensors> truth;
  if (llvm::Error error = runner.forEach(
          **executable, segment, results, exact,
          [&](size_t, const NamedTensors &values) { truth.push_back(values); }))
    return error;
  // Streams that were rounded in an earlier layer.
  for (Layer &layer : layers) {
    Stream next;
    if (llvm::Error error =
            compare(**executable, segment, results, layer.stream, truth,
                    layer.distance, nullptr, &next))
      return error;
    for (auto &[value, tensors] : next)
      layer.stream[value] = std::move(tensors);
    forgetUnread(layer.stream, later);
  }

  SmallVector<size_t> here;
  for (auto [index, probe] : llvm::enumerate(probes))
    if (llvm::any_of(probe.uses, [&](OpOperand *use) {
          return own.contains(use->getOwner());
        }))
      here.push_back(index);
  if (!here.empty()) {
    Layer layer{.stream = exact, .shares = {}};
    Substitution all(weights);
    SmallVector<std::pair<std::string, RankedTensorType>> rounded;
    for (size_t index : here)
      rounded.push_back(all.makeRounded(probes[index]));
    if (here.size() == 1)
      layer.shares.push_back({here.front(), 1.0});
    else
      for (auto [index, made] : llvm::zip_equal(here, rounded)) {
        Substitution one(weights);
        one.put(probes[index], made.first, made.second, own);
        auto changed = runner.compile(segment, results);
        if (!changed)
          return changed.takeError();
        Distance ignored, local;
        if (llvm::Error error = compare(**changed, segment, results, exact,
                                        truth, ignored, &local, nullptr))
          return error;
        layer.shares.push_back({index, local.error});
      }
    for (auto [index, made] : llvm::zip_equal(here, rounded))
      all.put(probes[index], made.first, made.second, own);
    auto changed = runner.compile(segment, results);
    if (!changed)
      return changed.takeError();
    Stream next;
    if (llvm::Error error = compare(**changed, segment, results, exact, truth,
                                    layer.distance, nullptr, &next))
      return error;
    for (auto &[value, tensors] : next)
      layer.stream[value] = std::move(tensors);
    forgetUnread(layer.stream, later);
    layers.push_back(std::move(layer));
  }
  for (NamedTensors &values : truth)
    for (Value output : segment.outputs)
      exact[output].push_back(values.at(output));
  forgetUnread(exact, later);
  return llvm::Error::success();
}

llvm::Expected<std::vector<double>> Prober::run() {
  llvm::SmallPtrSet<Operation *, 32> readers;
  for (const WeightTarget &probe : probes)
    for (OpOperand *use : probe.uses)
      readers.insert(use->getOwner());
  std::vector<Segment> segments =
      cutIntoSegments(nn::getEntry(module),
                      [&](Operation *op) { return readers.contains(op); });
  // The later a segment, the more streams run through it.
  PhaseProgress phase(progress, "measure sensitivity",
                      segments.size() * (segments.size() + 8));
  for (auto [index, segment] : llvm::enumerate(segments)) {
    if (llvm::Error error =
            runSegment(segment, ArrayRef(segments).drop_front(index + 1)))
      return std::move(error);
    phase.finish(2 * index + 8);
  }
  for (const Layer &layer : layers) {
    double sum = 0;
    for (auto [probe, share] : layer.shares)
      sum += share;
    for (auto [probe, share] : layer.shares)
      costs[probe] += layer.distance.get() *
                      (sum > 0 ? share / sum : 1.0 / layer.shares.size());
  }
  return std::move(costs);
}

} // namespace

llvm::Expected<std::vector<double>>
measureSensitivity(ModuleOp module, WeightStore &weights, Executor &executor,
                   Samples samples, ArrayRef<WeightTarget> probes,
                   OutputMetric metric, const ProgressFn &progress) {
  return Prober(module, weights, executor, samples, probes, metric, progress)
      .run();
}

double getRoundingError(const TensorData &data, bool isTransposed,
                        const BlockFormat &format) {
  constexpr int64_t kRows = 64;
  int64_t rows = data.type.getDimSize(isTransposed),
          columns = data.type.getDimSize(!isTransposed),
          step = std::max<int64_t>(1, rows / kRows);
  std::vector<float> read = readRows(data, isTransposed, step);
  double error = encode::encodeMatrix(read, int64_t(read.size()) / columns,
                                      columns, format, kNearest)
                     .error;
  return error * error;
}

} // namespace pare
