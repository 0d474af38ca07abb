"""A float language model to quantize, from a GGUF file that ships quantized.

    float_source.py IN.gguf OUT.gguf [--seed 0]

SmolLM2's shipped file is on a 4-bit grid, so that 4 bits would be lossless on
it. A Llama computes the same function in another basis: gains of RMSNorm are
folded into the products that follow, the head is untied, and the residual
stream is turned by a random orthogonal matrix (the invariance of SliceGPT,
Ashkboos et al. 2024, section 3, and QuaRot, Ashkboos et al. 2024). Weights are
then those of no grid, and are written as f16.

Gemma3 normalizes what its sublayers put out before it is added, with gains per
channel of the stream: no rotation passes through, so its file is the shipped
one dequantized, with the head untied.
"""

import argparse
from pathlib import Path

import gguf
import numpy as np

READERS = {"attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm",
           "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm"}
WRITERS = ("attn_output", "ffn_down")


def read(path):
    """The file's reader, and its tensors by name in f64: matrices are [outputs, inputs]."""
    reader = gguf.GGUFReader(path)
    return reader, {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}


def orthogonal(size, seed):
    """A random orthogonal matrix, uniform: QR of a Gaussian one with the signs of R's diagonal."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def rotate(tensors, layers, seed):
    """A Llama's tensors with its gains folded, its head untied and its residual
    stream x given as x·Q: rows of embeddings and the inputs of products are
    turned by Q, outputs that are added to the stream by Qᵀ."""
    embedding = tensors["token_embd.weight"]
    turn = orthogonal(embedding.shape[1], seed)
    out = dict(tensors)
    out["output.weight"] = (out.get("output.weight", embedding) * tensors["output_norm.weight"]) @ turn
    out["token_embd.weight"] = embedding @ turn
    out["output_norm.weight"] = np.ones(len(turn))
    for layer in range(layers):
        for name, norm in READERS.items():
            weight = f"blk.{layer}.{name}.weight"
            out[weight] = (tensors[weight] * tensors[f"blk.{layer}.{norm}.weight"]) @ turn
        for name in WRITERS:
            weight = f"blk.{layer}.{name}.weight"
            out[weight] = turn.T @ tensors[weight]
        for norm in set(READERS.values()):
            out[f"blk.{layer}.{norm}.weight"] = np.ones(len(turn))
    return out


def write(path, reader, tensors):
    """Matrices in f16, vectors in f32, everything else as the source has it."""
    writer = gguf.GGUFWriter(path, reader.get_field("general.architecture").contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, tensor in tensors.items():
        narrow = tensor.astype(np.float16 if tensor.ndim > 1 else np.float32)
        assert np.isfinite(narrow).all(), f"{name}: not finite in {narrow.dtype}"
        writer.add_tensor(name, narrow)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(source, out, seed=0):
    """Writes `out` unless it is there; returns its path."""
    out = Path(out)
    if out.exists():
        return out
    reader, tensors = read(source)
    architecture = reader.get_field("general.architecture").contents()
    if architecture == "llama":
        tensors = rotate(tensors, reader.get_field("llama.block_count").contents(), seed)
    else:
        tensors.setdefault("output.weight", tensors["token_embd.weight"])
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    write(partial, reader, tensors)
    partial.rename(out)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make(args.source, args.out, args.seed)
