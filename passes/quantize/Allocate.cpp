//===- Allocate.cpp - Which of several formats fit a budget ---------------===//
#include "passes/quantize/Allocate.h"
#include "llvm/ADT/STLExtras.h"
#include <tuple>

using llvm::ArrayRef;

namespace pare {

namespace {

using Items = ArrayRef<std::vector<StorageChoice>>;

/// A step of one item from a choice of its hull to the next larger one.
struct Step {
  unsigned item, to;
  uint64_t bytes; ///< more than before
  double cost;    ///< less than before
  double rate() const { return cost / double(bytes); }
};

/// The choices of an item that are best at some price of a byte, from the
/// smallest up.
std::vector<unsigned> getHull(ArrayRef<StorageChoice> choices) {
  std::vector<unsigned> order(choices.size());
  for (auto [i, at] : llvm::enumerate(order))
    at = i;
  llvm::sort(order, [&](unsigned a, unsigned b) {
    return std::tuple(choices[a].bytes, choices[a].cost, a) <
           std::tuple(choices[b].bytes, choices[b].cost, b);
  });
  auto rate = [&](unsigned from, unsigned to) {
    return (choices[from].cost - choices[to].cost) /
           double(choices[to].bytes - choices[from].bytes);
  };
  std::vector<unsigned> hull;
  for (unsigned i : order) {
    if (!hull.empty() && (choices[i].cost >= choices[hull.back()].cost ||
                          choices[i].bytes == choices[hull.back()].bytes))
      continue;
    while (hull.size() > 1 &&
           rate(hull[hull.size() - 2], hull.back()) <= rate(hull.back(), i))
      hull.pop_back();
    hull.push_back(i);
  }
  return hull;
}

/// All steps by falling gain per byte; an item's own are in order. `chosen`
/// becomes the smallest choices.
std::vector<Step> getSteps(Items items, std::vector<unsigned> &chosen) {
  std::vector<Step> steps;
  for (auto [item, choices] : llvm::enumerate(items)) {
    std::vector<unsigned> hull = getHull(choices);
    chosen.push_back(hull.front());
    for (auto [from, to] :
         llvm::zip(ArrayRef(hull), ArrayRef(hull).drop_front()))
      steps.push_back({unsigned(item), to,
                       choices[to].bytes - choices[from].bytes,
                       choices[from].cost - choices[to].cost});
  }
  llvm::stable_sort(
      steps, [](const Step &a, const Step &b) { return a.rate() > b.rate(); });
  return steps;
}

} // namespace

std::optional<std::vector<unsigned>> allocateBytes(Items items,
                                                   uint64_t maxBytes) {
  std::vector<unsigned> chosen;
  std::vector<Step> steps = getSteps(items, chosen);
  uint64_t bytes = 0;
  for (auto [choices, choice] : llvm::zip_equal(items, chosen))
    bytes += choices[choice].bytes;
  if (bytes > maxBytes)
    return std::nullopt;
  // Behind a step that does not fit its item stays as it is.
  std::vector<bool> isFull(items.size());
  for (const Step &step : steps) {
    if (isFull[step.item])
      continue;
    if (step.bytes > maxBytes - bytes) {
      isFull[step.item] = true;
      continue;
    }
    bytes += step.bytes;
    chosen[step.item] = step.to;
  }
  return chosen;
}

std::optional<std::vector<unsigned>> allocateCost(Items items, double maxCost) {
  std::vector<unsigned> chosen;
  std::vector<Step> steps = getSteps(items, chosen);
  double cost = 0;
  for (auto [choices, choice] : llvm::zip_equal(items, chosen))
    cost += choices[choice].cost;
  for (const Step &step : steps) {
    if (cost <= maxCost)
      return chosen;
    cost -= step.cost;
    chosen[step.item] = step.to;
  }
  if (cost > maxCost)
    return std::nullopt;
  return chosen;
}

} // namespace pare
