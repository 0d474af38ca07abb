//===- TensorNames.cpp - What sources call a decoder's tensors ------------===//
#include "frontend/decoder/TensorNames.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace pare::decoder {

using llvm::ArrayRef;
using llvm::StringRef;

namespace {

/// A pattern without ".weight" and ".bias"; `#` stands for the layer, `@` for
/// the expert.
struct Row {
  Role role;
  llvm::StringLiteral pattern;
};

// The first row of a role gives its name; later ones are read only.

constexpr Row gguf[] = {
    {Role::TokenEmbedding, "token_embd"},
    {Role::PositionEmbedding, "position_embd"},
    {Role::OutputNorm, "output_norm"},
    {Role::Output, "output"},
    {Role::RopeDivisors, "rope_freqs"},
    {Role::RopeLongDivisors, "rope_factors_long"},
    {Role::RopeShortDivisors, "rope_factors_short"},
    {Role::AttentionNorm, "blk.#.attn_norm"},
    {Role::Query, "blk.#.attn_q"},
    {Role::Key, "blk.#.attn_k"},
    {Role::Value, "blk.#.attn_v"},
    {Role::Qkv, "blk.#.attn_qkv"},
    {Role::QueryNorm, "blk.#.attn_q_norm"},
    {Role::KeyNorm, "blk.#.attn_k_norm"},
    {Role::AttentionOutput, "blk.#.attn_output"},
    {Role::PostAttentionNorm, "blk.#.post_attention_norm"},
    {Role::FfnNorm, "blk.#.ffn_norm"},
    {Role::Gate, "blk.#.ffn_gate"},
    {Role::Up, "blk.#.ffn_up"},
    {Role::Down, "blk.#.ffn_down"},
    {Role::PostFfnNorm, "blk.#.post_ffw_norm"},
    {Role::Router, "blk.#.ffn_gate_inp"},
    {Role::ExpertGate, "blk.#.ffn_gate_exps"},
    {Role::ExpertUp, "blk.#.ffn_up_exps"},
    {Role::ExpertDown, "blk.#.ffn_down_exps"},
    // Files from before experts were stacked.
    {Role::ExpertGate, "blk.#.ffn_gate.@"},
    {Role::ExpertUp, "blk.#.ffn_up.@"},
    {Role::ExpertDown, "blk.#.ffn_down.@"},
};

constexpr Row ggufPhi3[] = {{Role::GateUp, "blk.#.ffn_up"}};

/// Llama and all that took its names over.
constexpr Row huggingFace[] = {
    {Role::TokenEmbedding, "embed_tokens"},
    {Role::OutputNorm, "norm"},
    {Role::Output, "lm_head"},
    {Role::AttentionNorm, "layers.#.input_layernorm"},
    {Role::Query, "layers.#.self_attn.q_proj"},
    {Role::Key, "layers.#.self_attn.k_proj"},
    {Role::Value, "layers.#.self_attn.v_proj"},
    {Role::Qkv, "layers.#.self_attn.qkv_proj"},
    {Role::QueryNorm, "layers.#.self_attn.q_norm"},
    {Role::KeyNorm, "layers.#.self_attn.k_norm"},
    {Role::AttentionOutput, "layers.#.self_attn.o_proj"},
    {Role::FfnNorm, "layers.#.post_attention_layernorm"},
    {Role::Gate, "layers.#.mlp.gate_proj"},
    {Role::Up, "layers.#.mlp.up_proj"},
    {Role::GateUp, "layers.#.mlp.gate_up_proj"},
    {Role::Down, "layers.#.mlp.down_proj"},
};

constexpr Row huggingFaceGemma[] = {
    {Role::PostAttentionNorm, "layers.#.post_attention_layernorm"},
    {Role::FfnNorm, "layers.#.pre_feedforward_layernorm"},
    {Role::PostFfnNorm, "layers.#.post_feedforward_layernorm"},
};

constexpr Row huggingFaceMixtral[] = {
    {Role::Router, "layers.#.block_sparse_moe.gate"},
    {Role::ExpertGate, "layers.#.block_sparse_moe.experts.@.w1"},
    {Role::ExpertDown, "layers.#.block_sparse_moe.experts.@.w2"},
    {Role::ExpertUp, "layers.#.block_sparse_moe.experts.@.w3"},
};

constexpr Row huggingFaceQwen3Moe[] = {
    {Role::Router, "layers.#.mlp.gate"},
    {Role::ExpertGate, "layers.#.mlp.experts.@.gate_proj"},
    {Role::ExpertUp, "layers.#.mlp.experts.@.up_proj"},
    {Role::ExpertDown, "layers.#.mlp.experts.@.down_proj"},
};

constexpr Row huggingFaceGpt2[] = {
    {Role::TokenEmbedding, "wte"},
    {Role::PositionEmbedding, "wpe"},
    {Role::OutputNorm, "ln_f"},
    {Role::Output, "lm_head"},
    {Role::AttentionNorm, "h.#.ln_1"},
    {Role::Qkv, "h.#.attn.c_attn"},
    {Role::AttentionOutput, "h.#.attn.c_proj"},
    {Role::FfnNorm, "h.#.ln_2"},
    {Role::Up, "h.#.mlp.c_fc"},
    {Role::Down, "h.#.mlp.c_proj"},
};

constexpr Row huggingFaceGptNeoX[] = {
    {Role::TokenEmbedding, "embed_in"},
    {Role::OutputNorm, "final_layer_norm"},
    {Role::Output, "embed_out"},
    {Role::AttentionNorm, "layers.#.input_layernorm"},
    {Role::Qkv, "layers.#.attention.query_key_value"},
    {Role::AttentionOutput, "layers.#.attention.dense"},
    {Role::FfnNorm, "layers.#.post_attention_layernorm"},
    {Role::Up, "layers.#.mlp.dense_h_to_4h"},
    {Role::Down, "layers.#.mlp.dense_4h_to_h"},
};

/// The rows of one naming: an architecture's own go before those it shares.
struct Tables {
  ArrayRef<Row> own, shared;
  StringRef prefix; ///< of all names but that of the vocabulary projection
};

Tables getTables(Naming naming, Architecture architecture) {
  if (naming == Naming::Gguf)
    return {architecture == Architecture::Phi3 ? ArrayRef<Row>(ggufPhi3)
                                               : ArrayRef<Row>(),
            gguf, ""};
  switch (architecture) {
  case Architecture::Gemma2:
  case Architecture::Gemma3:
    return {huggingFaceGemma, huggingFace, "model."};
  case Architecture::Mixtral:
    return {huggingFaceMixtral, huggingFace, "model."};
  case Architecture::Qwen3Moe:
    return {huggingFaceQwen3Moe, huggingFace, "model."};
  case Architecture::Gpt2:
    return {{}, huggingFaceGpt2, "transformer."};
  case Architecture::GptNeoX:
    return {{}, huggingFaceGptNeoX, "gpt_neox."};
  default:
    return {{}, huggingFace, "model."};
  }
}

/// A number of at most 6 digits at the front of `text`, which it is cut from.
std::optional<int64_t> takeNumber(StringRef &text) {
  StringRef digits = text.take_while(llvm::isDigit);
  int64_t number;
  if (digits.empty() || digits.size() > 6 || digits.getAsInteger(10, number) ||
      (digits.size() > 1 && digits.front() == '0'))
    return std::nullopt;
  text = text.drop_front(digits.size());
  return number;
}

std::optional<TensorName> match(const Row &row, StringRef name) {
  TensorName result{row.role};
  StringRef pattern = row.pattern;
  while (!pattern.empty()) {
    char c = pattern.front();
    pattern = pattern.drop_front();
    if (c == '#' || c == '@') {
      std::optional<int64_t> number = takeNumber(name);
      if (!number)
        return std::nullopt;
      (c == '#' ? result.layer : result.expert) = *number;
    } else if (name.empty() || name.front() != c) {
      return std::nullopt;
    } else {
      name = name.drop_front();
    }
  }
  return name.empty() ? std::optional<TensorName>(result) : std::nullopt;
}

} // namespace

StringRef getName(Role role) {
  static constexpr llvm::StringLiteral names[] = {"token embedding",
                                                  "position embedding",
                                                  "output norm",
                                                  "output",
                                                  "rope divisors",
                                                  "long rope divisors",
                                                  "short rope divisors",
                                                  "attention norm",
                                                  "query",
                                                  "key",
                                                  "value",
                                                  "query, key and value",
                                                  "query norm",
                                                  "key norm",
                                                  "attention output",
                                                  "post-attention norm",
                                                  "feed-forward norm",
                                                  "gate",
                                                  "up",
                                                  "gate and up",
                                                  "down",
                                                  "post-feed-forward norm",
                                                  "router",
                                                  "expert gate",
                                                  "expert up",
                                                  "expert down"};
  static_assert(std::size(names) == size_t(Role::ExpertDown) + 1);
  return names[size_t(role)];
}

std::optional<TensorName> parseTensorName(StringRef name, Naming naming,
                                          Architecture architecture) {
  bool isBias = name.consume_back(".bias");
  if (!isBias && !name.consume_back(".weight"))
    return std::nullopt;
  if (naming == Naming::HuggingFace)
    for (StringRef prefix : {"language_model.", "model.language_model.",
                             "model.", "transformer.", "gpt_neox."})
      name.consume_front(prefix);
  Tables tables = getTables(naming, architecture);
  for (ArrayRef<Row> rows : {tables.own, tables.shared})
    for (const Row &row : rows)
      if (std::optional<TensorName> result = match(row, name)) {
        result->isBias = isBias;
        return result;
      }
  return std::nullopt;
}

std::optional<std::string> getTensorName(const TensorName &tensor,
                                         Naming naming,
                                         Architecture architecture) {
  Tables tables = getTables(naming, architecture);
  for (ArrayRef<Row> rows : {tables.own, tables.shared})
    for (const Row &row : rows) {
      bool isOfLayer = row.pattern.contains('#');
      bool isOfExpert = row.pattern.contains('@');
      if (row.role != tensor.role || isOfLayer != (tensor.layer >= 0) ||
          isOfExpert != (tensor.expert >= 0))
        continue;
      bool isHead = StringRef(row.pattern) == "lm_head" ||
                    StringRef(row.pattern) == "embed_out";
      std::string name = isHead ? "" : tables.prefix.str();
      for (char c : row.pattern) {
        if (c == '#')
          name += std::to_string(tensor.layer);
        else if (c == '@')
          name += std::to_string(tensor.expert);
        else
          name += c;
      }
      return name + (tensor.isBias ? ".bias" : ".weight");
    }
  return std::nullopt;
}

} // namespace pare::decoder
