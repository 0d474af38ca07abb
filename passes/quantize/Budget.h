//===- Budget.h - A format for each weight, by size or quality --*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_BUDGET_H
#define PARE_PASSES_QUANTIZE_BUDGET_H

#include "passes/quantize/Sensitivity.h"

namespace pare {

/// What the weights without a rule may take, one of three. For bits and bytes
/// as little as possible is lost, for a loss as few bytes as possible taken.
struct FormatBudget {
  std::optional<double> bits;    ///< per weight, on average, scales included
  std::optional<uint64_t> bytes; ///< of all the model's weights together
  /// What rounding to nearest may cost, by the metric: each weight measured
  /// alone and added up. Methods that look at inputs lose less.
  std::optional<double> loss;
};

struct BudgetOptions {
  FormatBudget budget;
  uint64_t otherBytes = 0; ///< of weights that are not to be chosen for
  /// Without an executor all weights count alike, by their relative error.
  Executor *executor = nullptr;
  Samples samples = {};
  OutputMetric metric = OutputMetric::RelativeSquare;
  ProgressFn progress = nullptr;
};

/// The formats that rows of `columns` elements may get, from few bits to many;
/// none where `columns` is no multiple of 16.
std::vector<const BlockFormat *> getLadder(int64_t columns);

/// Gives each target that has no format one of its ladder, and a loss.
/// Sensitivities are measured in one format of about 4 bits and go with the
/// squared error of the weight to the others. Fails where the budget is too
/// small, with the least that can be.
llvm::Error chooseFormats(mlir::ModuleOp module, WeightStore &weights,
                          llvm::MutableArrayRef<WeightTarget> targets,
                          const BudgetOptions &options);

} // namespace pare

#endif
