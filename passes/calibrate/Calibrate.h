//===- Calibrate.h - Statistics of activations ------------------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_CALIBRATE_H
#define PARE_PASSES_CALIBRATE_CALIBRATE_H

#include "frontend/Progress.h"
#include "passes/reference/Interpreter.h"

namespace pare {

/// How the magnitudes of one activation are distributed over a calibration set.
class ActivationStatistics {
public:
  void add(const HostTensor &tensor);

  double absMax() const { return largest; }
  uint64_t count() const { return total; }

  /// The magnitude at which symmetric 8-bit codes should saturate: the one with
  /// the smallest expected squared error, where values below it are rounded to
  /// steps of threshold / 127 and those above are clipped (Banner et al. 2019,
  /// section 2). 0 if nothing but zeros was seen.
  double chooseThreshold() const;

private:
  static constexpr size_t kBins = 4096;
  /// Doubles the range until it holds `magnitude`, merging bins in pairs.
  void grow(double magnitude);

  std::vector<uint64_t> bins;
  double range = 0; ///< of the histogram: [0, range)
  double largest = 0;
  uint64_t total = 0;
};

using Calibration = llvm::DenseMap<mlir::Value, ActivationStatistics>;

/// Runs the entry on each sample (one tensor per argument) and collects the
/// statistics of `values`. Fails as the interpreter does, naming the sample; a
/// value that is NaN or infinite is an error.
llvm::Expected<Calibration>
calibrate(mlir::ModuleOp module, const WeightStore &weights,
          llvm::ArrayRef<std::vector<HostTensor>> samples,
          llvm::ArrayRef<mlir::Value> values,
          const ProgressFn &listener = nullptr);

} // namespace pare

#endif
