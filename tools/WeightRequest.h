//===- WeightRequest.h - Which formats weights get --------------*- C++ -*-===//
#ifndef PARE_TOOLS_WEIGHTREQUEST_H
#define PARE_TOOLS_WEIGHTREQUEST_H

#include "passes/Pipelines.h"

namespace pare::tools {

/// How much work goes into quantization.
enum class Recipe {
  Fast,     ///< rounding to nearest; looks at no data
  Balanced, ///< one format, rounded by what calibration samples show
  Best,     ///< as Balanced; as many bits, but more of them where they count
};

/// What was asked for, as given; empty texts: not given.
struct WeightRequest {
  std::string quantize = "none";  ///< none, int8, or a format of blocks
  std::vector<std::string> rules; ///< PATTERN=FORMAT+SPARSITY, or one of both
  Recipe recipe = Recipe::Balanced;
  std::optional<encode::RoundMethod> method; ///< in place of the recipe's
  std::optional<encode::ScaleSearch> scales;
  InputScaling inputScales = InputScaling::None;
  /// Of single weights: "50%", "2:4"; at most one.
  std::vector<std::string> prune;
  std::optional<prune::Criterion> pruneBy;
  std::string bits, size, maxDrop; ///< at most one
};

/// In one word or two, for reports: "int4_g32", "4.25 bits".
std::string describe(const WeightRequest &request);

/// Whether a method looks at calibration samples.
bool usesSamples(const WeightRequest &request);

/// Whether formats are to be chosen weight by weight.
bool hasBudget(const WeightRequest &request);

/// Whether anything is to be quantized or pruned.
bool isActive(const WeightRequest &request);

/// Whether formats of blocks are asked for.
bool hasFormats(const WeightRequest &request);

/// Puts what was asked for into `options`; `hasSamples` says whether there will
/// be calibration samples. Fails, with the formats there are, where one is
/// unknown, where a rule is none, and where requests contradict each other.
llvm::Error apply(const WeightRequest &request, bool hasSamples,
                  PipelineOptions &options);

} // namespace pare::tools

#endif
