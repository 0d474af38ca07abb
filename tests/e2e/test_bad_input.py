"""Bad input gives one line, exit code 1 and nothing written; never a crash or a hang."""

import os
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper

import bad_models
from oracle import artifact
from oracle.models import MINILM


def check_refused(done, *expected):
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr}"
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert len(done.stderr) < 2000
    for word in expected:
        assert word in done.stderr
    assert not done.stdout


def compile_to(folder, source, *flags):
    """Compiles into a fresh folder; the process and what it left there."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    done = artifact.call(
        artifact.PARE, "compile", source, "-o", out / "model", "--quiet", *flags, check=False, timeout=60
    )
    return done, list(out.iterdir())


@pytest.mark.parametrize("name", bad_models.CASES)
def test_bad_model(name, tmp_path):
    make, expected, flags = bad_models.CASES[name]
    (tmp_path / "in").mkdir()
    done, left = compile_to(tmp_path, make(tmp_path / "in"), *flags)
    check_refused(done, *expected)
    assert not left


def test_the_good_ones_compile(tmp_path):
    """What the bad models are made from is not itself refused."""
    for make in (lambda f: bad_models.save(f, bad_models.small()), bad_models.bert):
        folder = tmp_path / str(id(make))
        folder.mkdir()
        done, left = compile_to(folder, make(folder))
        assert done.returncode == 0 and len(left) == 1, done.stderr


def damaged(data, count, seed):
    """`data` cut, and with bytes replaced, in `count` places each."""
    random = np.random.default_rng(seed)
    for at in random.integers(0, len(data), count):
        yield f"cut at {at}", data[:at]
    for at in random.integers(0, min(len(data), 4000), count):
        value = int(random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)]))
        yield f"byte {at} = {value}", data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("kind", ("onnx", "safetensors", "gguf"))
def test_damage_anywhere(kind, tmp_path):
    """Accepted or refused in one line, whatever byte is wrong."""
    if kind == "onnx":
        source = victim = bad_models.save(tmp_path, bad_models.small())
    elif kind == "gguf":
        source = victim = bad_models.write_gguf(tmp_path, bad_models.gguf_bytes(tmp_path))
    else:
        source = bad_models.bert(tmp_path)
        victim = source / "model.safetensors"
    for what, data in damaged(victim.read_bytes(), 60, 11):
        victim.write_bytes(data)
        done, left = compile_to(tmp_path, source)
        assert done.returncode in (0, 1), f"{what}: exit {done.returncode}: {done.stderr[-500:]}"
        if done.returncode:
            assert len(done.stderr.splitlines()) == 1, f"{what}: {done.stderr}"
            assert not left, what
        for file in left:
            file.unlink()


def test_nan_weights_are_counted(tmp_path):
    tensors = bad_models.bert_tensors()
    tensors[bad_models.QUERY][0, :3] = np.nan, np.inf, np.nan
    out = tmp_path / "model"
    done = artifact.call(artifact.PARE, "compile", bad_models.bert(tmp_path, tensors=tensors), "-o", out)
    warning = [line for line in done.stderr.splitlines() if bad_models.QUERY in line and "warning" in line]
    assert warning and "2 NaN" in warning[0] and "1 inf" in warning[0], done.stderr


def test_unwritable_output(tmp_path):
    source = bad_models.save(tmp_path, bad_models.small())
    for out in (tmp_path / "absent" / "model", tmp_path):
        done = artifact.call(artifact.PARE, "compile", source, "-o", out, "--quiet", check=False)
        check_refused(done, str(out))


def test_standard_output_is_full(tmp_path):
    source = bad_models.save(tmp_path, bad_models.small())
    for flags in ((), ("--json",)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [artifact.PARE, "inspect", source, *flags], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20
            )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert "cannot write to standard output" in done.stderr


def test_output_is_no_file(tmp_path):
    """What is not a regular file is never replaced by one."""
    source = bad_models.save(tmp_path, bad_models.small())
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    done = artifact.call(artifact.PARE, "compile", source, "-o", pipe, "--quiet", check=False, timeout=20)
    check_refused(done, str(pipe), "not a regular file")
    assert pipe.is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "pipe"]
    (tmp_path / "out.h").mkdir()
    done = artifact.call(artifact.PARE, "compile", source, "-o", f"{out}.so", "--quiet", check=False)
    check_refused(done, "out.h")
    assert not (tmp_path / "out.so").exists()


COMPILE = ("compile", "{model}", "-o", "{out}")
USAGE = {
    "no_command": ("nonsense",),
    "unknown_option": (*COMPILE, "--fast"),
    "no_output": ("compile", "{model}"),
    "no_model": ("compile", "-o", "{out}"),
    "two_models": ("compile", "{model}", "{model}", "-o", "{out}"),
    "target": (*COMPILE, "--target=pentium"),
    "feature": (*COMPILE, "--target=x86-64-v4+warp"),
    "emit": (*COMPILE, "--emit=jpeg"),
    "threads": (*COMPILE, "--threads=-1"),
    "shape": (*COMPILE, "--shape=x"),
    "shape_sizes": (*COMPILE, "--shape=x=2x"),
    "shape_input": (*COMPILE, "--shape=z=2x4"),
    "shape_negative": (*COMPILE, "--shape=x=2x-4"),
    "shape_zero": (*COMPILE, "--shape=x=0x4"),
    "shape_overflow": (*COMPILE, "--shape=x=2x99999999999999999999"),
    "shape_trailing": (*COMPILE, "--shape=x=2x4 "),
    "shape_rank": (*COMPILE, "--shape=x=2x4x1"),
    "shape_twice": (*COMPILE, "--shape=x=2x4", "--shape=x=2x4"),
    "calibrate": (*COMPILE, "--calibrate={model}"),
    "bench": ("bench", "{model}", "--threads=many"),
    "diff": ("diff", "{model}"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(name, tmp_path):
    out = tmp_path / "out"
    model = bad_models.save(tmp_path, bad_models.small())
    done = artifact.call(
        artifact.PARE, *(part.format(model=model, out=out) for part in USAGE[name]), check=False, timeout=20
    )
    check_refused(done)
    assert not out.exists()


def test_help_lists_the_options_of_pare_only():
    for command in ((), ("compile",), ("inspect",), ("bench",), ("diff",), ("eval",), ("tune",), ("optimize",)):
        text = artifact.call(artifact.PARE, *command, "--help").stdout
        assert "pare" in text and len(text.splitlines()) < 100
        assert "  pare " + " ".join(command) in text, "no example"
        for option in ("--help", "--json", "--quiet") if command else ("--help", "--version"):
            assert f"  {option} " in text


def test_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a small disk here")
    try:
        source = bad_models.save(tmp_path, bad_models.small())
        done = artifact.call(artifact.PARE, "compile", source, "-o", disk / "model", "--quiet", check=False)
        check_refused(done, "space")
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return artifact.compile(bad_models.save(folder, bad_models.small()), folder / "small")


RUNS = {
    "wrong_name": ("z={good}", ["z", "x"]),
    "wrong_shape": ("x={shape}", ["x", "[2, 4]"]),
    "wrong_dtype": ("x={dtype}", ["x", "float32"]),
    "no_such_file": ("x=absent.npy", ["absent.npy"]),
    "not_npy": ("x={text}", ["text.npy"]),
    "cut_npy": ("x={cut}", ["cut.npy"]),
    "huge_header": ("x={huge}", ["huge.npy"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_bad_run(name, small, tmp_path):
    files = {key: tmp_path / f"{key}.npy" for key in ("good", "shape", "dtype", "text", "cut", "huge")}
    np.save(files["good"], np.ones((2, 4), np.float32))
    np.save(files["shape"], np.ones((4, 2), np.float32))
    np.save(files["dtype"], np.ones((2, 4), np.float64))
    good = files["good"].read_bytes()
    files["text"].write_text("1, 2, 3, 4\n")
    files["cut"].write_bytes(good[:-5])
    files["huge"].write_bytes(good.replace(b"(2, 4), }" + b" " * 18, b"(9999999999, 9999999999), }"))
    assert files["huge"].read_bytes() != good
    value, expected = RUNS[name]
    out = tmp_path / "out.npz"
    done = artifact.call(
        small, "run", "--quiet", "--input", value.format(**files), "--output", out, check=False, timeout=20
    )
    check_refused(done, *expected)
    assert not out.exists()


@pytest.mark.parametrize(
    "shape", ("2x-4", "0x4", "2x99999999999999999999", "2x4x", "2x4 ", "x4", "2", "2x4x1", "2x5", "9x4", "nx4", "")
)
def test_bad_bench_shape(shape, tmp_path):
    source = bad_models.save(tmp_path, bad_models.small())
    binary = artifact.compile(source, tmp_path / "dynamic", "--shape=x=n:1..8x4")
    for command in ((binary, "bench"), (artifact.PARE, "bench", binary)):
        done = artifact.call(*command, "--runs=1", f"--shape=x={shape}", check=False, timeout=20)
        check_refused(done, "--shape", "1 to 8" if shape in ("0x4", "9x4") else "[n, 4]")
        check_refused(artifact.call(*command, "--shape=z=2x4", check=False, timeout=20), "z=2x4")


def test_shapes_beyond_the_memory(tmp_path):
    """One line in place of the kernel's SIGKILL."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m", 4])
    source = bad_models.save(tmp_path, bad_models.small(inputs=[x]))
    binary = artifact.compile(source, tmp_path / "huge", "--shape=x=n:1..1000000000xm:1..1000000x4")
    assert artifact.run(binary, {"x": np.ones((2, 5, 4), np.float32)})["y"].shape == (2, 5, 3)
    done = artifact.call(binary, "bench", "--runs=1", "--shape=x=1000000000x1000000x4", check=False, timeout=20)
    check_refused(done, "out of memory", "16000000000000000 bytes")


def test_unexpected_argument(small):
    for command in ("info", "bench", "run"):
        check_refused(artifact.call(small, command, "extra", check=False, timeout=20), "extra", "--help")


def test_missing_input(small, tmp_path):
    check_refused(artifact.call(small, "run", "--quiet", "--output", tmp_path / "o.npz", check=False), "x")


def test_run_cannot_write(small, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    done = artifact.call(
        small, "run", "--quiet", "--input", f"x={tmp_path}/x.npy", "--output", tmp_path / "absent" / "o.npz",
        check=False,
    )
    check_refused(done, "absent")


def test_length_beyond_the_bound(compiled, tmp_path):
    binary = compiled(MINILM)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        np.save(tmp_path / f"{name}.npy", np.ones((1, 5000), np.int64))
    inputs = [f"--input={n}={tmp_path}/{n}.npy" for n in ("input_ids", "attention_mask", "token_type_ids")]
    done = artifact.call(binary, "run", "--quiet", *inputs, "--output", tmp_path / "o.npz", check=False)
    check_refused(done, "5000")
