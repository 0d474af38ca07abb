//===- TensorNamesTest.cpp - Names of both kinds of files -----------------===//
#include "frontend/decoder/TensorNames.h"
#include "gtest/gtest.h"

namespace pare::decoder {
namespace {

constexpr Architecture all[] = {
    Architecture::Llama,  Architecture::Mixtral, Architecture::SmolLM3,
    Architecture::Qwen2,  Architecture::Qwen3,   Architecture::Qwen3Moe,
    Architecture::Gemma2, Architecture::Gemma3,  Architecture::Phi3,
    Architecture::Gpt2,   Architecture::GptNeoX};

std::optional<TensorName> gguf(llvm::StringRef name,
                               Architecture a = Architecture::Llama) {
  return parseTensorName(name, Naming::Gguf, a);
}

std::optional<TensorName> huggingFace(llvm::StringRef name,
                                      Architecture a = Architecture::Llama) {
  return parseTensorName(name, Naming::HuggingFace, a);
}

TEST(TensorNamesTest, ReadsGguf) {
  EXPECT_EQ(gguf("blk.11.attn_q.weight"), (TensorName{Role::Query, 11}));
  EXPECT_EQ(gguf("blk.0.attn_k.bias"), (TensorName{Role::Key, 0, -1, true}));
  EXPECT_EQ(gguf("token_embd.weight"), (TensorName{Role::TokenEmbedding}));
  EXPECT_EQ(gguf("blk.3.ffn_up_exps.weight"), (TensorName{Role::ExpertUp, 3}));
  EXPECT_EQ(gguf("blk.3.ffn_up.7.weight"), (TensorName{Role::ExpertUp, 3, 7}));
  EXPECT_EQ(gguf("blk.0.ffn_up.weight", Architecture::Phi3),
            (TensorName{Role::GateUp, 0}));
}

TEST(TensorNamesTest, ReadsHuggingFace) {
  EXPECT_EQ(huggingFace("model.layers.0.self_attn.q_proj.weight"),
            (TensorName{Role::Query, 0}));
  EXPECT_EQ(huggingFace("lm_head.weight"), (TensorName{Role::Output}));
  EXPECT_EQ(huggingFace("model.layers.2.post_attention_layernorm.weight"),
            (TensorName{Role::FfnNorm, 2}));
  EXPECT_EQ(huggingFace("model.layers.2.post_attention_layernorm.weight",
                        Architecture::Gemma3),
            (TensorName{Role::PostAttentionNorm, 2}));
  EXPECT_EQ(huggingFace("h.4.attn.c_attn.bias", Architecture::Gpt2),
            (TensorName{Role::Qkv, 4, -1, true}));
  EXPECT_EQ(huggingFace("model.layers.1.block_sparse_moe.experts.6.w2.weight",
                        Architecture::Mixtral),
            (TensorName{Role::ExpertDown, 1, 6}));
  for (llvm::StringRef prefix :
       {"model.language_model.", "language_model.model.", "model.", ""})
    EXPECT_EQ(huggingFace((prefix + "layers.0.mlp.up_proj.weight").str(),
                          Architecture::Gemma3),
              (TensorName{Role::Up, 0}));
}

TEST(TensorNamesTest, OtherNamesAreNotMatched) {
  for (const char *name :
       {"", "blk.0.attn_q", "blk..attn_q.weight", "blk.x.attn_q.weight",
        "blk.01.attn_q.weight", "blk.9999999.attn_q.weight",
        "blk.0.attn_q.weight.weight", "v.blk.0.attn_q.weight"})
    EXPECT_EQ(gguf(name), std::nullopt) << name;
  EXPECT_EQ(huggingFace("vision_tower.layers.0.mlp.up_proj.weight"),
            std::nullopt);
  EXPECT_EQ(huggingFace("h.0.attn.bias", Architecture::Gpt2), std::nullopt);
}

TEST(TensorNamesTest, NamesOfRolesAreReadAgain) {
  for (Architecture architecture : all)
    for (Naming naming : {Naming::Gguf, Naming::HuggingFace}) {
      unsigned found = 0;
      for (unsigned role = 0; role <= unsigned(Role::ExpertDown); ++role)
        for (int64_t layer : {-1, 0, 12})
          for (int64_t expert : {-1, 5}) {
            TensorName tensor{Role(role), layer, expert};
            auto name = getTensorName(tensor, naming, architecture);
            // Phi3's ffn_up holds gate and up.
            if (!name || (architecture == Architecture::Phi3 &&
                          naming == Naming::Gguf && tensor.role == Role::Up))
              continue;
            ++found;
            EXPECT_EQ(parseTensorName(*name, naming, architecture), tensor)
                << *name;
          }
      EXPECT_GE(found, 15u);
    }
  EXPECT_EQ(
      getTensorName({Role::Query, 3}, Naming::HuggingFace, Architecture::Qwen3),
      "model.layers.3.self_attn.q_proj.weight");
  EXPECT_EQ(
      getTensorName({Role::Output}, Naming::HuggingFace, Architecture::GptNeoX),
      "embed_out.weight");
  EXPECT_EQ(getTensorName({Role::PositionEmbedding}, Naming::HuggingFace,
                          Architecture::Llama),
            std::nullopt);
}

} // namespace
} // namespace pare::decoder
