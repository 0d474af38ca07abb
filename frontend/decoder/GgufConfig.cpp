//===- GgufConfig.cpp - Decoder configs from GGUF metadata ----------------===//
//
// Keys: ggml's gguf.md and the defaults of llama.cpp. What GGUF does not say
// (Gemma's window pattern, SmolLM3's layers without rope) is the
// architecture's.
//
//===----------------------------------------------------------------------===//
#include "frontend/decoder/Checks.h"
#include "frontend/gguf/File.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

namespace pare::decoder {

using llvm::StringRef;
using llvm::Twine;

namespace {

struct KnownArchitecture {
  llvm::StringLiteral name;
  Architecture architecture;
};
constexpr KnownArchitecture known[] = {
    {"llama", Architecture::Llama},       {"smollm3", Architecture::SmolLM3},
    {"qwen2", Architecture::Qwen2},       {"qwen3", Architecture::Qwen3},
    {"qwen3moe", Architecture::Qwen3Moe}, {"gemma2", Architecture::Gemma2},
    {"gemma3", Architecture::Gemma3},     {"phi3", Architecture::Phi3},
    {"gpt2", Architecture::Gpt2},         {"gptneox", Architecture::GptNeoX}};

/// Reads keys of one architecture; the first error stays, and what is read
/// after it is of no use.
class Filler {
public:
  Filler(const gguf::File &file, StringRef name, Architecture architecture)
      : file_(file), metadata_(file.metadata()), prefix_((name + ".").str()) {
    config_.architecture = architecture;
  }

  llvm::Expected<DecoderConfig> fill();

private:
  std::string key(StringRef name) const { return prefix_ + name.str(); }
  bool has(StringRef name) const { return metadata_.find(key(name)); }
  template <typename T> T take(llvm::Expected<T> value) {
    if (value)
      return *value;
    std::string message = llvm::toString(value.takeError());
    if (error_.empty())
      error_ = message;
    return T();
  }
  void fail(const Twine &what) {
    if (error_.empty())
      error_ = (file_.path() + ": " + what).str();
  }
  /// An integer; where the file gives one per layer, they must be equal.
  int64_t integer(StringRef name, int64_t min, int64_t max);
  int64_t integer(StringRef name, int64_t min, int64_t max, int64_t fallback) {
    return has(name) ? integer(name, min, max) : fallback;
  }
  double number(StringRef name, double fallback) {
    return take(metadata_.getNumber(key(name), fallback));
  }
  void readSizes();
  void readExperts();
  void readWindows();
  void readRope();
  void readTensors();

  const gguf::File &file_;
  const gguf::Metadata &metadata_;
  std::string prefix_, error_;
  DecoderConfig config_;
};

int64_t Filler::integer(StringRef name, int64_t min, int64_t max) {
  const gguf::Value *value = metadata_.find(key(name));
  if (!value || !value->isArray())
    return take(metadata_.getInteger(key(name), min, max));
  std::vector<int64_t> values = take(metadata_.getIntegers(key(name)));
  if (values.empty() || !llvm::all_equal(values)) {
    fail("metadata key '" + key(name) +
         "' differs between layers, which is not supported");
    return min;
  }
  if (values[0] >= min && values[0] <= max)
    return values[0];
  fail("metadata key '" + key(name) + "' must be from " + Twine(min) + " to " +
       Twine(max) + ", not " + Twine(values[0]));
  return min;
}

void Filler::readSizes() {
  config_.layers.resize(size_t(integer("block_count", 1, maxLayers)));
  config_.hidden = integer("embedding_length", 1, maxWidth);
  config_.context = integer("context_length", 1, maxRows);
  config_.heads = integer("attention.head_count", 1, maxWidth);
  config_.kvHeads =
      integer("attention.head_count_kv", 1, maxWidth, config_.heads);
  config_.headDim = integer("attention.key_length", 1, maxWidth, 0);
  int64_t valueDim = integer("attention.value_length", 1, maxWidth, 0);
  int64_t fromHidden =
      config_.heads ? config_.hidden / config_.heads : config_.hidden;
  if (valueDim && valueDim != (config_.headDim ? config_.headDim : fromHidden))
    fail("metadata key '" + key("attention.value_length") +
         "' differs from that of keys, which is not supported");
  config_.intermediate = integer("feed_forward_length", 0, maxWidth);
  readExperts();
}

void Filler::readExperts() {
  Experts &experts = config_.experts;
  experts.count = integer("expert_count", 0, maxExperts, 0);
  if (experts.count == 0)
    return;
  experts.used = integer("expert_used_count", 1, maxExperts);
  if (config_.architecture == Architecture::Llama)
    config_.architecture = Architecture::Mixtral;
  experts.intermediate =
      integer("expert_feed_forward_length", 1, maxWidth, config_.intermediate);
  experts.normalize = take(metadata_.getBool(key("expert_weights_norm"), true));
  if (integer("expert_shared_count", 0, maxExperts, 0) > 0)
    fail("metadata key '" + key("expert_shared_count") +
         "': shared experts are not supported");
  constexpr int64_t none = 0, softmax = 1;
  int64_t gating = integer("expert_gating_func", 0, 255, softmax);
  if (gating != none && gating != softmax)
    fail("metadata key '" + key("expert_gating_func") + "' is " +
         Twine(gating) + "; only softmax (1) is supported");
  if (number("expert_weights_scale", 1) != 1 &&
      number("expert_weights_scale", 1) != 0)
    fail("metadata key '" + key("expert_weights_scale") +
         "': scaled shares of experts are not supported");
}

void Filler::readWindows() {
  int64_t window = integer("attention.sliding_window", 0, maxRows, 0);
  int64_t pattern = getWindowPattern(config_.architecture);
  if (config_.architecture == Architecture::Gemma2 && window == 0)
    window = 4096;
  const gguf::Value *given =
      metadata_.find(key("attention.sliding_window_pattern"));
  std::vector<int64_t> perLayer;
  if (given && given->isArray()) {
    perLayer =
        take(metadata_.getIntegers(key("attention.sliding_window_pattern")));
    if (perLayer.size() != config_.layers.size()) {
      fail("metadata key '" + key("attention.sliding_window_pattern") +
           "' has " + Twine(perLayer.size()) + " entries for " +
           Twine(config_.layers.size()) + " layers");
      return;
    }
  } else if (given) {
    pattern = integer("attention.sliding_window_pattern", 0, maxLayers);
  }
  for (auto [index, layer] : llvm::enumerate(config_.layers)) {
    bool isLocal = !perLayer.empty() ? perLayer[index] != 0
                   : pattern > 0     ? (int64_t(index) + 1) % pattern != 0
                                     : true;
    layer.window = isLocal ? window : 0;
  }
}

void Filler::readRope() {
  Rope &rope = config_.rope;
  rope.dims = integer("rope.dimension_count", 1, maxWidth, 0);
  rope.base = number("rope.freq_base", 10000);
  std::string type =
      take(metadata_.getString(key("rope.scaling.type"), "none")).str();
  // Files older than rope.scaling say only this.
  double oldFactor = number("rope.scale_linear", 1);
  rope.factor = number("rope.scaling.factor", oldFactor);
  if (oldFactor != 1 && !has("rope.scaling.type"))
    type = "linear";
  rope.originalContext = integer("rope.scaling.original_context_length", 1,
                                 maxRows, config_.context);
  rope.attentionFactor = number("rope.scaling.attn_factor", 0);
  rope.betaFast = number("rope.scaling.yarn_beta_fast", 32);
  rope.betaSlow = number("rope.scaling.yarn_beta_slow", 1);
  if (type == "linear")
    rope.scaling = RopeScaling::Linear;
  else if (type == "yarn")
    rope.scaling = RopeScaling::Yarn;
  else if (type == "longrope")
    rope.scaling = RopeScaling::LongRope;
  else if (type != "none")
    fail("metadata key '" + key("rope.scaling.type") + "' is '" + type +
         "'; known are none, linear, yarn and longrope");
  bool hasFactors = file_.find("rope_factors_long.weight") &&
                    file_.find("rope_factors_short.weight");
  if (hasFactors && config_.architecture == Architecture::Phi3)
    rope.scaling = RopeScaling::LongRope;
  if (rope.scaling == RopeScaling::LongRope && !has("rope.scaling.factor"))
    rope.factor = double(config_.context) / double(rope.originalContext);
  if (rope.scaling == RopeScaling::LongRope && !hasFactors)
    fail("tensors 'rope_factors_long.weight' and 'rope_factors_short.weight', "
         "which rope scaling asks for, are missing");
  if (file_.find("rope_freqs.weight"))
    rope.scaling = RopeScaling::Divisors;

  if (config_.architecture == Architecture::Gemma3) {
    config_.hasLocalRope = true;
    config_.localRope.base = number("rope.freq_base_swa", 10000);
    config_.localRope.dims = rope.dims;
  }
}

/// What the tensors that are there say.
void Filler::readTensors() {
  auto present = [&](StringRef name) { return file_.find(name) != nullptr; };
  const gguf::Tensor *embedding = file_.find("token_embd.weight");
  if (!embedding)
    return fail("tensor 'token_embd.weight' is missing");
  if (embedding->shape.size() != 2 || embedding->shape[1] != config_.hidden)
    return fail("tensor 'token_embd.weight' does not have rows of " +
                Twine(config_.hidden) + " elements, as '" +
                key("embedding_length") + "' says");
  config_.vocabulary = embedding->shape[0];
  if (config_.vocabulary < 1 || config_.vocabulary > maxRows)
    return fail("tensor 'token_embd.weight' has " + Twine(config_.vocabulary) +
                " rows");
  const gguf::Value *tokens = metadata_.find("tokenizer.ggml.tokens");
  if (tokens && tokens->isArray() &&
      tokens->size() != uint64_t(config_.vocabulary))
    return fail("tensor 'token_embd.weight' has " + Twine(config_.vocabulary) +
                " rows, but 'tokenizer.ggml.tokens' has " +
                Twine(tokens->size()) + " tokens");
  config_.hasTiedEmbeddings = !present("output.weight");
  config_.hasQkvBias =
      present(config_.qkv == QkvLayout::Separate ? "blk.0.attn_q.bias"
                                                 : "blk.0.attn_qkv.bias");
  config_.hasOutputBias = present("blk.0.attn_output.bias");
  config_.hasFfnBias = present("blk.0.ffn_up.bias");
}

llvm::Expected<DecoderConfig> Filler::fill() {
  using A = Architecture;
  readSizes();
  if (!error_.empty())
    return llvm::createStringError(error_);
  applyFamily(config_, /*isGguf=*/true);
  readWindows();
  readRope();
  readTensors();

  bool isLayerNorm = config_.norm == NormKind::Layer;
  StringRef epsilon = isLayerNorm ? "attention.layer_norm_epsilon"
                                  : "attention.layer_norm_rms_epsilon";
  config_.normEpsilon = take(metadata_.getNumber(key(epsilon)));
  const A a = config_.architecture;
  config_.attentionSoftCap =
      number("attn_logit_softcapping", config_.attentionSoftCap);
  config_.finalSoftCap =
      number("final_logit_softcapping", config_.finalSoftCap);
  config_.queryScale = number("attention.scale", 0);
  // The 27B models of Gemma 2 and 3 scale by hidden / heads.
  size_t layers = config_.layers.size();
  if (config_.queryScale == 0 &&
      ((a == A::Gemma2 && layers == 46) || (a == A::Gemma3 && layers == 62)))
    config_.queryScale =
        1 / std::sqrt(double(config_.hidden) / double(config_.heads));
  config_.hasParallelResidual =
      a == A::GptNeoX &&
      take(metadata_.getBool(key("use_parallel_residual"), true));
  if (!error_.empty())
    return llvm::createStringError(error_);

  KeyNames keys{.hidden = key("embedding_length"),
                .heads = key("attention.head_count"),
                .kvHeads = key("attention.head_count_kv"),
                .headDim = key("attention.key_length"),
                .ropeDims = key("rope.dimension_count"),
                .ropeBase = key("rope.freq_base"),
                .ropeFactor = key("rope.scaling.factor"),
                .normEpsilon = key(epsilon),
                .experts = key("expert_count"),
                .expertsUsed = key("expert_used_count")};
  if (llvm::Error error = checkConfig(config_, file_.path(), keys))
    return error;
  return std::move(config_);
}

const KnownArchitecture *find(StringRef name) {
  for (const KnownArchitecture &item : known)
    if (item.name == name)
      return &item;
  return nullptr;
}

} // namespace

bool isKnownGgufArchitecture(StringRef name) { return find(name); }

std::string getKnownGgufArchitectures() {
  return llvm::join(
      llvm::map_range(
          known, [](const KnownArchitecture &item) { return item.name.str(); }),
      ", ");
}

llvm::Expected<DecoderConfig> readConfig(const gguf::File &file) {
  llvm::Expected<StringRef> name =
      file.metadata().getString("general.architecture");
  if (!name)
    return name.takeError();
  const KnownArchitecture *architecture = find(*name);
  if (!architecture)
    return llvm::createStringError(
        file.path() + ": not supported: architecture '" + *name +
        "' (known are " + getKnownGgufArchitectures() + ")");
  return Filler(file, *name, architecture->architecture).fill();
}

} // namespace pare::decoder
