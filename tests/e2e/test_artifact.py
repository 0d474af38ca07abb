"""The file itself: same bytes, static, small, quick to start, honest about itself."""

import json
import statistics
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from oracle import artifact
from oracle.models import MAGIKA, MINILM, MODELS

MIB = 1 << 20
INT8 = "--quantize=int8"


def program_headers(path):
    """Types of an ELF file's program headers."""
    with open(path, "rb") as file:
        header = file.read(64)
        offset, size, count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        table = file.read(size * count)
    return [struct.unpack_from("<I", table, i * size)[0] for i in range(count)]


def section(path, name):
    """The bytes of an ELF file's section, decompressed, and the size that they take in the file."""
    data = path.read_bytes()
    at, size, count, names = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
    compressed = 0x800
    for header in headers:
        start = headers[names][4] + header[0]
        if data[start : data.index(0, start)] == name.encode():
            body = data[header[4] : header[4] + header[5]]
            # Elf64_Chdr: 24 bytes, the first of them the method; 1 is zlib.
            if header[2] & compressed:
                assert struct.unpack_from("<I", body)[0] == 1
                return zlib.decompress(body[24:]), len(body)
            return body, len(body)
    raise AssertionError(f"{path} has no section {name}")


def info(binary, *flags):
    return json.loads(artifact.call(binary, "info", "--json", *flags).stdout)


@pytest.mark.parametrize("model", (MINILM, MAGIKA), ids=lambda m: m.name)
@pytest.mark.parametrize("precision", ("none", "int8"))
def test_two_compiles_give_the_same_bytes(model, precision, compiled, tmp_path):
    flags = [f"--quantize={precision}"]
    again = artifact.compile(model.source, tmp_path / "again", *flags)
    assert again.read_bytes() == compiled(model, *flags).read_bytes()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_static_and_small_without_weights(model, compiled):
    binary = compiled(model, *model.dynamic)
    interpreter, dynamic = 3, 2
    assert not {interpreter, dynamic} & set(program_headers(binary))
    assert binary.stat().st_size - info(binary)["weights_bytes"] <= MIB


@pytest.mark.parametrize("kind", ("exe", "lib"))
def test_graph_is_kept_small(kind, tmp_path):
    binary = artifact.compile(MAGIKA.source, tmp_path / "m", f"--emit={kind}")
    text, size = section(binary.with_suffix(".so") if kind == "lib" else binary, ".pare.graph")
    assert size < len(text) / 4
    graph = tmp_path / "graph.mlir"
    graph.write_bytes(text)
    printed = artifact.call(artifact.PARE.with_name("pare-opt"), graph).stdout
    assert "func.func @main" in printed and "nn.matmul" in printed


def test_info_names_the_interface(compiled):
    known = info(compiled(MINILM))
    assert {i["name"] for i in known["inputs"]} == {"input_ids", "attention_mask", "token_type_ids"}
    assert [o["name"] for o in known["outputs"]] == ["last_hidden_state"]


def test_verify_finds_a_damaged_weight(compiled, tmp_path):
    binary = compiled(MAGIKA)
    artifact.call(binary, "info", "--verify")
    data = bytearray(binary.read_bytes())
    data[-info(binary)["weights_bytes"] // 2] ^= 1  # weights end the file
    damaged = tmp_path / "damaged"
    damaged.write_bytes(data)
    damaged.chmod(0o755)
    done = artifact.call(damaged, "info", "--verify", check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_start_to_first_embedding(compiled):
    binary, times = compiled(MINILM, INT8), []
    for _ in range(9):
        start = time.perf_counter()
        artifact.call(binary, "embed", "a short sentence")
        times.append(time.perf_counter() - start)
    # The promise is 30 ms (benchmarks/models); other work may share this machine.
    assert statistics.median(times) <= 0.1


def test_peak_memory(compiled):
    binary = compiled(MINILM, *artifact.shape_flags(MINILM.shapes((1, 128))))
    measured = artifact.bench(binary, 1, "--runs", 3)
    assert measured["peak_rss_bytes"] <= info(binary)["weights_bytes"] + 20 * MIB


def test_compile_time(tmp_path):
    start = time.perf_counter()
    artifact.compile(MINILM.source, tmp_path / "m", INT8)
    assert time.perf_counter() - start <= 30  # the promise is 10 s on an idle machine


def test_aarch64_under_qemu(compiled):
    flags = list(artifact.shape_flags(MINILM.shapes((1, 32))))
    feeds = MINILM.feeds(1, 32)
    want = artifact.run(compiled(MINILM, *flags), feeds)["last_hidden_state"]
    other = compiled(MINILM, "--target=aarch64", *flags)
    got = artifact.run(other, feeds, launcher=["qemu-aarch64"])["last_hidden_state"]
    assert artifact.scaled_error(got, want) <= 1e-4


def test_aarch64_embeds_as_x86_does(compiled):
    other = compiled(MINILM, "--target=aarch64")
    done = artifact.call("qemu-aarch64", other, "embed", "a short sentence")
    want = artifact.embed(compiled(MINILM), ["a short sentence"])[0]
    np.testing.assert_allclose(json.loads(done.stdout)["embedding"], want, atol=1e-5)


def test_aarch64_int8_under_qemu(compiled):
    """Activations are rounded where sums differ in the last bit, so this is not to 1e-4."""
    feeds = MINILM.feeds(1, 32)
    want = artifact.run(compiled(MINILM, INT8), feeds)["last_hidden_state"]
    other = compiled(MINILM, INT8, "--target=aarch64+dotprod")
    got = artifact.run(other, feeds, launcher=["qemu-aarch64"])["last_hidden_state"]
    assert (got * want).sum() / np.linalg.norm(got) / np.linalg.norm(want) > 0.99


@pytest.mark.skipif("avx512_vnni" in Path("/proc/cpuinfo").read_text(), reason="this CPU can run it")
def test_cpu_that_cannot_run_it(compiled):
    binary = compiled(MAGIKA, "--target=x86-64-v4+avx512vnni")
    for command in (("info",), ("bench",), ("run", "--input", "bytes=absent.npy")):
        done = artifact.call(binary, *command, check=False)
        assert done.returncode == 1 and not done.stdout
        assert len(done.stderr.splitlines()) == 1 and "AVX-512" in done.stderr, done.stderr


def test_bench_reports_latency(compiled):
    measured = artifact.bench(compiled(MAGIKA), 2, "--runs", 5, "--profile")
    assert 0 < measured["min_ms"] <= measured["p50_ms"] <= measured["p90_ms"]
    assert measured["threads"] == 2 and len(measured["steps"]) > 3
