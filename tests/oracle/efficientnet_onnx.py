"""EfficientNet-Lite0's weights as an ONNX graph, the form PyTorch's exporter gives it.

PyTorch on PyPI for x86-64 brings several gigabytes of CUDA, so its file of
weights is read here, and the graph is written by hand: MobileNetV2's blocks
(Sandler et al. 2018) with ReLU6, no squeeze and excitation, TensorFlow's "same"
padding, batch normalization folded into filters, as the exporter folds it. It
was compared once with the package's own module: see check_against_torch.

    efficientnet_onnx.py WEIGHTS.pth OUT.onnx
"""

import argparse
import collections
import pickle

import numpy as np
import onnx
from onnx import TensorProto, helper

from .minilm_onnx import Graph

SIZE = 224
EPSILON = 1e-3
# Blocks with the same filters: how many, kernel, stride of the first.
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))


class _Storage:
    """A tensor's storage by key; its numbers follow at the file's end."""

    def __init__(self, kind, key, size):
        self.dtype, self.key, self.size = {"FloatStorage": "<f4", "LongStorage": "<i8"}[kind], key, size


class _Unpickler(pickle.Unpickler):
    """Takes nothing but tensors in ordered dictionaries from a file."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not of a tensor")

    def persistent_load(self, pid):
        _, kind, key, _, size, _ = pid
        return _Storage(kind, key, size)


def read_weights(path):
    """Arrays by name of a file that PyTorch before 1.6 saved: f32 and i64 tensors."""
    with open(path, "rb") as file:
        for _ in range(3):  # a magic number, the version, sizes of C's types
            _Unpickler(file).load()
        tensors = _Unpickler(file).load()
        storages = {storage.key: storage for storage, *_ in tensors.values()}
        for key in _Unpickler(file).load():
            storage = storages[key]
            assert int.from_bytes(file.read(8), "little") == storage.size
            storage.data = np.frombuffer(file.read(storage.size * int(storage.dtype[-1])), storage.dtype)
    # Strides count elements; filters that came from TensorFlow keep its order.
    return {name: np.ascontiguousarray(np.lib.stride_tricks.as_strided(
                storage.data[offset:], shape, [storage.data.itemsize * stride for stride in strides]))
            for name, (storage, offset, shape, strides) in tensors.items()}


def build(path):
    """The model of the weights at `path` as an onnx.ModelProto: f32 `image` of
    [1, 3, 224, 224] to logits of [1, 1000]."""
    g = Graph(read_weights(path))
    size = SIZE

    def conv(x, name, norm, stride=1, relu=True):
        nonlocal size
        filters, (scale, shift, mean, variance) = g.weights[f"{name}.weight"], (
            g.weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        factor = scale / np.sqrt(variance + np.float32(EPSILON))
        _, inner, kernel, _ = filters.shape
        out = -(-size // stride)
        pad = max(0, (out - 1) * stride + kernel - size)
        size = out
        x = g("Conv", x, g.constant(filters * factor[:, None, None, None], f"{name}.weight"),
              g.constant(shift - mean * factor, f"{name}.bias"), name=name,
              group=len(filters) if inner == 1 else 1, kernel_shape=[kernel, kernel],
              strides=[stride, stride], pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2])
        return g("Clip", x, g.scalar(0.0), g.scalar(6.0)) if relu else x

    x = conv("image", "_conv_stem", "_bn0", stride=2)
    strides = [stride if i == 0 else 1 for count, _, stride in STAGES for i in range(count)]
    for block, stride in enumerate(strides):
        name, source = f"_blocks.{block}", x
        if f"{name}._expand_conv.weight" in g.weights:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", relu=False)
        outputs, inputs = (g.weights[f"{name}._project_conv.weight"].shape[0],
                           g.weights.get(f"{name}._expand_conv.weight", g.weights["_conv_stem.weight"]).shape[1])
        if stride == 1 and inputs == outputs:
            x = g("Add", x, source)
    x = g("Flatten", g("GlobalAveragePool", conv(x, "_conv_head", "_bn1")), axis=1)
    g("Gemm", x, g.weight("_fc.weight"), g.weight("_fc.bias"), name="logits", transB=1)

    def value(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    graph = helper.make_graph(g.nodes, "efficientnet-lite0", [value("image", 1, 3, SIZE, SIZE)],
                              [value("logits", 1, 1000)], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def check_against_torch(path):
    """Largest difference to the module of the package efficientnet-lite-pytorch,
    as a share of the logits' scale, where it and PyTorch are at hand."""
    import onnxruntime
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    session = onnxruntime.InferenceSession(build(path).SerializeToString())
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    with torch.no_grad():
        want = module(torch.tensor(image)).numpy()
    return np.abs(session.run(None, {"image": image})[0] - want).max() / np.abs(want).max()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("out")
    args = parser.parse_args()
    onnx.save(build(args.weights), args.out)
