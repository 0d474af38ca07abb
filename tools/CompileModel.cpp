//===- CompileModel.cpp - From a model's path to an artifact --------------===//
#include "tools/CompileModel.h"
#include "backends/cpu/CpuTarget.h"
#include "backends/cpu/HostExecutor.h"
#include "backends/emit/Link.h"
#include "tools/Cli.h"
#include "tools/ImageOption.h"
#include "tools/Report.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include "llvm/TargetParser/Host.h"
#include <chrono>

using namespace llvm;

namespace pare::tools {

namespace {
/// Takes the time of each phase.
class Phases {
public:
  explicit Phases(CompileResult &result) : result(result) {}
  void finish(StringRef phase) {
    double total =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    result.phases.push_back({phase.str(), total - result.seconds});
    result.seconds = total;
  }

private:
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
  CompileResult &result;
};
} // namespace

Error runPasses(mlir::ModuleOp graph, const PipelineOptions &pipeline,
                StringRef path, PipelineBuilder build) {
  mlir::MLIRContext *context = graph.getContext();
  std::string diagnostic;
  mlir::ScopedDiagnosticHandler diagnostics(context, [&](mlir::Diagnostic &d) {
    if (diagnostic.empty())
      diagnostic = d.str();
    return mlir::success();
  });
  mlir::PassManager passes(context);
#ifndef PARE_VERIFY_EACH
  passes.enableVerifier(false);
#endif
  build(passes, pipeline);
  if (mlir::failed(passes.run(graph)))
    return createStringError(
        path + ": " + (diagnostic.empty() ? "a pass failed" : diagnostic));
  return Error::success();
}

/// What the artifact says of its origin.
static std::string describe(const CompileOptions &options, const Model &model,
                            ArrayRef<TensorDecision> decisions,
                            const PruneReport &pruned) {
  json::Object about{{"pare", PARE_VERSION},
                     {"source", sys::path::filename(options.model)},
                     {"format", model.format},
                     {"quantize", describe(options.weights)},
                     {"tensors", toJson(decisions)}};
  json::Array adapters;
  for (StringRef folder : options.adapters)
    adapters.push_back(sys::path::filename(folder.rtrim('/')));
  if (!adapters.empty())
    about["adapters"] = std::move(adapters);
  if (!options.prune.empty())
    about["pruned"] = toJson(pruned);
  return formatv("{0}", json::Value(std::move(about))).str();
}

/// The table of kernel times that choices rest on.
static Expected<cpu::TimingTable> readTimings(const CompileOptions &options,
                                              const cpu::Isa &isa) {
  if (options.timings.empty())
    return cpu::TimingTable::findShipped(isa.name);
  Expected<cpu::TimingTable> timings = cpu::TimingTable::read(options.timings);
  if (timings && timings->target != isa.name)
    return createStringError("--timings %s: measured for target %s, not for "
                             "%s: make a table with pare tune --target",
                             options.timings.c_str(), timings->target.c_str(),
                             isa.name.c_str());
  return timings;
}

/// The providers asked for, as far as this build has them.
static Expected<cpu::Providers> findProviders(const CompileOptions &options,
                                              const cpu::Isa &isa,
                                              Console &console) {
  if (options.kernels == cpu::Providers::Generated)
    return options.kernels;
  auto libraries = emit::findOneDnn(isa.triple);
  if (libraries)
    return options.kernels;
  if (options.kernels == cpu::Providers::OneDnn)
    return libraries.takeError();
  consumeError(libraries.takeError());
  console.note("--kernels=auto: no oneDNN for " + isa.name +
               " in this build, generated kernels only");
  return cpu::Providers::Generated;
}

/// Options that only mean something beside others.
static Error checkFlags(const CompileOptions &options) {
  const WeightRequest &weights = options.weights;
  bool calibrates = !options.calibration.paths.empty();
  if (calibrates && !isActive(weights) && options.prune.empty())
    return createStringError("--calibrate is for --quantize, --rule and "
                             "--prune: give one of them");
  if (!options.calibrationFlag.empty() && !calibrates)
    return createStringError(options.calibrationFlag +
                             " is for --calibrate: say with it on what");
  if (!options.methodFlag.empty() && !hasFormats(weights))
    return createStringError(options.methodFlag +
                             " is for weights in blocks: give --quantize with "
                             "another format than int8, --bits or --rule");
  if (calibrates && options.prune.empty() && !usesSamples(weights))
    return createStringError("--calibrate is for methods that look at samples: "
                             "leave it out, or take another --method, "
                             "--recipe or --prune-by");
  if (!options.keepFloat.empty() && weights.quantize != "int8")
    return createStringError("--keep-float is for --quantize int8; elsewhere "
                             "use --rule PATTERN=none");
  return Error::success();
}

/// Few samples, for what is run once per layer: of a language model with the
/// logits of some tokens each.
static Expected<std::vector<Sample>>
readProbes(CalibrationOptions calibration, Model &model,
           ArrayRef<emit::ImageInput> images, ArrayRef<Sample> samples) {
  constexpr size_t kSamples = 32;
  if (!model.decoder) {
    std::vector<Sample> probes;
    for (size_t index : drawSpread(samples.size(), kSamples, calibration.seed))
      probes.push_back(samples[index]);
    return probes;
  }
  calibration.chunk = 256;
  calibration.tokens = 4 * calibration.chunk;
  calibration.outputs = 64;
  Expected<CalibrationData> data = readCalibration(calibration, model, images);
  if (!data)
    return data.takeError();
  return std::move(data->samples);
}

/// What beside a model and its options decides the bytes of weights: this
/// program, and the CPU that samples run on.
static std::string getIdentity() {
  std::string identity = PARE_VERSION;
  std::string program = sys::fs::getMainExecutable(nullptr, nullptr);
  if (auto file = MappedFile::open(program)) {
    XXH128_hash_t hash = xxh3_128bits((*file)->bytes());
    identity += formatv(" {0:x} {1:x}", hash.high64, hash.low64);
  } else {
    consumeError(file.takeError());
  }
  identity += (" " + sys::getHostCPUName()).str();
  std::vector<std::string> features;
  for (const auto &feature : sys::getHostCPUFeatures())
    if (feature.second)
      features.push_back(feature.first().str());
  llvm::sort(features);
  return identity + " " + join(features, ",");
}

Expected<std::vector<GlobPattern>>
parseKeepFloat(const CompileOptions &options) {
  std::vector<GlobPattern> patterns;
  for (const std::string &text : options.keepFloat) {
    Expected<GlobPattern> pattern = GlobPattern::create(text);
    if (!pattern)
      return createStringError("--keep-float %s: %s", text.c_str(),
                               toString(pattern.takeError()).c_str());
    patterns.push_back(std::move(*pattern));
  }
  return std::move(patterns);
}

Error prepareModel(const CompileOptions &options, const cpu::Isa &isa,
                   std::vector<TensorDecision> &decisions, Console &console,
                   function_ref<void(StringRef)> finish, Prepared &prepared) {
  const ProgressFn progress = console.listener();
  PipelineOptions &pipeline = prepared.pipeline;
  Expected<ImportOptions> importOptions = parseShapes(options.shapes);
  if (!importOptions)
    return importOptions.takeError();
  importOptions->context = options.context;
  importOptions->cache = options.cache;
  importOptions->adapters = options.adapters;
  importOptions->adapterMode = options.adapterMode;
  if (Error error =
          apply(options.weights, !options.calibration.paths.empty(), pipeline))
    return error;
  for (StringRef part : options.prune)
    if (Error error = parsePrune(part, pipeline.prune))
      return error;
  if (Error error = checkFlags(options))
    return error;

  Expected<cpu::TimingTable> timings = readTimings(options, isa);
  if (!timings)
    return timings.takeError();
  loadDialects(prepared.context);
  Expected<Model> model =
      importModel(options.model, *importOptions, prepared.context, console);
  if (!model)
    return model.takeError();
  finish("import");

  mlir::func::FuncOp entry = nn::getEntry(*model->module);
  for (const std::string &text : options.images) {
    Expected<emit::ImageInput> image = parseImage(text, entry);
    if (!image)
      return image.takeError();
    prepared.images.push_back(std::move(*image));
  }

  prepared.target.emplace(isa, std::move(*timings));
  cpu::CpuTarget &target = *prepared.target;
  pipeline.weights = model->weights.get();
  pipeline.prune.report = &prepared.pruned;
  pipeline.prune.progress = progress;
  // What gets another format does so from f32.
  pipeline.prune.keepsFormats =
      options.weights.quantize == "none" && !pipeline.formats.budget;
  pipeline.formats.decisions = &decisions;
  pipeline.formats.progress = progress;
  pipeline.formats.checkpoint = {
      options.checkpoints, getIdentity, options.checkpointBytes,
      [&](const Twine &line) { console.note(line); }};
  pipeline.int8.target = &target;
  pipeline.int8.decisions = &decisions;
  pipeline.int8.progress = progress;
  pipeline.blocks.target = &target;
  if (options.activations != BlockActivations::F32)
    pipeline.formats.target = &target;
  pipeline.blocks.activations = options.activations;
  pipeline.blocks.decisions = &decisions;
  Expected<std::vector<GlobPattern>> keepFloat = parseKeepFloat(options);
  if (!keepFloat)
    return keepFloat.takeError();
  pipeline.int8.keepFloat = std::move(*keepFloat);
  std::unique_ptr<Executor> &executor = prepared.executor;
  if (!options.calibration.paths.empty()) {
    CalibrationOptions calibration = options.calibration;
    Expected<std::unique_ptr<Executor>> made = cpu::createHostExecutor();
    if (!made)
      return made.takeError();
    executor = std::move(*made);
    pipeline.int8.executor = executor.get();
    if (pipeline.formats.isActive() || pipeline.prune.isActive()) {
      pipeline.formats.executor = executor.get();
      pipeline.prune.executor = executor.get();
      // It takes any number of them, and layers behind the last attention see
      // no other rows.
      calibration.outputs = calibration.chunk;
    }
    Expected<CalibrationData> data =
        readCalibration(calibration, *model, prepared.images, progress);
    if (!data)
      return data.takeError();
    for (const std::string &warning : data->warnings)
      console.warn("--calibrate: " + warning);
    std::string tokens =
        data->tokens ? formatv(" with {0} tokens", data->tokens).str() : "";
    console.note("calibrating on " + Twine(data->samples.size()) + " samples" +
                 tokens);
    if (pipeline.formats.budget) {
      Expected<std::vector<Sample>> probes =
          readProbes(calibration, *model, prepared.images, data->samples);
      if (!probes)
        return probes.takeError();
      pipeline.formats.probes = std::move(*probes);
      pipeline.formats.metric = model->decoder ? OutputMetric::Divergence
                                               : OutputMetric::RelativeSquare;
    }
    if (pipeline.prune.isActive())
      pipeline.prune.calibration = data->samples;
    if (pipeline.formats.isActive())
      pipeline.formats.calibration = data->samples;
    if (pipeline.quantize == Quantization::Int8)
      pipeline.int8.calibration = std::move(data->samples);
    finish("samples");
  }
  prepared.model = std::move(*model);
  return Error::success();
}

/// Of weights that were pruned and then quantized, what became of them in the
/// end, with both reasons.
static void mergeDecisions(std::vector<TensorDecision> &decisions) {
  StringMap<TensorDecision> earlier;
  std::vector<TensorDecision> merged;
  for (TensorDecision &decision : reverse(decisions)) {
    auto [it, isNew] = earlier.try_emplace(decision.tensor, decision);
    if (isNew)
      continue;
    if (decision.zeros > 0) {
      it->second.zeros = decision.zeros;
      it->second.storesZeros = decision.storesZeros;
      it->second.reason = decision.reason + "; " + it->second.reason;
    }
  }
  for (TensorDecision &decision : decisions)
    if (auto it = earlier.find(decision.tensor); it != earlier.end()) {
      merged.push_back(std::move(it->second));
      earlier.erase(it);
    }
  decisions = std::move(merged);
}

Expected<CompileResult> compileModel(const CompileOptions &options,
                                     Console &console) {
  CompileResult result;
  Phases phases(result);
  Expected<cpu::Isa> isa = cpu::Isa::parse(options.target);
  if (!isa)
    return isa.takeError();
  Expected<cpu::Providers> providers = findProviders(options, *isa, console);
  if (!providers)
    return providers.takeError();
  // Before hours of work.
  if (isActive(options.weights) && options.kind != emit::OutputKind::Library) {
    if (Error error = emit::checkOutput(options.output))
      return std::move(error);
    if (Expected<std::string> runtime = emit::findRuntime(isa->triple);
        !runtime)
      return runtime.takeError();
  }
  Prepared prepared;
  if (Error error = prepareModel(
          options, *isa, result.decisions, console,
          [&](StringRef phase) { phases.finish(phase); }, prepared))
    return std::move(error);
  Model *model = &*prepared.model;
  emit::ModelInfo info;
  info.name = model->name;
  info.threads = options.threads;
  info.images = std::move(prepared.images);
  if (Error error = runPasses(*model->module, prepared.pipeline, options.model))
    return std::move(error);
  phases.finish("passes");
  if (options.weights.quantize == "int8" && !options.weights.prune.empty())
    mergeDecisions(result.decisions);

  result.pruned = std::move(prepared.pruned);
  info.metadata = describe(options, *model, result.decisions, result.pruned);
  if (model->encoder) {
    emit::ModelInfo::Encoder encoder;
    encoder.tokenizer = std::move(model->encoder->tokenizer);
    encoder.pooling = ParePooling(model->encoder->pooling);
    encoder.normalize = model->encoder->normalize;
    encoder.maxTokens = model->encoder->maxTokens;
    info.encoder = std::move(encoder);
  }
  if (model->decoder) {
    DecoderInfo &from = *model->decoder;
    emit::ModelInfo::Decoder decoder;
    decoder.tokenizer = std::move(from.tokenizer);
    decoder.chatTemplate = std::move(from.chatTemplate);
    decoder.context = from.context;
    decoder.vocabulary = from.vocabulary;
    decoder.promptTokens = from.promptTokens;
    decoder.stops = std::move(from.stops);
    decoder.temperature = from.temperature;
    decoder.topP = from.topP;
    decoder.minP = from.minP;
    decoder.repetitionPenalty = from.repetitionPenalty;
    decoder.topK = from.topK;
    info.decoder = std::move(decoder);
  }
  Expected<emit::EmitReport> report = emit::emitModel(
      *model->module, *model->weights, info, *isa, options.kind, options.output,
      {*providers, &prepared.target->timings()}, console.listener());
  if (!report)
    return report.takeError();
  if (!options.checkpoints.empty())
    Checkpoint::discard(options.checkpoints);
  phases.finish("code");
  result.report = *report;
  result.target = isa->name;
  return std::move(result);
}

} // namespace pare::tools
