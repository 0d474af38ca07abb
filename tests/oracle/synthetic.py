"""Llamas of any size with random weights: folders as Hugging Face has them, in shards of bf16.

    python synthetic.py FOLDER [7b|1b|300m]
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Size:
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int


SIZES = {
    "7b": Size(32, 4096, 11008, 32, 32, 32000),
    "1b": Size(16, 2048, 8192, 32, 8, 32000),
    "300m": Size(16, 1024, 4096, 16, 16, 32000),
}


def tensors(size):
    """Name and shape of every tensor, in the order of files."""
    head = size.hidden // size.heads
    yield "model.embed_tokens.weight", (size.vocabulary, size.hidden)
    for i in range(size.layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (size.hidden,)
        for part, rows in (("q", size.heads), ("k", size.kv_heads), ("v", size.kv_heads)):
            yield f"{layer}self_attn.{part}_proj.weight", (rows * head, size.hidden)
        yield layer + "self_attn.o_proj.weight", (size.hidden, size.heads * head)
        yield layer + "post_attention_layernorm.weight", (size.hidden,)
        yield layer + "mlp.gate_proj.weight", (size.inner, size.hidden)
        yield layer + "mlp.up_proj.weight", (size.inner, size.hidden)
        yield layer + "mlp.down_proj.weight", (size.hidden, size.inner)
    yield "model.norm.weight", (size.hidden,)
    yield "lm_head.weight", (size.vocabulary, size.hidden)


def to_bf16(values):
    """Bits of the nearest bf16 of f32 values, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def make_weight(rng, shape):
    """Bits of bf16: around one for a norm, else such that outputs are as large as inputs."""
    values = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        return to_bf16(1 + 0.1 * values)
    values *= np.float32(shape[-1] ** -0.5)
    return to_bf16(values)


def make_llama(folder, size, shard_bytes=2 << 30, seed=0):
    """Writes the folder, one tensor in memory at a time; its bytes of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [[]]
    filled = 0
    for name, shape in tensors(size):
        count = 2 * int(np.prod(shape))
        if shards[-1] and filled + count > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape, filled, filled + count))
        filled += count
    rng = np.random.default_rng(seed)
    weight_map, total = {}, 0
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header = json.dumps({name: {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
                             for name, shape, begin, end in shard}).encode()
        header += b" " * (-len(header) % 8)
        with open(folder / file, "wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            for name, shape, _, end in shard:
                out.write(make_weight(rng, shape).data)
                weight_map[name] = file
        total += shard[-1][3]
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16",
        "hidden_size": size.hidden, "num_hidden_layers": size.layers, "intermediate_size": size.inner,
        "num_attention_heads": size.heads, "num_key_value_heads": size.kv_heads, "vocab_size": size.vocabulary,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 2048,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}))
    # One token per printable byte of ASCII.
    vocabulary = {chr(33 + i): i for i in range(94)} | {"Ġ": 94, "Ċ": 95}
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
        "pre_tokenizer": bytes_alone, "decoder": bytes_alone,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    return total


def read_tensor(folder, name):
    """The f32 values of one tensor of a folder."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    with open(folder / index["weight_map"][name], "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        facts = json.loads(file.read(length))[name]
        begin, end = facts["data_offsets"]
        file.seek(8 + length + begin)
        return from_bf16(np.frombuffer(file.read(end - begin), np.uint16)).reshape(facts["shape"])


if __name__ == "__main__":
    print(make_llama(Path(sys.argv[1]), SIZES[sys.argv[2] if len(sys.argv) > 2 else "7b"]), "bytes of weights")
