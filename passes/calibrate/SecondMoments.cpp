//===- SecondMoments.cpp - Correlations of an activation ------------------===//
#include "passes/calibrate/SecondMoments.h"
#include <Eigen/Core>

namespace pare {

SecondMoments::SecondMoments(int64_t size)
    : size_(size), sums_(size * size, 0) {}

void SecondMoments::add(const HostTensor &tensor) {
  assert(tensor.shape().back() == size_);
  std::vector<double> values = tensor.read<double>();
  Eigen::Map<const Eigen::MatrixXd> columns(values.data(), size_,
                                            values.size() / size_);
  Eigen::Map<Eigen::MatrixXd> sums(sums_.data(), size_, size_);
  sums.selfadjointView<Eigen::Lower>().rankUpdate(columns);
  sums.triangularView<Eigen::StrictlyUpper>() = sums.transpose();
}

} // namespace pare
