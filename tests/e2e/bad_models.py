"""Files that are wrong in one way each, for test_bad_input.

Each function writes into a folder and returns the path to give to pare.
"""

import json
import struct

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CASES = {}


def case(*expected, flags=()):
    """Registers a maker; its error line must hold every word of `expected`."""

    def register(make):
        CASES[make.__name__] = (make, expected, flags)
        return make

    return register


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def small(nodes=None, initializers=None, opset=17, inputs=None):
    """y = x·w + b with [2, 4] x; any part may be replaced by a wrong one."""
    nodes = nodes or [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        helper.make_node("Add", ["p", "b"], ["y"], name="sum"),
    ]
    if initializers is None:
        initializers = [
            numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w"),
            numpy_helper.from_array(np.ones(3, np.float32), "b"),
        ]
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "small", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def save(folder, model):
    return write(folder, "model.onnx", model.SerializeToString())


def external(location, offset=0, length=48):
    """small(), its weight w in an external file."""
    model = small()
    w = model.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = w.external_data.add()
        entry.key, entry.value = key, str(value)
    return model


@case("model.onnx")
def empty_file(folder):
    return write(folder, "model.onnx", b"")


@case("model.onnx")
def text_file(folder):
    return write(folder, "model.onnx", b"this is not a model, it is prose\n" * 20)


@case("absent.onnx")
def no_such_file(folder):
    return folder / "absent.onnx"


@case()
def empty_folder(folder):
    return folder


@case("model.bin")
def unknown_format(folder):
    return write(folder, "model.bin", bytes(range(256)) * 8)


@case("cycl")
def cyclic_graph(folder):
    return save(folder, small([
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Add", ["x", "a"], ["b"], name="second"),
        helper.make_node("Add", ["a", "b"], ["y"], name="third"),
    ], []))


@case("ghost")
def missing_initializer(folder):
    return save(folder, small([helper.make_node("MatMul", ["x", "ghost"], ["y"], name="product")], []))


@case("Frobnicate", "Transmogrify", "2")
def unknown_ops(folder):
    return save(folder, small([
        helper.make_node("Frobnicate", ["x"], ["a"], name="f1"),
        helper.make_node("Frobnicate", ["a"], ["c"], name="f2"),
        helper.make_node("Transmogrify", ["c"], ["y"], name="t"),
    ], []))


@case("i64")
def wrong_dtype(folder):
    b = numpy_helper.from_array(np.ones(4, np.int64), "b")
    return save(folder, small([helper.make_node("Add", ["x", "b"], ["y"], name="sum")], [b]))


@case("product")
def inconsistent_shapes(folder):
    w = numpy_helper.from_array(np.ones((5, 3), np.float32), "w")
    return save(folder, small([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [w]))


@case("opset", "99")
def opset_too_new(folder):
    return save(folder, small(opset=99))


@case("w")
def weight_shorter_than_its_shape(folder):
    model = small()
    model.graph.initializer[0].raw_data = b"\0" * 20
    return save(folder, model)


@case("w")
def weight_with_huge_dimensions(folder):
    model = small()
    model.graph.initializer[0].dims[:] = [1 << 62, 1 << 62]
    return save(folder, model)


@case("w")
def weight_with_negative_dimension(folder):
    model = small()
    model.graph.initializer[0].dims[:] = [-4, 3]
    return save(folder, model)


@case("weights.bin")
def external_data_missing(folder):
    return save(folder, external("weights.bin"))


@case("weights.bin")
def external_data_too_short(folder):
    write(folder, "weights.bin", b"\0" * 40)
    return save(folder, external("weights.bin"))


@case("weights.bin")
def external_data_offset_overflows(folder):
    write(folder, "weights.bin", b"\0" * 48)
    return save(folder, external("weights.bin", offset=(1 << 64) - 16))


@case("escape.bin")
def external_data_outside_the_folder(folder):
    inner = folder / "inner"
    inner.mkdir()
    write(folder, "escape.bin", b"\0" * 48)
    return save(inner, external("../escape.bin"))


@case("passwd")
def external_data_absolute(folder):
    return save(folder, external("/etc/passwd"))


@case("link.bin")
def external_data_through_a_link(folder):
    inner = folder / "inner"
    inner.mkdir()
    write(folder, "outside.bin", b"\0" * 48)
    (inner / "link.bin").symlink_to(folder / "outside.bin")
    return save(inner, external("link.bin"))


@case("nosuch", "x", flags=["--shape=nosuch=2x4"])
def shape_of_unknown_input(folder):
    return save(folder, small())


@case("x", flags=["--shape=x=2x4x4"])
def shape_of_wrong_rank(folder):
    return save(folder, small())


@case("x", flags=["--shape=x=2x0"])
def shape_that_is_no_shape(folder):
    return save(folder, small())


@case("int9", flags=["--quantize=int9"])
def unknown_quantization(folder):
    return save(folder, small())


@case("pentium", flags=["--target=pentium"])
def unknown_target(folder):
    return save(folder, small())


# safetensors: a tiny BERT, then one thing wrong with it.

CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2,
    "num_hidden_layers": 1, "intermediate_size": 16, "vocab_size": 30, "max_position_embeddings": 16,
    "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
}


def bert_tensors():
    shapes = {
        "embeddings.word_embeddings.weight": (30, 8), "embeddings.position_embeddings.weight": (16, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }
    layer = "encoder.layer.0"
    for name, out, width in (
        ("attention.self.query", 8, 8), ("attention.self.key", 8, 8), ("attention.self.value", 8, 8),
        ("attention.output.dense", 8, 8), ("intermediate.dense", 16, 8), ("output.dense", 8, 16),
    ):
        shapes[f"{layer}.{name}.weight"], shapes[f"{layer}.{name}.bias"] = (out, width), (out,)
    for name in ("embeddings", f"{layer}.attention.output", f"{layer}.output"):
        shapes[f"{name}.LayerNorm.weight"] = shapes[f"{name}.LayerNorm.bias"] = (8,)
    random = np.random.default_rng(3)
    return {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def bert(folder, edit=None, config=CONFIG, tensors=None, header_length=None, cut=None):
    """Writes config.json and model.safetensors; `edit` changes the header."""
    header, data = {}, b""
    for name, array in (tensors or bert_tensors()).items():
        begin = len(data)
        data += array.tobytes()
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, len(data)]}
    if edit:
        edit(header)
    text = json.dumps(header).encode()
    length = len(text) if header_length is None else header_length
    (folder / "config.json").write_text(json.dumps(config))
    whole = struct.pack("<Q", length) + text + data
    write(folder, "model.safetensors", whole[:cut])
    return folder


QUERY = "encoder.layer.0.attention.self.query.weight"


@case("model.safetensors")
def header_longer_than_the_file(folder):
    return bert(folder, header_length=1 << 40)


@case("model.safetensors")
def header_length_near_overflow(folder):
    return bert(folder, header_length=(1 << 64) - 4)


@case("model.safetensors")
def header_cut_short(folder):
    return bert(folder, header_length=100)


@case("model.safetensors")
def safetensors_cut(folder):
    return bert(folder, cut=2000)


@case(QUERY)
def offsets_beyond_the_file(folder):
    return bert(folder, lambda h: h[QUERY].update(data_offsets=[1 << 30, (1 << 30) + 256]))


@case(QUERY)
def offsets_backwards(folder):
    return bert(folder, lambda h: h[QUERY].update(data_offsets=[256, 0]))


@case(QUERY)
def offsets_contradict_the_shape(folder):
    return bert(folder, lambda h: h[QUERY].update(shape=[8, 9]))


@case("overlap")
def tensors_overlap(folder):
    return bert(folder, lambda h: h[QUERY].update(data_offsets=[0, 256]))


@case(QUERY)
def unknown_dtype(folder):
    return bert(folder, lambda h: h[QUERY].update(dtype="F33"))


@case(QUERY)
def tensor_missing(folder):
    tensors = bert_tensors()
    del tensors[QUERY]
    return bert(folder, tensors=tensors)


@case("config.json")
def config_missing(folder):
    bert(folder)
    (folder / "config.json").unlink()
    return folder


@case("config.json")
def config_is_not_json(folder):
    bert(folder)
    (folder / "config.json").write_text('{"model_type": "bert", ')
    return folder


@case("hidden_size")
def config_without_a_size(folder):
    return bert(folder, config={k: v for k, v in CONFIG.items() if k != "hidden_size"})


@case("word_embeddings")
def config_contradicts_the_tensors(folder):
    return bert(folder, config={**CONFIG, "hidden_size": 16})


@case("num_attention_heads")
def heads_do_not_divide(folder):
    return bert(folder, config={**CONFIG, "num_attention_heads": 3})


@case("llamarama")
def unknown_architecture(folder):
    return bert(folder, config={**CONFIG, "model_type": "llamarama"})


@case("model-00002-of-00002.safetensors")
def shard_missing(folder):
    bert(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = bert_tensors()
    weight_map = {name: f"model-0000{1 + (name == QUERY)}-of-00002.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@case("secret.safetensors")
def shard_outside_the_folder(folder):
    bert(folder)
    (folder / "model.safetensors").unlink()
    weight_map = {name: "../secret.safetensors" for name in bert_tensors()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def gguf_bytes(folder, architecture="llama", without=(), vocabulary=8, raw_type=None):
    """A llama of one layer as GGUF; any part may be missing or wrong."""
    writer = gguf.GGUFWriter(folder / "made.gguf", architecture)
    integers = {
        "block_count": 1,
        "context_length": 16,
        "embedding_length": 64,
        "feed_forward_length": 64,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
    }
    for key, value in integers.items():
        if key not in without:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_token_list([str(i) for i in range(8)])
    if raw_type:
        elements, size = gguf.GGML_QUANT_SIZES[raw_type]
        writer.add_tensor("grid", np.zeros((1, size), np.uint8), raw_dtype=raw_type)
    writer.add_tensor("token_embd.weight", np.ones((vocabulary, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "made.gguf").read_bytes()


def write_gguf(folder, data):
    (folder / "made.gguf").unlink()
    return write(folder, "model.gguf", data)


@case("not a whole GGUF file", "does not fit the 300 bytes")
def gguf_cut_in_its_metadata(folder):
    return write_gguf(folder, gguf_bytes(folder)[:300])


@case("tensor 'token_embd.weight' needs 2048 bytes", "but the file has")
def gguf_cut_in_its_data(folder):
    return write_gguf(folder, gguf_bytes(folder)[:-50])


@case("big-endian", "gguf-convert-endian")
def gguf_big_endian(folder):
    data = gguf_bytes(folder)
    return write_gguf(folder, data[:4] + data[4:8][::-1] + data[8:])


@case("GGUF version 9 is unknown")
def gguf_version_too_new(folder):
    data = gguf_bytes(folder)
    return write_gguf(folder, data[:4] + struct.pack("<I", 9) + data[8:])


@case("tensors, more than its")
def gguf_with_too_many_tensors(folder):
    data = gguf_bytes(folder)
    return write_gguf(folder, data[:8] + struct.pack("<Q", 1 << 60) + data[16:])


@case("missing shards", "model-00002-of-00003.gguf", "model-00003-of-00003.gguf")
def gguf_shards_missing(folder):
    (folder / "model-00001-of-00003.gguf").write_bytes(gguf_bytes(folder))
    return folder / "model-00001-of-00003.gguf"


@case("not supported", "tensor type IQ2_XXS", "no decoder of its blocks")
def gguf_type_without_decoder(folder):
    return write_gguf(folder, gguf_bytes(folder, raw_type=gguf.GGMLQuantizationType.IQ2_XXS))


@case("'llama.attention.head_count' is missing")
def gguf_key_missing(folder):
    return write_gguf(folder, gguf_bytes(folder, without=["attention.head_count"]))


@case("not supported", "architecture 'mamba'", "known are llama")
def gguf_of_unknown_architecture(folder):
    return write_gguf(folder, gguf_bytes(folder, "mamba"))


@case("has 9 rows, but 'tokenizer.ggml.tokens' has 8 tokens")
def gguf_vocabulary_contradicts_the_embedding(folder):
    return write_gguf(folder, gguf_bytes(folder, vocabulary=9))
