"""Timing tables and providers of kernels: `pare tune`, `--timings`, `--kernels`."""

import json
import re

import pytest

from oracle import artifact
from oracle.models import BUILD, MINILM, RECOGNIZER

# Agreement of two providers' f32 kernels, as a share of the output's scale.
TOLERANCE = 1e-4
RUNTIME = BUILD / "lib" / "pare" / "x86_64-linux-gnu"
SHIPPED = BUILD / "lib" / "pare" / "timings" / "x86-64-v3.txt"

needs_onednn = pytest.mark.skipif(
    not (RUNTIME / "libpare_onednn.a").exists(), reason="built without oneDNN"
)


def pare(*arguments, check=True):
    return artifact.call(artifact.PARE, *arguments, check=check)


def compile_json(out, *flags, model=MINILM):
    command = ("compile", model.source, "-o", out, "--target=x86-64-v3", "--json", "--quiet")
    return json.loads(pare(*command, *flags).stdout)


def timings(path, rows):
    path.write_text("target x86-64-v3\nmachine a test\ndate 2026-01-01\n" + rows)
    return f"--timings={path}"


def test_tune_writes_a_table_that_compile_reads(tmp_path):
    table = tmp_path / "here.txt"
    done = pare("tune", "--quick", "--target=x86-64-v3", "-o", table)
    assert f"{table}: timings of " in done.stderr
    rows = [line.split() for line in table.read_text().splitlines() if line.startswith("matmul ")]
    assert {"f32", "int8"} <= {row[1] for row in rows}
    assert all(len(row) == 7 and int(row[6]) > 0 for row in rows)
    # More rows of one product take longer.
    time = {tuple(row[:6]): int(row[6]) for row in rows}
    assert (
        time["matmul", "f32", "512", "384", "1536", "generated"]
        > 5 * time["matmul", "f32", "1", "384", "1536", "generated"]
    )
    compile_json(tmp_path / "model", "--quantize=int8", f"--timings={table}")


def test_int8_follows_the_timing_table(tmp_path):
    """Where the table says that float is faster, float stays, and the reason has its numbers."""
    slow = timings(
        tmp_path / "slow.txt",
        "matmul f32 64 384 384 generated 1000\nmatmul int8 64 384 384 generated 2000\n",
    )
    tensors = compile_json(tmp_path / "model", "--quantize=int8", slow)["tensors"]
    products = [t for t in tensors if "float is faster here" in t["reason"]]
    assert products and all(t["format"] == "f32" for t in products)
    for tensor in products:
        real, integer = re.search(r"([\d.]+) us against ([\d.]+) us", tensor["reason"]).groups()
        assert float(integer) == pytest.approx(2 * float(real), rel=0.01)


def test_same_table_same_bytes(tmp_path):
    flags = ["--quantize=int8", f"--timings={SHIPPED}"]
    for name in "ab":
        compile_json(tmp_path / name, *flags)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("matmul f32 1 2\n", "expected op, format, M, K, N, provider, nanoseconds"),
        ("", "not a table of kernel timings"),
        ("target aarch64\n", "measured for target aarch64, not for x86-64-v3"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, text, words):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    done = pare("compile", MINILM.source, "-o", tmp_path / "m", "--target=x86-64-v3",
                f"--timings={path}", check=False)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "m").exists()


@needs_onednn
@pytest.mark.parametrize(
    ("model", "cases", "steps"),
    [(MINILM, ((1, 37), (2, 5)), 24), (RECOGNIZER, ((1, 320), (2, 97)), 46)],
    ids=["minilm", "recognizer"],
)
def test_onednn_computes_the_same(tmp_path, compiled, model, cases, steps):
    """Products and convolutions with what is fused into them, other shapes included."""
    report = compile_json(tmp_path / "model", "--kernels=onednn", *model.dynamic, model=model)
    chosen = [c for c in report["choices"] if c["provider"] == "onednn"]
    assert len(chosen) >= steps
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "libdnnl.so.3", "libgomp.so.1", "model",
    ]
    for case in cases:
        feeds = model.feeds(*case)
        want = artifact.run(compiled(model, *model.dynamic), feeds)
        for threads in (1, 2):
            got = artifact.run(tmp_path / "model", feeds, f"--threads={threads}")
            for name in want:
                assert artifact.scaled_error(got[name], want[name]) < TOLERANCE
    info = json.loads(artifact.call(tmp_path / "model", "info", "--json").stdout)
    assert info["onednn_steps"] == len(chosen)
    assert "needs libdnnl.so.3" in artifact.call(tmp_path / "model", "info").stdout


@needs_onednn
def test_int8_is_exact_or_not_by_onednn(tmp_path):
    """Its int8 kernels saturate without VNNI: each product says so."""
    report = compile_json(tmp_path / "model", "--kernels=onednn", "--quantize=int8")
    reasons = {c["reason"] for c in report["choices"] if " us" not in c["reason"]}
    assert any("saturate" in reason for reason in reasons)
    assert not any("int8" in c["op"] and c["provider"] == "onednn" for c in report["choices"])


@needs_onednn
@pytest.mark.parametrize("winner", ["generated", "onednn"])
def test_auto_takes_the_faster_kernel(tmp_path, winner):
    table = timings(
        tmp_path / "t.txt",
        "".join(
            f"matmul f32 64 384 384 {provider} {1000 if provider == winner else 2000}\n"
            for provider in ("generated", "onednn")
        ),
    )
    report = compile_json(tmp_path / "model", "--kernels=auto", table)
    assert report["choices"]
    assert {c["provider"] for c in report["choices"]} == {winner}
    assert all(" us, onednn " in c["reason"] for c in report["choices"])
    assert (tmp_path / "libdnnl.so.3").exists() == (winner == "onednn")
    assert bool(report["libraries"]) == (winner == "onednn")


def test_generated_kernels_need_no_library(compiled):
    info = json.loads(artifact.call(compiled(MINILM), "info", "--json").stdout)
    assert info["onednn_steps"] == 0
