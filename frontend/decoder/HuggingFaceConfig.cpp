//===- HuggingFaceConfig.cpp - Decoder configs from config.json -----------===//
//
// Keys and defaults are those of transformers' configuration classes, of
// versions 4 (rope_theta, rope_scaling) and 5 (rope_parameters).
//
//===----------------------------------------------------------------------===//
#include "frontend/decoder/Checks.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

namespace pare::decoder {

using llvm::StringRef;
using llvm::Twine;

namespace {

/// A model type, and what its class says where config.json is silent.
struct Family {
  llvm::StringLiteral modelType;
  Architecture architecture;
  int64_t kvHeads = 0; ///< 0: as many as heads
  int64_t headDim = 0; ///< 0: hidden / heads
  double epsilon = 1e-6;
  double ropeBase = 10000;
  int64_t context = 0;
  int64_t window = 0;
  bool hasTiedEmbeddings = false;
  int64_t heads = 0, vocabulary = 0; ///< 0: config.json must say
};

constexpr Family families[] = {
    {"llama", Architecture::Llama, 0, 0, 1e-6, 1e4, 2048},
    {"mistral", Architecture::Llama, 8, 0, 1e-6, 1e4, 131072, 4096},
    {"mixtral", Architecture::Mixtral, 8, 0, 1e-5, 1e6, 131072},
    {"smollm3", Architecture::SmolLM3, 4, 0, 1e-6, 2e6, 32768, 0, true},
    {"qwen2", Architecture::Qwen2, 32, 0, 1e-6, 1e4, 32768, 4096},
    {"qwen3", Architecture::Qwen3, 32, 128, 1e-6, 1e4, 32768, 4096},
    {"qwen3_moe", Architecture::Qwen3Moe, 4, 0, 1e-6, 1e4, 32768, 4096},
    {"gemma2", Architecture::Gemma2, 4, 256, 1e-6, 1e4, 8192, 4096, true},
    {"gemma3_text", Architecture::Gemma3, 4, 256, 1e-6, 1e6, 131072, 4096, true,
     8, 262208},
    {"gemma3", Architecture::Gemma3, 4, 256, 1e-6, 1e6, 131072, 4096, true, 8,
     262208},
    {"phi3", Architecture::Phi3, 0, 0, 1e-5, 1e4, 4096},
    {"gpt2", Architecture::Gpt2, 0, 0, 1e-5, 1e4, 1024, 0, true},
    {"gpt_neox", Architecture::GptNeoX, 0, 0, 1e-5, 1e4, 2048}};

const Family *find(StringRef modelType) {
  for (const Family &family : families)
    if (family.modelType == modelType)
      return &family;
  return nullptr;
}

/// Values of a JSON object; null counts as absent. The first error stays.
class Reader {
public:
  Reader(StringRef path) : path_(path) {}

  const std::string &error() const { return error_; }
  void fail(const Twine &what) {
    if (error_.empty())
      error_ = (path_ + ": " + what).str();
  }
  static const llvm::json::Value *find(const llvm::json::Object &object,
                                       StringRef key) {
    const llvm::json::Value *value = object.get(key);
    return value && !value->getAsNull() ? value : nullptr;
  }
  int64_t integer(const llvm::json::Object &object, StringRef key, int64_t min,
                  int64_t max, std::optional<int64_t> fallback = {});
  double number(const llvm::json::Object &object, StringRef key,
                double fallback);
  bool boolean(const llvm::json::Object &object, StringRef key, bool fallback);
  std::string text(const llvm::json::Object &object, StringRef key,
                   StringRef fallback);
  std::vector<double> numbers(const llvm::json::Object &object, StringRef key);

private:
  std::string path_, error_;
};

int64_t Reader::integer(const llvm::json::Object &object, StringRef key,
                        int64_t min, int64_t max,
                        std::optional<int64_t> fallback) {
  const llvm::json::Value *value = find(object, key);
  if (!value && !fallback)
    fail("'" + key + "' is missing");
  if (!value)
    return fallback.value_or(min);
  std::optional<int64_t> integer = value->getAsInteger();
  if (integer && *integer >= min && *integer <= max)
    return *integer;
  fail("'" + key + "' must be an integer from " + Twine(min) + " to " +
       Twine(max));
  return min;
}

double Reader::number(const llvm::json::Object &object, StringRef key,
                      double fallback) {
  const llvm::json::Value *value = find(object, key);
  if (value && !value->getAsNumber())
    fail("'" + key + "' must be a number");
  return value ? value->getAsNumber().value_or(fallback) : fallback;
}

bool Reader::boolean(const llvm::json::Object &object, StringRef key,
                     bool fallback) {
  const llvm::json::Value *value = find(object, key);
  if (value && !value->getAsBoolean())
    fail("'" + key + "' must be true or false");
  return value ? value->getAsBoolean().value_or(fallback) : fallback;
}

std::string Reader::text(const llvm::json::Object &object, StringRef key,
                         StringRef fallback) {
  const llvm::json::Value *value = find(object, key);
  if (value && !value->getAsString())
    fail("'" + key + "' must be text");
  return value ? value->getAsString().value_or(fallback).str() : fallback.str();
}

std::vector<double> Reader::numbers(const llvm::json::Object &object,
                                    StringRef key) {
  std::vector<double> all;
  const llvm::json::Value *value = find(object, key);
  if (!value)
    return all;
  if (const llvm::json::Array *array = value->getAsArray())
    for (const llvm::json::Value &element : *array) {
      std::optional<double> number = element.getAsNumber();
      if (!number)
        break;
      all.push_back(*number);
    }
  if (!value->getAsArray() || all.size() != value->getAsArray()->size())
    fail("'" + key + "' must be a list of numbers");
  return all;
}

/// A default; nullopt for 0, where there is none.
std::optional<int64_t> getOptional(int64_t fallback) {
  return fallback ? std::optional<int64_t>(fallback) : std::nullopt;
}

KeyNames getKeys(Architecture architecture) {
  bool isGpt2 = architecture == Architecture::Gpt2;
  bool isNeoX = architecture == Architecture::GptNeoX;
  bool isMixtral = architecture == Architecture::Mixtral;
  return {.hidden = isGpt2 ? "n_embd" : "hidden_size",
          .heads = isGpt2 ? "n_head" : "num_attention_heads",
          .kvHeads = "num_key_value_heads",
          .headDim = "head_dim",
          .ropeDims = isNeoX ? "rotary_pct" : "partial_rotary_factor",
          .ropeBase = isNeoX ? "rotary_emb_base" : "rope_theta",
          .ropeFactor = "factor",
          .normEpsilon = isGpt2   ? "layer_norm_epsilon"
                         : isNeoX ? "layer_norm_eps"
                                  : "rms_norm_eps",
          .experts = isMixtral ? "num_local_experts" : "num_experts",
          .expertsUsed = "num_experts_per_tok"};
}

/// Reads one config.json.
class Filler {
public:
  Filler(const Family &family, const llvm::json::Object &object, StringRef path)
      : family_(family), object_(object), path_(path), reader_(path),
        keys_(getKeys(family.architecture)) {
    config_.architecture = family.architecture;
  }

  llvm::Expected<DecoderConfig> fill();

private:
  int64_t integer(StringRef key, int64_t min, int64_t max,
                  std::optional<int64_t> fallback = {}) {
    return reader_.integer(object_, key, min, max, fallback);
  }
  bool is(Architecture architecture) const {
    return config_.architecture == architecture;
  }
  bool isGemma() const {
    return is(Architecture::Gemma2) || is(Architecture::Gemma3);
  }
  void readSizes();
  void readGpt2Sizes();
  void readExperts();
  void readWindows();
  void readLayerTypes(const llvm::json::Array &types, int64_t window);
  void readRopes();
  void readRope(const llvm::json::Object &object, double base, Rope &rope);
  void readFlags();
  void readActivation();
  void readScales();

  const Family &family_;
  const llvm::json::Object &object_;
  std::string path_;
  Reader reader_;
  KeyNames keys_;
  DecoderConfig config_;
};

void Filler::readSizes() {
  config_.layers.resize(size_t(integer("num_hidden_layers", 1, maxLayers)));
  config_.hidden = integer("hidden_size", 1, maxWidth);
  config_.intermediate = integer("intermediate_size", 1, maxWidth);
  config_.heads =
      integer("num_attention_heads", 1, maxWidth, getOptional(family_.heads));
  // null: as many as heads; absent: what the class says.
  bool isGiven = object_.get("num_key_value_heads");
  config_.kvHeads =
      integer("num_key_value_heads", 1, maxWidth,
              family_.kvHeads && !isGiven ? family_.kvHeads : config_.heads);
  if (is(Architecture::GptNeoX))
    config_.kvHeads = config_.heads;
  config_.headDim = integer("head_dim", 1, maxWidth,
                            object_.get("head_dim") ? 0 : family_.headDim);
  config_.context =
      integer("max_position_embeddings", 1, maxRows, family_.context);
}

void Filler::readGpt2Sizes() {
  config_.layers.resize(size_t(integer("n_layer", 1, maxLayers)));
  config_.hidden = integer("n_embd", 1, maxWidth);
  config_.heads = config_.kvHeads = integer("n_head", 1, maxWidth);
  config_.intermediate = integer("n_inner", 1, maxWidth, 4 * config_.hidden);
  config_.context = integer("n_positions", 1, maxRows, family_.context);
  for (StringRef key :
       {"scale_attn_by_inverse_layer_idx", "add_cross_attention"})
    if (reader_.boolean(object_, key, false))
      reader_.fail("'" + key + "' is not supported");
  if (!reader_.boolean(object_, "scale_attn_weights", true))
    reader_.fail("'scale_attn_weights' false is not supported");
}

void Filler::readExperts() {
  Experts &experts = config_.experts;
  if (is(Architecture::Mixtral)) {
    experts.count = integer("num_local_experts", 1, maxExperts, 8);
    experts.used = integer("num_experts_per_tok", 1, maxExperts, 2);
    experts.intermediate = config_.intermediate;
  } else if (is(Architecture::Qwen3Moe)) {
    StringRef key =
        object_.get("num_experts") ? "num_experts" : "num_local_experts";
    experts.count = integer(key, 1, maxExperts, 128);
    experts.used = integer("num_experts_per_tok", 1, maxExperts, 8);
    experts.intermediate = integer("moe_intermediate_size", 1, maxWidth, 768);
    experts.normalize = reader_.boolean(object_, "norm_topk_prob", false);
  }
}

void Filler::readLayerTypes(const llvm::json::Array &types, int64_t window) {
  if (types.size() != config_.layers.size())
    return reader_.fail("'layer_types' has " + Twine(types.size()) +
                        " entries for " + Twine(config_.layers.size()) +
                        " layers");
  for (auto [type, layer] : llvm::zip_equal(types, config_.layers)) {
    StringRef name = type.getAsString().value_or("");
    if (name == "sliding_attention" && window > 0)
      layer.window = window;
    else if (name == "sliding_attention")
      reader_.fail("'layer_types' asks for windows, but 'sliding_window' is "
                   "missing");
    else if (name != "full_attention")
      reader_.fail("'layer_types' has '" + name +
                   "'; known are full_attention and sliding_attention");
  }
}

void Filler::readWindows() {
  using A = Architecture;
  if (reader_.boolean(object_, "use_bidirectional_attention", false))
    reader_.fail("'use_bidirectional_attention' is not supported");
  bool isGiven = object_.get("sliding_window");
  int64_t window =
      integer("sliding_window", 1, maxRows, isGiven ? 0 : family_.window);
  bool isOptional =
      is(A::Qwen2) || is(A::Qwen3) || is(A::Qwen3Moe) || is(A::SmolLM3);
  if (isOptional && !reader_.boolean(object_, "use_sliding_window", false))
    window = 0;
  const llvm::json::Value *types = Reader::find(object_, "layer_types");
  if (types && !types->getAsArray())
    reader_.fail("'layer_types' must be a list");
  if (types && types->getAsArray())
    return readLayerTypes(*types->getAsArray(), window);

  int64_t pattern = getWindowPattern(config_.architecture);
  if (is(A::Gemma3))
    pattern = integer("sliding_window_pattern", 1, maxLayers, pattern);
  int64_t firstWindow = is(A::Qwen2) || is(A::Qwen3)
                            ? integer("max_window_layers", 0, maxRows, 28)
                            : 0;
  for (auto [i, layer] : llvm::enumerate(config_.layers)) {
    int64_t index = int64_t(i);
    bool isLocal = pattern          ? (index + 1) % pattern != 0
                   : is(A::SmolLM3) ? !layer.hasRope
                                    : index >= firstWindow;
    layer.window = isLocal ? window : 0;
  }
}

/// One object of version 5's rope_parameters or 4's rope_scaling.
void Filler::readRope(const llvm::json::Object &object, double base,
                      Rope &rope) {
  rope.base = reader_.number(object, "rope_theta", base);
  StringRef typeKey = object.get("rope_type") ? "rope_type" : "type";
  std::string type = reader_.text(object, typeKey, "default");
  auto scaling = llvm::StringSwitch<std::optional<RopeScaling>>(type)
                     .Case("default", RopeScaling::None)
                     .Case("linear", RopeScaling::Linear)
                     .Case("dynamic", RopeScaling::Dynamic)
                     .Case("llama3", RopeScaling::Llama3)
                     .Case("yarn", RopeScaling::Yarn)
                     .Cases({"longrope", "su"}, RopeScaling::LongRope)
                     .Default(std::nullopt);
  // Phi-3's first files call it yarn.
  if (is(Architecture::Phi3) && scaling == RopeScaling::Yarn)
    scaling = RopeScaling::LongRope;
  if (!scaling) {
    reader_.fail("rope type '" + type +
                 "' is not supported; default, linear, dynamic, llama3, yarn "
                 "and longrope are");
    return;
  }
  rope.scaling = *scaling;
  // Phi keeps the original context beside the rope's own keys, with priority.
  const llvm::json::Object &where =
      object_.get("original_max_position_embeddings") ? object_ : object;
  rope.originalContext = reader_.integer(
      where, "original_max_position_embeddings", 1, maxRows, config_.context);
  double implied =
      rope.scaling == RopeScaling::LongRope || rope.scaling == RopeScaling::Yarn
          ? double(config_.context) / double(rope.originalContext)
          : 1;
  if ((rope.scaling == RopeScaling::Linear ||
       rope.scaling == RopeScaling::Dynamic ||
       rope.scaling == RopeScaling::Llama3) &&
      !Reader::find(object, "factor"))
    reader_.fail("rope type '" + type + "' needs a 'factor'");
  rope.factor = reader_.number(object, "factor", implied);
  rope.attentionFactor = reader_.number(object, "attention_factor", 0);
  rope.lowFrequency = reader_.number(object, "low_freq_factor", 1);
  rope.highFrequency = reader_.number(object, "high_freq_factor", 4);
  rope.betaFast = reader_.number(object, "beta_fast", 32);
  rope.betaSlow = reader_.number(object, "beta_slow", 1);
  rope.mscale = reader_.number(object, "mscale", 0);
  rope.mscaleAllDim = reader_.number(object, "mscale_all_dim", 0);
  rope.truncate = reader_.boolean(object, "truncate", true);
  if (rope.scaling == RopeScaling::LongRope) {
    rope.shortDivisors = reader_.numbers(object, "short_factor");
    rope.longDivisors = reader_.numbers(object, "long_factor");
    if (rope.shortDivisors.empty() || rope.longDivisors.empty())
      reader_.fail("rope type '" + type +
                   "' needs 'short_factor' and 'long_factor'");
  }
  if (rope.scaling == RopeScaling::Llama3 &&
      !(rope.highFrequency > rope.lowFrequency))
    reader_.fail("'high_freq_factor' must be above 'low_freq_factor'");

  double part = reader_.number(object_, keys_.ropeDims,
                               is(Architecture::GptNeoX) ? 0.25 : 1);
  part = reader_.number(object, "partial_rotary_factor", part);
  if (!(part > 0 && part <= 1))
    reader_.fail("the part of each head that rotates must be from 0 to 1");
  else if (config_.headDim || config_.hidden % config_.heads == 0)
    rope.dims = int64_t(part * double(config_.headDim
                                          ? config_.headDim
                                          : config_.hidden / config_.heads));
}

void Filler::readRopes() {
  if (is(Architecture::Gpt2))
    return;
  bool isGemma3 = is(Architecture::Gemma3);
  double base = reader_.number(object_, keys_.ropeBase, family_.ropeBase);
  double localBase = reader_.number(object_, "rope_local_base_freq", 10000);
  const llvm::json::Object none;
  auto getObject = [&](const llvm::json::Object &parent, StringRef key) {
    const llvm::json::Value *value = Reader::find(parent, key);
    if (value && !value->getAsObject())
      reader_.fail("'" + key + "' must be an object");
    return value && value->getAsObject() ? value->getAsObject() : &none;
  };
  const llvm::json::Object *scaling = getObject(object_, "rope_scaling");
  const llvm::json::Object *parameters =
      scaling->empty() ? getObject(object_, "rope_parameters") : scaling;
  const llvm::json::Object *local = &none;
  if (parameters->get("full_attention") ||
      parameters->get("sliding_attention")) {
    local = getObject(*parameters, "sliding_attention");
    parameters = getObject(*parameters, "full_attention");
    config_.hasLocalRope = true;
  }
  readRope(*parameters, base, config_.rope);
  config_.hasLocalRope |= isGemma3;
  if (config_.hasLocalRope)
    readRope(*local, isGemma3 ? localBase : base, config_.localRope);

  if (const llvm::json::Value *value =
          Reader::find(object_, "no_rope_layers")) {
    const llvm::json::Array *flags = value->getAsArray();
    if (!flags || flags->size() != config_.layers.size())
      return reader_.fail("'no_rope_layers' must have an entry per layer");
    for (auto [flag, layer] : llvm::zip_equal(*flags, config_.layers))
      layer.hasRope = flag.getAsInteger().value_or(1) != 0;
  } else if (is(Architecture::SmolLM3)) {
    int64_t interval = integer("no_rope_layer_interval", 1, maxLayers, 4);
    for (auto [index, layer] : llvm::enumerate(config_.layers))
      layer.hasRope = (int64_t(index) + 1) % interval != 0;
  }
}

void Filler::readFlags() {
  using A = Architecture;
  bool isNeoX = is(A::GptNeoX);
  bool attentionBias = reader_.boolean(object_, "attention_bias", isNeoX);
  config_.hasQkvBias = attentionBias || is(A::Qwen2) || is(A::Gpt2);
  config_.hasOutputBias = attentionBias || is(A::Gpt2);
  config_.hasFfnBias =
      reader_.boolean(object_, "mlp_bias", false) || isNeoX || is(A::Gpt2);
  config_.hasTiedEmbeddings = reader_.boolean(object_, "tie_word_embeddings",
                                              family_.hasTiedEmbeddings);
  config_.hasParallelResidual =
      isNeoX && reader_.boolean(object_, "use_parallel_residual", true);
  if (!is(A::Qwen3Moe))
    return;
  int64_t step = integer("decoder_sparse_step", 1, maxLayers, 1);
  for (auto [index, layer] : llvm::enumerate(config_.layers))
    layer.isSparse = (int64_t(index) + 1) % step == 0;
  for (double index : reader_.numbers(object_, "mlp_only_layers"))
    if (index >= 0 && index < double(config_.layers.size()))
      config_.layers[size_t(index)].isSparse = false;
}

void Filler::readActivation() {
  StringRef key = isGemma()                ? "hidden_activation"
                  : is(Architecture::Gpt2) ? "activation_function"
                                           : "hidden_act";
  if (!Reader::find(object_, key))
    return;
  std::string name = reader_.text(object_, key, "");
  auto activation = llvm::StringSwitch<std::optional<Activation>>(name)
                        .Cases({"silu", "swish"}, Activation::Silu)
                        .Case("gelu", Activation::Gelu)
                        .Cases({"gelu_new", "gelu_fast", "gelu_pytorch_tanh"},
                               Activation::GeluTanh)
                        .Case("relu", Activation::Relu)
                        .Default(std::nullopt);
  if (!activation)
    return reader_.fail("'" + key + "' is '" + name +
                        "'; silu, gelu, gelu_new, gelu_pytorch_tanh and relu "
                        "are supported");
  config_.activation = *activation;
}

void Filler::readScales() {
  config_.normEpsilon =
      reader_.number(object_, keys_.normEpsilon, family_.epsilon);
  if (!isGemma())
    return;
  double scalar = reader_.number(object_, "query_pre_attn_scalar", 256);
  if (!(scalar > 0))
    reader_.fail("'query_pre_attn_scalar' must be positive");
  else
    config_.queryScale = 1 / std::sqrt(scalar);
  // null: none; absent: what the class says.
  auto cap = [&](StringRef key, double fallback) {
    return reader_.number(object_, key, object_.get(key) ? 0 : fallback);
  };
  config_.attentionSoftCap =
      cap("attn_logit_softcapping", config_.attentionSoftCap);
  config_.finalSoftCap = cap("final_logit_softcapping", config_.finalSoftCap);
}

llvm::Expected<DecoderConfig> Filler::fill() {
  if (is(Architecture::Gpt2))
    readGpt2Sizes();
  else
    readSizes();
  config_.vocabulary =
      integer("vocab_size", 1, maxRows, getOptional(family_.vocabulary));
  readExperts();
  if (!reader_.error().empty())
    return llvm::createStringError(reader_.error());
  applyFamily(config_, /*isGguf=*/false);
  readRopes();
  readWindows();
  readFlags();
  readActivation();
  readScales();
  if (!reader_.error().empty())
    return llvm::createStringError(reader_.error());
  if (llvm::Error error = checkConfig(config_, path_, keys_))
    return error;
  return std::move(config_);
}

} // namespace

bool isKnownModelType(StringRef modelType) { return find(modelType); }

std::string getKnownModelTypes() {
  return llvm::join(llvm::map_range(families,
                                    [](const Family &family) {
                                      return family.modelType.str();
                                    }),
                    ", ");
}

llvm::Expected<DecoderConfig> readConfig(const llvm::json::Object &config,
                                         StringRef path) {
  StringRef modelType = config.getString("model_type").value_or("");
  const Family *family = find(modelType);
  if (!family)
    return llvm::createStringError(path + ": not supported: model_type '" +
                                   modelType + "' (known are " +
                                   getKnownModelTypes() + ")");
  // Models that also see images keep their language model's config inside.
  const llvm::json::Object *object = config.getObject("text_config");
  return Filler(*family, object ? *object : config, path).fill();
}

} // namespace pare::decoder
