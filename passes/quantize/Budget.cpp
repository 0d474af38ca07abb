//===- Budget.cpp - A format for each weight, by size or quality ----------===//
#include "passes/quantize/Budget.h"
#include "passes/quantize/Allocate.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace pare {

/// The longest super-group of whole `group`s that rows divide into, of at most
/// 512 elements; 0: none has two groups.
static int64_t getSuperGroup(int64_t columns, int64_t group) {
  for (int64_t size = 512 / group * group; size >= 2 * group; size -= group)
    if (columns % size == 0)
      return size;
  return 0;
}

std::vector<const BlockFormat *> getLadder(int64_t columns) {
  std::vector<const BlockFormat *> ladder;
  auto add = [&](StringRef kind, int64_t group, unsigned subBits) {
    if (columns % group != 0)
      return;
    std::string name = llvm::formatv("{0}_g{1}", kind, group);
    if (int64_t super = subBits ? getSuperGroup(columns, group) : 0)
      name += llvm::formatv("_k{0}x{1}", subBits, super);
    const BlockFormat *format = findBlockFormat(name);
    assert(format && "a ladder of formats that are none");
    ladder.push_back(format);
  };
  int64_t group = columns % 32 == 0 ? 32 : 16;
  add("uint2", group, 4);
  add("uint2", 16, 4);
  add("int3", group, 6);
  add("uint3", group, 6);
  add("int4", 64, 6);
  add("int4", group, 6);
  add("uint4", group, 6);
  add("int5", group, 6);
  add("uint5", group, 6);
  add("int6", group, 6);
  add("int8", group, 0);
  llvm::sort(ladder, [](const BlockFormat *a, const BlockFormat *b) {
    return std::pair(a->getBitsPerWeight(), a->name) <
           std::pair(b->getBitsPerWeight(), b->name);
  });
  ladder.erase(llvm::unique(ladder), ladder.end());
  return ladder;
}

namespace {

/// What a weight may become.
struct Options {
  std::vector<const BlockFormat *> ladder;
  size_t probe; ///< of the ladder: the one that sensitivity is measured in
  std::vector<StorageChoice> choices;
};

Options getOptions(const WeightTarget &target) {
  constexpr double kProbeBits = 4.25;
  Options options{getLadder(target.blockType().getDimSize(1)), 0, {}};
  auto distance = [&](size_t i) {
    return std::abs(options.ladder[i]->getBitsPerWeight() - kProbeBits);
  };
  for (size_t i = 1; i < options.ladder.size(); ++i)
    if (distance(i) < distance(options.probe))
      options.probe = i;
  return options;
}

/// One line for a budget that nothing fits.
llvm::Error tooSmall(ArrayRef<Options> all, uint64_t elements,
                     const BudgetOptions &options) {
  uint64_t bytes = 0;
  double loss = 0;
  for (const Options &of : all) {
    bytes += of.choices.front().bytes;
    loss += of.choices.back().cost;
  }
  const FormatBudget &budget = options.budget;
  if (budget.bits)
    return llvm::createStringError(
        "%g bits per weight are too few: the least here is %.2f", *budget.bits,
        8 * double(bytes) / double(elements));
  if (budget.bytes)
    return llvm::createStringError(
        "%llu bytes are too few for all weights: the least here is %llu",
        static_cast<unsigned long long>(*budget.bytes),
        static_cast<unsigned long long>(bytes + options.otherBytes));
  return llvm::createStringError(
      "a loss of %g is too small: the least here is %.2g", *budget.loss, loss);
}

} // namespace

llvm::Error chooseFormats(ModuleOp module, WeightStore &weights,
                          MutableArrayRef<WeightTarget> targets,
                          const BudgetOptions &options) {
  std::vector<Options> all;
  std::vector<WeightTarget> probes;
  SmallVector<WeightTarget *> open;
  uint64_t elements = 0;
  for (WeightTarget &target : targets) {
    if (target.format)
      continue;
    open.push_back(&target);
    all.push_back(getOptions(target));
    elements += target.elements();
    probes.push_back(target);
    probes.back().format = all.back().ladder[all.back().probe];
  }
  std::vector<double> costs;
  if (options.executor && !options.samples.empty()) {
    auto measured =
        measureSensitivity(module, weights, *options.executor, options.samples,
                           probes, options.metric, options.progress);
    if (!measured)
      return measured.takeError();
    costs = std::move(*measured);
  }

  std::vector<std::vector<StorageChoice>> choices;
  for (auto [index, target] : llvm::enumerate(open)) {
    Options &of = all[index];
    const TensorData &data = weights.get(target->symbol());
    std::vector<double> errors;
    for (const BlockFormat *format : of.ladder)
      errors.push_back(getRoundingError(data, target->isTransposed, *format));
    double probed = errors[of.probe],
           cost = costs.empty() ? probed : costs[index];
    for (auto [format, error] : llvm::zip_equal(of.ladder, errors))
      of.choices.push_back({getBlockBytes(*format, target->elements()),
                            probed > 0 ? cost * error / probed : 0});
    weights.release(target->symbol());
    choices.push_back(of.choices);
  }

  std::optional<std::vector<unsigned>> chosen;
  const FormatBudget &budget = options.budget;
  if (budget.bits)
    chosen =
        allocateBytes(choices, uint64_t(*budget.bits * double(elements) / 8));
  else if (budget.bytes)
    chosen = allocateBytes(choices, *budget.bytes > options.otherBytes
                                        ? *budget.bytes - options.otherBytes
                                        : 0);
  else if (budget.loss)
    chosen = allocateCost(choices, *budget.loss);
  if (!chosen)
    return tooSmall(all, elements, options);
  for (auto [target, of, choice] : llvm::zip_equal(open, all, *chosen)) {
    target->format = of.ladder[choice];
    target->loss = of.choices[choice].cost;
  }
  return llvm::Error::success();
}

} // namespace pare
