//===- WeightRequest.cpp - Which formats weights get ----------------------===//
#include "tools/WeightRequest.h"

using namespace llvm;

namespace pare::tools {

/// The format of blocks that a short name stands for. Groups of 32 fit nearly
/// all rows.
static std::string expand(StringRef name) {
  return StringSwitch<std::string>(name)
      .Case("int8", "int8_g32")
      .Case("int6", "int6_g32")
      .Case("int5", "int5_g32")
      .Case("int4", "int4_g32")
      .Case("int3", "int3_g32")
      .Case("int2", "uint2_g32")
      .Case("none", "keep")
      .Default(name.str());
}

static Expected<std::string> parseFormat(StringRef option, StringRef name) {
  std::string format = expand(name);
  if (format != "keep" && !findBlockFormat(format))
    return createStringError(
        option + ": unknown format '" + name +
        "': none, int8, int6, int5, int4, int3, int2, or " +
        describeBlockFormats());
  return format;
}

bool isActive(const WeightRequest &request) {
  return request.quantize != "none" || !request.rules.empty();
}

Error apply(const WeightRequest &request, PipelineOptions &options) {
  // 8 bits with one scale per channel have kernels of their own.
  if (request.quantize == "int8") {
    options.quantize = Quantization::Int8;
  } else {
    Expected<std::string> format = parseFormat("--quantize", request.quantize);
    if (!format)
      return format.takeError();
    options.formats.products = *format;
    // Errors of looked-up rows pass through every layer, and a tied table is
    // the vocabulary's projection too: 8 bits, where less was not asked for.
    options.formats.tables = *format == "keep" ? "keep" : "int8_g32";
  }
  for (StringRef rule : request.rules) {
    auto [pattern, name] = rule.rsplit('=');
    std::string option = ("--rule " + rule).str();
    if (pattern.empty() || name.empty())
      return createStringError(option + ": expected PATTERN=FORMAT, as in "
                                        "'lm_head*=int8'");
    Expected<std::string> format = parseFormat(option, name);
    if (!format)
      return format.takeError();
    Expected<GlobPattern> glob = GlobPattern::create(pattern);
    if (!glob)
      return createStringError(option + ": " + toString(glob.takeError()));
    options.formats.rules.push_back(
        {rule.str(), std::move(*glob), std::move(*format)});
  }
  options.formats.encode.method = request.method;
  return Error::success();
}

} // namespace pare::tools
