//===- Sensitivity.h - What rounding each weight does to outputs -*- C++
//-*-===//
#ifndef PARE_PASSES_QUANTIZE_SENSITIVITY_H
#define PARE_PASSES_QUANTIZE_SENSITIVITY_H

#include "frontend/Progress.h"
#include "passes/calibrate/SegmentRunner.h"
#include "passes/quantize/WeightTarget.h"

namespace pare {

/// How far outputs are from what they were.
enum class OutputMetric : uint8_t {
  /// Σ ‖y - ŷ‖² / Σ ‖y‖² over all outputs.
  RelativeSquare,
  /// The mean over rows of KL(softmax y ‖ softmax ŷ), in nats, of the first
  /// output's.
  Divergence,
};

/// For each probe, whose format is known, how far the model's outputs are off
/// with that weight alone rounded to nearest, by `metric`.
///
/// Layers (segments) are rounded one at a time, all weights of one at once, and
/// run on to the outputs: every sample once for each layer before. What comes
/// out is divided among a layer's weights by the squared error that each alone
/// leaves in the layer's own outputs. Only one layer's kernels and as many
/// streams of activations as there are layers are in memory. The graph is the
/// same afterwards.
llvm::Expected<std::vector<double>>
measureSensitivity(mlir::ModuleOp module, WeightStore &weights,
                   Executor &executor, Samples samples,
                   llvm::ArrayRef<WeightTarget> probes, OutputMetric metric,
                   const ProgressFn &progress);

/// The squared error of rounding a weight to nearest in `format`, relative to
/// its square: of at most 64 of its rows, evenly spaced.
double getRoundingError(const TensorData &data, bool isTransposed,
                        const BlockFormat &format);

} // namespace pare

#endif
