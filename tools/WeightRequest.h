//===- WeightRequest.h - Which formats weights get --------------*- C++ -*-===//
#ifndef PARE_TOOLS_WEIGHTREQUEST_H
#define PARE_TOOLS_WEIGHTREQUEST_H

#include "passes/Pipelines.h"

namespace pare::tools {

/// --quantize, --rule and --method, as given.
struct WeightRequest {
  std::string quantize = "none";  ///< none, int8, or a format of blocks
  std::vector<std::string> rules; ///< PATTERN=FORMAT
  encode::RoundMethod method = encode::RoundMethod::GptqDescent;
};

/// Whether anything is to be quantized.
bool isActive(const WeightRequest &request);

/// Puts what was asked for into `options`. Fails, with the formats there are,
/// where one is unknown, and where a rule is none.
llvm::Error apply(const WeightRequest &request, PipelineOptions &options);

} // namespace pare::tools

#endif
