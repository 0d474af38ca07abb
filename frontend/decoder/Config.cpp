//===- Config.cpp - What a decoder language model is made of --------------===//
#include "frontend/decoder/Checks.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

namespace pare::decoder {

using llvm::Twine;

llvm::StringRef getName(Architecture architecture) {
  switch (architecture) {
  case Architecture::Llama:
    return "llama";
  case Architecture::Mixtral:
    return "mixtral";
  case Architecture::SmolLM3:
    return "smollm3";
  case Architecture::Qwen2:
    return "qwen2";
  case Architecture::Qwen3:
    return "qwen3";
  case Architecture::Qwen3Moe:
    return "qwen3_moe";
  case Architecture::Gemma2:
    return "gemma2";
  case Architecture::Gemma3:
    return "gemma3";
  case Architecture::Phi3:
    return "phi3";
  case Architecture::Gpt2:
    return "gpt2";
  case Architecture::GptNeoX:
    return "gpt_neox";
  }
  llvm_unreachable("an architecture without a name");
}

std::string DecoderConfig::print() const {
  std::string text = llvm::formatv(
      "{0}, {1} layers, hidden {2}, {3} heads of {4} ({5} for keys), "
      "feed-forward {6}, vocabulary {7}, context {8}",
      getName(architecture), layers.size(), hidden, heads, headDim, kvHeads,
      intermediate, vocabulary, context);
  if (experts.count)
    text += llvm::formatv(", {0} of {1} experts", experts.used, experts.count);
  int64_t window = 0;
  unsigned windows = 0;
  for (const Layer &layer : layers)
    if (layer.window) {
      window = layer.window;
      ++windows;
    }
  if (windows)
    text += llvm::formatv(", window {0} in {1} layers", window, windows);
  return text;
}

void applyFamily(DecoderConfig &config, bool isGguf) {
  using A = Architecture;
  const A a = config.architecture;
  bool isGemma = a == A::Gemma2 || a == A::Gemma3;
  bool isGpt = a == A::Gpt2 || a == A::GptNeoX;
  config.norm = isGpt ? NormKind::Layer : NormKind::Rms;
  config.isGated = !isGpt;
  config.hasPositionEmbeddings = a == A::Gpt2;
  config.hasPostNorms = isGemma;
  config.hasQkNorm = a == A::Qwen3 || a == A::Qwen3Moe || a == A::Gemma3;
  config.hasFusedGateUp = a == A::Phi3;
  if (a == A::Phi3 || a == A::Gpt2 || (a == A::GptNeoX && isGguf))
    config.qkv = QkvLayout::Concatenated;
  else if (a == A::GptNeoX)
    config.qkv = QkvLayout::PerHead;
  // Converters to GGUF transpose GPT-2's weights, add the one to Gemma's norms
  // and permute the rows of Llama's Q and K.
  config.hasTransposedWeights = a == A::Gpt2 && !isGguf;
  config.normOffset = isGemma && !isGguf ? 1 : 0;
  if (isGguf && (a == A::Llama || a == A::Mixtral || a == A::SmolLM3))
    config.rope.style = RopeStyle::Interleaved;
  if (isGemma)
    config.embeddingScale = std::sqrt(double(config.hidden));
  if (isGemma || a == A::Gpt2)
    config.activation = Activation::GeluTanh;
  else if (a == A::GptNeoX)
    config.activation = Activation::Gelu;
  if (a == A::Gemma2) {
    config.attentionSoftCap = 50;
    config.finalSoftCap = 30;
  }
  for (auto [index, layer] : llvm::enumerate(config.layers)) {
    if (a == A::Gpt2)
      layer.hasRope = false;
    else if (a == A::SmolLM3)
      layer.hasRope = (index + 1) % 4 != 0;
    layer.isSparse = config.experts.count > 0;
  }
}

int64_t getWindowPattern(Architecture architecture) {
  switch (architecture) {
  case Architecture::Gemma2:
    return 2;
  case Architecture::Gemma3:
    return 6;
  default:
    return 0;
  }
}

llvm::Error checkConfig(DecoderConfig &config, llvm::StringRef path,
                        const KeyNames &keys) {
  auto fail = [&](const Twine &what) {
    return llvm::createStringError(path + ": " + what);
  };
  if (config.heads % config.kvHeads != 0)
    return fail(keys.heads + " " + Twine(config.heads) +
                " is not a multiple of " + keys.kvHeads + " " +
                Twine(config.kvHeads));
  if (config.headDim == 0) {
    if (config.hidden % config.heads != 0)
      return fail(keys.hidden + " " + Twine(config.hidden) +
                  " is not a multiple of " + keys.heads + " " +
                  Twine(config.heads) + ", and " + keys.headDim +
                  " is missing");
    config.headDim = config.hidden / config.heads;
  }
  // Products of sizes stay far from 2^63.
  if (config.heads * config.headDim > maxWidth)
    return fail(keys.heads + " " + Twine(config.heads) + " of " + keys.headDim +
                " " + Twine(config.headDim) + " are wider than " +
                Twine(maxWidth));
  for (Rope *rope : {&config.rope, &config.localRope}) {
    if (rope->dims == 0)
      rope->dims = config.headDim;
    if (rope->dims > config.headDim || rope->dims % 2 != 0)
      return fail(keys.ropeDims + " gives " + Twine(rope->dims) +
                  " of the head's " + Twine(config.headDim) +
                  " elements; it must be even and no more");
    if (!(rope->base > 1) || !std::isfinite(rope->base))
      return fail(keys.ropeBase + " must be a number above 1");
    if (!(rope->factor > 0) || !std::isfinite(rope->factor))
      return fail(keys.ropeFactor + " must be a positive number");
    for (const std::vector<double> *divisors :
         {&rope->shortDivisors, &rope->longDivisors})
      if (!divisors->empty() && int64_t(divisors->size()) != rope->dims / 2)
        return fail("rope scaling has " + Twine(divisors->size()) +
                    " factors, but " + Twine(rope->dims / 2) +
                    " frequencies rotate");
  }
  if (!(config.normEpsilon >= 0) || config.normEpsilon > 1)
    return fail(keys.normEpsilon + " must be a number from 0 to 1");
  if (config.experts.count > 0 && config.experts.used > config.experts.count)
    return fail(keys.expertsUsed + " " + Twine(config.experts.used) +
                " is more than " + keys.experts + " " +
                Twine(config.experts.count));
  for (double cap : {config.attentionSoftCap, config.finalSoftCap})
    if (!(cap >= 0) || !std::isfinite(cap))
      return fail("a soft cap of logits must be a positive number");
  if (config.queryScale == 0)
    config.queryScale = 1 / std::sqrt(double(config.headDim));
  return llvm::Error::success();
}

} // namespace pare::decoder
