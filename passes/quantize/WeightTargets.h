//===- WeightTargets.h - Which weights get which format ---------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_WEIGHTTARGETS_H
#define PARE_PASSES_QUANTIZE_WEIGHTTARGETS_H

#include "passes/quantize/Weights.h"

namespace pare {

/// The weights of a module that options give a format, and what is said of all
/// others.
class WeightTargets {
public:
  /// All must outlive this.
  WeightTargets(mlir::ModuleOp module, WeightStore &weights,
                const WeightOptions &options)
      : module(module), weights(weights), options(options) {}

  /// Finds `targets`, in program order: by rules, by the defaults, or within
  /// the budget. Fails for rules that match nothing, for parts of one product
  /// with two formats, and for a budget that is too small.
  llvm::Error find();

  std::vector<WeightTarget> targets;

  /// Notes what became of a weight.
  void record(nn::WeightOp weight, std::string format, uint64_t bytesAfter,
              std::string reason, double error);
  /// Appends what was noted, in program order.
  void report(std::vector<TensorDecision> &decisions);

private:
  llvm::Expected<std::string> chooseFormat(nn::WeightOp weight, bool isTable);
  llvm::Error checkRules();
  llvm::Error fitBudget();

  struct Noted {
    TensorDecision decision;
    bool isTransposed = false;
  };

  mlir::ModuleOp module;
  WeightStore &weights;
  const WeightOptions &options;
  std::vector<unsigned> ruleMatches;
  llvm::StringMap<Noted> decided;
  std::vector<std::string> order;       ///< of decisions
  llvm::SmallVector<std::string> names; ///< that rules may name
};

} // namespace pare

#endif
