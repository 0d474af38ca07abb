//===- SecondMoments.h - Correlations of an activation ----------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_SECONDMOMENTS_H
#define PARE_PASSES_CALIBRATE_SECONDMOMENTS_H

#include "passes/reference/HostTensor.h"

namespace pare {

class CrossProducts;

/// Σ x·xᵀ over the rows x of an activation: up to a factor the Hessian of a
/// product's squared output error in any column of its weight. Also their mean,
/// and some of them.
class SecondMoments {
public:
  /// For rows of `size` values.
  explicit SecondMoments(int64_t size);

  /// Adds the rows of a tensor whose last axis is `size()`.
  void add(const HostTensor &tensor);
  /// As above, where `products` is given and the tensor is f32 a few hundred
  /// rows at a time by them: sums are f32 over those.
  llvm::Error add(const HostTensor &tensor, CrossProducts *products);

  int64_t size() const { return size_; }
  int64_t rows() const { return rows_; }
  /// Symmetric, [size, size].
  llvm::ArrayRef<double> sums() const { return sums_; }
  /// Of each of the `size` values; zeros where no row was added.
  std::vector<double> means() const;
  /// Up to 1024 of the rows, [n, size], evenly drawn from each tensor.
  llvm::ArrayRef<float> samples() const { return samples_; }

  /// What is known of (x - shift) / scale, element by element.
  SecondMoments transformed(llvm::ArrayRef<double> shift,
                            llvm::ArrayRef<double> scale) const;

private:
  void addRows(llvm::ArrayRef<float> values);

  int64_t size_, rows_ = 0;
  std::vector<double> sums_, totals_;
  std::vector<float> samples_;
};

} // namespace pare

#endif
