"""pare and what it compiles, run as a user runs them."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .models import BUILD

PARE = BUILD / "bin" / "pare"


def call(*command, check=True, **options):
    """Runs a command with text streams; with `check`, its error is the failure's."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, **{"timeout": 600, **options},
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    return done


def shape_flags(shapes):
    """--shape flags that fix every input."""
    for name, shape in shapes.items():
        yield f"--shape={name}={'x'.join(map(str, shape))}"


def compile(source, out, *flags):
    """`pare compile`; the artifact's path."""
    call(PARE, "compile", source, "-o", out, "--quiet", *flags)
    return Path(out)


def run(artifact, feeds, *flags, launcher=()):
    """`artifact run` on arrays by name; its outputs by name. `launcher`: what
    runs it, such as qemu-aarch64."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*launcher, artifact, "run", "--quiet", *flags]
        for i, (name, array) in enumerate(feeds.items()):
            file = Path(folder, f"{i}.npy")
            np.save(file, array)
            command += ["--input", f"{name}={file}"]
        out = Path(folder, "out.npz")
        call(*command, "--output", out)
        with np.load(out) as arrays:
            return dict(arrays)


def run_picture(artifact, picture):
    """`artifact run` on a picture, for a model with one input; its outputs by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.npz")
        call(artifact, "run", "--quiet", "--input", picture, "--output", out)
        with np.load(out) as arrays:
            return dict(arrays)


def bench(artifact, threads, *flags):
    """`artifact bench --json`: latency in milliseconds and more."""
    return json.loads(call(artifact, "bench", "--json", "--threads", threads, *flags).stdout)


def embed(artifact, texts, *flags):
    """`artifact embed` on lines; unit vectors, [texts, hidden]."""
    done = subprocess.run(
        [str(artifact), "embed", *flags], input="".join(f"{t}\n" for t in texts),
        capture_output=True, text=True, timeout=600,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert [row["text"] for row in rows] == list(texts)
    return np.array([row["embedding"] for row in rows], np.float32)


def scaled_error(got, want):
    """Largest difference as a share of the output's scale, max |want|."""
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    assert np.isfinite(got).all()
    return float(np.abs(got - want).max() / np.abs(want).max())
