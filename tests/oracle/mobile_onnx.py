"""Small convolutional networks' weights as ONNX graphs, the form exporters give them.

PyTorch on PyPI for x86-64 brings several gigabytes of CUDA, TensorFlow as many of
its own, so their files of weights are read here, and the graphs are written by
hand. EfficientNet-Lite0's was compared once with its package's own module: see
check_against_torch.
"""

import collections
import pickle

import numpy as np
import onnx
from onnx import TensorProto, helper

from .minilm_onnx import Graph

EPSILON = 1e-3  # of batch normalization, in both
EFFICIENTNET_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))  # blocks, stride of the first
MOBILENET_STRIDES = (1, 3, 6, 13)  # blocks of stride 2


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


class Network(Graph):
    """A network of inverted residuals with ReLU6 (Sandler et al. 2018) on `image`
    of [1, 3, size, size], padded as TensorFlow's "same" does. Batch normalization
    is folded into filters, as exporters fold it."""

    def __init__(self, size):
        super().__init__({})
        self.image, self.size = size, size

    def conv(self, x, name, filters, norm, stride=1, relu=True):
        """`filters` [out, in or 1, kernel, kernel]; `norm`: scale, shift, mean and variance."""
        scale, shift, mean, variance = norm
        factor = scale / np.sqrt(variance + np.float32(EPSILON))
        _, inner, kernel, _ = filters.shape
        out = -(-self.size // stride)
        pad = max(0, (out - 1) * stride + kernel - self.size)
        self.size = out
        x = self("Conv", x, self.constant(filters * factor[:, None, None, None], f"{name}.weight"),
                 self.constant(shift - mean * factor, f"{name}.bias"), name=name,
                 group=len(filters) if inner == 1 else 1, kernel_shape=[kernel, kernel],
                 strides=[stride, stride], pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2])
        return self("Clip", x, self.scalar(0.0), self.scalar(6.0)) if relu else x

    def finish(self, x, weight, bias, name):
        """The model: logits of pooled `x` by `weight` [classes, channels]."""
        x = self("Flatten", self("GlobalAveragePool", x), axis=1)
        self("Gemm", x, self.constant(weight, "classifier.weight"), self.constant(bias, "classifier.bias"),
             name="logits", transB=1)

        def value(name, *dims):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

        graph = helper.make_graph(self.nodes, name, [value("image", 1, 3, self.image, self.image)],
                                  [value("logits", 1, len(bias))], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def build_efficientnet(path):
    """EfficientNet-Lite0 of PyTorch's weights at `path` as an onnx.ModelProto: f32
    `image` of [1, 3, 224, 224] to logits of [1, 1000]."""
    weights, g = read_weights(path), Network(224)

    def conv(x, name, norm, *args, **options):
        parts = [weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        return g.conv(x, name, weights[f"{name}.weight"], parts, *args, **options)

    x = conv("image", "_conv_stem", "_bn0", 2)
    strides = [stride if i == 0 else 1 for count, stride in EFFICIENTNET_STAGES for i in range(count)]
    for block, stride in enumerate(strides):
        name, source = f"_blocks.{block}", x
        expand, project = (weights.get(f"{name}._{kind}_conv.weight") for kind in ("expand", "project"))
        if expand is not None:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", relu=False)
        if stride == 1 and expand is not None and expand.shape[1] == len(project):
            x = g("Add", x, source)
    x = conv(x, "_conv_head", "_bn1")
    return g.finish(x, weights["_fc.weight"], weights["_fc.bias"], "efficientnet-lite0")


def build_mobilenet(path):
    """MobileNetV2 of Keras's weights at `path` as an onnx.ModelProto: f32 `image` of
    [1, 3, 160, 160] to logits. Needs h5py."""
    import h5py

    g, weights = Network(160), {}
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda name, item: weights.update({"/".join(name.split("/")[-2:]): item[()]})
            if isinstance(item, h5py.Dataset) else None)

    def conv(x, name, norm, *args, **options):
        parts = [weights[f"{norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        axes = (2, 3, 0, 1) if name.endswith("depthwise") else (3, 2, 0, 1)
        return g.conv(x, name, weights[f"{name}/kernel"].transpose(axes), parts, *args, **options)

    x = conv("image", "Conv1", "bn_Conv1", 2)
    for block in range(17):
        name, source = f"block_{block}" if block else "expanded_conv", x
        stride = 2 if block in MOBILENET_STRIDES else 1
        if block:
            x = conv(x, f"{name}_expand", f"{name}_expand_BN")
        x = conv(x, f"{name}_depthwise", f"{name}_depthwise_BN", stride)
        x = conv(x, f"{name}_project", f"{name}_project_BN", relu=False)
        if block and stride == 1 and weights[f"{name}_expand/kernel"].shape[2] == weights[f"{name}_project/kernel"].shape[3]:
            x = g("Add", x, source)
    x = conv(x, "Conv_1", "Conv_1_bn")
    return g.finish(x, weights["dense/kernel"].T.copy(), weights["dense/bias"], "mobilenet-v2")


def check_against_torch(path):
    """Largest difference to the module of the package efficientnet-lite-pytorch,
    as a share of the logits' scale, where it and PyTorch are at hand."""
    import onnxruntime
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    session = onnxruntime.InferenceSession(build_efficientnet(path).SerializeToString())
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        want = module(torch.tensor(image)).numpy()
    return np.abs(session.run(None, {"image": image})[0] - want).max() / np.abs(want).max()

