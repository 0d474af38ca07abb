"""A BERT encoder folder as an ONNX graph, the form an exporter gives it.

PyTorch on PyPI for x86-64 brings several gigabytes of CUDA, so the graph is
written by hand from config.json and model.safetensors: the same ops, in the
same order, as the exporter emits for transformers' BertModel. It was compared
once with transformers 5.23 on PyTorch 2.15: see check_against_transformers.

    minilm_onnx.py MODEL_FOLDER OUT.onnx [--decomposed]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    """Nodes and initializers under construction; values are named by strings."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initializers, self.known = weights, [], [], set()

    def __call__(self, op, *inputs, name=None, **attributes):
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array, name=None):
        name = name or f"const_{len(self.initializers)}"
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def scalar(self, value):
        return self.constant(np.float32(value), f"scalar_{value}")

    def weight(self, name):
        return self.constant(self.weights[name], name)

    def linear(self, x, name):
        """x·Wᵀ + b; the exporter stores W transposed for a 3-D input."""
        w = self.constant(self.weights[f"{name}.weight"].T.copy(), f"{name}.weight")
        return self("Add", self.weight(f"{name}.bias"), self("MatMul", x, w))


def layer_norm(g, x, name, epsilon, decomposed):
    scale, bias = g.weight(f"{name}.weight"), g.weight(f"{name}.bias")
    if not decomposed:
        return g("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)
    centred = g("Sub", x, g("ReduceMean", x, axes=[-1]))
    variance = g("ReduceMean", g("Pow", centred, g.scalar(2.0)), axes=[-1])
    deviation = g("Sqrt", g("Add", variance, g.scalar(epsilon)))
    return g("Add", g("Mul", g("Div", centred, deviation), scale), bias)


def gelu(g, x):
    half = g("Div", x, g.scalar(np.sqrt(2.0)))
    cdf = g("Add", g("Erf", half), g.scalar(1.0))
    return g("Mul", g("Mul", x, cdf), g.scalar(0.5))


def attention(g, x, mask, name, heads, width):
    split = g.constant(np.array([0, 0, heads, width], np.int64), "split_heads")
    merge = g.constant(np.array([0, 0, heads * width], np.int64), "merge_heads")

    def project(which, perm):
        y = g("Reshape", g.linear(x, f"{name}.{which}"), split)
        return g("Transpose", y, perm=perm)

    query = project("query", [0, 2, 1, 3])
    key = project("key", [0, 2, 3, 1])
    value = project("value", [0, 2, 1, 3])
    scores = g("Div", g("MatMul", query, key), g.scalar(np.sqrt(width)))
    weights = g("Softmax", g("Add", scores, mask), axis=-1)
    context = g("Transpose", g("MatMul", weights, value), perm=[0, 2, 1, 3])
    return g("Reshape", context, merge)


def build(folder, decomposed=False):
    """The model in `folder` (BertModel with absolute positions) as an
    onnx.ModelProto: int64 input_ids, attention_mask and token_type_ids of
    [batch, sequence] to last_hidden_state of [batch, sequence, hidden].
    `decomposed` spells layer normalization out, as exporters did before
    opset 17."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    g = Graph(load_file(folder / "model.safetensors"))
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    epsilon = config["layer_norm_eps"]
    assert config["model_type"] == "bert" and config["hidden_act"] == "gelu"

    def norm(x, name):
        return layer_norm(g, x, name, epsilon, decomposed)

    # (1 - mask) · lowest, broadcast over heads and queries.
    axes = g.constant(np.array([1, 2], np.int64))
    mask = g("Cast", g("Unsqueeze", "attention_mask", axes), to=TensorProto.FLOAT)
    lowest = g.constant(np.float32(np.finfo(np.float32).min), "lowest")
    mask = g("Mul", g("Sub", g.scalar(1.0), mask), lowest)

    length = g("Gather", g("Shape", "input_ids"), g.constant(np.int64(1)), axis=0)
    length = g("Unsqueeze", length, g.constant(np.array([0], np.int64), "zero"))
    positions = g.constant(np.arange(config["max_position_embeddings"])[None], "positions")
    positions = g("Slice", positions, "zero", length, g.constant(np.array([1], np.int64), "one"))

    x = g("Gather", g.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = g("Gather", g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    places = g("Gather", g.weight("embeddings.position_embeddings.weight"), positions)
    x = norm(g("Add", g("Add", x, types), places), "embeddings.LayerNorm")

    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        y = attention(g, x, mask, f"{layer}.attention.self", heads, hidden // heads)
        y = g.linear(y, f"{layer}.attention.output.dense")
        x = norm(g("Add", y, x), f"{layer}.attention.output.LayerNorm")
        y = g.linear(gelu(g, g.linear(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
        x = norm(g("Add", y, x), f"{layer}.output.LayerNorm")
    g("Identity", x, name="last_hidden_state")

    def value(name, kind, *dims):
        return helper.make_tensor_value_info(name, kind, ["batch", "sequence", *dims])

    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        g.nodes,
        folder.name,
        [value(name, TensorProto.INT64) for name in names],
        [value("last_hidden_state", TensorProto.FLOAT, hidden)],
        g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14 if decomposed else 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def check_against_transformers(folder):
    """Largest difference to transformers' BertModel, where PyTorch is at hand."""
    import onnxruntime
    import torch
    import transformers

    bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    session = onnxruntime.InferenceSession(build(folder).SerializeToString())
    random, worst = np.random.default_rng(0), 0.0
    for batch, length in ((1, 1), (1, 32), (3, 77), (2, 512)):
        feeds = {
            "input_ids": random.integers(0, 30000, (batch, length)),
            "attention_mask": np.tril(np.ones((length, length), np.int64))[-1 - np.arange(batch) % length],
            "token_type_ids": random.integers(0, 2, (batch, length)),
        }
        with torch.no_grad():
            want = bert(**{k: torch.tensor(v) for k, v in feeds.items()}).last_hidden_state.numpy()
        worst = max(worst, np.abs(session.run(None, feeds)[0] - want).max() / np.abs(want).max())
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--decomposed", action="store_true")
    args = parser.parse_args()
    onnx.save(build(args.folder, args.decomposed), args.out)
