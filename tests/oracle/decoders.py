"""Small decoders of every architecture with random weights, as folders that
transformers would read, and their logits by mlx-lm: implementations that nobody
here wrote, on the CPU, without a framework of gigabytes.

Weights are scaled so that logits have a standard deviation of at least 1 and
attention is far from uniform.
"""

import importlib
import importlib.util
import json
import sys
import types

import numpy as np

BASE = {
    "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5, "vocab_size": 160,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}
GEMMA3 = {"num_hidden_layers": 7, "head_dim": 32, "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000.0,
          "rope_global_base_freq": 1e6, "rope_theta": 1e6, "query_pre_attn_scalar": 24, "sliding_window": 8,
          "sliding_window_pattern": 6}
NEOX = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3, "intermediate_size": 256,
        "layer_norm_eps": 1e-5, "vocab_size": 160, "max_position_embeddings": 256, "rotary_emb_base": 10000,
        "rotary_pct": 0.25, "hidden_act": "gelu_pytorch_tanh"}  # mlx-lm knows no other

QWEN3_MOE = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "norm_topk_prob": True,
             "decoder_sparse_step": 1, "mlp_only_layers": []}

# Name: (module of mlx-lm, config.json).
MODELS = {
    "llama": ("llama", {**BASE, "model_type": "llama", "tie_word_embeddings": True}),
    "llama-biases": ("llama", {**BASE, "model_type": "llama", "attention_bias": True, "mlp_bias": True}),
    "llama3": ("llama", {**BASE, "model_type": "llama", "rope_scaling": LLAMA3_ROPE}),
    "llama-linear": ("llama", {**BASE, "model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}}),
    "mistral": ("llama", {**BASE, "model_type": "mistral"}),
    "qwen2": ("qwen2", {**BASE, "model_type": "qwen2"}),
    "qwen3": ("qwen3", {**BASE, "model_type": "qwen3", "head_dim": 32}),
    "smollm3": ("smollm3", {**BASE, "model_type": "smollm3", "num_hidden_layers": 4, "no_rope_layer_interval": 4}),
    "mixtral": ("mixtral", {**BASE, "model_type": "mixtral", "num_local_experts": 5, "num_experts_per_tok": 2}),
    "qwen3-moe": ("qwen3_moe", {**BASE, "model_type": "qwen3_moe", "head_dim": 32, **QWEN3_MOE}),
    # A dense layer first, and shares that do not add up to one.
    "qwen3-moe-mixed": ("qwen3_moe", {**BASE, "model_type": "qwen3_moe", **QWEN3_MOE, "norm_topk_prob": False,
                                      "mlp_only_layers": [0]}),
    "gemma2": ("gemma2", {**BASE, "model_type": "gemma2", "head_dim": 32, "attn_logit_softcapping": 50.0,
                          "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 24, "sliding_window": 4096, "tie_word_embeddings": True}),
    "gemma3": ("gemma3_text", {**BASE, "model_type": "gemma3_text", **GEMMA3}),
    "phi3": ("phi3", {**BASE, "model_type": "phi3"}),
    # The keys of published files of these models, their sizes made small.
    "qwen2.5": ("qwen2", {**BASE, "model_type": "qwen2", "rope_theta": 1e6, "tie_word_embeddings": True,
                          "attention_dropout": 0.0, "hidden_act": "silu", "max_window_layers": 2,
                          "sliding_window": 32768, "use_sliding_window": False, "use_mrope": False}),
    "llama3.2": ("llama", {**BASE, "model_type": "llama", "rope_theta": 5e5, "tie_word_embeddings": True,
                           "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1,
                           "rope_scaling": {**LLAMA3_ROPE, "factor": 32.0}}),
    "phi4-mini": ("phi3", {**BASE, "model_type": "phi3", "partial_rotary_factor": 0.75, "tie_word_embeddings": True,
                           "attention_bias": False, "mlp_bias": False, "embd_pdrop": 0.0, "full_attn_mod": 1,
                           "interpolate_factor": 1, "lm_head_bias": False, "sliding_window": 262144,
                           "original_max_position_embeddings": 64,
                           "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 6,
                                            "long_factor": [1, 1.1, 1.7, 3.0, 8.0, 20.0]}}),
    "gpt-neox": ("gpt_neox", {**NEOX, "model_type": "gpt_neox"}),
    "gpt2": ("gpt2", {"model_type": "gpt2", "n_ctx": 256, "n_embd": 64, "n_head": 4, "n_layer": 3,
                      "n_positions": 256, "layer_norm_epsilon": 1e-5, "vocab_size": 160}),
}


def load_module(name):
    """A model of mlx-lm without the package's own imports, which want more."""
    if "mlx_lm" not in sys.modules:
        package = types.ModuleType("mlx_lm")
        package.__path__ = list(importlib.util.find_spec("mlx_lm").submodule_search_locations)
        sys.modules["mlx_lm"] = package
    return importlib.import_module(f"mlx_lm.models.{name}")


def random_weight(rng, name, shape, around):
    if len(shape) == 1:
        return rng.normal(0 if name.endswith("bias") else around, 0.2, shape)
    if any(part in name for part in ("embed_", "wte", "wpe")):
        return rng.normal(0, 1, shape)
    sharp = any(part in name for part in ("q_proj", "k_proj", "qkv", "c_attn", "query_key"))
    return rng.normal(0, (4 if sharp else 1.5) / np.sqrt(shape[-1]), shape)


def published(name, weights):
    """The names and orientation that transformers' files have."""
    if name == "gpt2":
        plain = {key.removeprefix("model."): value for key, value in weights.items()}
        return {key: value.T if key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")) else value
                for key, value in plain.items()}
    if name == "gpt-neox":
        return {key.replace("model.h.", "gpt_neox.layers.").replace("model.embed_out", "embed_out").replace("model.", "gpt_neox."): value
                for key, value in weights.items()}
    return {part: matrix for key, value in weights.items() for part, matrix in split_experts(key, value)}


def split_experts(key, value):
    """One matrix per expert, as files have them."""
    head, switch, part = key.partition(".switch_mlp.")
    if not switch:
        return [(key, value)]
    if head.endswith("block_sparse_moe"):
        for mine, theirs in {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}.items():
            part = part.replace(mine, theirs)
    return [(f"{head}.experts.{i}.{part}", matrix) for i, matrix in enumerate(value)]


def create(name):
    """A model of mlx-lm, its config.json and its weights by name."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    mx.set_default_device(mx.cpu)
    module, config = MODELS[name]
    source = load_module(module)
    model = source.Model(source.ModelArgs.from_dict(config))
    rng = np.random.default_rng(7)
    around = 0 if name.startswith("gemma") else 1  # Gemma's norms add the one
    weights = {key: random_weight(rng, key, value.shape, around).astype(np.float32)
               for key, value in tree_flatten(model.parameters())}
    return model, config, weights


def run(model, weights, tokens):
    """The logits for `tokens`, [T, vocabulary]."""
    import mlx.core as mx
    from mlx.utils import tree_unflatten

    model.update(tree_unflatten([(key, mx.array(value)) for key, value in weights.items()]))
    return np.array(model(mx.array([tokens]))[0])


def make(name, folder, tokens, dtype=np.float32):
    """Writes the model to `folder`, its weights as `dtype`; its logits for
    `tokens`, [T, vocabulary]."""
    from safetensors.numpy import save_file

    model, config, weights = create(name)
    weights = {key: value.astype(dtype) for key, value in weights.items()}
    save_file({key: np.ascontiguousarray(value) for key, value in published(name, weights).items()},
              folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return run(model, {key: value.astype(np.float32) for key, value in weights.items()}, tokens)


# Names of a layer's tensors in GGUF and in transformers' files.
LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
LLAMA = {**LAYER, "ffn_norm": "post_attention_layernorm"}
GEMMA = {**LAYER, "ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm"}


def split_pairs(weight, heads):
    """Rows of Llama's Q or K as transformers has them: GGUF pairs neighbours."""
    return weight.reshape(heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def run_folder(name, folder, tokens):
    """Logits of a folder like those that `make` writes, under MODELS[name]'s config."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    module, _ = MODELS[name]
    source = load_module(module)
    model = source.Model(source.ModelArgs.from_dict(json.loads((folder / "config.json").read_text())))
    weights = mx.load(str(folder / "model.safetensors"))
    if hasattr(model, "sanitize"):
        weights = model.sanitize(weights)
    model.load_weights(list(weights.items()))
    return np.array(model(mx.array([tokens]))[0])


def load_gguf(path, deltas={}):
    """The real model of a GGUF file (Llama's layers or Gemma 3's) in mlx-lm, its
    weights decoded to f32: a function from tokens to logits. `deltas` are added
    to weights by transformers' names.

    mlx-lm rounds the scale of Gemma's embedding to bf16, transformers does not
    in f32: what is lost goes into the embedding, and out of the logits again.
    """
    import gguf
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    reader = gguf.GGUFReader(path)
    kind = reader.fields["general.architecture"].contents()

    def field(key, default=None):
        found = reader.fields.get(f"{kind}.{key}")
        return found.contents() if found else default

    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    names, weights = (GEMMA if kind == "gemma3" else LLAMA), {}
    for tensor in reader.tensors:
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        head, *rest = tensor.name.removesuffix(".weight").split(".")
        name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}.get(head)
        if head == "blk":
            name = f"model.layers.{rest[0]}.{names[rest[1]]}"
            if kind == "llama" and rest[1] in ("attn_q", "attn_k"):
                value = split_pairs(value, heads if rest[1] == "attn_q" else kv_heads)
        if kind == "gemma3" and name.endswith("norm"):
            value = value - 1
        weights[name + ".weight"] = mx.array(value + deltas.get(name, np.float32(0)))
    hidden = field("embedding_length")
    config = {
        "hidden_size": hidden, "num_hidden_layers": field("block_count"),
        "intermediate_size": field("feed_forward_length"), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": field("attention.key_length", hidden // heads),
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"), "rope_theta": field("rope.freq_base"),
        "vocab_size": weights["model.embed_tokens.weight"].shape[0], "tie_word_embeddings": True,
        "max_position_embeddings": field("context_length"),
    }
    if kind == "gemma3":
        config |= {"model_type": "gemma3_text", "query_pre_attn_scalar": config["head_dim"],
                   "sliding_window": field("attention.sliding_window"), "sliding_window_pattern": 6,
                   "rope_local_base_freq": 10000.0, "rope_global_base_freq": config["rope_theta"]}
        source = load_module("gemma3_text")
    else:
        config |= {"model_type": "llama"}
        source = load_module("llama")
    scale = np.sqrt(hidden)
    lost = 1.0 if kind == "llama" else scale / mx.array(scale, mx.bfloat16).astype(mx.float32).item()
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"] * lost
    model = source.Model(source.ModelArgs.from_dict(config))
    model.load_weights(list(model.sanitize(weights).items()))
    return lambda tokens: np.array(model(mx.array([list(map(int, tokens))]))[0] / lost)


def encode_words(path, text):
    """Ids of a text whose words are all single tokens of a GGUF file."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    space = "Ġ" if fields["tokenizer.ggml.model"].contents() == "gpt2" else "▁"
    first, *rest = text.split(" ")
    ids = [tokens.index(word) for word in [first, *(space + word for word in rest)]]
    adds_bos = fields.get("tokenizer.ggml.add_bos_token")
    if adds_bos and adds_bos.contents():
        ids.insert(0, fields["tokenizer.ggml.bos_token_id"].contents())
    return ids
