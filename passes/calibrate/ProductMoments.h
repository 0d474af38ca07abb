//===- ProductMoments.h - Correlations of products' inputs ------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_PRODUCTMOMENTS_H
#define PARE_PASSES_CALIBRATE_PRODUCTMOMENTS_H

#include "passes/Executor.h"
#include <map>

namespace pare {

/// aᵀ · b of activations, by an executor: calibration's largest part.
class CrossProducts {
public:
  explicit CrossProducts(Executor &executor, mlir::MLIRContext &context)
      : executor(executor), context(context) {}

  /// Adds aᵀ · b to `sums` [K, K], for f32 a and b [T, K]. Sums over one call
  /// are f32, over calls double.
  llvm::Error add(const HostTensor &a, const HostTensor &b,
                  llvm::MutableArrayRef<double> sums);

private:
  llvm::Expected<Executable *> find(int64_t size);

  Executor &executor;
  mlir::MLIRContext &context;
  std::map<int64_t, std::unique_ptr<Executable>> bySize;
};

/// What is known of the rows x that a product's weight meets: as the model
/// gives them whose earlier layers were changed, and x̂, as the exact one does.
class ProductMoments {
public:
  /// For rows of `size` values.
  explicit ProductMoments(int64_t size)
      : size_(size), second_(size * size), shift_(size * size),
        magnitudes_(size) {}

  /// Adds the rows of one sample, each as often as `weights` says; empty: once.
  /// Fails where some are not finite, or so large that their squares are not.
  /// Rows are summed a few hundred at a time, so samples may be short.
  llvm::Error add(const HostTensor &exact, const HostTensor &changed,
                  llvm::ArrayRef<float> weights, CrossProducts &products);
  /// Sums what add() still holds.
  llvm::Error finish(CrossProducts &products);

  int64_t size() const { return size_; }
  int64_t rows() const { return rows_; }
  /// Σ x · xᵀ [size, size].
  llvm::ArrayRef<double> second() const { return second_; }
  /// Σ (x̂ - x) · xᵀ [size, size]; zero where nothing was changed.
  llvm::ArrayRef<double> shift() const { return shift_; }
  bool isShifted() const { return isShifted_; }
  /// Mean |x| of each of the `size()` values; zeros where no row was added.
  std::vector<float> magnitudes() const;
  /// Makes all that is known that of x / scale, element by element.
  void divide(llvm::ArrayRef<double> scale);

private:
  int64_t size_, rows_ = 0;
  bool isShifted_ = false;
  mlir::Type element;
  /// Rows of changed samples and what exact ones have more, not yet summed.
  std::vector<float> held, heldShift;
  std::vector<double> second_, shift_, magnitudes_;
};

} // namespace pare

#endif
