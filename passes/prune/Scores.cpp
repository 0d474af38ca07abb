//===- Scores.cpp - How much weights do -----------------------------------===//
#include "passes/prune/Prune.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <numeric>

using llvm::ArrayRef;

namespace pare::prune {

std::vector<float> scoreByMagnitude(ArrayRef<float> weights) {
  std::vector<float> scores;
  for (float weight : weights)
    scores.push_back(std::abs(weight));
  return scores;
}

std::vector<float> scoreByWanda(ArrayRef<float> weights,
                                ArrayRef<double> squares) {
  std::vector<float> scores;
  for (auto [i, weight] : llvm::enumerate(weights))
    scores.push_back(
        float(std::abs(weight) * std::sqrt(squares[i % squares.size()])));
  return scores;
}

std::vector<float> scoreByRia(ArrayRef<float> weights, ArrayRef<double> squares,
                              double power) {
  size_t columns = squares.size(), rows = weights.size() / columns;
  std::vector<double> columnSums(columns, 0), rowSums(rows, 0);
  for (auto [i, weight] : llvm::enumerate(weights)) {
    columnSums[i % columns] += std::abs(weight);
    rowSums[i / columns] += std::abs(weight);
  }
  std::vector<float> scores;
  for (auto [i, weight] : llvm::enumerate(weights)) {
    double size = std::abs(weight);
    // A sum is zero only where the weight is.
    double relative =
        size > 0 ? size / columnSums[i % columns] + size / rowSums[i / columns]
                 : 0;
    scores.push_back(
        float(relative * std::pow(squares[i % columns], power / 2)));
  }
  return scores;
}

/// Clears `mask` of the `count` least scores, the first of equal ones.
static void drop(ArrayRef<float> scores, size_t count, uint8_t *mask) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::nth_element(order.begin(), order.begin() + count, order.end(),
                   [&](size_t a, size_t b) {
                     return std::pair(scores[a], a) < std::pair(scores[b], b);
                   });
  for (size_t i : ArrayRef(order).take_front(count))
    mask[i] = 0;
}

std::vector<uint8_t> chooseWeights(ArrayRef<float> scores, int64_t rows,
                                   const Sparsity &sparsity, Scope scope) {
  size_t columns = scores.size() / rows, part = scores.size();
  if (sparsity.of)
    part = sparsity.of;
  else if (scope == Scope::Row)
    part = columns;
  assert((!sparsity.of || columns % sparsity.of == 0) && "a part of a group");
  assert(sparsity.keep <= sparsity.of && "more than there are");
  size_t count = sparsity.of ? sparsity.of - sparsity.keep
                             : size_t(double(part) * sparsity.fraction);
  std::vector<uint8_t> mask(scores.size(), 1);
  for (size_t begin = 0; begin < scores.size(); begin += part)
    drop(scores.slice(begin, part), count, mask.data() + begin);
  return mask;
}

} // namespace pare::prune
