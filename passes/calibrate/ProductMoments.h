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

  /// Adds aᵀ · b to `sums` [N, K], for f32 a [T, N] and b [T, K]. Sums over one
  /// call are f32, over calls double.
  llvm::Error add(const HostTensor &a, const HostTensor &b,
                  llvm::MutableArrayRef<double> sums);

private:
  llvm::Expected<Executable *> find(int64_t rows, int64_t columns);

  Executor &executor;
  mlir::MLIRContext &context;
  std::map<std::pair<int64_t, int64_t>, std::unique_ptr<Executable>> bySize;
};

/// What is known of the rows x that a product's weight meets: as the model
/// gives them whose earlier layers were changed, and x̂, as the exact one does.
class ProductMoments {
public:
  /// For rows of `size` values.
  explicit ProductMoments(int64_t size)
      : size_(size), second_(size * size), shift_(size * size),
        magnitudes_(size) {}

  /// What the results of a sample's rows are added to gives with them: in the
  /// exact model, and in the changed one with this product as it was.
  struct Sums {
    const HostTensor &exact, &changed;
  };

  /// Adds the rows of one sample, each as often as `weights` says; empty: once.
  /// `sums` may be null, for all samples alike. Fails where rows are not
  /// finite, or so large that their squares are not. Rows are summed a few
  /// hundred at a time, so samples may be short.
  llvm::Error add(const HostTensor &exact, const HostTensor &changed,
                  llvm::ArrayRef<float> weights, CrossProducts &products,
                  const Sums *sums = nullptr);
  /// Sums what add() still holds.
  llvm::Error finish(CrossProducts &products);

  int64_t size() const { return size_; }
  int64_t rows() const { return rows_; }
  /// Σ x · xᵀ [size, size].
  llvm::ArrayRef<double> second() const { return second_; }
  /// Σ (x̂ - x) · xᵀ [size, size]; zero where nothing was changed.
  llvm::ArrayRef<double> shift() const { return shift_; }
  bool isShifted() const { return isShifted_; }
  /// Σ (ŝ - s) · xᵀ [outputs, size] of the sums s and ŝ; empty where none were
  /// given.
  llvm::ArrayRef<double> lack() const { return lack_; }
  /// Mean |x| of each of the `size()` values; zeros where no row was added.
  std::vector<float> magnitudes() const;
  /// Makes all that is known that of x / scale, element by element.
  void divide(llvm::ArrayRef<double> scale);

private:
  int64_t size_, rows_ = 0;
  bool isShifted_ = false;
  mlir::Type element;
  /// Rows of changed samples and what exact ones have more, not yet summed.
  std::vector<float> held, heldShift, heldLack;
  std::vector<double> second_, shift_, lack_, magnitudes_;
};

} // namespace pare

#endif
