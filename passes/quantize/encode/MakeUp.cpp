//===- MakeUp.cpp - Weights that make up for earlier errors ---------------===//
#include "passes/quantize/encode/Panel.h"
#include <Eigen/Cholesky>

using llvm::ArrayRef;

namespace pare::encode {

std::vector<float> makeUpFor(ArrayRef<double> lack, ArrayRef<float> weights,
                             int64_t rows, const InputMoments &moments,
                             double share, double ridge) {
  using Matrix = Eigen::MatrixXd;
  fixBlocking();
  int64_t columns = moments.size;
  Matrix damped =
      Eigen::Map<const Matrix>(moments.products.data(), columns, columns);
  double mean = damped.diagonal().mean();
  constexpr double kLeast = 1e-6; // of inputs that were never seen
  damped.diagonal() += ridge * damped.diagonal();
  damped.diagonal().array() += mean > 0 ? kLeast * mean : 1;
  std::vector<float> result = weights.vec();
  Eigen::LLT<Eigen::Ref<Matrix>> factors(damped);
  if (factors.info() != Eigen::Success)
    return result;
  // Row-major [rows, columns] is what Eigen calls [columns, rows].
  Matrix change =
      factors.solve(Eigen::Map<const Matrix>(lack.data(), columns, rows));
  for (int64_t i = 0; i < rows * columns; ++i)
    result[i] += float(share * change.data()[i]);
  return result;
}

} // namespace pare::encode
