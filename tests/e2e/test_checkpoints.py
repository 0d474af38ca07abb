"""Quantizing in bounded memory, and going on after a kill."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from oracle import artifact, memory, rounding, synthetic
from test_bad_input import check_refused
from test_decoder import feeds

SMALL = synthetic.Size(layers=4, hidden=256, inner=512, heads=4, kv_heads=2, vocabulary=1024)
HQQ = ("--quantize=uint4_g32", "--method=hqq")
WEIGHTS = 2 + 7 * SMALL.layers


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """4 million weights of bf16 in shards."""
    folder = tmp_path_factory.mktemp("source") / "llama"
    synthetic.make_llama(folder, SMALL, shard_bytes=1 << 20)
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


@pytest.fixture(scope="module")
def gptq(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "samples.txt"
    path.write_text("".join(chr(c) for c in np.random.default_rng(5).integers(97, 123, 1000)))
    return "--quantize=int4", "--method=gptq", f"--calibrate={path}", "--calibrate-tokens=256"


@pytest.fixture(scope="module")
def undisturbed(source, gptq, tmp_path_factory):
    """undisturbed(flags): the bytes of the artifact that they give; each made once."""
    made, folder = {}, tmp_path_factory.mktemp("undisturbed")

    def get(flags):
        if flags not in made:
            made[flags] = artifact.compile(source, folder / "model", *flags, "--checkpoints=none").read_bytes()
            assert [path.name for path in folder.iterdir()] == ["model"]
        return made[flags]

    return get


def parts_of(folder, kind="weight"):
    return sorted(folder.glob(f"{kind}-*.part"))


def start_and_kill(source, out, *flags, count):
    """Kills a run with SIGKILL when `count` parts are there, one of layers among
    them where there are such; the folder of its parts."""
    folder = Path(f"{out}.partial")
    flags = [*flags, f"--checkpoints={folder}"]
    wanted = ("weight", "layer") if "--method=gptq" in flags else ("weight",)
    process, _ = memory.peak_anonymous(
        artifact.PARE, "compile", source, "-o", out, *flags, period=0.0005,
        until=lambda: all(len(parts_of(folder, kind)) >= (count if kind == "weight" else 2) for kind in wanted))
    assert process.returncode == -9, process.text
    assert not out.exists()
    return folder


def resume(source, out, *flags):
    """The same command to its end; what it says."""
    return artifact.call(artifact.PARE, "compile", source, "-o", out, *flags,
                         f"--checkpoints={out}.partial").stderr


@pytest.mark.parametrize("method", ("hqq", "gptq"))
def test_resumes_after_a_kill(method, source, gptq, undisturbed, tmp_path):
    flags = HQQ if method == "hqq" else gptq
    out = tmp_path / "model"
    folder = start_and_kill(source, out, *flags, count=3)
    # As if it had been killed right after the part that it waited for, while it wrote another.
    weights = parts_of(folder)
    assert 3 <= len(weights) <= WEIGHTS
    for path in weights[WEIGHTS - 3:]:
        path.unlink()
    shutil.copy(weights[0], folder / "weight-99999.part.tmp")
    said = resume(source, out, *flags)
    unit = "weights" if method == "hqq" else "parts of the model"
    assert f"resuming from '{folder}': " in said and f" {unit} are done" in said
    assert "damaged" not in said
    assert out.read_bytes() == undisturbed(flags)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_damaged_parts_are_made_again(source, gptq, undisturbed, tmp_path):
    """A bit that changed, an end that is missing, and the newest values between layers."""
    out = tmp_path / "model"
    folder = start_and_kill(source, out, *gptq, count=8)
    changed, short = parts_of(folder)[4:6]
    bytes = bytearray(changed.read_bytes())
    bytes[len(bytes) // 2] ^= 16
    changed.write_bytes(bytes)
    short.write_bytes(short.read_bytes()[:-1])
    newest = parts_of(folder, "layer")[-1]
    newest.write_bytes(b"")
    said = resume(source, out, *gptq)
    assert f"'{changed}' is damaged: what it held is made again" in said
    assert out.read_bytes() == undisturbed(gptq)
    assert not folder.exists()


def test_parts_of_other_runs_are_not_used(source, undisturbed, tmp_path):
    """Another method, and other weights under the same names."""
    out = tmp_path / "model"
    folder = start_and_kill(source, out, *HQQ, count=3)
    other = ("--quantize=uint4_g32", "--method=nearest")
    said = resume(source, out, *other)
    assert f"'{folder}' is of another model, version or set of options: starting anew" in said
    assert "resuming" not in said
    assert out.read_bytes() == undisturbed(other)

    out.unlink()
    changed = tmp_path / "changed"
    shutil.copytree(source, changed)
    synthetic.make_llama(changed, SMALL, shard_bytes=1 << 20, seed=1)
    start_and_kill(changed, out, *HQQ, count=3)
    said = resume(source, out, *HQQ)
    assert "starting anew" in said and "resuming" not in said
    assert out.read_bytes() == undisturbed(HQQ)


def test_a_folder_that_cannot_be(source, tmp_path):
    (tmp_path / "file").write_text("")
    for folder, message in (("file", "it is not a folder"), ("absent/parts", "No such file or directory")):
        done = artifact.call(artifact.PARE, "compile", source, "-o", tmp_path / "model", "--quiet", *HQQ,
                             "--checkpoints", tmp_path / folder, check=False)
        check_refused(done, f"cannot keep finished parts in '{tmp_path / folder}': {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_small_models_keep_nothing(source, tmp_path):
    """Unless they are asked to: what is made again in seconds needs no folder."""
    found = []
    process, _ = memory.peak_anonymous(
        artifact.PARE, "compile", source, "-o", tmp_path / "model", "--quiet", *HQQ,
        until=lambda: found.extend(tmp_path.glob("*.partial")))
    assert process.returncode == 0 and not found


def names_of(size):
    return [name for name, shape in synthetic.tensors(size) if len(shape) == 2]


def format_of(name, products):
    return rounding.INT8 if name == "model.embed_tokens.weight" else products


@pytest.mark.parametrize("method", ("hqq", "nearest"))
def test_parts_are_those_of_an_independent_computation(method, source, tmp_path):
    """Bit for bit, for every weight of the model."""
    products = rounding.UINT4 if method == "hqq" else rounding.INT4
    quantize = "uint4_g32" if method == "hqq" else "int4"
    flags = (f"--quantize={quantize}", f"--method={method}")
    expected = {}
    for name in names_of(SMALL):
        levels, scale, zero, _ = rounding.quantize(synthetic.read_tensor(source, name), format_of(name, products))
        expected[rounding.pack(levels, scale, zero, format_of(name, products))] = name
    folder = start_and_kill(source, tmp_path / "model", *flags, count=WEIGHTS - 2)
    found = [expected.pop(path.read_bytes()[128:]) for path in parts_of(folder)]
    assert len(found) >= WEIGHTS - 2


def test_logits_are_those_of_an_independent_computation(source, tmp_path):
    """The artifact holds the weights that numpy rounds to: a float model with them has its logits."""
    from safetensors.numpy import save_file

    rounded = tmp_path / "rounded"
    shutil.copytree(source, rounded, ignore=shutil.ignore_patterns("*.safetensors*"))
    tensors = {}
    for name, shape in synthetic.tensors(SMALL):
        tensors[name] = synthetic.read_tensor(source, name)
        if len(shape) == 2:
            tensors[name] = rounding.quantize(tensors[name], format_of(name, rounding.UINT4))[3]
    save_file(tensors, rounded / "model.safetensors")
    exact = ("--activations=f32", "--kv-cache=f32")
    tokens = np.random.default_rng(3).integers(0, SMALL.vocabulary, 24)
    quantized = artifact.compile(source, tmp_path / "quantized", *HQQ, *exact)
    float_model = artifact.compile(rounded, tmp_path / "float", *exact)
    plain = artifact.compile(source, tmp_path / "plain", *exact)
    logits = [next(iter(artifact.run(binary, feeds(tokens)).values())) for binary in (quantized, float_model, plain)]
    assert artifact.scaled_error(logits[0], logits[1]) < 1e-4
    assert artifact.scaled_error(logits[0], logits[2]) > 1e-2


def test_memory_does_not_grow_with_depth(tmp_path):
    """Of a model with six times the layers, beside what its weights are in f32 and in 4 bits."""
    peaks, weights = {}, {}
    for layers in (2, 12):
        size = synthetic.Size(layers=layers, hidden=512, inner=1536, heads=8, kv_heads=8, vocabulary=1024)
        weights[layers] = synthetic.make_llama(tmp_path / str(layers), size, shard_bytes=8 << 20) / 2
        process, peaks[layers] = memory.peak_anonymous(
            artifact.PARE, "compile", tmp_path / str(layers), "-o", tmp_path / f"{layers}.out", *HQQ,
            f"--checkpoints={tmp_path / 'parts'}")
        assert process.returncode == 0, process.text
    more = weights[12] - weights[2]
    assert peaks[12] - peaks[2] < 0.25 * (0.5 * more), peaks
