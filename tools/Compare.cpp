//===- Compare.cpp - The error between two tensors ------------------------===//
#include "tools/Compare.h"
#include "llvm/ADT/STLExtras.h"
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

} // namespace pare::tools
