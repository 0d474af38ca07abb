"""The small mixtures of experts of decoders.py as GGUF files, by the gguf
package's writer and quantizers, and their logits by mlx-lm.
"""

import numpy as np

from . import decoders

ATTENTION = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
EXPERTS = {"ffn_gate_inp": "gate", "ffn_gate_exps": "switch_mlp.gate_proj", "ffn_up_exps": "switch_mlp.up_proj",
           "ffn_down_exps": "switch_mlp.down_proj"}
# Of a layer, GGUF's names and mlx-lm's.
LAYERS = {
    "mixtral": {**ATTENTION, **{mine: f"block_sparse_moe.{theirs}" for mine, theirs in EXPERTS.items()}},
    "qwen3-moe": {**ATTENTION, "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
                  **{mine: f"mlp.{theirs}" for mine, theirs in EXPERTS.items()}},
}


def join_pairs(weight, heads):
    """The inverse of decoders.split_pairs."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def add_metadata(writer, arch, config):
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_expert_count(config.get("num_experts", config.get("num_local_experts")))
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if arch == "qwen3moe":
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    # Letters and what they merge to, so that any text of them has tokens.
    letters = [chr(ord("a") + i) for i in range(12)]
    pairs = [a + b for a in letters for b in letters]
    tokens = letters + pairs
    tokens += [f"<{i}>" for i in range(config["vocab_size"] - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(pair) for pair in pairs])


def make(name, path, tokens, kind, split=False, **changes):
    """Writes model `name` to `path`, its matrices in GGUF type `kind`, with one
    tensor per expert where `split` says so (files from before they were
    stacked) and other values of metadata in `changes`; its logits for `tokens`."""
    import gguf

    model, config, weights = decoders.create(name)
    arch = "llama" if name == "mixtral" else "qwen3moe"
    kind = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, arch)
    add_metadata(writer, arch, config)
    for key, value in changes.items():
        writer.add_uint32(f"{arch}.{key}", value)

    def add(key, value, permuted=0):
        matrix = value if not permuted else join_pairs(value, permuted)
        if value.ndim < 2 or "ffn_gate_inp" in key:
            writer.add_tensor(key, value)
            return value
        data = gguf.quants.quantize(matrix, kind)
        if split and value.ndim == 3:
            for i, part in enumerate(data):
                writer.add_tensor(key.replace("_exps", f".{i}"), part, raw_dtype=kind)
        else:
            writer.add_tensor(key, data, raw_dtype=kind)
        matrix = gguf.quants.dequantize(data, kind).astype(np.float32).reshape(matrix.shape)
        return matrix if not permuted else decoders.split_pairs(matrix, permuted)

    stored = {}
    for mine, theirs in {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}.items():
        stored[f"{theirs}.weight"] = add(f"{mine}.weight", weights[f"{theirs}.weight"])
    for layer in range(config["num_hidden_layers"]):
        for mine, theirs in LAYERS[name].items():
            key = f"model.layers.{layer}.{theirs}.weight"
            heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
            permuted = heads.get(mine, 0) if arch == "llama" else 0
            stored[key] = add(f"blk.{layer}.{mine}.weight", weights[key], permuted)
    assert stored.keys() == weights.keys()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoders.run(model, stored, tokens)
