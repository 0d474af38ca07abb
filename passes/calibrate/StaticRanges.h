//===- StaticRanges.h - Fixed scales of activations -------------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_STATICRANGES_H
#define PARE_PASSES_CALIBRATE_STATICRANGES_H

#include "passes/calibrate/Calibrate.h"
#include "passes/calibrate/SecondMoments.h"
#include "llvm/ADT/StringMap.h"

namespace pare {

/// An interval that holds zero.
struct ValueRange {
  float low = 0, high = 0;
};

/// How the values of one activation are distributed over a calibration set.
class RangeStatistics {
public:
  void add(const HostTensor &tensor);

  /// The interval whose `steps` equal steps have the smallest expected squared
  /// error: values inside are rounded, those outside are clipped (Banner et al.
  /// 2019, section 2, for each side by itself). [0, 0] if nothing but zeros was
  /// seen.
  ValueRange chooseRange(int64_t steps = 255) const;

private:
  ActivationStatistics above, below; ///< magnitudes of either sign
};

/// What a graph's tensors with fixed scales need to know.
struct StaticObservations {
  /// By the source's names of tensors: where the graph has them.
  llvm::StringMap<ValueRange> ranges;
  /// Of the rows that products and convolutions of one tap multiply, by the
  /// names of what these make; products of the same rows share theirs.
  llvm::StringMap<std::shared_ptr<const SecondMoments>> inputs;
};

/// Runs the model on `samples` as calibrate() does. `tensors` are names of
/// tensors, `products` of results of products.
llvm::Expected<StaticObservations> observeRanges(
    mlir::ModuleOp module, const WeightStore &weights,
    llvm::ArrayRef<std::vector<HostTensor>> samples,
    llvm::ArrayRef<std::string> tensors, llvm::ArrayRef<std::string> products,
    const ProgressFn &progress = nullptr, Executor *executor = nullptr);

} // namespace pare

#endif
