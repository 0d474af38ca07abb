"""`pare bench`, `pare diff`, `--image` and `--calibrate`, as a user types them."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bad_models
from oracle import artifact, models
from oracle.models import MINILM, MODELS, RECOGNIZER

INT8 = "--quantize=int8"


def pare(*arguments, check=True, **options):
    return artifact.call(artifact.PARE, *arguments, check=check, **options)


def check_refused(done, *expected):
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in expected:
        assert word in done.stderr


def mean_of_pixels(folder, shape=(1, 3, 8, 8)):
    """A model that gives its input's mean per channel."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    path = folder / "mean.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def picture(path, color, size=(20, 10)):
    """A PNG of one color."""
    from PIL import Image

    Image.new("RGB", size, color).save(path)
    return path


def test_a_picture_as_input(tmp_path):
    flags = ["--image", "x=8x8,mean=0.2:0.4:0.6,std=0.5,layout=nchw,bgr"]
    binary = artifact.compile(mean_of_pixels(tmp_path), tmp_path / "mean", *flags)
    png = picture(tmp_path / "p.png", (255, 0, 51))
    artifact.call(binary, "run", "--input", f"x={png}", "--output", tmp_path / "y.npy", "--quiet")
    blue, green, red = 51 / 255, 0, 1
    want = (np.array([blue, green, red]) - [0.2, 0.4, 0.6]) / 0.5
    np.testing.assert_allclose(np.load(tmp_path / "y.npy")[0], want, atol=1e-5)


@pytest.mark.parametrize(
    "option, words",
    (
        ("x=9x8", ["width", "8", "9"]),
        ("z=8x8", ["inputs are x"]),
        ("x=8x8,mean=120", ["255"]),
        ("x=8x8,layout=chw", ["layout"]),
    ),
)
def test_wrong_image_option(option, words, tmp_path):
    out = tmp_path / "out"
    done = pare("compile", mean_of_pixels(tmp_path), "-o", out, "--quiet", "--image", option, check=False)
    check_refused(done, "--image", *words)
    assert not out.exists()


def convolution(folder):
    """One 3x3 convolution, large enough for int8 to pay."""
    weights = np.random.default_rng(0).normal(size=(64, 64, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "conv.onnx"
    onnx.save(model, path)
    return path


def test_calibration_quantizes_convolutions(tmp_path):
    source, samples = convolution(tmp_path), tmp_path / "samples"
    samples.mkdir()
    random = np.random.default_rng(1)
    for i in range(3):
        x = random.normal(size=(1, 64, 28, 28)).astype(np.float32)
        np.save(samples / f"{i}.npy", x) if i else np.savez_compressed(samples / "0.npz", x=x)
    done = pare("compile", source, "-o", tmp_path / "conv", INT8, "--calibrate", samples, "--json")
    (tensor,) = json.loads(done.stdout)["tensors"]
    assert tensor["format"].startswith("int8"), tensor
    exact = artifact.compile(source, tmp_path / "exact")
    x = {"x": random.normal(size=(1, 64, 28, 28)).astype(np.float32)}
    got, want = (artifact.run(b, x)["y"] for b in (tmp_path / "conv", exact))
    assert 1e-5 < np.linalg.norm(got - want) / np.linalg.norm(want) < 0.03


def test_wrong_calibration(tmp_path):
    source = convolution(tmp_path)
    np.save(tmp_path / "wrong.npy", np.ones((1, 64, 28, 27), np.float32))
    np.save(tmp_path / "double.npy", np.ones((1, 64, 28, 28)))
    np.savez(tmp_path / "named.npz", z=np.ones(3))
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "empty").mkdir()
    for file, word in (
        ("wrong.npy", "shape"), ("double.npy", "f32"), ("named.npz", "'x'"), ("text.npy", "text.npy"),
        ("empty", "no files"), ("absent.npy", "absent.npy"),
    ):
        out = tmp_path / "out"
        flags = [INT8, "--quiet", "--calibrate", tmp_path / file]
        check_refused(pare("compile", source, "-o", out, *flags, check=False), word)
        assert not out.exists()


def test_bench_compares_two(compiled):
    a, b = compiled(MINILM, INT8), compiled(MINILM)
    flags = ["--threads=1,2", "--runs=2", "--rounds=2", "--profile", "--json"]
    result = json.loads(pare("bench", a, "--vs", b, *flags, "--shape=input_ids=1x16").stdout)
    measurements = result["measurements"]
    assert [m["threads"] for m in measurements] == [1, 1, 2, 2]
    assert [m["artifact"] for m in measurements] == [str(a), str(b)] * 2
    for m in measurements:
        assert m["inputs"][0]["shape"] == [1, 16] and m["runs"] == 4 and len(m["steps"]) > 10
        assert 0 < m["min_ms"] <= m["p50_ms"] <= m["p90_ms"]
    for ratio, (x, y) in zip(result["ratios"], (measurements[:2], measurements[2:])):
        assert ratio["p50"] == pytest.approx(x["p50_ms"] / y["p50_ms"])
        assert ratio["file"] == pytest.approx(a.stat().st_size / b.stat().st_size)


def test_bench_of_a_model(tmp_path):
    source = bad_models.save(tmp_path, bad_models.small())
    table = pare("bench", source, "--runs=3").stdout.splitlines()
    assert len(table) == 2 and "p50 ms" in table[0] and "x 2x4" in table[1]
    check_refused(pare("bench", source, "-p", "8", "--quiet", check=False), "-p", "language models")
    check_refused(pare("bench", tmp_path / "absent", "--quiet", check=False), "absent")


def test_bench_compiles_with_every_option_of_compile(tmp_path):
    source = convolution(tmp_path)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(1, 64, 28, 28)).astype(np.float32))
    common = ["--runs=2", "--json", "--quiet", "--profile"]
    flags = [INT8, "--calibrate", tmp_path / "x.npy"]
    quantized, kept = (
        json.loads(pare("bench", source, *common, *flags, *more).stdout)["measurements"][0]["steps"]
        for more in ((), ("--keep-float=w",))
    )
    assert any("int8" in step["op"] for step in quantized)
    assert not any("int8" in step["op"] for step in kept)
    options = {
        command: set(re.findall(r"^ *(--[a-z-]+)", pare(command, "--help").stdout, re.M))
        for command in ("compile", "bench")
    }
    assert options["compile"] - options["bench"] == {"--emit", "--checkpoints"} | options["compile"] & {"-o"}
    binary = artifact.compile(source, tmp_path / "binary")
    check_refused(pare("bench", binary, "--runs=1", INT8, check=False), "--quantize", "compiled already")


def test_tune_writes_a_table(tmp_path):
    table = tmp_path / "here.txt"
    done = pare("tune", "--quick", "--json", "--quiet", "-o", table)
    assert not done.stderr
    result = json.loads(done.stdout)
    rows = result["measurements"]
    assert result["output"] == str(table) and len(rows) >= 50
    assert all(row["nanoseconds"] > 0 for row in rows)
    assert {row["format"] for row in rows} == {"f32", "int8"}
    lines = [line.split() for line in table.read_text().splitlines()]
    lines = [line for line in lines if len(line) == 7 and line[-1].isdigit()]
    keys = ("op", "format", "m", "k", "n", "provider", "nanoseconds")
    assert lines == [[str(row[key]) for key in keys] for row in rows]
    source = convolution(tmp_path)
    artifact.compile(source, tmp_path / "conv", "--timings", table, f"--target={result['target']}")
    check_refused(pare("tune", "--quick", "--quiet", "-o", tmp_path, check=False, timeout=2), str(tmp_path))


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_inspect(model):
    shown = json.loads(pare("inspect", model.source, "--json", "--quiet").stdout)
    session = models.session(model)
    for key, tensors in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        assert [tensor["name"] for tensor in shown[key]] == [tensor.name for tensor in tensors]
        assert [len(tensor["shape"]) for tensor in shown[key]] == [len(tensor.shape) for tensor in tensors]
    sizes = {size for key in ("inputs", "outputs") for tensor in shown[key] for size in tensor["shape"]}
    assert {dim["name"] for dim in shown["dims"]} >= {size for size in sizes if str(size).isidentifier()}
    assert all(1 <= dim["min"] <= dim["max"] for dim in shown["dims"])
    source = model.source / "model.safetensors" if model is MINILM else model.source
    assert 0.8 * source.stat().st_size < shown["bytes"] <= source.stat().st_size
    assert shown["bytes"] == 4 * shown["parameters"]
    assert shown["flops"] > shown["parameters"] / 2 and shown["unsupported"] == []
    assert shown["ops"] and min(shown["ops"].values()) > 0
    text = pare("inspect", model.source, "--quiet").stdout
    for word in ("every op compiles", "parameters", "FLOP", *shown["ops"]):
        assert word in text


def test_inspect_counts_flops(tmp_path):
    weights = np.zeros((64, 64, 3, 3), np.float32)
    shown = json.loads(pare("inspect", convolution(tmp_path), "--json").stdout)
    assert shown["flops"] == 2 * weights.size * 28 * 28 and shown["parameters"] == weights.size
    assert shown["ops"]["conv"] == 1


def test_inspect_of_what_does_not_compile(tmp_path):
    make, words, _ = bad_models.CASES["unknown_ops"]
    source = make(tmp_path)
    unsupported = json.loads(pare("inspect", source, "--json").stdout)["unsupported"]
    assert [(row["op"], row["count"]) for row in unsupported] == [("Frobnicate", 2), ("Transmogrify", 1)]
    text = pare("inspect", source).stdout
    for word in ("does not compile", *words):
        assert word in text


def on_terminal(*command):
    """What a command writes to a terminal of 80 columns on standard error."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal,
        env={key: value for key, value in os.environ.items() if key != "COLUMNS"},
    )
    os.close(terminal)
    text = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        text += chunk
    os.close(master)
    assert done.wait(timeout=600) == 0, text
    return text.decode()


BAR = re.compile(r"[a-z ]+ \[#*-*\] \d+%, \d+ s left")


def test_progress(tmp_path):
    """A bar with the time left at a terminal, plain lines elsewhere, nothing with --quiet; the same artifact."""
    command = (artifact.PARE, "compile", RECOGNIZER.source, "-o")
    text = on_terminal(*command, tmp_path / "a")
    frames = [frame.removeprefix("\x1b[K") for frame in text.split("\r")]
    bars = [frame for frame in frames if BAR.fullmatch(frame)]
    assert bars and all(len(bar) < 80 for bar in bars)
    assert any(bar.startswith("optimize kernels") for bar in bars)
    assert text.count("\n") == 1 and str(tmp_path / "a") in frames[-2], frames[-2:]
    plain = artifact.call(*command, tmp_path / "b").stderr
    assert "\r" not in plain and "\x1b" not in plain and len(plain.splitlines()) < 20
    assert on_terminal(*command, tmp_path / "c", "--quiet") == ""
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def values(*arguments):
    result = json.loads(pare("diff", *arguments, "--top=0", "--json", "--quiet").stdout)
    return result, {value["name"]: value for value in result["values"]}


SMALL_CASES = {"recognizer": (1, 64), "detector": (1, 96, 160)}


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_diff_finds_no_error_in_f32(model, compiled):
    """A value that has a name of the source's is the source's value: no pass leaves a name on another one."""
    case = SMALL_CASES.get(model.name)
    flags = list(artifact.shape_flags(model.shapes(case))) if case else []
    result, found = values(compiled(model, *flags), model.source, *flags)
    assert len(found) >= 10
    assert {name: value for name, value in found.items() if value["rms_error"] > 1e-4} == {}
    assert len(result["not_comparable"]) <= 3, result["not_comparable"]
    if model is MINILM:
        assert {"last_hidden_state", "encoder.layer.3.attention"} <= set(found)


def test_diff_is_worst_first_and_repeatable(compiled):
    result, found = values(compiled(MINILM, INT8), MINILM.source, "--seed=3")
    errors = [value["rms_error"] for value in result["values"]]
    assert errors == sorted(errors, reverse=True) and 1e-3 < errors[0] < 1
    assert min(value["cosine"] for value in found.values()) > 0.9
    assert values(compiled(MINILM, INT8), MINILM.source, "--seed=3")[0] == result


def test_diff_takes_inputs(compiled, tmp_path):
    feeds = MINILM.feeds(2, 20)
    np.savez(tmp_path / "in.npz", **feeds)
    result, found = values(compiled(MINILM, INT8), compiled(MINILM), "--input", tmp_path / "in.npz")
    assert found["last_hidden_state"]["shape"] == "2x20x384"
    assert result["values"][-1]["rms_error"] < 0.2


def test_diff_sees_through_layouts(compiled):
    """Convolutions are computed channels last; their values are compared all the same."""
    flags = artifact.shape_flags(RECOGNIZER.shapes((1, 320)))
    result, found = values(compiled(RECOGNIZER, *flags), RECOGNIZER.source)
    assert sum(value["shape"].count("x") == 3 for value in found.values()) > 20
    assert max(value["rms_error"] for value in found.values()) < 1e-4


def test_diff_refuses(compiled, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 7), np.int64))
    binary = compiled(MINILM)
    done = pare("diff", binary, MINILM.source, "--quiet", "--input", f"ids={tmp_path}/x.npy", check=False)
    check_refused(done, "ids")
    check_refused(pare("diff", binary, tmp_path / "absent", "--quiet", check=False), "absent")
