//===- Compare.cpp - The error between two tensors ------------------------===//
#include "tools/Compare.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include <cmath>

namespace pare::tools {

static double ratio(double part, double whole) {
  if (part == 0)
    return 0;
  return whole > 0 ? part / whole : INFINITY;
}

Difference compare(const HostTensor &a, const HostTensor &b) {
  assert(a.shape() == b.shape());
  Difference result;
  double dot = 0, normA = 0, normB = 0, error = 0, largest = 0, scale = 0;
  for (auto [x, y] : llvm::zip_equal(a.read<double>(), b.read<double>())) {
    if (!std::isfinite(x) || !std::isfinite(y)) {
      bool same = x == y || (std::isnan(x) && std::isnan(y));
      result.nonFinite += !same;
      continue;
    }
    dot += x * y;
    normA += x * x;
    normB += y * y;
    error += (x - y) * (x - y);
    largest = std::max(largest, std::abs(x - y));
    scale = std::max(scale, std::abs(y));
  }
  if (normA > 0 && normB > 0)
    result.cosine = std::min(1.0, dot / std::sqrt(normA) / std::sqrt(normB));
  else
    result.cosine = normA == normB ? 1 : 0;
  result.maxError = ratio(largest, scale);
  result.rmsError = std::sqrt(ratio(error, normB));
  return result;
}

/// `tensor` with axis i taken from axis permutation[i].
static HostTensor transpose(const HostTensor &tensor,
                            llvm::ArrayRef<int64_t> permutation) {
  llvm::ArrayRef<int64_t> shape = tensor.shape();
  size_t rank = shape.size();
  llvm::SmallVector<int64_t> strides(rank, 1), moved, index(rank, 0), steps;
  for (size_t i = rank - 1; i-- > 0;)
    strides[i] = strides[i + 1] * shape[i + 1];
  for (int64_t axis : permutation) {
    moved.push_back(shape[axis]);
    steps.push_back(strides[axis]);
  }
  std::vector<double> from = tensor.read<double>(), to(from.size());
  int64_t at = 0;
  for (double &value : to) {
    value = from[at];
    for (size_t axis = rank; axis-- > 0;) {
      at += steps[axis];
      if (++index[axis] < moved[axis])
        break;
      at -= index[axis] * steps[axis];
      index[axis] = 0;
    }
  }
  HostTensor result(mlir::RankedTensorType::get(moved, tensor.element()));
  result.write<double>(to);
  return result;
}

std::optional<Difference> compareInAnyLayout(const HostTensor &a,
                                             const HostTensor &b) {
  size_t rank = a.shape().size();
  if (rank != b.shape().size() || mlir::isa<mlir::FloatType>(a.element()) !=
                                      mlir::isa<mlir::FloatType>(b.element()))
    return std::nullopt;
  auto same = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  llvm::SmallVector<decltype(same)> layouts = {same};
  if (rank >= 3) {
    layouts.append(3, same);
    std::rotate(layouts[1].begin() + 1, layouts[1].begin() + 2,
                layouts[1].end());
    std::rotate(layouts[2].begin() + 1, layouts[2].end() - 1, layouts[2].end());
    std::swap(layouts[3][1], layouts[3][2]);
  }
  std::optional<Difference> best;
  for (const auto &layout : layouts) {
    auto fits = [&](auto axes) {
      auto [from, size] = axes;
      return a.shape()[from] == size;
    };
    if (!llvm::all_of(llvm::zip_equal(layout, b.shape()), fits))
      continue;
    Difference difference =
        compare(layout == same ? a : transpose(a, layout), b);
    if (!best || difference.rmsError < best->rmsError)
      best = difference;
  }
  return best;
}

} // namespace pare::tools
