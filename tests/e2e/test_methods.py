"""Single weights left out by --prune, AWQ's --input-scales and --scales: what is computed, and what is refused."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import bad_models
from oracle import artifact, corpus, quality
from oracle.models import MINILM
from test_bad_input import check_refused, compile_to

SIZES = (64, 128, 64, 32)


def pare(*arguments, check=True, **options):
    return artifact.call(artifact.PARE, *arguments, check=check, **options)


def make_weights():
    """[inputs, outputs] of three products; inputs differ in size, as activations do."""
    random = np.random.default_rng(5)
    return [random.normal(size=shape).astype(np.float32) for shape in zip(SIZES, SIZES[1:])]


def run_layers(weights, x):
    for weight in weights[:-1]:
        x = np.maximum(x @ weight, 0)
    return x @ weights[-1]


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Three products with ReLU between them as ONNX, and samples of x."""
    folder = tmp_path_factory.mktemp("layers")
    nodes, value = [], "x"
    for i in range(3):
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"p{i}" if i < 2 else "y"], name=f"product{i}"))
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"p{i}"], [f"r{i}"], name=f"relu{i}"))
            value = f"r{i}"
    initializers = [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(make_weights())]
    x = helper.make_tensor_value_info("x", 1, ["rows", SIZES[0]])
    model = bad_models.save(folder, bad_models.small(nodes, initializers, inputs=[x]))
    random = np.random.default_rng(6)
    scales = np.exp(random.normal(size=SIZES[0]))
    for i in range(24):
        np.savez(folder / f"{i}.npz", x=(random.normal(size=(16, SIZES[0])) * scales).astype(np.float32))
    return model, ",".join(str(folder / f"{i}.npz") for i in range(24)), np.load(folder / "0.npz")["x"]


def keep_largest(weight, keep, of):
    """The `keep` largest of every `of` inputs of an output; zeros for the others."""
    groups = weight.T.reshape(weight.shape[1], -1, of)
    order = np.argsort(np.abs(groups), axis=-1)
    pruned = groups.copy()
    np.put_along_axis(pruned, order[..., : of - keep], 0, axis=-1)
    return pruned.reshape(weight.T.shape).T


@pytest.mark.parametrize("keep, of", [(2, 4), (1, 4), (4, 8)])
def test_magnitude_is_numpys(layers, keep, of, tmp_path):
    source, _, x = layers
    done = pare("compile", source, "-o", tmp_path / "pruned", "--json", f"--prune={keep}:{of}")
    rows = {row["tensor"]: row for row in json.loads(done.stdout)["tensors"]}
    assert [rows[f"w{i}"]["zeros"] for i in range(3)] == [1 - keep / of, 1 - keep / of, 0], "the last makes the output"
    weights = make_weights()
    pruned = [keep_largest(weight, keep, of) for weight in weights[:2]]
    for i, part in enumerate(pruned):
        error = np.linalg.norm(part - weights[i]) / np.linalg.norm(weights[i])
        assert rows[f"w{i}"]["weight_error"] == pytest.approx(error, rel=1e-5)
    [got] = artifact.run(tmp_path / "pruned", {"x": x}).values()
    want = run_layers([*pruned, weights[2]], x)
    assert artifact.scaled_error(got, want) < 1e-5


def test_rules_have_the_last_word(layers, tmp_path):
    source, _, x = layers
    done = pare("compile", source, "-o", tmp_path / "pruned", "--json", "--prune=50%", "--rule=w0=0%", "--rule=w2=1:4",
                "--rule=w1=int8_g32+2:4")
    rows = {row["tensor"]: row for row in json.loads(done.stdout)["tensors"]}
    assert [rows[f"w{i}"]["zeros"] for i in range(3)] == [0, 0.5, 0.75]
    assert rows["w1"]["format"].startswith("int8_g32")
    weights = make_weights()
    want = run_layers([weights[0], keep_largest(weights[1], 2, 4), keep_largest(weights[2], 1, 4)], x)
    [got] = artifact.run(tmp_path / "pruned", {"x": x}).values()
    assert artifact.scaled_error(got, want) < 0.02


def test_samples_order_and_bytes(layers, tmp_path):
    """What goes by samples costs the outputs less, the layers before pruned or quantized too."""
    source, samples, x = layers
    want, errors = run_layers(make_weights(), x), {}
    for by in ("magnitude", "wanda", "ria", "sparsegpt"):
        flags = ["--prune=2:4", f"--prune-by={by}"] + ([f"--calibrate={samples}"] if by != "magnitude" else [])
        out = tmp_path / by
        artifact.compile(source, out, *flags)
        [got] = artifact.run(out, {"x": x}).values()
        errors[by] = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert errors["sparsegpt"] < errors["wanda"] < errors["magnitude"]
    assert errors["ria"] < errors["magnitude"]
    flags = ["--prune=2:4", f"--calibrate={samples}", "--checkpoints=none"]
    again = artifact.compile(source, tmp_path / "again", *flags)
    assert again.read_bytes() == artifact.compile(source, tmp_path / "again", *flags).read_bytes()
    both = json.loads(pare("compile", source, "-o", tmp_path / "both", "--json", "--quantize=uint4_g32", *flags).stdout)
    assert [row["zeros"] for row in both["tensors"]] == [0.5, 0.5, 0]
    assert "2:4 pruned by SparseGPT, zeros are stored: no sparse uint4_g32; GPTQ and coordinate descent" in both["tensors"][0]["reason"]


def test_int8_keeps_zeros(layers, tmp_path):
    source, samples, x = layers
    done = pare("compile", source, "-o", tmp_path / "int8", "--json", "--prune=2:4", "--quantize=int8", f"--calibrate={samples}")
    report = json.loads(done.stdout)
    assert len({row["tensor"] for row in report["tensors"]}) == len(report["tensors"])
    assert [row["zeros"] for row in report["tensors"]] == [0.5, 0.5, 0]
    artifact.compile(source, tmp_path / "f32", "--prune=2:4", f"--calibrate={samples}")
    got, want = (next(iter(artifact.run(tmp_path / name, {"x": x}).values())) for name in ("int8", "f32"))
    assert artifact.scaled_error(got, want) < 0.05


def test_input_scales_leave_the_function(layers, tmp_path):
    """Fine codes show that factors cancel; coarse ones that they help."""
    source, samples, x = layers
    want, errors = run_layers(make_weights(), x), {}
    for scales in ("none", "free", "all"):
        for bits in (2, 8):
            flags = [f"--quantize=uint{bits}_g32", "--method=nearest", "--scales=maxabs", "--activations=f32"]
            if scales != "none":
                flags += [f"--calibrate={samples}", f"--input-scales={scales}"]
            out = tmp_path / f"{scales}{bits}"
            report = json.loads(pare("compile", source, "-o", out, "--json", *flags).stdout)
            places = ["what makes them" in row["reason"] or "a multiplication" in row["reason"] for row in report["tensors"]]
            if scales == "none":
                assert not any(places)
            if scales == "all" and bits == 2:
                assert places[0], "inputs of the first differ most"
            [got] = artifact.run(out, {"x": x}).values()
            errors[scales, bits] = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert max(errors[scales, 8] for scales in ("none", "free", "all")) < 0.02
    assert errors["all", 2] < 0.98 * errors["none", 2]


def test_optimize_writes_zeros(layers, tmp_path):
    source, samples, x = layers
    out = tmp_path / "pruned.onnx"
    pare("optimize", source, "-o", out, "--prune=2:4", "--quantize=int4", f"--calibrate={samples}")
    session = onnxruntime.InferenceSession(out)
    [got] = session.run(None, {"x": x})
    artifact.compile(source, tmp_path / "pruned", "--prune=2:4", "--quantize=int4", "--activations=f32", f"--calibrate={samples}")
    [want] = artifact.run(tmp_path / "pruned", {"x": x}).values()
    assert artifact.scaled_error(got, want) < 1e-3
    for flags, *expected in (
        (["--prune=2:4"], "--prune 2:4", "--quantize"),
        (["--prune=ffn=25%", "--quantize=int4"], "--prune of parts"),
        (["--quantize=int4", "--input-scales=free", f"--calibrate={samples}"], "--input-scales"),
    ):
        check_refused(pare("optimize", source, "-o", tmp_path / "refused.onnx", *flags, check=False), *expected)


def test_encoder_by_magnitude_and_by_samples(tmp_path):
    samples = tmp_path / "samples.txt"
    samples.write_text("".join(f"{text}\n" for text in corpus.spread(corpus.sentences()[::2], 48)))
    texts = corpus.spread(corpus.sentences()[1::2], 40)
    truth, cosines = quality.embeddings(texts), {}
    for name, flags in (("magnitude", ()), ("sparsegpt", (f"--calibrate={samples}",))):
        binary = artifact.compile(MINILM.source, tmp_path / name, "--prune=50%", *flags)
        cosines[name] = (artifact.embed(binary, texts) * truth).sum(-1).mean()
    assert 0.4 < cosines["magnitude"] < cosines["sparsegpt"] - 0.08
    assert cosines["sparsegpt"] > 0.8


@pytest.mark.parametrize("flags, expected", [
    ("--prune 50", ["--prune '50'", "2:4", "ffn=25%"]),
    ("--prune 4:2", ["--prune '4:2'", "how many"]),
    ("--prune 0%", ["above 0%"]),
    ("--prune 2:4,50%", ["2:4", "50%", "one of them"]),
    ("--prune 3:7", ["no products"]),
    ("--prune-by wanda", ["--prune-by", "--prune"]),
    ("--prune 50% --prune-by wanda", ["wanda", "--calibrate"]),
    ("--prune 50% --prune-by magnitude --calibrate {samples}", ["--calibrate", "--prune-by"]),
    ("--prune 50% --bits 4", ["--prune", "exact zero", "--quantize"]),
    ("--prune 50% --quantize int4 --recipe best --calibrate {samples}", ["--prune", "exact zero"]),
    ("--prune 50% --quantize uint4_g32_k6x64", ["'w0'", "no exact zero", "uint4_g32"]),
    ("--quantize int4 --rule w0=int4+x", ["--rule w0=int4+x", "share"]),
    ("--quantize int4 --scales output", ["--scales output", "--calibrate"]),
    ("--quantize int4 --input-scales all", ["--input-scales", "--calibrate"]),
    ("--prune 50% --scales mse", ["--scales", "--quantize"]),
    ("--quantize int8 --input-scales free --calibrate {samples}", ["--input-scales", "--quantize"]),
])
def test_refused(layers, flags, expected, tmp_path):
    source, samples, _ = layers
    done, left = compile_to(tmp_path, source, *flags.format(samples=samples).split())
    check_refused(done, *expected)
    assert not left
