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
              std::string reason, double error, double zeros = 0,
              bool storesZeros = false);
  /// Puts `weight`, which was made of a target's, in its place.
  void replace(WeightTarget &target, nn::WeightOp weight);
  /// Appends what was noted, in program order.
  void report(std::vector<TensorDecision> &decisions);

private:
  /// What a weight becomes: a format by name, and how much of it is 0.
  struct Choice {
    std::string format;
    std::optional<prune::Sparsity> sparsity;
    bool operator==(const Choice &) const = default;
  };

  llvm::Expected<Choice> choose(nn::WeightOp weight,
                                llvm::ArrayRef<mlir::OpOperand *> uses);
  /// The target that `choice` makes of a weight; none, after a note of why,
  /// where it cannot be or nothing was asked for.
  llvm::Expected<std::optional<WeightTarget>>
  makeTarget(nn::WeightOp weight, llvm::ArrayRef<mlir::OpOperand *> uses,
             const Choice &choice);
  void keep(nn::WeightOp weight, std::string reason);
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
