//===- SecondMoments.h - Correlations of an activation ----------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_SECONDMOMENTS_H
#define PARE_PASSES_CALIBRATE_SECONDMOMENTS_H

#include "passes/reference/HostTensor.h"

namespace pare {

/// Σ x·xᵀ over the rows x of an activation: up to a factor the Hessian of a
/// product's squared output error in any column of its weight.
class SecondMoments {
public:
  /// For rows of `size` values.
  explicit SecondMoments(int64_t size);

  /// Adds the rows of a tensor whose last axis is `size()`.
  void add(const HostTensor &tensor);

  int64_t size() const { return size_; }
  /// Symmetric, [size, size].
  llvm::ArrayRef<double> sums() const { return sums_; }

private:
  int64_t size_;
  std::vector<double> sums_;
};

} // namespace pare

#endif
