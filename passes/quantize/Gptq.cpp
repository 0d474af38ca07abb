//===- Gptq.cpp - Rounding that corrects itself ---------------------------===//
#include "passes/quantize/Gptq.h"
#include "passes/quantize/WeightCodes.h"
#include "llvm/ADT/STLExtras.h"
#include <Eigen/Cholesky>

using namespace llvm;

namespace pare {

using Matrix = Eigen::MatrixXd;
/// One row per input, one column per channel.
using Weights =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

static Eigen::Map<const Matrix> viewOf(const SecondMoments &moments) {
  return {moments.sums().data(), moments.size(), moments.size()};
}

/// The upper factor U of H⁻¹ = UᵀU with H damped. Cholesky of H with its rows
/// and columns reversed gives H = RRᵀ with R upper, and U = R⁻¹.
static Matrix factorInverse(const Matrix &hessian) {
  int64_t size = hessian.rows();
  double damping = 0.01 * hessian.diagonal().mean();
  if (damping == 0)
    damping = 1;
  for (;; damping *= 10) {
    Matrix damped = hessian;
    damped.diagonal().array() += damping;
    Eigen::LLT<Matrix> factor(damped.reverse());
    if (factor.info() != Eigen::Success)
      continue;
    Matrix upper = Matrix(factor.matrixL()).reverse();
    return upper.triangularView<Eigen::Upper>().solve(
        Matrix::Identity(size, size));
  }
}

std::vector<int8_t> roundByGptq(ArrayRef<float> weights, ArrayRef<float> scales,
                                const SecondMoments &moments) {
  constexpr int64_t kBlock = 128;
  int64_t inner = moments.size(), channels = scales.size();
  assert(int64_t(weights.size()) == inner * channels);
  Eigen::Map<const Matrix> hessian = viewOf(moments);

  auto order = llvm::to_vector(llvm::seq<int64_t>(0, inner));
  llvm::sort(order, [&](int64_t a, int64_t b) {
    return std::pair(-hessian(a, a), a) < std::pair(-hessian(b, b), b);
  });
  Weights rest = Eigen::Map<const Weights>(weights.data(), inner,
                                           channels)(order, Eigen::all);
  Eigen::MatrixXf factor = factorInverse(hessian(order, order)).cast<float>();

  std::vector<int8_t> codes(weights.size());
  Weights errors(kBlock, channels);
  for (int64_t begin = 0; begin < inner; begin += kBlock) {
    int64_t end = std::min(begin + kBlock, inner);
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t c = 0; c < channels; ++c) {
        float w = rest(k, c), scale = scales[c];
        int64_t at = order[k] * channels + c;
        float code = scale == 0 || weights[at] == 0 ? 0 : roundCode(w / scale);
        codes[at] = int8_t(code);
        errors(k - begin, c) = (w - code * scale) / factor(k, k);
      }
      int64_t left = end - k - 1;
      rest.middleRows(k + 1, left).noalias() -=
          factor.row(k).segment(k + 1, left).transpose() *
          errors.row(k - begin);
    }
    rest.bottomRows(inner - end).noalias() -=
        factor.block(begin, end, end - begin, inner - end).transpose() *
        errors.topRows(end - begin);
  }
  return codes;
}

double getOutputError(ArrayRef<float> weights, ArrayRef<int8_t> codes,
                      ArrayRef<float> scales, const SecondMoments &moments) {
  int64_t inner = moments.size(), channels = scales.size();
  Matrix w(inner, channels), difference(inner, channels);
  for (int64_t k = 0; k < inner; ++k)
    for (int64_t c = 0; c < channels; ++c) {
      int64_t at = k * channels + c;
      w(k, c) = weights[at];
      difference(k, c) = weights[at] - double(codes[at]) * scales[c];
    }
  auto norm = [&](const Matrix &m) {
    return (viewOf(moments) * m).cwiseProduct(m).sum();
  };
  double total = norm(w);
  return total > 0 ? std::sqrt(std::max(0.0, norm(difference)) / total) : 0;
}

} // namespace pare
