"""GGUF files against the gguf package: what blocks decode to, and files that
are taken apart and written again.
"""

import json
import subprocess
from collections import Counter

import gguf
import numpy as np
import pytest
from oracle import artifact, language_models, models

DECODE = models.BUILD / "bin" / "gguf-decode"
PLAIN = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I8": np.int8, "I16": np.int16,
         "I32": np.int32, "I64": np.int64}
BLOCKS = ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
          "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0"]


def decode(path):
    """Every element of every tensor as pare decodes it."""
    return np.frombuffer(subprocess.run([DECODE, "decode", path], capture_output=True, check=True).stdout, np.float32)


def check_decoding(path):
    """Exactly what the gguf package gives, NaN for NaN."""
    values, at = decode(path), 0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type.name in PLAIN:
            wanted = np.asarray(tensor.data, np.float32).ravel()
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                wanted = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).ravel()
        got = values[at:at + wanted.size]
        at += wanted.size
        differ = ~((got == wanted) | (np.isnan(got) & np.isnan(wanted)))
        assert not differ.any(), f"{tensor.name} {tensor.tensor_type.name}: {differ.sum()} of {differ.size} differ"
    assert at == values.size


def check_rewriting(path, copy):
    """Blocks to planes and back, metadata and all: the same file."""
    subprocess.run([DECODE, "rewrite", path, copy], check=True)
    assert copy.read_bytes() == path.read_bytes()


def canonical_ternary(rng, blocks):
    """TQ1_0 blocks with bytes that an encoder writes."""
    digits = rng.integers(0, 243, (blocks, 54))
    digits[:, 48:] = rng.integers(0, 81, (blocks, 6)) * 3
    data = ((digits * 256 + 242) // 243).astype(np.uint8)
    data[:, 52:] = rng.integers(0, 256, (blocks, 2))
    return data


@pytest.fixture
def random_file(tmp_path):
    """A file by the gguf package's own writer: random bits in every type that
    pare reads, metadata of every kind."""
    rng = np.random.default_rng(3)
    path = tmp_path / "random.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("a.u8", 255)
    writer.add_int8("a.i8", -1)
    writer.add_uint16("a.u16", 65535)
    writer.add_int16("a.i16", -1)
    writer.add_uint64("a.u64", 2**64 - 1)
    writer.add_int64("a.i64", -(2**63))
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "é\n😀")
    writer.add_array("a.array", [[1, 2], [3]])
    writer.add_array("a.strings", ["x", "", "yz"])
    for name, dtype in PLAIN.items():
        values = rng.normal(0, 40, (3, 32))
        writer.add_tensor(f"plain.{name}", values.astype(dtype))
    for name in BLOCKS:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = 64 * 256 // elements
        if name == "TQ1_0":
            data = canonical_ternary(rng, blocks)
        else:
            data = rng.integers(0, 256, (blocks, size), np.uint8)
        writer.add_tensor(f"blocks.{name}", data.reshape(16, -1), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_random_blocks_decode_as_the_gguf_package_does(random_file):
    check_decoding(random_file)


def test_random_blocks_survive_rewriting(random_file, tmp_path):
    check_rewriting(random_file, tmp_path / "copy.gguf")


@pytest.mark.parametrize("path", language_models.gguf_files(), ids=lambda path: path.stem)
def test_real_files(path, tmp_path):
    check_decoding(path)
    check_rewriting(path, tmp_path / "copy.gguf")


def test_parts_are_one_file(tmp_path):
    """The parts of Gemma as its packages ship them, side by side."""
    whole = language_models.gguf_files()[1]
    for part in language_models.gemma3_parts():
        (tmp_path / part.name).symlink_to(part)
    copy = tmp_path / "copy.gguf"
    subprocess.run([DECODE, "rewrite", tmp_path / language_models.gemma3_parts()[0].name, copy], check=True)
    assert copy.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("path", language_models.gguf_files(), ids=lambda path: path.stem)
def test_inspect_shows_what_is_there(path):
    shown = json.loads(artifact.call(artifact.PARE, "inspect", "--json", path).stdout)["file"]
    reader = gguf.GGUFReader(path)
    wanted = {field.name for field in reader.fields.values() if not field.name.startswith("GGUF.")}
    assert set(shown["metadata"]) == wanted
    assert [(t["name"], t["type"], t["bytes"]) for t in shown["tensors"]] == [
        (t.name, t.tensor_type.name, t.n_bytes) for t in reader.tensors
    ]
    assert [t["shape"] for t in shown["tensors"]] == [[int(n) for n in t.shape[::-1]] for t in reader.tensors]
    text = artifact.call(artifact.PARE, "inspect", path).stdout
    rows = {words[0]: int(words[1]) for line in text.splitlines() if (words := line.split()) and words[1:]
            and words[0] in gguf.GGMLQuantizationType.__members__}
    assert rows == Counter(t.tensor_type.name for t in reader.tensors)
