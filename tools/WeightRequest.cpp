//===- WeightRequest.cpp - Which formats weights get ----------------------===//
#include "tools/WeightRequest.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

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
  const BlockFormat *known = findBlockFormat(format);
  if (known && known->isSparse())
    return createStringError(formatv("{0}: weights in {1} are pruned, {2} of "
                                     "each {3} stay: name {4} and "
                                     "prune with --prune {2}:{3}",
                                     option.str(), known->name, known->keep,
                                     known->of, getDenseFormat(*known).name)
                                 .str());
  if (format != "keep" && !known)
    return createStringError(
        option + ": unknown format '" + name +
        "': none, int8, int6, int5, int4, int3, int2, or " +
        describeBlockFormats());
  return format;
}

bool hasBudget(const WeightRequest &request) {
  return !request.bits.empty() || !request.size.empty() ||
         !request.maxDrop.empty() || request.recipe == Recipe::Best;
}

bool isActive(const WeightRequest &request) {
  return request.quantize == "int8" || hasFormats(request) ||
         !request.prune.empty();
}

bool hasFormats(const WeightRequest &request) {
  return (request.quantize != "none" && request.quantize != "int8") ||
         !request.rules.empty() || !request.bits.empty() ||
         !request.size.empty() || !request.maxDrop.empty();
}

std::string describe(const WeightRequest &request) {
  if (!request.bits.empty())
    return request.bits + " bits";
  if (!request.size.empty())
    return request.size;
  if (!request.maxDrop.empty())
    return "at most " + request.maxDrop;
  return request.quantize;
}

static encode::RoundMethod getMethod(const WeightRequest &request) {
  return request.method.value_or(request.recipe == Recipe::Fast
                                     ? encode::RoundMethod::Nearest
                                     : encode::RoundMethod::GptqDescent);
}

bool usesSamples(const WeightRequest &request) {
  encode::RoundMethod method = getMethod(request);
  bool prunes =
      !request.prune.empty() && request.pruneBy != prune::Criterion::Magnitude;
  if (!hasFormats(request) && request.quantize != "int8")
    return prunes;
  return request.quantize == "int8" || hasBudget(request) || prunes ||
         request.scales == encode::ScaleSearch::Output ||
         request.inputScales != InputScaling::None ||
         (method != encode::RoundMethod::Nearest &&
          method != encode::RoundMethod::Hqq);
}

/// "60MB", "1.5 GiB", "123456" in bytes.
static std::optional<uint64_t> parseBytes(StringRef text) {
  StringRef number =
      text.take_while([](char c) { return isDigit(c) || c == '.'; });
  double value;
  if (number.empty() || number.getAsDouble(value))
    return std::nullopt;
  auto unit = StringSwitch<double>(text.drop_front(number.size()).trim())
                  .Cases({"", "B"}, 1)
                  .Cases({"kB", "KB", "k", "K"}, 1e3)
                  .Cases({"MB", "M"}, 1e6)
                  .Cases({"GB", "G"}, 1e9)
                  .Case("KiB", 1024)
                  .Case("MiB", 1024 * 1024)
                  .Case("GiB", 1024 * 1024 * 1024)
                  .Default(0);
  value *= unit;
  if (!(value >= 1 && value < 1e18))
    return std::nullopt;
  return uint64_t(value);
}

/// What --bits, --size, --max-drop and --recipe best allow.
static Expected<std::optional<FormatBudget>>
parseBudget(const WeightRequest &request, const WeightOptions &options) {
  std::string given;
  for (auto [name, text] :
       {std::pair("--bits", request.bits), std::pair("--size", request.size),
        std::pair("--max-drop", request.maxDrop)}) {
    if (text.empty())
      continue;
    if (!given.empty())
      return createStringError(given + " and " + name +
                               " are two budgets: give one of them");
    given = name;
  }
  if (!given.empty() && request.quantize != "none")
    return createStringError(given + " chooses formats: leave out --quantize, "
                                     "or name single weights with --rule");
  FormatBudget budget;
  double value;
  if (!request.bits.empty()) {
    if (StringRef(request.bits).getAsDouble(value) ||
        !(value > 0 && value <= 16))
      return createStringError("--bits " + request.bits +
                               ": expected bits per weight, as in 4.25");
    budget.bits = value;
  } else if (!request.size.empty()) {
    budget.bytes = parseBytes(request.size);
    if (!budget.bytes)
      return createStringError("--size " + request.size +
                               ": expected bytes, as in 60MB");
  } else if (!request.maxDrop.empty()) {
    StringRef number = request.maxDrop;
    bool isPercent = number.consume_back("%");
    if (number.getAsDouble(value) || !(value > 0 && value < 1e6))
      return createStringError("--max-drop " + request.maxDrop +
                               ": expected a share, as in 0.5%");
    budget.loss = isPercent ? value / 100 : value;
  } else if (request.recipe == Recipe::Best && options.products != "keep") {
    budget.bits = findBlockFormat(options.products)->getBitsPerWeight();
  } else {
    return std::nullopt;
  }
  return budget;
}

/// "FORMAT+SPARSITY", or one of both, of a rule.
static Error parseChange(StringRef option, StringRef text, FormatRule &rule) {
  auto [name, sparsity] = text.split('+');
  bool isSparsityAlone = name.ends_with("%") || name.contains(':');
  if (sparsity.empty() && isSparsityAlone)
    std::swap(name, sparsity);
  if (!name.empty()) {
    Expected<std::string> format = parseFormat(option, name);
    if (!format)
      return format.takeError();
    rule.format = std::move(*format);
  }
  if (sparsity.empty())
    return Error::success();
  if (sparsity == "0%") {
    rule.sparsity = prune::Sparsity{0, 0, 0};
    return Error::success();
  }
  Expected<prune::Sparsity> parsed = prune::parseSparsity(sparsity);
  if (!parsed)
    return createStringError(option + ": " + toString(parsed.takeError()));
  rule.sparsity = *parsed;
  return Error::success();
}

/// What --prune says of single weights.
static Error applyPruning(const WeightRequest &request, bool hasSamples,
                          WeightOptions &options) {
  if (request.prune.size() > 1)
    return createStringError("--prune " + request.prune[0] + " and --prune " +
                             request.prune[1] +
                             " both say how many weights go: give one of them, "
                             "or --rule PATTERN=50% for single ones");
  if (!request.prune.empty()) {
    Expected<prune::Sparsity> sparsity =
        prune::parseSparsity(request.prune.front());
    if (!sparsity)
      return createStringError("--prune " + toString(sparsity.takeError()) +
                               "; parts of layers are named, as in ffn=25%");
    options.sparsity = *sparsity;
  }
  bool prunes = options.sparsity || any_of(options.rules, [](const auto &rule) {
                  return rule.sparsity && *rule.sparsity != prune::Sparsity{0};
                });
  if (request.pruneBy && !prunes)
    return createStringError("--prune-by is for single weights: say with "
                             "--prune how many go, as in 50% or 2:4");
  options.criterion = request.pruneBy.value_or(
      hasSamples ? prune::Criterion::SparseGpt : prune::Criterion::Magnitude);
  if (prunes && !hasSamples && options.criterion != prune::Criterion::Magnitude)
    return createStringError("--prune-by " +
                             prune::getName(options.criterion).lower() +
                             " looks at samples: give them with --calibrate");
  if (prunes && hasBudget(request))
    return createStringError("--prune of single weights needs formats with an "
                             "exact zero, which --bits, --size, --max-drop and "
                             "--recipe best do not keep to: name one with "
                             "--quantize");
  return Error::success();
}

Error apply(const WeightRequest &request, bool hasSamples,
            PipelineOptions &options) {
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
    Expected<GlobPattern> glob = GlobPattern::create(pattern);
    if (!glob)
      return createStringError(option + ": " + toString(glob.takeError()));
    FormatRule &made = options.formats.rules.emplace_back(
        FormatRule{rule.str(), std::move(*glob), ""});
    if (Error error = parseChange(option, name, made))
      return error;
  }
  options.formats.encode.method = getMethod(request);
  options.formats.encode.scales =
      request.scales.value_or(encode::ScaleSearch::Mse);
  if (request.scales == encode::ScaleSearch::Output && !hasSamples)
    return createStringError("--scales output looks at samples: give them with "
                             "--calibrate");
  options.formats.inputScales = request.inputScales;
  if (request.inputScales != InputScaling::None && !hasSamples)
    return createStringError("--input-scales looks at samples: give them with "
                             "--calibrate");
  if (Error error = applyPruning(request, hasSamples, options.formats))
    return error;
  Expected<std::optional<FormatBudget>> budget =
      parseBudget(request, options.formats);
  if (!budget)
    return budget.takeError();
  options.formats.budget = *budget;
  return Error::success();
}

} // namespace pare::tools
