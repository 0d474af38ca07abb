//===- GgufPatterns.cpp - Names of pre-tokenizers -------------------------===//
//
// The names that llama.cpp's conversion gives to the pre-tokenizers of
// published models, and their patterns.
//
//===----------------------------------------------------------------------===//
#include "frontend/tokenizer/Gguf.h"
#include "frontend/tokenizer/JsonReader.h"

#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

namespace pare::tokenizer {
namespace {

enum class Family {
  Unknown,
  Default,
  Gpt2,
  Llama3,
  Qwen2,
  Qwen35,
  DigitsGpt2,
  DeepseekLlm,
  DeepseekCoder,
  Deepseek3,
  Falcon,
  Bloom,
  Viking,
  Tekken,
  O200k,
  Kimi,
  Bailing,
  Seed
};

#define PARE_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PARE_SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"

constexpr StringLiteral llama3 = PARE_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" PARE_SPACES;
constexpr StringLiteral qwen2 = PARE_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" PARE_SPACES;
constexpr StringLiteral qwen35 = PARE_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" PARE_SPACES;
constexpr StringLiteral cjk = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
constexpr StringLiteral oldCjk = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
constexpr StringLiteral deepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
    R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)" PARE_SPACES;
constexpr StringLiteral bloom = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964"
                                "\u06d4\u060c)]+";
constexpr StringLiteral tekken =
    R"([^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+)"
    R"(|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" PARE_SPACES;
constexpr StringLiteral o200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" PARE_CONTRACTIONS "?"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" PARE_CONTRACTIONS "?"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" PARE_SPACES;
constexpr StringLiteral kimi =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?)"
    R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)" PARE_CONTRACTIONS "?"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)" PARE_CONTRACTIONS "?"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" PARE_SPACES;
constexpr StringLiteral bailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr StringLiteral seed = PARE_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+)" PARE_SPACES;
constexpr StringLiteral falconPunctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr StringLiteral defaultPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";

std::vector<StringRef> patternsOf(Family family) {
  switch (family) {
  case Family::Unknown:
    break;
  case Family::Default:
    return {defaultPunctuation, gpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"};
  case Family::Gpt2:
    return {gpt2Pattern};
  case Family::Llama3:
    return {llama3};
  case Family::Qwen2:
    return {qwen2};
  case Family::Qwen35:
    return {qwen35};
  case Family::DigitsGpt2:
    return {R"(\p{N})", gpt2Pattern};
  case Family::DeepseekLlm:
    return {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
            R"(\s+$)",   oldCjk,         R"(\p{N}+)"};
  case Family::DeepseekCoder:
    return {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", oldCjk, R"(\p{N})"};
  case Family::Deepseek3:
    return {R"(\p{N}{1,3})", cjk, deepseek3};
  case Family::Falcon:
    return {falconPunctuation, gpt2Pattern, "[0-9][0-9][0-9]"};
  case Family::Bloom:
    return {bloom};
  case Family::Viking:
    return {bloom, R"(\p{N})"};
  case Family::Tekken:
    return {tekken};
  case Family::O200k:
    return {o200k};
  case Family::Kimi:
    return {kimi};
  case Family::Bailing:
    return {bailing};
  case Family::Seed:
    return {seed};
  }
  return {};
}

Family familyOf(StringRef pre) {
  return StringSwitch<Family>(pre)
      .Cases({"", "default"}, Family::Default)
      .Cases({"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en"},
             Family::Gpt2)
      .Cases({"jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe"},
             Family::Gpt2)
      .Cases({"gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt"},
             Family::Gpt2)
      .Cases({"olmo", "jais", "trillion", "granite-docling", "exaone4"},
             Family::Gpt2)
      .Cases({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1"},
             Family::Llama3)
      .Cases({"pixtral", "midm-2.0", "lfm2", "dbrx", "smaug-bpe"},
             Family::Llama3)
      .Cases({"glm4", "chatglm-bpe"}, Family::Llama3)
      .Cases({"qwen2", "deepseek-r1-qwen", "kormo", "stablelm2", "hunyuan"},
             Family::Qwen2)
      .Cases({"megrez", "solar-open", "grok-2", "f2llmv2"}, Family::Qwen2)
      .Case("qwen35", Family::Qwen35)
      .Cases({"starcoder", "refact", "command-r", "smollm", "codeshell"},
             Family::DigitsGpt2)
      .Cases({"exaone", "minerva-7b"}, Family::DigitsGpt2)
      .Case("deepseek-llm", Family::DeepseekLlm)
      .Case("deepseek-coder", Family::DeepseekCoder)
      .Cases({"deepseek-v3", "hunyuan-dense", "joyai-llm"}, Family::Deepseek3)
      .Case("falcon", Family::Falcon)
      .Cases({"bloom", "gpt3-finnish", "poro-chat"}, Family::Bloom)
      .Case("viking", Family::Viking)
      .Case("tekken", Family::Tekken)
      .Cases({"gpt-4o", "llama4", "minimax-m2"}, Family::O200k)
      .Case("kimi-k2", Family::Kimi)
      .Cases({"bailingmoe", "bailingmoe2", "llada-moe"}, Family::Bailing)
      .Case("seed-coder", Family::Seed)
      .Default(Family::Unknown);
}

} // namespace

std::optional<GgufPreTokenizer> ggufPreTokenizer(StringRef pre) {
  const Family family = familyOf(pre);
  if (family == Family::Unknown)
    return std::nullopt;
  GgufPreTokenizer out;
  for (StringRef pattern : patternsOf(family))
    out.preTokenizer.push_back({PARE_PRE_OP_SPLIT, PARE_SPLIT_ISOLATED,
                                cantFail(parsePattern(pattern))});
  out.ignoreMerges =
      family == Family::Tekken ||
      (family == Family::Llama3 &&
       !StringSwitch<bool>(pre)
            .Cases({"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, true)
            .Default(false));
  out.addBos = out.ignoreMerges;
  if (StringSwitch<bool>(pre)
          .Cases({"qwen2", "deepseek-r1-qwen", "qwen35"}, true)
          .Default(false))
    out.normalizer = {{PARE_NORM_NFD}, {PARE_NORM_COMPOSE}};
  return out;
}

} // namespace pare::tokenizer
