"""pare optimize: the same weights in files that other runtimes read, checked
by those runtimes and by the formats' own packages.
"""

import json

import gguf
import numpy as np
import onnx
import pytest
from oracle import artifact, decoders, language_models, models, quality
from test_bad_input import check_refused
from test_decoder import F32, feeds

NEAREST = "--method=nearest"


def optimize(*arguments, check=True):
    return artifact.call(artifact.PARE, "optimize", *arguments, check=check)


def rows_of(report):
    return {row["tensor"]: row for row in report["tensors"]}


# ---------------------------------------------------------------- GGUF

# Every type that a matrix of SmolLM2 can have, by layer: rows of 1536 are
# super-blocks, those of 576 are not.
TYPES = {
    0: ("uint4_g32_k6x256", "Q4_K"), 1: ("uint5_g32_k6x256", "Q5_K"), 2: ("q6_k", "Q6_K"), 3: ("int8_g32", "Q8_0"),
    4: ("int5_g32", "Q5_0"), 5: ("q5_1", "Q5_1"), 6: ("iq4_nl", "IQ4_NL"), 7: ("iq4_xs", "IQ4_XS"),
    8: ("q4_1", "Q4_1"), 9: ("int3_g16_k6x256", "Q3_K"),
}
GGUF_FLAGS = ["--quantize=int4", NEAREST, *(f"--rule=blk.{i}.ffn_down.weight={name}" for i, (name, _) in TYPES.items()),
              "--rule=blk.10.*=none"]


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    """SmolLM2 written with GGUF_FLAGS, and what is said of it."""
    out = tmp_path_factory.mktemp("gguf") / "smol.gguf"
    return out, json.loads(optimize(language_models.SMOLLM2, "-o", out, "--json", *GGUF_FLAGS).stdout)


def test_gguf_keeps_the_rest(smol):
    """Metadata and tensors that were not asked for, bit for bit."""
    out, report = smol
    assert report["format"] == "GGUF" and report["file_bytes"] == out.stat().st_size
    source, made = gguf.GGUFReader(language_models.SMOLLM2), gguf.GGUFReader(out)
    assert made.fields.keys() == source.fields.keys()
    changed = {key for key, field in source.fields.items() if field.contents() != made.fields[key].contents()}
    assert changed == {"general.file_type"}
    assert made.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_0
    kept = 0
    for old, new in zip(source.tensors, made.tensors, strict=True):
        assert old.name == new.name and (old.shape == new.shape).all()
        if len(old.shape) == 1 or old.name.startswith("blk.10."):
            assert old.tensor_type == new.tensor_type and np.array_equal(old.data, new.data)
            kept += 1
            continue
        parts = old.name.split(".")
        special = TYPES.get(int(parts[1])) if parts[-2] == "ffn_down" else None
        wanted = special[1] if special else "Q8_0" if old.name.startswith("token_embd") else "Q4_0"
        assert new.tensor_type.name == wanted, old.name
    assert kept == 61 + 7


def test_gguf_weights_are_those_of_compile(smol, tmp_path):
    """The same logits to the last bit from the file as from the source
    compiled with the same flags, and mlx-lm's on what the gguf package decodes."""
    out, _ = smol
    mine = artifact.compile(language_models.SMOLLM2, tmp_path / "mine", *F32, *GGUF_FLAGS)
    again = artifact.compile(out, tmp_path / "again", *F32)
    tokens = np.random.default_rng(2).integers(100, 40000, 40)
    [want], [got] = (artifact.run(binary, feeds(tokens)).values() for binary in (mine, again))
    assert np.array_equal(got, want)
    assert artifact.scaled_error(got, decoders.load_gguf(out)(tokens)) < 1e-4


# ---------------------------------------------------------------- ONNX


def run_onnx(path, wanted):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, wanted)))


# Flags, and the bits that products have.
ONNX_CASES = {
    "int4": (["--quantize=int4"], 4),
    "uint4_g128": (["--quantize=uint4_g128", "--rule=*word_embeddings*=uint4_g32"], 4),
    "int8_g64": (["--quantize=int8_g64"], 8),
    "int4_two_levels": (["--quantize=int4_g32_k6x384"], 4),
    "uint2_g16": (["--quantize=uint2_g16"], 2),
}


@pytest.mark.parametrize("name", ONNX_CASES)
def test_onnx(name, tmp_path):
    """MiniLM in ONNX Runtime is what pare computes from the same flags."""
    flags, bits = ONNX_CASES[name]
    source, out = models.MINILM.onnx(), tmp_path / "out.onnx"
    report = json.loads(optimize(source, "-o", out, "--json", "--activations=f32", NEAREST, *flags).stdout)
    assert report["format"] == "ONNX" and report["file_bytes"] == out.stat().st_size < source.stat().st_size / 2
    made = onnx.load(out)
    products = [node for node in made.graph.node if node.op_type == "MatMulNBits"]
    assert len(products) == 36
    assert {a.i for node in products for a in node.attribute if a.name == "bits"} == {bits}
    assert [node.op_type for node in made.graph.node].count("GatherBlockQuantized") == 3

    wanted = models.encoded_text(3, 50)
    [theirs] = run_onnx(out, wanted).values()
    binary = artifact.compile(source, tmp_path / "mine", "--activations=f32", NEAREST, *flags)
    [mine] = artifact.run(binary, wanted).values()
    assert artifact.scaled_error(theirs, mine) < 1e-4
    [exact] = models.expected(models.MINILM, wanted).values()
    assert artifact.scaled_error(theirs, exact) > 1e-3


def test_onnx_keeps_the_rest(tmp_path):
    """Nodes and tensors that were not asked for, bit for bit."""
    source, out = models.MINILM.onnx(), tmp_path / "out.onnx"
    optimize(source, "-o", out, "--quiet", "--rule=encoder.layer.0.output.dense.weight=int4", NEAREST)
    old, new = onnx.load(source), onnx.load(out)
    assert new.opset_import[-1].domain == "com.microsoft"
    del new.opset_import[-1]
    gone = "encoder.layer.0.output.dense.weight"
    kept = [t for t in old.graph.initializer if t.name != gone]
    count = len(kept)
    assert [t.SerializeToString() for t in new.graph.initializer[:count]] == [t.SerializeToString() for t in kept]
    assert [t.name for t in new.graph.initializer[count:]] == [f"{gone}.int4_g32.codes", f"{gone}.int4_g32.scales"]
    changed = [(a, b) for a, b in zip(old.graph.node, new.graph.node, strict=True) if a != b]
    assert [(a.op_type, b.op_type) for a, b in changed] == [("MatMul", "MatMulNBits")]
    del old.graph.initializer[:], new.graph.initializer[:], old.graph.node[:], new.graph.node[:]
    assert old.SerializeToString() == new.SerializeToString()


def test_onnx_of_other_exporters(tmp_path):
    """A vision transformer: what cannot be blocks stays. pare compile folds scales into weights first, so that its
    roundings are others, of the same size."""
    out = tmp_path / "out.onnx"
    flags = ["--quantize=uint4_g32", NEAREST, "--activations=f32"]
    optimize(models.VIT.source, "-o", out, "--quiet", *flags)
    wanted = models.VIT.feeds(1)
    [theirs] = run_onnx(out, wanted).values()
    [exact] = run_onnx(models.VIT.source, wanted).values()
    [mine] = artifact.run(artifact.compile(models.VIT.source, tmp_path / "mine", *flags), wanted).values()
    assert 1e-3 < artifact.scaled_error(theirs, exact) < 2 * artifact.scaled_error(mine, exact)


def classify_by_onnxruntime(path):
    """A function from a crop of a photograph to the file's logits."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda crop: session.run(None, {"image": crop})[0]


def test_onnx_with_fixed_scales(tmp_path):
    """Every convolution and product of EfficientNet is one that ONNX Runtime
    replaces by an integer kernel, and its classes are mostly f32's."""
    import onnxruntime

    source, out = models.EFFICIENTNET.onnx(), tmp_path / "out.onnx"
    calibration = quality.photograph_calibration(models.EFFICIENTNET, tmp_path, 16)
    report = json.loads(optimize(source, "-o", out, "--json", "--quantize=int8", calibration, "--keep-float=_conv_stem.weight").stdout)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    kept = [row["tensor"] for row in report["tensors"] if row["format"] == "float"]
    assert kept == ["_conv_stem.weight"] and len(report["tensors"]) == 50
    assert report["file_bytes"] == out.stat().st_size < source.stat().st_size / 3
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert ops.count("QLinearConv") == 48 and ops.count("QLinearAdd") + ops.count("Add") == 9
    assert quality.class_agreement(models.EFFICIENTNET, classify_by_onnxruntime(out), 96) >= 0.8


def test_onnx_with_fixed_scales_of_products(tmp_path):
    """MiniLM: cosines to f32 of real sentences in ONNX Runtime."""
    source, out = models.MINILM.onnx(), tmp_path / "out.onnx"
    sentences = [models.encoded_text(1, 40)]
    arrays = tmp_path / "text.npz"
    np.savez(arrays, **sentences[0])
    optimize(source, "-o", out, "--quiet", "--quantize=int8", f"--calibrate={arrays}")
    [theirs], [exact] = run_onnx(out, sentences[0]).values(), models.expected(models.MINILM, sentences[0]).values()
    assert artifact.scaled_error(theirs, exact) < 0.2


# ---------------------------------------------------------------- compressed-tensors


def decompress(folder):
    """All tensors of a folder as compressed-tensors decodes them, in f32."""
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors = load_file(folder / "model.safetensors")
    for scheme in QuantizationConfig.model_validate(config).config_groups.values():
        for module in scheme.targets:
            parts = {key: tensors.pop(f"{module}.{key}")
                     for key in ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
                     if f"{module}.{key}" in tensors}
            tensors[f"{module}.weight"] = PackedQuantizationCompressor.decompress(parts, scheme)["weight"]
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("flags", [
    ["--quantize=int4"],
    ["--quantize=uint4_g128", "--rule=encoder.layer.0.*=int8_g64", "--rule=encoder.layer.1.*=uint8_g32"],
], ids=["symmetric", "asymmetric"])
def test_compressed_tensors(flags, tmp_path):
    """What the format's own package decodes has the errors that pare reports,
    and makes the model that pare makes of the same flags."""
    from safetensors.numpy import load_file, save_file

    source, out = models.MINILM.source, tmp_path / "out"
    report = json.loads(optimize(source, "-o", out, "--json", NEAREST, *flags).stdout)
    assert report["format"] == "compressed-tensors"
    decoded, old = decompress(out), load_file(source / "model.safetensors")
    assert decoded.keys() == old.keys()
    rows = rows_of(report)
    for name, value in old.items():
        error = rows[name]["weight_error"] if name in rows else 0
        if error == 0:
            assert np.array_equal(decoded[name], value)
        else:
            exact = value.astype(np.float64)
            assert np.linalg.norm(decoded[name] - exact) / np.linalg.norm(exact) == pytest.approx(error, rel=1e-4)
    assert sum(row["weight_error"] > 0 for row in rows.values()) == 36
    for file in source.rglob("*"):
        copy = out / file.relative_to(source)
        if file.is_file() and file.suffix == ".json" and file != source / "config.json":
            assert copy.read_bytes() == file.read_bytes()

    plain = tmp_path / "plain"
    out.rename(plain)
    (plain / "config.json").write_bytes((source / "config.json").read_bytes())
    save_file(decoded, plain / "model.safetensors", {"format": "pt"})
    wanted = models.encoded_text(2, 40)
    table = "--rule=embeddings.*=none"
    [theirs] = artifact.run(artifact.compile(plain, tmp_path / "theirs"), wanted).values()
    [mine] = artifact.run(artifact.compile(source, tmp_path / "mine", "--activations=f32", NEAREST, table, *flags),
                          wanted).values()
    assert artifact.scaled_error(theirs, mine) < 1e-4


# ---------------------------------------------------------------- errors

BAD = {
    "no_output": (["{gguf}"], ["-o FILE"]),
    "nothing_asked": (["{gguf}", "-o", "{out}.gguf"], ["--quantize", "--rule"]),
    "other_format": (["{gguf}", "-o", "{out}.onnx", "--quantize=int4"], ["out.onnx", "gguf", "GGUF"]),
    "no_such_type": (["{gguf}", "-o", "{out}.gguf", "--quantize=uint4_g32"],
                     ["--quantize uint4_g32: GGUF has no weights in uint4_g32", "q4_"]),
    "no_such_rule": (["{gguf}", "-o", "{out}.gguf", "--rule=blk*=nf4_g32"], ["--rule blk*=nf4_g32: GGUF has no"]),
    "int8": (["{gguf}", "-o", "{out}.gguf", "--quantize=int8"], ["--quantize int8", "int8_g32"]),
    "adapter": (["{gguf}", "-o", "{out}.gguf", "--quantize=int4", "--adapter=x"], ["--adapter", "pare compile"]),
    "kernels": (["{gguf}", "-o", "{out}.gguf", "--quantize=int4", "--kernels=auto"], ["--kernels", "pare compile"]),
    "table": (["{minilm}", "-o", "{out}", NEAREST, "--rule=embeddings.word_embeddings.weight=int4"],
              ["embeddings.word_embeddings.weight", "compressed-tensors has no tables of int4_g32"]),
    "existing": (["{minilm}", "-o", "{existing}", NEAREST, "--rule=encoder.layer.0.output.dense.weight=int4"],
                 ["is there already"]),
    "bits": (["{onnx}", "-o", "{out}.onnx", "--quantize=int3"], ["--quantize int3: ONNX has no weights in int3_g32"]),
    "static_gguf": (["{gguf}", "-o", "{out}.gguf", "--quantize=int8"], ["--quantize int8: GGUF has no such scale", "int8_g32"]),
    "static_samples": (["{onnx}", "-o", "{out}.onnx", "--quantize=int8"], ["--calibrate"]),
    "static_rule": (["{onnx}", "-o", "{out}.onnx", "--quantize=int8", "--rule=*=int4"], ["--rule", "--keep-float"]),
    "directory": (["{onnx}", "-o", "{out}/absent/x.onnx", NEAREST, "--rule=encoder.layer.0.output.dense.weight=int4"],
                  ["x.onnx"]),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name, tmp_path):
    """One line, exit code 1, and nothing is left behind."""
    arguments, words = BAD[name]
    (tmp_path / "existing").mkdir()
    places = {"gguf": language_models.SMOLLM2, "minilm": models.MINILM.source, "onnx": models.MINILM.onnx(),
              "out": tmp_path / "out", "existing": tmp_path / "existing"}
    done = optimize("--quiet", *(argument.format(**places) for argument in arguments), check=False)
    check_refused(done, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["existing"] and not list((tmp_path / "existing").iterdir())
