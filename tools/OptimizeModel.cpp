//===- OptimizeModel.cpp - From a model's path to another runtime's -------===//
#include "tools/OptimizeModel.h"
#include "backends/export/Export.h"
#include <chrono>

using namespace llvm;
using namespace pare::exporting;

namespace pare::tools {

/// Options that only artifacts have a use for.
static Error checkOptions(const CompileOptions &options) {
  const std::pair<bool, StringRef> ofArtifacts[] = {
      {!options.adapters.empty(), "--adapter"},
      {options.cache != CacheType::F16, "--kv-cache"},
      {options.kernels != cpu::Providers::Generated, "--kernels"},
      {!options.timings.empty(), "--timings"},
      {options.target != "host", "--target"},
      {!options.prune.empty(), "--prune of parts of layers"},
      {options.weights.inputScales != InputScaling::None, "--input-scales"},
  };
  for (auto [given, name] : ofArtifacts)
    if (given)
      return createStringError(name + " is for pare compile: the result runs "
                                      "elsewhere");
  if (!options.weights.prune.empty() && options.weights.quantize == "none")
    return createStringError("--prune " + options.weights.prune.front() +
                             " without --quantize would leave weights as large "
                             "as they are: name a format with --quantize");
  if (hasBudget(options.weights))
    return createStringError("--bits, --size, --max-drop and --recipe best "
                             "choose among formats that other runtimes have "
                             "not: name one with --quantize");
  if (!isActive(options.weights))
    return createStringError("what should become of the weights? Say so with "
                             "--quantize or --rule");
  return Error::success();
}

/// Formats that the exporter has not, by the options that ask for them.
static Error checkFormats(const Exporter &exporter,
                          const WeightOptions &formats, StringRef quantize) {
  if (const BlockFormat *format = findBlockFormat(formats.products))
    if (Error error = checkFormat(exporter, *format, /*isTable=*/false,
                                  "--quantize " + quantize))
      return error;
  for (const FormatRule &rule : formats.rules)
    if (const BlockFormat *format = findBlockFormat(rule.format))
      if (!exporter.supports(*format, /*isTable=*/true))
        if (Error error = checkFormat(exporter, *format, /*isTable=*/false,
                                      "--rule " + rule.text))
          return error;
  return Error::success();
}

static ProductAccuracy getAccuracy(BlockActivations activations) {
  switch (activations) {
  case BlockActivations::Auto:
    return ProductAccuracy::Default;
  case BlockActivations::F32:
    return ProductAccuracy::F32;
  case BlockActivations::Int8:
    return ProductAccuracy::Int8;
  }
  llvm_unreachable("unknown activations");
}

using Clock = std::chrono::steady_clock;

static OptimizeResult finish(OptimizeResult result, const Exporter &exporter,
                             Clock::time_point start) {
  result.format = exporter.name();
  result.runner = exporter.runner();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

/// Writes the model with 8-bit weights and fixed scales of activations.
static Expected<uint64_t> writeStatic(const CompileOptions &options,
                                      StaticExport &file, Prepared &prepared,
                                      std::vector<TensorDecision> &decisions) {
  const Int8Options &int8 = prepared.pipeline.int8;
  Expected<StaticObservations> seen = observeRanges(
      *prepared.model->module, *prepared.model->weights, int8.calibration,
      file.tensors(), file.products(), int8.progress, int8.executor);
  if (!seen)
    return onOneLine(
        createStringError(options.model + ": " + toString(seen.takeError())));
  return file.write(options.output, *seen, decisions);
}

Expected<OptimizeResult> optimizeModel(const CompileOptions &options,
                                       Console &console) {
  auto start = Clock::now();
  if (Error error = checkOptions(options))
    return std::move(error);
  Expected<const Importer *> importer = findImporter(options.model);
  if (!importer)
    return importer.takeError();
  Expected<const Exporter *> exporter =
      findExporter((*importer)->name(), options.output);
  if (!exporter)
    return exporter.takeError();
  std::unique_ptr<StaticExport> file;
  std::vector<GlobPattern> keepFloat;
  if (options.weights.quantize == "int8") {
    if (!options.weights.prune.empty())
      return createStringError("--prune of single weights is for formats of "
                               "blocks here: name one with --quantize");
    if (!options.weights.rules.empty())
      return createStringError("--rule is for formats of blocks; beside "
                               "--quantize int8 there is --keep-float");
    Expected<std::vector<GlobPattern>> patterns = parseKeepFloat(options);
    if (!patterns)
      return patterns.takeError();
    keepFloat = std::move(*patterns);
    auto opened = (*exporter)->openStatic(options.model, keepFloat);
    if (!opened)
      return opened.takeError();
    file = std::move(*opened);
    if (!file)
      return createStringError("--quantize int8: " + (*exporter)->name() +
                               " has no such scale per channel; use int8_g32");
    if (options.calibration.paths.empty())
      return createStringError("--quantize int8: ONNX has fixed scales of "
                               "activations: say with --calibrate on what to "
                               "find them");
  }
  PipelineOptions asked;
  if (Error error =
          apply(options.weights, !options.calibration.paths.empty(), asked))
    return std::move(error);
  if (Error error =
          checkFormats(**exporter, asked.formats, options.weights.quantize))
    return std::move(error);
  if (Error error = (*exporter)->checkSource(options.model))
    return std::move(error);

  Expected<cpu::Isa> isa = cpu::Isa::parse(options.target);
  if (!isa)
    return isa.takeError();
  OptimizeResult result;
  Prepared prepared;
  if (Error error = prepareModel(
          options, *isa, result.decisions, console, [](StringRef) {}, prepared))
    return std::move(error);
  if (file) {
    Expected<uint64_t> bytes =
        writeStatic(options, *file, prepared, result.decisions);
    if (!bytes)
      return bytes.takeError();
    result.bytes = *bytes;
    return finish(std::move(result), **exporter, start);
  }
  prepared.pipeline.formats.target = nullptr; // sparse formats are pare's own
  if (asked.formats.products != "keep")
    prepared.pipeline.formats.tables = (*exporter)->getTableFormat();
  mlir::ModuleOp graph = *prepared.model->module;
  if (Error error = runPasses(graph, prepared.pipeline, options.model,
                              buildExportPipeline))
    return std::move(error);
  Expected<QuantizedWeights> weights =
      collectWeights(graph, *prepared.model->weights);
  if (!weights)
    return onOneLine(createStringError(options.model + ": " +
                                       toString(weights.takeError())));
  if (weights->empty())
    return createStringError(options.model +
                             ": no weight can have the format that was asked "
                             "for; pare compile lists why");
  for (const auto &[name, weight] : *weights)
    if (Error error = checkFormat(**exporter, weight.format(), weight.isTable,
                                  options.model + ": tensor '" + name + "'"))
      return onOneLine(std::move(error));
  Expected<uint64_t> bytes =
      (*exporter)->write({options.model, options.output, std::move(*weights),
                          getAccuracy(options.activations)});
  if (!bytes)
    return bytes.takeError();
  result.bytes = *bytes;
  return finish(std::move(result), **exporter, start);
}

} // namespace pare::tools
