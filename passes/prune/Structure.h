//===- Structure.h - Parts of a model to leave out --------------*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_STRUCTURE_H
#define PARE_PASSES_PRUNE_STRUCTURE_H

#include "frontend/Progress.h"
#include "passes/Executor.h"
#include <optional>

namespace pare {

/// How much goes: a share of each layer's, or a number.
struct PruneAmount {
  double share = 0;
  /// The share is of all layers' together: those lose more whose parts differ
  /// more in importance.
  bool isMean = false;
  int64_t count = 0; ///< where not 0, in place of a share
  std::string text;  ///< as the user gave it, for messages
};

/// What went of one layer, for the table that the user sees.
struct PruneDecision {
  std::string kind;  ///< "layers", "ffn", "heads", "filters"
  std::string name;  ///< the source's, of what makes the channels
  int64_t from, to;  ///< how many there were and are
  std::string score; ///< how they were compared
  /// What went of the importance of all: its share, or for a layer its block
  /// influence.
  double lost;
};

/// What pruning did to the whole model.
struct PruneReport {
  std::vector<PruneDecision> decisions;
  /// Arithmetic of one run, with 64 for dimensions that are not fixed.
  int64_t flopsBefore = 0, flopsAfter = 0;
};

struct PruneOptions {
  std::optional<PruneAmount> layers, heads, ffn, filters;
  /// Makes what stays of products and convolutions give the outputs that all
  /// gave, by least squares over `calibration`.
  bool reconstructs = true;
  /// Weights in blocks of which parts of blocks go are encoded anew; else they
  /// become f32, to be quantized later.
  bool keepsFormats = true;
  /// Runs the model on `calibration`; without samples it may be null.
  Executor *executor = nullptr;
  std::vector<std::vector<HostTensor>> calibration = {};
  PruneReport *report = nullptr; ///< may be null
  ProgressFn progress = nullptr;

  bool isActive() const { return layers || heads || ffn || filters; }
};

/// Puts "ffn=25%", "ffn=~25%" (on average) or "layers=6" into `options`. Fails,
/// with what is expected, where it is neither a share below 100% nor a number,
/// or is given twice.
llvm::Error parsePrune(llvm::StringRef text, PruneOptions &options);

} // namespace pare

#endif
