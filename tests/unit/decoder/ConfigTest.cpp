//===- ConfigTest.cpp - The same models from both sources -----------------===//
#include "frontend/decoder/Config.h"
#include "tests/unit/gguf/Files.h"
#include <cmath>

namespace pare::decoder {
namespace {

llvm::Expected<DecoderConfig> read(llvm::StringRef json) {
  llvm::json::Value value = cantFail(llvm::json::parse(json));
  return readConfig(*value.getAsObject(), "config.json");
}

DecoderConfig readOrDie(llvm::StringRef json) {
  llvm::Expected<DecoderConfig> config = read(json);
  EXPECT_TRUE(bool(config)) << json.str();
  if (config)
    return *config;
  ADD_FAILURE() << llvm::toString(config.takeError());
  return {};
}

std::string readError(llvm::StringRef json) {
  llvm::Expected<DecoderConfig> config = read(json);
  return config ? "" : llvm::toString(config.takeError());
}

/// A GGUF file of metadata and a few small tensors.
class GgufModel {
public:
  explicit GgufModel(std::string architecture)
      : architecture_(std::move(architecture)) {
    writer_.addString("general.architecture", architecture_);
  }
  GgufModel &u32(const char *key, uint32_t value) {
    writer_.addU32(architecture_ + "." + key, value);
    return *this;
  }
  GgufModel &f32(const char *key, float value) {
    writer_.addF32(architecture_ + "." + key, value);
    return *this;
  }
  GgufModel &text(const char *key, llvm::StringRef value) {
    writer_.addString(architecture_ + "." + key, value);
    return *this;
  }
  GgufModel &tensor(llvm::StringRef name, llvm::ArrayRef<int64_t> shape) {
    gguf::addRandom(writer_, name, "F32", shape);
    return *this;
  }
  /// layers, hidden, feed-forward, heads, key heads, context.
  GgufModel &sizes(uint32_t layers, uint32_t hidden, uint32_t intermediate,
                   uint32_t heads, uint32_t kvHeads, uint32_t context) {
    return u32("block_count", layers)
        .u32("embedding_length", hidden)
        .u32("feed_forward_length", intermediate)
        .u32("attention.head_count", heads)
        .u32("attention.head_count_kv", kvHeads)
        .u32("context_length", context)
        .tensor("token_embd.weight", {10, hidden});
  }
  llvm::Expected<DecoderConfig> read() {
    gguf::File file = cantFail(
        gguf::File::open(folder_.write("m.gguf", gguf::toBytes(writer_))));
    return readConfig(file);
  }
  DecoderConfig readOrDie() {
    llvm::Expected<DecoderConfig> config = read();
    if (config)
      return *config;
    ADD_FAILURE() << llvm::toString(config.takeError());
    return {};
  }
  std::string readError() {
    llvm::Expected<DecoderConfig> config = read();
    return config ? "" : llvm::toString(config.takeError());
  }
  gguf::Writer &writer() { return writer_; }

private:
  std::string architecture_;
  gguf::Writer writer_;
  TemporaryFolder folder_;
};

/// What must not depend on the source.
void expectSame(const DecoderConfig &a, const DecoderConfig &b) {
  EXPECT_EQ(a.print(), b.print());
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(a.layers[i].window, b.layers[i].window) << i;
    EXPECT_EQ(a.layers[i].hasRope, b.layers[i].hasRope) << i;
    EXPECT_EQ(a.layers[i].isSparse, b.layers[i].isSparse) << i;
  }
  for (auto rope : {&DecoderConfig::rope, &DecoderConfig::localRope}) {
    EXPECT_EQ((a.*rope).dims, (b.*rope).dims);
    EXPECT_EQ((a.*rope).base, (b.*rope).base);
    EXPECT_EQ((a.*rope).scaling, (b.*rope).scaling);
    EXPECT_EQ((a.*rope).factor, (b.*rope).factor);
  }
  EXPECT_EQ(a.hasLocalRope, b.hasLocalRope);
  EXPECT_EQ(a.hasPositionEmbeddings, b.hasPositionEmbeddings);
  EXPECT_EQ(a.norm, b.norm);
  EXPECT_FLOAT_EQ(float(a.normEpsilon), float(b.normEpsilon));
  EXPECT_EQ(a.hasQkNorm, b.hasQkNorm);
  EXPECT_EQ(a.hasPostNorms, b.hasPostNorms);
  EXPECT_EQ(a.queryScale, b.queryScale);
  EXPECT_EQ(a.attentionSoftCap, b.attentionSoftCap);
  EXPECT_EQ(a.finalSoftCap, b.finalSoftCap);
  EXPECT_EQ(a.embeddingScale, b.embeddingScale);
  EXPECT_EQ(a.activation, b.activation);
  EXPECT_EQ(a.isGated, b.isGated);
  EXPECT_EQ(a.experts.count, b.experts.count);
  EXPECT_EQ(a.experts.used, b.experts.used);
  EXPECT_EQ(a.experts.intermediate, b.experts.intermediate);
  EXPECT_EQ(a.hasQkvBias, b.hasQkvBias);
  EXPECT_EQ(a.hasOutputBias, b.hasOutputBias);
  EXPECT_EQ(a.hasFfnBias, b.hasFfnBias);
  EXPECT_EQ(a.hasFusedGateUp, b.hasFusedGateUp);
  EXPECT_EQ(a.hasParallelResidual, b.hasParallelResidual);
  EXPECT_EQ(a.hasTiedEmbeddings, b.hasTiedEmbeddings);
}

TEST(DecoderConfigTest, Llama) {
  DecoderConfig a = readOrDie(R"({"model_type":"llama","hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "rms_norm_eps":1e-5,"rope_theta":100000.0,"tie_word_embeddings":true})");
  EXPECT_EQ(a.print(), "llama, 3 layers, hidden 64, 8 heads of 8 (2 for keys), "
                       "feed-forward 96, vocabulary 10, context 512");
  EXPECT_EQ(a.rope.style, RopeStyle::Half);
  EXPECT_EQ(a.queryScale, 1 / std::sqrt(8.0));
  DecoderConfig b = GgufModel("llama")
                        .sizes(3, 64, 96, 8, 2, 512)
                        .f32("attention.layer_norm_rms_epsilon", 1e-5f)
                        .f32("rope.freq_base", 100000)
                        .readOrDie();
  EXPECT_EQ(b.rope.style, RopeStyle::Interleaved);
  expectSame(a, b);
}

TEST(DecoderConfigTest, Llama3Scaling) {
  std::string base = R"({"model_type":"llama","hidden_size":64,
    "num_hidden_layers":1,"num_attention_heads":8,"intermediate_size":96,
    "vocab_size":10,"max_position_embeddings":131072,)";
  std::string scaling = R"("factor":8.0,"low_freq_factor":1.0,
    "high_freq_factor":4.0,"original_max_position_embeddings":8192,
    "rope_type":"llama3")";
  for (const std::string &rope :
       {R"("rope_theta":500000.0,"rope_scaling":{)" + scaling + "}}",
        R"("rope_parameters":{"rope_theta":500000.0,)" + scaling + "}}"}) {
    DecoderConfig config = readOrDie(base + rope);
    EXPECT_EQ(config.rope.scaling, RopeScaling::Llama3);
    EXPECT_EQ(config.rope.base, 500000);
    EXPECT_EQ(config.rope.factor, 8);
    EXPECT_EQ(config.rope.originalContext, 8192);
    EXPECT_EQ(config.kvHeads, 8);
    EXPECT_FALSE(config.hasTiedEmbeddings);
  }
  DecoderConfig gguf = GgufModel("llama")
                           .sizes(1, 64, 96, 8, 8, 131072)
                           .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                           .tensor("rope_freqs.weight", {4})
                           .tensor("output.weight", {10, 64})
                           .readOrDie();
  EXPECT_EQ(gguf.rope.scaling, RopeScaling::Divisors);
  EXPECT_FALSE(gguf.hasTiedEmbeddings);
}

TEST(DecoderConfigTest, MistralSlidesInEveryLayer) {
  DecoderConfig config = readOrDie(R"({"model_type":"mistral","hidden_size":64,
    "num_hidden_layers":2,"num_attention_heads":8,"intermediate_size":96,
    "vocab_size":10})");
  EXPECT_EQ(config.kvHeads, 8);
  EXPECT_EQ(config.layers[0].window, 4096);
  EXPECT_EQ(config.layers[1].window, 4096);
  config = readOrDie(R"({"model_type":"mistral","hidden_size":64,
    "num_hidden_layers":2,"num_attention_heads":8,"intermediate_size":96,
    "vocab_size":10,"sliding_window":null,"num_key_value_heads":null,
    "head_dim":16})");
  EXPECT_EQ(config.layers[0].window, 0);
  EXPECT_EQ(config.headDim, 16);
}

TEST(DecoderConfigTest, Qwen2) {
  std::string base = R"({"model_type":"qwen2","hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "tie_word_embeddings":true,"sliding_window":7,"max_window_layers":1)";
  DecoderConfig a = readOrDie(base + "}");
  DecoderConfig b = GgufModel("qwen2")
                        .sizes(3, 64, 96, 8, 2, 512)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .tensor("blk.0.attn_q.bias", {64})
                        .readOrDie();
  EXPECT_EQ(b.rope.style, RopeStyle::Half);
  EXPECT_TRUE(a.hasQkvBias);
  EXPECT_FALSE(a.hasOutputBias);
  expectSame(a, b);
  DecoderConfig windows = readOrDie(base + R"(,"use_sliding_window":true})");
  EXPECT_EQ(windows.layers[0].window, 0);
  EXPECT_EQ(windows.layers[1].window, 7);
}

TEST(DecoderConfigTest, Qwen3) {
  DecoderConfig a = readOrDie(R"({"model_type":"qwen3","hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "head_dim":32,"rope_theta":1000000,"tie_word_embeddings":true})");
  DecoderConfig b = GgufModel("qwen3")
                        .sizes(3, 64, 96, 8, 2, 512)
                        .u32("attention.key_length", 32)
                        .u32("attention.value_length", 32)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .f32("rope.freq_base", 1e6f)
                        .readOrDie();
  EXPECT_TRUE(a.hasQkNorm);
  expectSame(a, b);
}

TEST(DecoderConfigTest, Qwen3Moe) {
  std::string base = R"({"model_type":"qwen3_moe","hidden_size":64,
    "num_hidden_layers":4,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "moe_intermediate_size":24,"num_experts":6,"num_experts_per_tok":2,
    "norm_topk_prob":true,"tie_word_embeddings":true)";
  DecoderConfig a = readOrDie(base + "}");
  DecoderConfig b = GgufModel("qwen3moe")
                        .sizes(4, 64, 96, 8, 2, 512)
                        .u32("expert_count", 6)
                        .u32("expert_used_count", 2)
                        .u32("expert_feed_forward_length", 24)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .readOrDie();
  expectSame(a, b);
  EXPECT_TRUE(b.experts.normalize);
  DecoderConfig some =
      readOrDie(base + R"(,"decoder_sparse_step":2,"mlp_only_layers":[3]})");
  EXPECT_FALSE(some.layers[0].isSparse);
  EXPECT_TRUE(some.layers[1].isSparse);
  EXPECT_FALSE(some.layers[3].isSparse);
}

TEST(DecoderConfigTest, Mixtral) {
  DecoderConfig a = readOrDie(R"({"model_type":"mixtral","hidden_size":64,
    "num_hidden_layers":2,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "num_local_experts":4,"num_experts_per_tok":2,"tie_word_embeddings":true})");
  DecoderConfig b = GgufModel("llama")
                        .sizes(2, 64, 96, 8, 2, 512)
                        .u32("expert_count", 4)
                        .u32("expert_used_count", 2)
                        .f32("attention.layer_norm_rms_epsilon", 1e-5f)
                        .f32("rope.freq_base", 1e6f)
                        .readOrDie();
  EXPECT_EQ(b.architecture, Architecture::Mixtral);
  EXPECT_EQ(b.rope.style, RopeStyle::Interleaved);
  expectSame(a, b);
}

TEST(DecoderConfigTest, Gemma2) {
  DecoderConfig a = readOrDie(R"({"model_type":"gemma2","hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "head_dim":16,"query_pre_attn_scalar":16,"sliding_window":5})");
  DecoderConfig b = GgufModel("gemma2")
                        .sizes(3, 64, 96, 8, 2, 512)
                        .u32("attention.key_length", 16)
                        .u32("attention.value_length", 16)
                        .u32("attention.sliding_window", 5)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .f32("attn_logit_softcapping", 50)
                        .f32("final_logit_softcapping", 30)
                        .readOrDie();
  EXPECT_EQ(a.normOffset, 1);
  EXPECT_EQ(b.normOffset, 0);
  EXPECT_EQ(a.embeddingScale, 8);
  EXPECT_EQ(a.layers[0].window, 5);
  EXPECT_EQ(a.layers[1].window, 0);
  EXPECT_EQ(a.attentionSoftCap, 50);
  expectSame(a, b);
  EXPECT_EQ(readOrDie(R"({"model_type":"gemma2","hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":8,"intermediate_size":96,
    "vocab_size":10,"attn_logit_softcapping":null})")
                .attentionSoftCap,
            0);
}

TEST(DecoderConfigTest, Gemma3) {
  std::string sizes = R"("hidden_size":64,"num_hidden_layers":7,
    "num_attention_heads":8,"num_key_value_heads":2,"intermediate_size":96,
    "vocab_size":10,"max_position_embeddings":512,"head_dim":16,
    "query_pre_attn_scalar":16,"sliding_window":5)";
  DecoderConfig a =
      readOrDie(R"({"model_type":"gemma3_text",)" + sizes +
                R"(,"rope_scaling":{"rope_type":"linear","factor":8.0}})");
  DecoderConfig b = GgufModel("gemma3")
                        .sizes(7, 64, 96, 8, 2, 512)
                        .u32("attention.key_length", 16)
                        .u32("attention.value_length", 16)
                        .u32("attention.sliding_window", 5)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .f32("rope.freq_base", 1e6f)
                        .text("rope.scaling.type", "linear")
                        .f32("rope.scaling.factor", 8)
                        .readOrDie();
  EXPECT_EQ(a.layers[4].window, 5);
  EXPECT_EQ(a.layers[5].window, 0);
  EXPECT_EQ(a.layers[6].window, 5);
  EXPECT_EQ(a.localRope.base, 10000);
  EXPECT_EQ(a.localRope.scaling, RopeScaling::None);
  expectSame(a, b);
  // Version 5, and as the language model of one that sees.
  DecoderConfig c =
      readOrDie(R"({"model_type":"gemma3","text_config":{)" + sizes + R"(,
      "layer_types":["sliding_attention","sliding_attention",
      "sliding_attention","sliding_attention","sliding_attention",
      "full_attention","sliding_attention"],"rope_parameters":{
      "full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":1e6},
      "sliding_attention":{"rope_type":"default","rope_theta":10000}}}})");
  expectSame(a, c);
}

TEST(DecoderConfigTest, Phi3) {
  DecoderConfig a = readOrDie(R"({"model_type":"phi3","hidden_size":64,
    "num_hidden_layers":2,"num_attention_heads":8,"num_key_value_heads":8,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512,
    "original_max_position_embeddings":128,"sliding_window":100,
    "partial_rotary_factor":0.75,"tie_word_embeddings":true,
    "rope_scaling":{"type":"longrope","short_factor":[1,1,1],
    "long_factor":[2,3,4.5]}})");
  EXPECT_EQ(a.rope.scaling, RopeScaling::LongRope);
  EXPECT_EQ(a.rope.dims, 6);
  EXPECT_EQ(a.rope.originalContext, 128);
  EXPECT_EQ(a.rope.factor, 4);
  EXPECT_EQ(a.rope.longDivisors, (std::vector<double>{2, 3, 4.5}));
  EXPECT_EQ(a.qkv, QkvLayout::Concatenated);
  EXPECT_TRUE(a.hasFusedGateUp);
  DecoderConfig b = GgufModel("phi3")
                        .sizes(2, 64, 96, 8, 8, 512)
                        .u32("rope.dimension_count", 6)
                        .u32("rope.scaling.original_context_length", 128)
                        .u32("attention.sliding_window", 100)
                        .f32("attention.layer_norm_rms_epsilon", 1e-5f)
                        .tensor("rope_factors_long.weight", {3})
                        .tensor("rope_factors_short.weight", {3})
                        .readOrDie();
  expectSame(a, b);
}

TEST(DecoderConfigTest, Gpt2) {
  DecoderConfig a = readOrDie(R"({"model_type":"gpt2","n_embd":64,"n_layer":2,
    "n_head":8,"n_positions":512,"vocab_size":10,"n_ctx":512})");
  DecoderConfig b = GgufModel("gpt2")
                        .sizes(2, 64, 256, 8, 8, 512)
                        .f32("attention.layer_norm_epsilon", 1e-5f)
                        .tensor("blk.0.attn_qkv.bias", {192})
                        .tensor("blk.0.attn_output.bias", {64})
                        .tensor("blk.0.ffn_up.bias", {256})
                        .readOrDie();
  EXPECT_TRUE(a.hasTransposedWeights);
  EXPECT_FALSE(b.hasTransposedWeights);
  EXPECT_TRUE(a.hasPositionEmbeddings);
  expectSame(a, b);
}

TEST(DecoderConfigTest, GptNeoX) {
  DecoderConfig a = readOrDie(R"({"model_type":"gpt_neox","hidden_size":64,
    "num_hidden_layers":2,"num_attention_heads":8,"intermediate_size":256,
    "vocab_size":10,"max_position_embeddings":512})");
  EXPECT_EQ(a.qkv, QkvLayout::PerHead);
  EXPECT_EQ(a.rope.dims, 2);
  DecoderConfig b = GgufModel("gptneox")
                        .sizes(2, 64, 256, 8, 8, 512)
                        .u32("rope.dimension_count", 2)
                        .f32("attention.layer_norm_epsilon", 1e-5f)
                        .tensor("output.weight", {10, 64})
                        .tensor("blk.0.attn_qkv.bias", {192})
                        .tensor("blk.0.attn_output.bias", {64})
                        .tensor("blk.0.ffn_up.bias", {256})
                        .readOrDie();
  EXPECT_EQ(b.qkv, QkvLayout::Concatenated);
  EXPECT_TRUE(b.hasParallelResidual);
  expectSame(a, b);
}

TEST(DecoderConfigTest, SmolLM3SkipsRopeInEveryFourthLayer) {
  DecoderConfig a = readOrDie(R"({"model_type":"smollm3","hidden_size":64,
    "num_hidden_layers":5,"num_attention_heads":8,"num_key_value_heads":2,
    "intermediate_size":96,"vocab_size":10,"max_position_embeddings":512})");
  DecoderConfig b = GgufModel("smollm3")
                        .sizes(5, 64, 96, 8, 2, 512)
                        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
                        .f32("rope.freq_base", 2e6f)
                        .readOrDie();
  EXPECT_TRUE(a.layers[2].hasRope);
  EXPECT_FALSE(a.layers[3].hasRope);
  expectSame(a, b);
}

TEST(DecoderConfigTest, ErrorsNameTheKey) {
  EXPECT_EQ(readError(R"({"model_type":"rwkv"})"),
            "config.json: not supported: model_type 'rwkv' (known are "
            "llama, mistral, mixtral, smollm3, qwen2, qwen3, qwen3_moe, "
            "gemma2, gemma3_text, gemma3, phi3, gpt2, gpt_neox)");
  EXPECT_EQ(readError(R"({"model_type":"llama"})"),
            "config.json: 'num_hidden_layers' is missing");
  EXPECT_EQ(readError(R"({"model_type":"llama","num_hidden_layers":-1})"),
            "config.json: 'num_hidden_layers' must be an integer from 1 to "
            "10000");
  auto llama = [](llvm::StringRef extra) {
    return readError((R"({"model_type":"llama","num_hidden_layers":1,
      "hidden_size":64,"intermediate_size":96,"vocab_size":10,)" +
                      extra + "}")
                         .str());
  };
  EXPECT_EQ(llama(R"("num_attention_heads":7)"),
            "config.json: hidden_size 64 is not a multiple of "
            "num_attention_heads 7, and head_dim is missing");
  EXPECT_EQ(llama(R"("num_attention_heads":8,"num_key_value_heads":3)"),
            "config.json: num_attention_heads 8 is not a multiple of "
            "num_key_value_heads 3");
  EXPECT_EQ(llama(R"("num_attention_heads":"8")"),
            "config.json: 'num_attention_heads' must be an integer from 1 to "
            "16777216");
  EXPECT_EQ(llama(R"("num_attention_heads":8,"hidden_act":"mish")"),
            "config.json: 'hidden_act' is 'mish'; silu, gelu, gelu_new, "
            "gelu_pytorch_tanh and relu are supported");
  EXPECT_EQ(llama(R"("num_attention_heads":8,"rope_scaling":{"type":"x"})"),
            "config.json: rope type 'x' is not supported; default, linear, "
            "dynamic, llama3, yarn and longrope are");
  EXPECT_EQ(
      llama(R"("num_attention_heads":8,"rope_scaling":{"type":"linear"})"),
      "config.json: rope type 'linear' needs a 'factor'");
  EXPECT_EQ(llama(R"("num_attention_heads":8,"layer_types":[])"),
            "config.json: 'layer_types' has 0 entries for 1 layers");
}

TEST(DecoderConfigTest, GgufErrorsNameTheKey) {
  auto contains = [](const std::string &text, llvm::StringRef part) {
    EXPECT_TRUE(llvm::StringRef(text).contains(part)) << text;
    EXPECT_FALSE(llvm::StringRef(text).contains("\n")) << text;
  };
  contains(GgufModel("mamba").readError(),
           "not supported: architecture 'mamba' (known are llama, ");
  contains(GgufModel("llama").readError(), "'llama.block_count' is missing");
  contains(GgufModel("llama").sizes(1, 64, 96, 8, 2, 512).readError(),
           "'llama.attention.layer_norm_rms_epsilon' is missing");
  contains(GgufModel("llama")
               .sizes(1, 64, 96, 8, 3, 512)
               .f32("attention.layer_norm_rms_epsilon", 0)
               .readError(),
           "llama.attention.head_count 8 is not a multiple of "
           "llama.attention.head_count_kv 3");
  contains(GgufModel("llama")
               .u32("block_count", 1)
               .u32("embedding_length", 64)
               .u32("feed_forward_length", 96)
               .u32("attention.head_count", 8)
               .u32("context_length", 512)
               .f32("attention.layer_norm_rms_epsilon", 0)
               .tensor("token_embd.weight", {10, 32})
               .readError(),
           "tensor 'token_embd.weight' does not have rows of 64 elements, as "
           "'llama.embedding_length' says");
  GgufModel tokens("llama");
  tokens.sizes(1, 64, 96, 8, 2, 512).f32("attention.layer_norm_rms_epsilon", 0);
  tokens.writer().addStrings("tokenizer.ggml.tokens", {"a", "b"});
  contains(tokens.readError(), "has 10 rows, but 'tokenizer.ggml.tokens' has "
                               "2 tokens");
  GgufModel layers("llama");
  layers.u32("block_count", 2).u32("embedding_length", 64);
  layers.writer().addI32s("llama.feed_forward_length", {96, 128});
  layers.u32("attention.head_count", 8).u32("context_length", 512);
  contains(layers.readError(),
           "'llama.feed_forward_length' differs between layers");
  GgufModel negative("llama");
  negative.writer().addI32s("llama.block_count", {-1, -1});
  contains(negative.readError(),
           "'llama.block_count' must be from 1 to 10000, not -1");
  auto experts = [](const char *key, uint32_t value) {
    return GgufModel("qwen3moe")
        .sizes(1, 64, 96, 8, 2, 512)
        .u32("expert_count", 6)
        .u32("expert_used_count", 2)
        .f32("attention.layer_norm_rms_epsilon", 1e-6f)
        .u32(key, value)
        .readError();
  };
  EXPECT_EQ(experts("expert_gating_func", 1), "");
  contains(experts("expert_gating_func", 2),
           "'qwen3moe.expert_gating_func' is 2; only softmax (1) is supported");
  contains(experts("expert_shared_count", 1),
           "'qwen3moe.expert_shared_count': shared experts are not supported");
  contains(experts("expert_weights_scale", 3),
           "'qwen3moe.expert_weights_scale': scaled shares of experts are not "
           "supported");
}

} // namespace
} // namespace pare::decoder
