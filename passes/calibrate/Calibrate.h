//===- Calibrate.h - Statistics of activations ------------------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_CALIBRATE_H
#define PARE_PASSES_CALIBRATE_CALIBRATE_H

#include "frontend/Progress.h"
#include "passes/Executor.h"
#include "passes/reference/Interpreter.h"

namespace pare {

/// How the magnitudes of one activation are distributed over a calibration set.
class ActivationStatistics {
public:
  void add(const HostTensor &tensor);
  void add(float value);

  double absMax() const { return largest; }
  uint64_t count() const { return total; }

  /// The magnitude at which symmetric codes of at most `limit` should saturate:
  /// the one with the smallest expected squared error, where values below it
  /// are rounded to steps of threshold / limit and those above are clipped
  /// (Banner et al. 2019, section 2). 0 if nothing but zeros was seen.
  double chooseThreshold(int64_t limit = 127) const;
  /// Σ (|x| - threshold)² over magnitudes beyond `threshold`.
  double getClipped(double threshold) const;

private:
  static constexpr size_t kBins = 4096;
  /// Doubles the range until it holds `magnitude`, merging bins in pairs.
  void grow(double magnitude);

  std::vector<uint64_t> bins;
  double range = 0; ///< of the histogram: [0, range)
  double largest = 0;
  uint64_t total = 0;
};

/// What is done with a value that was asked for.
using Observer = std::function<llvm::Error(const HostTensor &)>;

/// Runs the entry on each sample (one tensor per argument) and shows each of
/// the observed values to its observer, sample by sample: with `executor`, or
/// where that has no kernels for the graph or there is none, by the
/// interpreter. An executor's run holds all observed values of a sample at
/// once, or those of a part of the graph's that have 512 MiB together: then the
/// graph is run several times. Fails as they do, naming the sample; an observed
/// value that is NaN or infinite is an error.
llvm::Error calibrate(mlir::ModuleOp module, const WeightStore &weights,
                      llvm::ArrayRef<std::vector<HostTensor>> samples,
                      const llvm::DenseMap<mlir::Value, Observer> &observers,
                      const ProgressFn &listener = nullptr,
                      Executor *executor = nullptr);

} // namespace pare

#endif
