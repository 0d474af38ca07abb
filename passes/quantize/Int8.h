//===- Int8.h - 8-bit weights and activations -------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_INT8_H
#define PARE_PASSES_QUANTIZE_INT8_H

#include "frontend/Progress.h"
#include "passes/Executor.h"
#include "passes/Target.h"
#include "passes/reference/HostTensor.h"
#include "llvm/Support/GlobPattern.h"
#include <string>
#include <vector>

namespace pare {

/// What became of one weight, for the table that the user sees.
struct TensorDecision {
  std::string tensor;         ///< the source's name
  std::vector<int64_t> shape; ///< in the graph's layout
  std::string format;         ///< "int8 per channel", "int8 per row", "f32", …
  uint64_t bytesBefore;
  uint64_t bytesAfter; ///< codes and scales
  std::string reason;  ///< why this format
  double error;        ///< as in WeightCodes; 0 where the weight is unchanged
  double zeros = 0;    ///< share of weights that pruning made 0
  /// Zeros take as many bytes and as much time as other weights.
  bool storesZeros = false;
};

/// Appends `decision` on a weight to `decisions`: once, or for a weight that
/// was merged from several along `axis`, once for each.
void appendDecision(nn::WeightOp weight, const TensorDecision &decision,
                    int64_t axis, std::vector<TensorDecision> &decisions);

struct Int8Options {
  /// Asked for the code type and for kernels' estimates; null: codes are i8
  /// and everything that can be quantized is.
  const Target *target = nullptr;
  /// The entry's inputs, one list per sample, for the activation scales of
  /// convolutions and for the rounding of weights (GPTQ); without any,
  /// convolutions stay float and weights are rounded to nearest.
  std::vector<std::vector<HostTensor>> calibration = {};
  /// Where decisions are appended, one per weight of at least two axes, in
  /// program order; may be null.
  std::vector<TensorDecision> *decisions = nullptr;
  /// Weights that stay float whatever else is decided: patterns of the source's
  /// names, as shells match files.
  std::vector<llvm::GlobPattern> keepFloat = {};
  ProgressFn progress = nullptr; ///< of calibration and of weights
  /// Runs the model on samples; null: the interpreter does, slowly.
  Executor *executor = nullptr;
};

} // namespace pare

#endif
