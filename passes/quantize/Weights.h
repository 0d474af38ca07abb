//===- Weights.h - Weights in formats of few bits ---------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_WEIGHTS_H
#define PARE_PASSES_QUANTIZE_WEIGHTS_H

#include "passes/Executor.h"
#include "passes/Target.h"
#include "passes/prune/Prune.h"
#include "passes/quantize/Budget.h"
#include "passes/quantize/Checkpoint.h"
#include "passes/quantize/Int8.h"
#include "passes/quantize/encode/Encode.h"

namespace pare {

/// What the user wants for weights by name. Later rules win over earlier ones.
struct FormatRule {
  std::string text; ///< as given, for errors
  llvm::GlobPattern pattern;
  /// Of BlockFormat.h, or "keep"; empty: says nothing of it.
  std::string format;
  /// 0%: none goes.
  std::optional<prune::Sparsity> sparsity = {};
};

/// Whether inputs of products are divided, and weights multiplied, by factors
/// under which rounding loses less (AWQ, Lin et al. 2023, section 3.2).
enum class InputScaling : uint8_t {
  None,
  Free, ///< where what makes the inputs can take them (InputMover)
  All,  ///< elsewhere by a multiplication before the product
};

struct WeightOptions {
  /// Of the weights of products, and of tables whose rows are looked up (also
  /// where products use the same table): a name of BlockFormat.h, or "keep": as
  /// the source has them.
  std::string products = "keep", tables = "keep";
  std::vector<FormatRule> rules = {};
  /// How many weights of products become 0. Those of tables, and of products
  /// that make the model's outputs, do where rules say so.
  std::optional<prune::Sparsity> sparsity = {};
  /// Weights whose inputs are not known are pruned by magnitude.
  prune::Criterion criterion = prune::Criterion::Magnitude;
  /// Where given, weights that a pattern prunes are in the sparse format of
  /// their codes, if that is faster on it.
  const Target *target = nullptr;
  /// Where given, weights that no rule names get formats chosen to fit it, in
  /// place of the two above.
  std::optional<FormatBudget> budget = {};
  /// What the choice is measured by and on; without samples see BudgetOptions.
  OutputMetric metric = OutputMetric::RelativeSquare;
  std::vector<std::vector<HostTensor>> probes = {};
  /// Threads are the driver's. Of the correction for what earlier layers lost
  /// (GPTAQ, Li et al. 2025) weights take on half: on MiniLM at 3 bits,
  /// held-out sentences, the cosine is 0.965 at 0, 0.972 at 0.5, 0.954 at 1.
  encode::EncodeOptions encode = {.asymmetry = 0.5};
  /// Needs samples; then no checkpoint is kept.
  InputScaling inputScales = InputScaling::None;
  /// Runs the model on `calibration`; without samples, or for methods that need
  /// none, it may be null.
  Executor *executor = nullptr;
  std::vector<std::vector<HostTensor>> calibration = {};
  CheckpointOptions checkpoint = {};
  /// Where decisions are appended, one per weight of at least two axes, in
  /// program order; may be null.
  std::vector<TensorDecision> *decisions = nullptr;
  ProgressFn progress = nullptr;

  bool isActive() const {
    return products != "keep" || tables != "keep" || !rules.empty() || budget ||
           sparsity;
  }
};

} // namespace pare

#endif
