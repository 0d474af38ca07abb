//===- Structure.cpp - Leaves out parts of a model ------------------------===//
#include "passes/prune/Structure.h"
#include "passes/Passes.h"
#include "passes/prune/Importance.h"
#include "passes/simplify/Match.h"
#include <cmath>
#include <numeric>

using namespace mlir;

namespace pare {

#define GEN_PASS_DEF_PRUNESTRUCTURE
#include "passes/Passes.h.inc"

static constexpr llvm::StringLiteral kNames[] = {"layers", "heads", "ffn",
                                                 "filters"};

static std::optional<PruneAmount> PruneOptions::*getMember(StringRef name) {
  return name == "layers"  ? &PruneOptions::layers
         : name == "heads" ? &PruneOptions::heads
         : name == "ffn"   ? &PruneOptions::ffn
                           : &PruneOptions::filters;
}

llvm::Error parsePrune(StringRef text, PruneOptions &options) {
  auto fail = [&](const Twine &message) {
    return llvm::createStringError("--prune " + text + ": " + message);
  };
  auto [name, amount] = text.split('=');
  if (!llvm::is_contained(kNames, name))
    return fail("expected layers, heads, ffn or filters = how much goes, as in "
                "ffn=25% or layers=6");
  PruneAmount parsed;
  parsed.text = text.str();
  parsed.isMean = amount.consume_front("~");
  if (parsed.isMean && name == "layers")
    return fail("'~' is for parts of layers");
  if (amount.consume_back("%")) {
    if (amount.getAsDouble(parsed.share) || !(parsed.share > 0) ||
        !(parsed.share < 100))
      return fail("expected a share above 0% and below 100%");
    parsed.share /= 100;
  } else if (parsed.isMean || amount.getAsInteger(10, parsed.count) ||
             parsed.count <= 0) {
    return fail("expected a share, as 25%, or a number of at least 1");
  }
  std::optional<PruneAmount> &member = options.*getMember(name);
  if (member)
    return fail("--prune " + member->text + " says how many " + name +
                " go already");
  member = std::move(parsed);
  return llvm::Error::success();
}

namespace {

using prune::ChannelGraph;
using prune::ChannelGroup;
using prune::ChannelKind;
using prune::Layer;

class Pruner {
public:
  Pruner(ModuleOp module, WeightStore &weights, const PruneOptions &options)
      : module(module), weights(weights), options(options) {}

  llvm::Error run();

private:
  llvm::Error pruneLayers(const PruneAmount &amount);
  llvm::Error pruneChannels();
  llvm::Expected<std::vector<size_t>>
  countToGo(ArrayRef<ChannelGroup> groups,
            ArrayRef<std::vector<double>> scores) const;
  void spread(ArrayRef<ChannelGroup> groups,
              ArrayRef<std::vector<double>> scores, ChannelKind kind,
              MutableArrayRef<size_t> counts) const;
  const PruneAmount *getAmount(ChannelKind kind) const;
  llvm::Error checkMatches(ArrayRef<ChannelGroup> groups) const;
  bool hasSamples() const { return !options.calibration.empty(); }
  int64_t countFlops() const;
  void record(PruneDecision decision) {
    if (options.report)
      options.report->decisions.push_back(std::move(decision));
  }

  ModuleOp module;
  WeightStore &weights;
  const PruneOptions &options;
};

int64_t Pruner::countFlops() const {
  func::FuncOp entry = nn::getEntry(module);
  SmallVector<int64_t> symbols = nn::getTypicalSymbols(entry);
  int64_t flops = 0;
  entry.walk([&](nn::CostInterface op) {
    flops += nn::evaluate(op.getFlops(), symbols);
  });
  return flops;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

llvm::Error Pruner::pruneLayers(const PruneAmount &amount) {
  std::vector<Layer> layers = prune::findLayers(module);
  auto canGo = size_t(llvm::count_if(layers, [](Layer l) { return l.canGo; }));
  size_t count =
      amount.count ? size_t(amount.count)
                   : size_t(std::lround(amount.share * double(layers.size())));
  if (canGo == 0)
    return llvm::createStringError("--prune " + amount.text +
                                   ": the model has no layers with attention "
                                   "that could go");
  size_t most = std::min(canGo, layers.size() - 1);
  if (count > most)
    return llvm::createStringError(
        "--prune " + amount.text + ": of the model's " + Twine(layers.size()) +
        " layers at most " + Twine(most) + " can go");
  if (count == 0)
    return llvm::createStringError("--prune " + amount.text +
                                   ": that is none of the model's " +
                                   Twine(layers.size()) + " layers");

  // Without samples the deepest go, but for the last, which prepares the output
  // (Gromov et al. 2024, section 4.4).
  std::vector<double> influence;
  if (hasSamples()) {
    auto measured = prune::measureInfluence(module, weights, layers, options);
    if (!measured)
      return measured.takeError();
    influence = std::move(*measured);
  } else {
    for (size_t i = 0; i < layers.size(); ++i)
      influence.push_back(i + 1 == layers.size() ? INFINITY : -double(i));
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < layers.size(); ++i)
    if (layers[i].canGo)
      order.push_back(i);
  llvm::sort(order, [&](size_t a, size_t b) {
    return std::pair(influence[a], a) < std::pair(influence[b], b);
  });
  order.resize(count);
  llvm::sort(order);
  std::vector<Layer> gone;
  for (size_t i : order) {
    gone.push_back(layers[i]);
    record({"layers", ("layer " + Twine(i)).str(), 1, 0,
            hasSamples() ? "block influence" : "depth",
            hasSamples() ? influence[i] : 0});
  }
  prune::dropLayers(module, gone, weights);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Channels
//===----------------------------------------------------------------------===//

const PruneAmount *Pruner::getAmount(ChannelKind kind) const {
  const std::optional<PruneAmount> &amount =
      kind == ChannelKind::Heads ? options.heads
      : kind == ChannelKind::Ffn ? options.ffn
                                 : options.filters;
  return amount ? &*amount : nullptr;
}

static StringRef getName(ChannelKind kind) {
  switch (kind) {
  case ChannelKind::Heads:
    return "heads";
  case ChannelKind::Ffn:
    return "ffn";
  case ChannelKind::Filters:
    return "filters";
  }
  llvm_unreachable("a kind without a name");
}

llvm::Error Pruner::checkMatches(ArrayRef<ChannelGroup> groups) const {
  using enum ChannelKind;
  for (ChannelKind kind : {Heads, Ffn, Filters}) {
    const PruneAmount *amount = getAmount(kind);
    auto count = [&](ChannelKind wanted) {
      return llvm::count_if(groups, [&](const ChannelGroup &group) {
        return group.kind == wanted;
      });
    };
    if (!amount || count(kind))
      continue;
    std::string others;
    for (ChannelKind other : {Heads, Ffn, Filters})
      if (auto number = count(other))
        others += ((others.empty() ? "" : ", ") + getName(other) + " in " +
                   Twine(number) + " places")
                      .str();
    if (size_t layers = prune::findLayers(module).size())
      others +=
          ((others.empty() ? "" : ", ") + Twine(layers) + " layers").str();
    return llvm::createStringError(
        "--prune " + amount->text + ": the model has no " + getName(kind) +
        " that could go; it has " +
        (others.empty() ? "nothing that could" : others));
  }
  return llvm::Error::success();
}

/// Kernels compute 16 outputs at once, and weights in blocks have groups of 32:
/// what stays is a multiple of 32 hidden units or of 16 filters, of 8 where
/// there are few.
static size_t getStep(const ChannelGroup &group) {
  switch (group.kind) {
  case ChannelKind::Heads:
    return 1;
  case ChannelKind::Ffn:
    return group.size >= 128 ? 32 : 8;
  case ChannelKind::Filters:
    return group.size >= 64 ? 16 : 8;
  }
  llvm_unreachable("a kind without a step");
}

/// How many of a group go if about `count` shall, once what stays is a whole
/// number of steps.
static size_t roundToSteps(const ChannelGroup &group, double count) {
  auto step = double(getStep(group));
  size_t kept = size_t(
      std::max(1.0, std::round((double(group.size) - count) / step)) * step);
  return kept < group.size ? std::min(group.size - kept, group.channels.size())
                           : 0;
}

/// One threshold for scores of all groups, relative to their means, so that the
/// share goes of all together and of none more than twice the share.
void Pruner::spread(ArrayRef<ChannelGroup> groups,
                    ArrayRef<std::vector<double>> scores, ChannelKind kind,
                    MutableArrayRef<size_t> counts) const {
  double share = getAmount(kind)->share;
  std::vector<double> all;
  size_t total = 0;
  std::vector<std::vector<double>> relative(groups.size());
  for (auto [i, group] : llvm::enumerate(groups)) {
    if (group.kind != kind)
      continue;
    total += group.size;
    double sum = std::accumulate(scores[i].begin(), scores[i].end(), 0.0);
    for (double score : scores[i])
      relative[i].push_back(sum > 0 ? score * double(scores[i].size()) / sum
                                    : 1);
    llvm::sort(relative[i]);
    llvm::append_range(all, relative[i]);
  }
  llvm::sort(all);
  auto cutAt = [&](double threshold) {
    size_t sum = 0;
    for (auto [i, group] : llvm::enumerate(groups)) {
      if (group.kind != kind)
        continue;
      auto below = double(llvm::lower_bound(relative[i], threshold) -
                          relative[i].begin());
      counts[i] =
          roundToSteps(group, std::min(below, 2 * share * double(group.size)));
      sum += counts[i];
    }
    return double(sum) >= share * double(total);
  };
  size_t low = 0, high = all.size() - 1;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (cutAt(all[middle]))
      high = middle;
    else
      low = middle + 1;
  }
  cutAt(all[low]);
}

llvm::Expected<std::vector<size_t>>
Pruner::countToGo(ArrayRef<ChannelGroup> groups,
                  ArrayRef<std::vector<double>> scores) const {
  std::vector<size_t> counts(groups.size(), 0);
  for (auto [count, group] : llvm::zip_equal(counts, groups)) {
    const PruneAmount *amount = getAmount(group.kind);
    if (!amount)
      continue;
    count = amount->count
                ? std::min(size_t(amount->count), group.channels.size())
                : roundToSteps(group, amount->share * double(group.size));
    if (size_t(amount->count) >= group.size)
      return llvm::createStringError("--prune " + amount->text + ": '" +
                                     group.name + "' has " + Twine(group.size));
  }
  for (ChannelKind kind :
       {ChannelKind::Heads, ChannelKind::Ffn, ChannelKind::Filters})
    if (const PruneAmount *amount = getAmount(kind); amount && amount->isMean)
      spread(groups, scores, kind, counts);
  return counts;
}

llvm::Error Pruner::pruneChannels() {
  ChannelGraph graph(module);
  if (llvm::Error error = checkMatches(graph.groups()))
    return error;
  std::optional<prune::Squares> squares;
  if (hasSamples()) {
    llvm::SmallSetVector<Value, 16> inputs;
    for (const ChannelGroup &group : graph.groups())
      if (getAmount(group.kind))
        for (const prune::Consumer &consumer : group.consumers)
          inputs.insert(consumer.x);
    auto sums =
        prune::sumSquares(module, weights, inputs.getArrayRef(), options);
    if (!sums)
      return sums.takeError();
    squares = std::move(*sums);
  }
  std::vector<std::vector<double>> allScores;
  for (const ChannelGroup &group : graph.groups())
    allScores.push_back(
        getAmount(group.kind)
            ? prune::scoreChannels(graph, group, weights,
                                   squares ? &*squares : nullptr)
            : std::vector<double>());
  auto counts = countToGo(graph.groups(), allScores);
  if (!counts)
    return counts.takeError();
  llvm::DenseSet<unsigned> channels;
  std::vector<prune::Consumer> consumers;
  for (const auto &[group, scores, count] :
       llvm::zip_equal(graph.groups(), allScores, *counts)) {
    if (!getAmount(group.kind))
      continue;
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t(0));
    llvm::sort(order, [&](size_t a, size_t b) {
      return std::pair(scores[a], a) < std::pair(scores[b], b);
    });
    double lost = 0, all = 0;
    for (auto [place, index] : llvm::enumerate(order)) {
      all += scores[index];
      if (place >= count)
        continue;
      lost += scores[index];
      channels.insert(group.channels[index]);
    }
    // Moments of more inputs are too large.
    constexpr int64_t kMostInputs = 8192;
    if (count)
      for (const prune::Consumer &consumer : group.consumers)
        if (*nn::getConstant(shapeOf(consumer.x).back()) <= kMostInputs &&
            llvm::none_of(consumers, [&](const prune::Consumer &other) {
              return other.weight.use == consumer.weight.use;
            }))
          consumers.push_back(consumer);
    bool isByInputs = squares && !group.consumers.empty();
    record({getName(group.kind).str(), group.name, int64_t(group.size),
            int64_t(group.size - count),
            isByInputs ? "activations" : "weight norms",
            all > 0 ? lost / all : 0});
  }
  ChannelGraph::Formats formats;
  if (options.reconstructs && hasSamples()) {
    auto made = prune::reconstruct(module, weights, graph, consumers, channels,
                                   options);
    if (!made)
      return made.takeError();
    formats = std::move(*made);
  }
  graph.cut(channels, weights, formats, options.keepsFormats);
  return llvm::Error::success();
}

llvm::Error Pruner::run() {
  if (!nn::getEntry(module))
    return llvm::Error::success();
  if (options.report)
    options.report->flopsBefore = countFlops();
  if (options.layers)
    if (llvm::Error error = pruneLayers(*options.layers))
      return error;
  if (options.heads || options.ffn || options.filters)
    if (llvm::Error error = pruneChannels())
      return error;
  if (options.report)
    options.report->flopsAfter = countFlops();
  return llvm::Error::success();
}

struct PruneStructurePass : impl::PruneStructureBase<PruneStructurePass> {
  PruneStructurePass(WeightStore *weights, PruneOptions options)
      : weights(weights), options(std::move(options)) {}

  void runOnOperation() override {
    if (llvm::Error error = Pruner(getOperation(), *weights, options).run()) {
      emitError(UnknownLoc::get(&getContext()),
                llvm::toString(std::move(error)));
      signalPassFailure();
    }
  }

  WeightStore *weights;
  PruneOptions options;
};

} // namespace

std::unique_ptr<Pass> createPruneStructurePass(WeightStore *weights,
                                               PruneOptions options) {
  return std::make_unique<PruneStructurePass>(weights, std::move(options));
}

} // namespace pare
