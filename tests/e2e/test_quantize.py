"""Weights in formats of few bits: --quantize, --rule, --method and --calibrate."""

import json
import re

import numpy as np
import pytest

import bad_models
from oracle import artifact, corpus, decoders
from oracle.models import MINILM
from test_bad_input import check_refused
from test_chat import add_tokenizer

NEAREST = "--method=nearest"


def pare(*arguments, check=True, **options):
    return artifact.call(artifact.PARE, *arguments, check=check, **options)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(*flags): MiniLM compiled with them, and what `pare compile --json` says; each once."""
    made, folder = {}, tmp_path_factory.mktemp("quantized")

    def get(*flags):
        if flags not in made:
            out = folder / f"{len(made)}"
            made[flags] = out, json.loads(pare("compile", MINILM.source, "-o", out, "--json", *flags).stdout)
        return made[flags]

    return get


@pytest.fixture(scope="module")
def cosines(make):
    """cosines(artifact): of held-out sentences' embeddings with those of f32."""
    texts = corpus.spread(corpus.sentences()[1::2], 40)
    exact = artifact.embed(make()[0], texts)
    return lambda binary: (artifact.embed(binary, texts).astype(np.float64) * exact).sum(-1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A text file that shares no sentence with those of `cosines`."""
    path = tmp_path_factory.mktemp("samples") / "samples.txt"
    path.write_text("".join(f"{text}\n" for text in corpus.spread(corpus.sentences()[::2], 64)))
    return path


def rows_of(report):
    return {row["tensor"]: row for row in report["tensors"]}


def products_of(report):
    return [row for row in report["tensors"] if row["tensor"].startswith("encoder.")]


# Format: its name in tables, bits per weight, least mean and worst cosine.
FORMATS = {
    "int4": ("int4_g32", 4.5, 0.955, 0.93),
    "nf4_g64": ("nf4_g64", 4.25, 0.95, 0.92),
    "uint3_g32": ("uint3_g32", 3.59375, 0.87, 0.80),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, make, cosines):
    """Every tensor is listed with its format, bits, error and reason, and takes them in the file."""
    format, bits, mean, worst = FORMATS[name]
    binary, report = make(f"--quantize={name}", NEAREST)
    found = cosines(binary)
    assert found.mean() >= mean and found.min() >= worst
    assert found.mean() < 1 - 1e-7

    rows = products_of(report)
    assert len(rows) == 36
    for row in rows:
        elements = np.prod(row["shape"])
        assert row["format"] == f"{format}, {bits:.2f} bits"
        assert row["bytes_before"] == 4 * elements
        # Before it is packed a zero point may fill a byte.
        assert elements * bits / 8 <= row["bytes_after"] <= elements * bits / 8 * 1.05
        assert 0 < row["weight_error"] < 0.3
        assert row["reason"].startswith("rounded to nearest; activations")
    by_name = rows_of(report)
    table = by_name["embeddings.word_embeddings.weight"]
    assert table["format"] == "int8_g32, 8.50 bits" and "rows are looked up" in table["reason"]
    kept = by_name["embeddings.position_embeddings.weight"]
    assert kept["format"] == "f32" and kept["reason"] and kept["weight_error"] == 0
    assert kept["bytes_before"] == kept["bytes_after"]

    _, plain = make()
    weights = sum(np.prod(row["shape"]) for row in rows) * (4 - bits / 8) + np.prod(table["shape"]) * (4 - 8.5 / 8)
    assert plain["weight_bytes"] - report["weight_bytes"] == pytest.approx(weights, rel=0.005)
    assert plain["file_bytes"] - binary.stat().st_size == pytest.approx(weights, rel=0.02)


def test_fewer_bits_lose_more(make, cosines):
    four, three = (make(f"--quantize={name}", NEAREST) for name in ("int4", "uint3_g32"))
    assert cosines(four[0]).mean() > cosines(three[0]).mean()
    for a, b in zip(products_of(four[1]), products_of(three[1])):
        assert a["weight_error"] < b["weight_error"]
    assert four[1]["file_bytes"] > three[1]["file_bytes"]


def test_the_table_says_what_json_says(make, tmp_path):
    _, report = make("--quantize=int4", NEAREST)
    lines = pare("compile", MINILM.source, "-o", tmp_path / "model", "--quantize=int4", NEAREST).stdout.splitlines()
    assert lines[0].split() == ["tensor", "shape", "format", "before", "after", "error", "reason"]
    for row, line in zip(report["tensors"], lines[1:]):
        cells = re.split(r"\s\s+", line)
        assert cells[0] == row["tensor"] and cells[2] == row["format"] and cells[-1] == row["reason"]
        assert float(cells[5]) == pytest.approx(row["weight_error"], abs=1e-5)
    assert (tmp_path / "model").read_bytes() == make("--quantize=int4", NEAREST)[0].read_bytes()


# The first layer but for its second product, whose inputs are many.
CALIBRATED = ("--rule=encoder.layer.0.[ai]*=uint3_g32",)


def test_calibration_loses_less(make, cosines, samples):
    """GPTQ at 3 bits of one layer, on sentences that it never saw."""
    nearest = cosines(make(*CALIBRATED, NEAREST)[0])
    binary, report = make(*CALIBRATED, "--method=gptq", f"--calibrate={samples}")
    assert 1 - cosines(binary).mean() < 0.8 * (1 - nearest.mean())
    reasons = {row["reason"].split(";")[0] for row in products_of(report) if row["format"] != "f32"}
    assert reasons == {"GPTQ"}


def test_the_same_bytes_on_any_threads(make, samples, tmp_path):
    flags = [*CALIBRATED, f"--calibrate={samples}", "--calibrate-texts=8"]
    for name, launcher in (("all", ()), ("one", ("taskset", "-c", "0"))):
        artifact.call(*launcher, artifact.PARE, "compile", MINILM.source, "-o", tmp_path / name, "--quiet", *flags)
    one, all = (tmp_path / name for name in ("one", "all"))
    assert one.read_bytes() == all.read_bytes()
    _, report = make(*CALIBRATED, NEAREST)
    assert one.stat().st_size == pytest.approx(report["file_bytes"], rel=0.001)
    assert one.read_bytes() != make(*CALIBRATED, NEAREST)[0].read_bytes()


def test_rules(make):
    """Rules win over --quantize, later ones over earlier ones."""
    _, report = make("--quantize=int4", NEAREST, "--rule=encoder.layer.0.*=int6", "--rule=encoder.layer.0.output.*=none",
                     "--rule=*.word_embeddings.weight=uint4_g64")
    formats = {name: row["format"].split(",")[0] for name, row in rows_of(report).items()}
    assert formats["encoder.layer.0.intermediate.dense.weight"] == "int6_g32"
    assert formats["encoder.layer.0.output.dense.weight"] == "f32"
    assert rows_of(report)["encoder.layer.0.output.dense.weight"]["reason"] == "as asked for"
    assert formats["encoder.layer.1.output.dense.weight"] == "int4_g32"
    assert formats["embeddings.word_embeddings.weight"] == "uint4_g64"


def decoder(folder):
    """A small language model with random weights."""
    folder.mkdir()
    decoders.make("llama3", folder, [1])
    add_tokenizer(folder, "")
    return folder


def test_language_model(tmp_path):
    """KL divergence from the source, on text that nothing was calibrated on."""
    source = decoder(tmp_path / "source")
    random = np.random.default_rng(5)
    for name, count in (("samples.txt", 4000), ("held.txt", 1000)):
        (tmp_path / name).write_text("".join(chr(c) for c in random.integers(97, 123, count)))
    exact = artifact.compile(source, tmp_path / "exact", "--activations=f32", "--kv-cache=f32")
    kl = {}
    for method, *flags in (["nearest"], ["descent", "--calibrate", tmp_path / "samples.txt", "--calibrate-tokens=2048"]):
        pare("compile", source, "-o", tmp_path / method, "--quiet", "--quantize=int3", f"--method={method}", *flags)
        kl[method] = json.loads(pare("eval", tmp_path / method, "--against", exact, "--data", tmp_path / "held.txt",
                                     "--context=128", "--json", "--quiet").stdout)["kl"]["value"]
    assert kl["nearest"] > 1e-3
    assert kl["descent"] < 0.8 * kl["nearest"]


def mean_bits(rows):
    return 8 * sum(row["bytes_after"] for row in rows) / sum(np.prod(row["shape"]) for row in rows)


def test_bits_are_spent_where_they_count(make, cosines, samples):
    """Formats weight by weight: as many bits on average, and closer to f32 than one format; rules win."""
    rule = "--rule=*embeddings*=int8"
    uniform, report = make("--quantize=int3_g32_k6x384", rule, NEAREST)
    bits = mean_bits(products_of(report))
    mixed, report = make(f"--bits={bits + 0.001}", rule, f"--calibrate={samples}", NEAREST)
    rows = products_of(report)
    assert bits - 0.1 < mean_bits(rows) <= bits + 0.001
    assert len({row["format"] for row in rows}) > 2
    assert all("chosen" in row["reason"] for row in rows)
    assert rows_of(report)["embeddings.word_embeddings.weight"]["format"].startswith("int8_g32")
    assert cosines(mixed).mean() > cosines(uniform).mean() + 0.005


def test_size_is_of_all_weights(make):
    binary, report = make("--size=12MB", "--recipe=fast")
    tensors = sum(row["bytes_after"] for row in report["tensors"])
    assert 11.7e6 < tensors < 12e6
    assert binary.stat().st_size < 12e6 + 1e6


def test_less_loss_takes_more_bytes(make, cosines, samples):
    found = []
    for drop in ("20%", "2%"):
        binary, report = make(f"--max-drop={drop}", f"--calibrate={samples}")
        found.append((sum(row["bytes_after"] for row in report["tensors"]), cosines(binary).mean()))
    assert found[0][0] < found[1][0] and found[0][1] < found[1][1]
    # Half the square of the distance of unit vectors.
    assert found[1][1] > 1 - 0.02 / 2


@pytest.mark.parametrize("flag, words", {
    "--bits=1.5": ["1.5 bits per weight are too few", "the least here is 2."],
    "--size=1MB": ["1000000 bytes are too few for all weights", "the least here is "],
    "--max-drop=1e-9": ["a loss of 1e-09 is too small", "the least here is "],
}.items())
def test_impossible_budgets(flag, words, tmp_path):
    done = pare("compile", MINILM.source, "-o", tmp_path / "model", "--quiet", flag, check=False)
    check_refused(done, *words)
    assert not list(tmp_path.iterdir())


NAN = np.full((2, 4), np.nan, np.float32)
BAD = {
    "format": (["--quantize=int9"], ["--quantize: unknown format 'int9'", "int4", "nf4"]),
    "group": (["--quantize=uint4_g31"], ["unknown format 'uint4_g31'"]),
    "rule_format": (["--rule=w=float7"], ["--rule w=float7", "unknown format 'float7'"]),
    "rule_without_format": (["--rule=w"], ["--rule w", "PATTERN=FORMAT"]),
    "rule_without_pattern": (["--rule==int4"], ["--rule =int4", "PATTERN=FORMAT"]),
    "rule_pattern": (["--rule=[w=int4"], ["--rule [w=int4"]),
    "rule_matches_nothing": (["--rule=vv=int4"], ["--rule vv=int4", "no weight has such a name; near it: "]),
    "method": (["--quantize=int4", "--method=guess"], ["guess"]),
    "method_alone": (["--method=gptq"], ["--method", "--quantize"]),
    "method_of_int8": (["--quantize=int8", "--method=gptq"], ["--method", "--quantize"]),
    "bits_and_quantize": (["--quantize=int4", "--bits=4"], ["--bits", "--quantize", "--rule"]),
    "two_budgets": (["--size=1MB", "--bits=4"], ["--bits and --size"]),
    "bits": (["--bits=many"], ["--bits many", "4.25"]),
    "no_bits": (["--bits=0"], ["--bits 0"]),
    "size": (["--size=60XB"], ["--size 60XB", "60MB"]),
    "drop": (["--max-drop=-1%"], ["--max-drop -1%", "0.5%"]),
    "recipe": (["--quantize=int4", "--recipe=bets"], ["bets"]),
    "recipe_alone": (["--recipe=best"], ["--recipe", "--quantize"]),
    "fast_with_samples": (["--quantize=int4", "--recipe=fast", "--calibrate={folder}/x.npz"], ["--calibrate", "--recipe"]),
    "nearest_with_samples": (["--quantize=int4", "--method=nearest", "--calibrate={folder}/x.npz"], ["--calibrate", "--method"]),
    "calibrate_alone": (["--calibrate={folder}/x.npz"], ["--calibrate", "--quantize"]),
    "tokens_alone": (["--quantize=int4", "--calibrate-tokens=64"], ["--calibrate-tokens", "--calibrate"]),
    "seed_alone": (["--quantize=int4", "--calibrate-seed=1"], ["--calibrate-seed", "--calibrate"]),
    "keep_float": (["--quantize=int4", "--keep-float=w"], ["--keep-float", "--rule"]),
    "empty": (["--quantize=int4", "--calibrate={folder}/empty.npz"], ["empty.npz"]),
    "empty_text": (["--quantize=int4", "--calibrate={folder}/empty.txt"], ["empty.txt"]),
    "absent": (["--quantize=int4", "--calibrate={folder}/absent.npz"], ["absent.npz"]),
    "nan": (["--quantize=int4", "--calibrate={folder}/nan.npz"], ["nan.npz", "'x'", "8 values", "NaN"]),
    "shape": (["--quantize=int4", "--calibrate={folder}/shape.npz"], ["shape.npz", "'x'"]),
    "dtype": (["--quantize=int4", "--calibrate={folder}/dtype.npz"], ["dtype.npz", "'x' is not f32"]),
    "name": (["--quantize=int4", "--calibrate={folder}/name.npz"], ["name.npz", "no array 'x'"]),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder with a small model and data that do not fit it."""
    folder = tmp_path_factory.mktemp("bad")
    bad_models.save(folder, bad_models.small())
    np.savez(folder / "x.npz", x=np.ones((2, 4), np.float32))
    np.savez(folder / "nan.npz", x=NAN)
    np.savez(folder / "shape.npz", x=np.ones((2, 5), np.float32))
    np.savez(folder / "dtype.npz", x=np.ones((2, 4)))
    np.savez(folder / "name.npz", z=np.ones((2, 4), np.float32))
    for name in ("empty.npz", "empty.txt"):
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_requests(name, bad, tmp_path):
    flags, words = BAD[name]
    [model] = bad.glob("*.onnx")
    done = pare("compile", model, "-o", tmp_path / "model", "--quiet", *(flag.format(folder=bad) for flag in flags),
                check=False, timeout=60)
    check_refused(done, *words)
    assert not list(tmp_path.iterdir())


def test_bad_texts(bad, tmp_path):
    """An empty file, and one with nothing but blanks, for a model that takes texts."""
    (tmp_path / "blank.txt").write_text(" \n\n")
    for file in (bad / "empty.txt", tmp_path / "blank.txt"):
        done = pare("compile", MINILM.source, "-o", tmp_path / "model", "--quiet", "--quantize=int4",
                    f"--calibrate={file}", check=False)
        check_refused(done, "--calibrate: ", file.name, "is empty")
        assert not (tmp_path / "model").exists()


def test_a_rule_names_what_is_near(tmp_path):
    done = pare("compile", MINILM.source, "-o", tmp_path / "model", "--quiet",
                "--rule=encoder.layer.0.output.dens.weight=int8", check=False)
    check_refused(done, "no weight has such a name; near it: 'encoder.layer.0.output.dense.weight'")
    assert not (tmp_path / "model").exists()


def test_parts_of_a_merged_product(tmp_path):
    """Query, key and value are one product: they have one format."""
    flags = ["compile", MINILM.source, "-o", tmp_path / "model", "--quiet", "--quantize=int4", NEAREST]
    done = pare(*flags, "--rule=*.0.attention.self.query.*=int8", check=False)
    check_refused(done, "encoder.layer.0.attention.self.query.weight", "give them one format")
    done = pare(*flags[:4], "--json", *flags[5:], "--rule=*.0.attention.self.*=int8_g64")
    rows = rows_of(json.loads(done.stdout))
    for name in ("query", "key", "value"):
        row = rows[f"encoder.layer.0.attention.self.{name}.weight"]
        assert row["shape"] == [384, 384] and row["format"].startswith("int8_g64")
