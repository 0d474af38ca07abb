//===- CompileFlags.cpp - Options of commands that compile ----------------===//
#include "tools/CompileFlags.h"

using namespace llvm;

namespace pare::tools {

AdapterFlags::AdapterFlags(cl::SubCommand &command)
    : folders("adapter", cl::value_desc("folder"),
              cl::desc("An adapter that PEFT saved, put into the model; may be "
                       "given several times"),
              cl::sub(command)),
      mode("adapter-mode", cl::init(AdapterMode::Auto),
           cl::desc("How adapters change weights"),
           cl::values(clEnumValN(AdapterMode::Auto, "auto",
                                 "merged into float weights, beside those in "
                                 "blocks (default)"),
                      clEnumValN(AdapterMode::Merge, "merge",
                                 "merged; weights in blocks become f32"),
                      clEnumValN(AdapterMode::Beside, "beside",
                                 "as products of their own: weights keep "
                                 "their bits")),
           cl::sub(command)) {}

void AdapterFlags::get(ImportOptions &options) {
  options.adapters = folders;
  options.adapterMode = mode;
}

CompileFlags::CompileFlags(cl::SubCommand &command)
    : quantize(
          "quantize", cl::init("none"), cl::value_desc("format"),
          cl::desc("Format of weights: none, as in the source (default); int8, "
                   "with 8-bit activations, where that is faster; int6, int5, "
                   "int4, int3, int2, in groups of 32; or any that "
                   "docs/formats.md names"),
          cl::sub(command)),
      rules("rule", cl::value_desc("pattern=format"),
            cl::desc("Another format for weights by name or pattern, as in "
                     "'lm_head*=int8', another share that goes, '*.0.*=25%', "
                     "or both, 'v*=int4+2:4'; the last that matches counts"),
            cl::sub(command)),
      recipe("recipe", cl::init(Recipe::Balanced),
             cl::desc("How much work goes into weights of few bits"),
             cl::values(
                 clEnumValN(Recipe::Fast, "fast",
                            "rounded to nearest, without data: seconds"),
                 clEnumValN(Recipe::Balanced, "balanced",
                            "one format, rounded by what --calibrate's samples "
                            "show: minutes (default)"),
                 clEnumValN(Recipe::Best, "best",
                            "likewise, with as many bits, but more of them "
                            "where outputs lose most")),
             cl::sub(command)),
      bits("bits", cl::value_desc("N"),
           cl::desc("Formats chosen weight by weight, with N bits on average, "
                    "as in 4.25, where least is lost; in place of --quantize"),
           cl::sub(command)),
      size("size", cl::value_desc("bytes"),
           cl::desc("Likewise, with all weights together in so many bytes, as "
                    "in 60MB"),
           cl::sub(command)),
      maxDrop("max-drop", cl::value_desc("share"),
              cl::desc("Likewise, in as few bytes as lose at most that much by "
                       "rounding to nearest: nats of KL divergence of a "
                       "language model, else squared error of outputs, as in "
                       "0.5%"),
              cl::sub(command)),
      prune("prune", cl::CommaSeparated,
            cl::value_desc("ffn=25%,layers=6,50%,2:4,…"),
            cl::desc("Parts to leave out, as a share of each layer's or a "
                     "number: layers, heads, ffn (hidden units), filters (of "
                     "convolutions); or single weights of products, as a share "
                     "or as how many of how many stay; chosen and made up for "
                     "by --calibrate's samples"),
            cl::sub(command)),
      pruneBy("prune-by", cl::init(prune::Criterion::SparseGpt),
              cl::desc("Which single weights go"),
              cl::values(
                  clEnumValN(prune::Criterion::Magnitude, "magnitude",
                             "the smallest (default without samples)"),
                  clEnumValN(prune::Criterion::Wanda, "wanda",
                             "the smallest times their input's norm, by rows"),
                  clEnumValN(prune::Criterion::Ria, "ria",
                             "likewise, relative to their row and column"),
                  clEnumValN(prune::Criterion::SparseGpt, "sparsegpt",
                             "those that others can make up for, which do "
                             "(default with samples)")),
              cl::sub(command)),
      method("method", cl::init(encode::RoundMethod::GptqDescent),
             cl::desc("How weights of few bits are rounded; all but the first "
                      "two look at --calibrate's samples (default: the "
                      "recipe's)"),
             cl::values(
                 clEnumValN(encode::RoundMethod::Nearest, "nearest",
                            "to nearest, scales by squared error"),
                 clEnumValN(encode::RoundMethod::Hqq, "hqq",
                            "half-quadratic: zero points that outliers do not "
                            "move"),
                 clEnumValN(encode::RoundMethod::Gptq, "gptq",
                            "errors corrected in the columns that follow"),
                 clEnumValN(encode::RoundMethod::GptqDescent, "descent",
                            "GPTQ, then each code again with all others "
                            "fixed"),
                 clEnumValN(encode::RoundMethod::AutoRound, "autoround",
                            "offsets of roundings learned by signed "
                            "gradients")),
             cl::sub(command)),
      scales("scales", cl::init(encode::ScaleSearch::Mse),
             cl::desc("How scales of weights of few bits are chosen before "
                      "weights are rounded"),
             cl::values(clEnumValN(encode::ScaleSearch::MaxAbs, "maxabs",
                                   "no weight is clipped"),
                        clEnumValN(encode::ScaleSearch::Mse, "mse",
                                   "least squared error (default)"),
                        clEnumValN(encode::ScaleSearch::Output, "output",
                                   "least error of the group's part of outputs "
                                   "on samples")),
             cl::sub(command)),
      inputScales(
          "input-scales", cl::init(InputScaling::None),
          cl::desc("Inputs of products divided and weights multiplied by AWQ's "
                   "factors before those are rounded"),
          cl::values(clEnumValN(InputScaling::None, "none", "(default)"),
                     clEnumValN(InputScaling::Free, "free",
                                "where what makes the inputs can take them"),
                     clEnumValN(InputScaling::All, "all",
                                "elsewhere by a multiplication of their own")),
          cl::sub(command)),
      activations(
          "activations", cl::init(BlockActivations::Auto),
          cl::desc("Of products by weights that the model file has in blocks "
                   "(GGUF's Q4_K, …)"),
          cl::values(
              clEnumValN(BlockActivations::Auto, "auto",
                         "int8, one scale per 32, where the target has a "
                         "kernel (default)"),
              clEnumValN(BlockActivations::F32, "f32", "f32, as in the source"),
              clEnumValN(BlockActivations::Int8, "int8",
                         "8-bit, one scale per 32")),
          cl::sub(command)),
      target("target", cl::init("host"), cl::value_desc("name"),
             cl::desc("host, x86-64-v3, x86-64-v4+avx512vnni, aarch64, … "
                      "(default: host)"),
             cl::sub(command)),
      shapes("shape", cl::value_desc("input=1x3x48x320"),
             cl::desc("Fix an input's shape, or bound its dimensions: "
                      "input=batch:1..8x128 (default: the model's own)"),
             cl::sub(command)),
      context("context", cl::init(0), cl::value_desc("N"),
              cl::desc("Positions that sequences of a language model may have "
                       "(default: as many as it was made for)"),
              cl::sub(command)),
      cache("kv-cache", cl::init(CacheType::F16),
            cl::desc("Keys and values that a language model keeps"),
            cl::values(clEnumValN(CacheType::F16, "f16", "16 bits (default)"),
                       clEnumValN(CacheType::F32, "f32", "32 bits"),
                       clEnumValN(CacheType::I8, "i8",
                                  "8 bits, a scale per head and token")),
            cl::sub(command)),
      adapters(command),
      images("image", cl::value_desc("input=224x224,mean=M:M:M,std=S:S:S,rgb"),
             cl::desc("Prepare PNG and JPEG files for an input: size in "
                      "pixels; mean and std of pixel values divided by 255, "
                      "one or one per channel; layout=nchw|nhwc; rgb, bgr or "
                      "gray"),
             cl::sub(command)),
      keepFloat("keep-float", cl::CommaSeparated, cl::value_desc("pattern,…"),
                cl::desc("Weights that stay float, by name or pattern: "
                         "'decoder.*'"),
                cl::sub(command)),
      calibration("calibrate", cl::CommaSeparated,
                  cl::value_desc("folder|file,…"),
                  cl::desc("Samples for the scales of int8 activations: texts, "
                           ".jsonl, .npz, .npy, pictures; a share of each as "
                           "prose.txt:0%-50% (default: none, convolutions "
                           "other than 1x1 stay float)"),
                  cl::sub(command)),
      calibrationTokens("calibrate-tokens", cl::value_desc("N"),
                        cl::desc("Tokens of texts, drawn evenly over them, "
                                 "for a language model (default: 32768)"),
                        cl::init(CalibrationOptions().tokens),
                        cl::sub(command)),
      calibrationTexts("calibrate-texts", cl::value_desc("N"),
                       cl::desc("Texts, drawn evenly, for a sentence "
                                "encoder (default: 256)"),
                       cl::init(CalibrationOptions().texts), cl::sub(command)),
      calibrationSeed("calibrate-seed", cl::value_desc("N"),
                      cl::desc("Decides which texts and tokens are drawn "
                               "(default: 0)"),
                      cl::init(0), cl::sub(command)),
      kernels("kernels", cl::init(cpu::Providers::Generated),
              cl::desc("Whose kernels to use"),
              cl::values(clEnumValN(cpu::Providers::Generated, "generated",
                                    "pare's own: one file without "
                                    "dependencies (default)"),
                         clEnumValN(cpu::Providers::OneDnn, "onednn",
                                    "oneDNN's where it has one; its library "
                                    "is put beside the result"),
                         clEnumValN(cpu::Providers::Auto, "auto",
                                    "the faster one by the timing table")),
              cl::sub(command)),
      timings("timings", cl::value_desc("file"),
              cl::desc("Kernel times that choices rest on, from pare tune "
                       "(default: the table that ships for the target)"),
              cl::sub(command)) {}

CompileOptions CompileFlags::get() {
  CompileOptions options;
  WeightRequest &weights = options.weights;
  weights.quantize = quantize;
  weights.rules = rules;
  weights.recipe = recipe;
  weights.bits = bits;
  weights.size = size;
  weights.maxDrop = maxDrop;
  if (method.getNumOccurrences())
    weights.method = method;
  if (scales.getNumOccurrences())
    weights.scales = scales;
  weights.inputScales = inputScales;
  if (pruneBy.getNumOccurrences())
    weights.pruneBy = pruneBy;
  for (const std::string &part : prune)
    (StringRef(part).contains('=') ? options.prune : weights.prune)
        .push_back(part);
  options.activations = activations;
  options.target = target;
  options.shapes = shapes;
  options.context = context;
  options.cache = cache;
  options.adapters = adapters.folders;
  options.adapterMode = adapters.mode;
  options.images = images;
  options.keepFloat = keepFloat;
  options.calibration.paths = calibration;
  options.calibration.tokens = calibrationTokens;
  options.calibration.texts = calibrationTexts;
  options.calibration.seed = calibrationSeed;
  const std::reference_wrapper<const cl::Option> ofCalibration[] = {
      calibrationTokens, calibrationTexts, calibrationSeed};
  for (const cl::Option &flag : ofCalibration)
    if (flag.getNumOccurrences() && options.calibrationFlag.empty())
      options.calibrationFlag = ("--" + flag.ArgStr).str();
  if (method.getNumOccurrences())
    options.methodFlag = "--method";
  else if (scales.getNumOccurrences())
    options.methodFlag = "--scales";
  else if (inputScales.getNumOccurrences())
    options.methodFlag = "--input-scales";
  else if (recipe.getNumOccurrences())
    options.methodFlag = "--recipe";
  options.kernels = kernels;
  options.timings = timings;
  return options;
}

std::string CompileFlags::findGiven(StringRef except) {
  const std::reference_wrapper<const cl::Option> all[] = {quantize,
                                                          rules,
                                                          recipe,
                                                          bits,
                                                          size,
                                                          maxDrop,
                                                          prune,
                                                          pruneBy,
                                                          method,
                                                          scales,
                                                          inputScales,
                                                          activations,
                                                          target,
                                                          context,
                                                          cache,
                                                          adapters.folders,
                                                          adapters.mode,
                                                          images,
                                                          keepFloat,
                                                          calibration,
                                                          calibrationTokens,
                                                          calibrationTexts,
                                                          calibrationSeed,
                                                          kernels,
                                                          timings};
  for (const cl::Option &flag : all)
    if (flag.getNumOccurrences() && flag.ArgStr != except)
      return ("--" + flag.ArgStr).str();
  return "";
}

} // namespace pare::tools
