//===- SecondMoments.cpp - Correlations of an activation ------------------===//
#include "passes/calibrate/SecondMoments.h"
#include "passes/calibrate/ProductMoments.h"
#include <Eigen/Core>

using namespace mlir;

namespace pare {

SecondMoments::SecondMoments(int64_t size)
    : size_(size), sums_(size * size, 0), totals_(size, 0) {}

/// Counts rows, sums them, and keeps some.
void SecondMoments::addRows(ArrayRef<float> values) {
  constexpr int64_t kDrawn = 32, kKept = 1024;
  int64_t rows = values.size() / size_;
  rows_ += rows;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < size_; ++i)
      totals_[i] += values[row * size_ + i];
  int64_t free = kKept - int64_t(samples_.size()) / size_,
          drawn = std::min({rows, kDrawn, free});
  for (int64_t i = 0; i < drawn; ++i) {
    ArrayRef<float> row = values.slice(i * rows / drawn * size_, size_);
    samples_.insert(samples_.end(), row.begin(), row.end());
  }
}

void SecondMoments::add(const HostTensor &tensor) {
  assert(tensor.shape().back() == size_);
  addRows(tensor.read<float>());
  std::vector<double> values = tensor.read<double>();
  Eigen::Map<const Eigen::MatrixXd> columns(values.data(), size_,
                                            values.size() / size_);
  Eigen::Map<Eigen::MatrixXd> sums(sums_.data(), size_, size_);
  sums.selfadjointView<Eigen::Lower>().rankUpdate(columns);
  sums.triangularView<Eigen::StrictlyUpper>() = sums.transpose();
}

llvm::Error SecondMoments::add(const HostTensor &tensor,
                               CrossProducts *products) {
  if (!products || !tensor.element().isF32()) {
    add(tensor);
    return llvm::Error::success();
  }
  assert(tensor.shape().back() == size_);
  constexpr int64_t kRows = 512;
  ArrayRef<float> values = tensor.values<float>();
  addRows(values);
  for (int64_t rows; !values.empty();
       values = values.drop_front(rows * size_)) {
    rows = std::min<int64_t>(kRows, values.size() / size_);
    HostTensor part(RankedTensorType::get({rows, size_}, tensor.element()),
                    values.take_front(rows * size_));
    if (llvm::Error error = products->add(part, part, sums_))
      return error;
  }
  return llvm::Error::success();
}

std::vector<double> SecondMoments::means() const {
  std::vector<double> means = totals_;
  for (double &mean : means)
    mean /= std::max<int64_t>(rows_, 1);
  return means;
}

SecondMoments SecondMoments::transformed(ArrayRef<double> shift,
                                         ArrayRef<double> scale) const {
  SecondMoments result = *this;
  for (int64_t i = 0; i < size_; ++i) {
    for (int64_t j = 0; j < size_; ++j) {
      double moved = sums_[i * size_ + j] - shift[i] * totals_[j] -
                     totals_[i] * shift[j] + rows_ * shift[i] * shift[j];
      result.sums_[i * size_ + j] = moved / (scale[i] * scale[j]);
    }
    result.totals_[i] = (totals_[i] - rows_ * shift[i]) / scale[i];
  }
  for (auto [k, value] : llvm::enumerate(result.samples_))
    value = float((value - shift[k % size_]) / scale[k % size_]);
  return result;
}

} // namespace pare
