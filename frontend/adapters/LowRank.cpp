//===- LowRank.cpp - Sums of low-rank updates -----------------------------===//
#include "frontend/adapters/LowRank.h"
#include <cassert>
#include <cmath>

namespace pare::adapters {

void LowRank::add(llvm::ArrayRef<float> moreA, llvm::ArrayRef<float> moreB,
                  double scale) {
  int64_t more = int64_t(moreA.size()) / in;
  assert(int64_t(moreB.size()) == out * more && "A and B do not multiply");
  a.insert(a.end(), moreA.begin(), moreA.end());
  for (int64_t k = 0; k < more; ++k)
    for (int64_t o = 0; o < out; ++o)
      b.push_back(float(scale * double(moreB[o * more + k])));
  rank += more;
}

/// Euclidean lengths of the weights of each output.
static std::vector<double> getLengths(llvm::ArrayRef<float> weight, int64_t in,
                                      int64_t out, Orientation orientation) {
  bool byRow = orientation == Orientation::OutIn;
  std::vector<double> sums(out);
  for (int64_t i = 0; i < in * out; ++i)
    sums[byRow ? i / in : i % out] += double(weight[i]) * double(weight[i]);
  for (double &sum : sums)
    sum = std::sqrt(sum);
  return sums;
}

void LowRank::addScaled(llvm::ArrayRef<float> moreA,
                        llvm::ArrayRef<float> moreB, double scale,
                        llvm::ArrayRef<float> magnitude,
                        llvm::ArrayRef<float> weight, Orientation orientation) {
  LowRank alone{in, out};
  alone.add(moreA, moreB, scale);
  std::vector<float> updated(weight);
  alone.merge(updated, orientation);
  std::vector<double> lengths = getLengths(updated, in, out, orientation);
  if (d.empty())
    d.assign(out, 1);
  for (int64_t o = 0; o < out; ++o) {
    double factor = lengths[o] > 0 ? double(magnitude[o]) / lengths[o] : 0;
    d[o] += float(factor - 1);
    for (int64_t k = 0; k < alone.rank; ++k)
      alone.b[k * out + o] *= float(factor);
  }
  a.insert(a.end(), alone.a.begin(), alone.a.end());
  b.insert(b.end(), alone.b.begin(), alone.b.end());
  rank += alone.rank;
}

void LowRank::merge(llvm::MutableArrayRef<float> weight,
                    Orientation orientation) const {
  assert(int64_t(weight.size()) == in * out && "another weight's update");
  // left[k][row] · right[k][column], whichever of A and Bᵀ they are.
  bool byRow = orientation == Orientation::OutIn;
  const std::vector<float> &left = byRow ? b : a, &right = byRow ? a : b;
  int64_t rows = byRow ? out : in, columns = byRow ? in : out;
  for (int64_t row = 0; row < rows; ++row) {
    float *w = weight.data() + row * columns;
    if (!d.empty())
      for (int64_t i = 0; i < columns; ++i)
        w[i] *= d[byRow ? row : i];
    for (int64_t k = 0; k < rank; ++k) {
      float factor = left[k * rows + row];
      const float *r = right.data() + k * columns;
      for (int64_t i = 0; i < columns; ++i)
        w[i] += factor * r[i];
    }
  }
}

} // namespace pare::adapters
