"""Parts left out by --prune: what is there afterwards, what it gives, and what is refused."""

import json
import subprocess

import numpy as np
import pytest
from oracle import artifact, corpus, decoders, language_models, models, quality
from oracle.models import DETECTOR, MINILM, RECOGNIZER
from test_bad_input import check_refused, compile_to


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(source, *flags): the artifact and what `pare compile --json` says; each once."""
    made, folder = {}, tmp_path_factory.mktemp("pruned")

    def get(source, *flags):
        if (source, flags) not in made:
            out = folder / f"{len(made)}"
            done = artifact.call(artifact.PARE, "compile", source, "-o", out, "--json", *flags)
            made[source, flags] = out, json.loads(done.stdout)
        return made[source, flags]

    return get


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "samples.txt"
    path.write_text("".join(f"{text}\n" for text in corpus.spread(corpus.sentences()[::2], 64)))
    return path


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text("\n".join(corpus.sentences())[:20000])
    return path


def info(binary):
    return json.loads(artifact.call(binary, "info", "--json").stdout)


def parts(report, kind):
    return [part for part in report["pruned"]["parts"] if part["kind"] == kind]


def perplexity(binary, text):
    done = artifact.call(binary, "perplexity", text, "--context", "256", "--json", "--quiet")
    return json.loads(done.stdout)["second_half"]["perplexity"]


QUARTER = "--prune=ffn=25%,heads=25%"


def test_encoder_by_norms_and_by_samples(make, sentences):
    texts = corpus.spread(corpus.sentences()[1::2], 40)
    truth = quality.embeddings(texts)
    cosines = {}
    for name, flags in (("weight norms", ()), ("activations", (f"--calibrate={sentences}",))):
        binary, report = make(MINILM.source, QUARTER, *flags)
        ffn, heads = parts(report, "ffn"), parts(report, "heads")
        assert [(part["from"], part["to"]) for part in ffn] == [(1536, 1152)] * 6
        assert [(part["from"], part["to"]) for part in heads] == [(12, 9)] * 6
        assert {part["score"] for part in ffn + heads} == {name}
        assert all(0 < part["lost"] < 0.25 for part in ffn + heads)
        assert info(binary)["metadata"]["pruned"] == report["pruned"]
        shares = report["pruned"]["flops_after"] / report["pruned"]["flops_before"]
        assert 0.74 < shares < 0.77
        cosines[name] = (artifact.embed(binary, texts) * truth).sum(-1).mean()
    assert 0.3 < cosines["weight norms"] < cosines["activations"] - 0.02
    assert cosines["activations"] > 0.86


def test_same_bytes(make, sentences, tmp_path):
    binary, _ = make(MINILM.source, QUARTER, f"--calibrate={sentences}")
    again = artifact.compile(MINILM.source, tmp_path / "again", QUARTER, f"--calibrate={sentences}")
    assert again.read_bytes() == binary.read_bytes()


def test_dropped_layers_take_their_caches(make, prose):
    whole, _ = make(language_models.SMOLLM2)
    binary, report = make(language_models.SMOLLM2, "--prune=layers=6", f"--calibrate={prose}", "--calibrate-tokens=1024")
    gone = parts(report, "layers")
    assert len(gone) == 6 and {part["score"] for part in gone} == {"block influence"}
    assert all(0 < part["lost"] < 0.2 for part in gone)
    assert "layer 29" not in {part["name"] for part in gone}
    before, after = info(whole), info(binary)
    assert after["cache_bytes_per_token"] * 30 == before["cache_bytes_per_token"] * 24
    assert len([t for t in report["tensors"] if t["tensor"].endswith("ffn_up.weight")]) == 24
    assert {t["format"] for t in report["tensors"]} == {"q4_1, 5.00 bits", "q8_0, 8.50 bits"}
    answers = artifact.call(binary, "generate", "The capital of France is", "--temperature", "0", "--max-tokens", "12",
                            "--json", "--quiet")
    assert json.loads(answers.stdout)["text"].strip()
    chat = subprocess.run([binary, "chat", "--temperature", "0", "--max-tokens", "8", "--quiet"], input="Hello!\n",
                          capture_output=True, text=True, timeout=600)
    assert chat.returncode == 0 and chat.stdout.strip(), chat.stderr
    assert perplexity(whole, prose) < perplexity(binary, prose) < 3 * perplexity(whole, prose)


def test_decoder_by_samples(make, prose):
    """A tenth of the hidden units hardly shows where samples choose and the rest is fitted."""
    whole, _ = make(language_models.SMOLLM2)
    binary, report = make(language_models.SMOLLM2, "--prune=ffn=10%", f"--calibrate={prose}", "--calibrate-tokens=4096")
    assert {part["score"] for part in parts(report, "ffn")} == {"activations"}
    assert {t["format"] for t in report["tensors"]} == {"q4_1, 5.00 bits", "q8_0, 8.50 bits"}
    assert perplexity(whole, prose) < perplexity(binary, prose) < 1.6 * perplexity(whole, prose)


def test_heads_and_hidden_units_of_weights_in_blocks(make, prose):
    """Whole blocks keep their bits; what is cut across them is encoded anew."""
    whole, _ = make(language_models.SMOLLM2)
    binary, report = make(language_models.SMOLLM2, "--prune=heads=1,ffn=10%")
    assert [(part["from"], part["to"]) for part in parts(report, "heads")] == [(3, 2)] * 30
    assert [(part["from"], part["to"]) for part in parts(report, "ffn")] == [(1536, 1376)] * 30
    before, after = info(whole), info(binary)
    assert after["cache_bytes_per_token"] * 3 == before["cache_bytes_per_token"] * 2
    shapes = {t["tensor"]: t["shape"] for t in report["tensors"]}
    assert shapes["blk.0.attn_q.weight"] == [384, 576] and shapes["blk.0.attn_output.weight"] == [576, 384]
    assert shapes["blk.7.ffn_down.weight"] == [576, 1376]
    assert {t["format"] for t in report["tensors"]} == {"q4_1, 5.00 bits", "q8_0, 8.50 bits"}
    assert perplexity(binary, prose) > perplexity(whole, prose)


def test_then_quantized(make, sentences):
    binary, report = make(MINILM.source, QUARTER, "--quantize=int8", f"--calibrate={sentences}")
    shapes = {row["tensor"]: row["shape"] for row in report["tensors"]}
    assert shapes["encoder.layer.0.intermediate.dense.weight"] == [1152, 384]
    assert shapes["encoder.layer.3.attention.self.key.weight"] == [288, 384]
    texts = corpus.spread(corpus.sentences()[1::2], 40)
    assert (artifact.embed(binary, texts) * quality.embeddings(texts)).sum(-1).mean() > 0.85


@pytest.mark.parametrize("model, case", [(RECOGNIZER, (1, 320)), (DETECTOR, (1, 96, 160))], ids=["recognizer", "detector"])
def test_filters(model, case, make, tmp_path):
    """Outputs are near those of the whole model; samples help."""
    feeds = model.feeds(*case)
    [want] = models.expected(model, feeds).values()
    samples = quality.calibration(model, tmp_path, [model.feeds(4, *case[1:])["x"][i : i + 1] for i in (1, 2, 3)])
    errors = []
    for flags in ((), (samples,)):
        binary, report = make(model.source, "--prune=filters=25%", *artifact.shape_flags(model.shapes(case)), *flags)
        cut = parts(report, "filters")
        assert len(cut) > 10 and all(part["to"] % 8 == 0 for part in cut if part["to"] < part["from"])
        assert report["pruned"]["flops_after"] < 0.8 * report["pruned"]["flops_before"]
        [got] = artifact.run(binary, feeds).values()
        assert got.shape == want.shape
        errors.append(np.linalg.norm(got - want) / np.linalg.norm(want))
    assert errors[1] < errors[0]


def feeds_of(tokens):
    rows = np.arange(len(tokens), dtype=np.int32)
    return {"tokens": np.array(tokens, np.int32), "positions": rows, "sequences": 0 * rows, "outputs": rows}


TOKENS = [1, 5, 9, 33, 2, 71]


def test_dropped_layer_against_a_model_without_it(make, tmp_path):
    """Without samples the layer before the last goes; mlx-lm runs the other two."""
    decoders.make("llama", tmp_path, TOKENS)
    binary, report = make(tmp_path, "--prune=layers=1", "--kv-cache=f32")
    assert [part["name"] for part in parts(report, "layers")] == ["layer 1"]
    _, config, weights = decoders.create("llama")
    module, _ = decoders.MODELS["llama"]
    source = decoders.load_module(module)
    model = source.Model(source.ModelArgs.from_dict({**config, "num_hidden_layers": 2}))
    kept = {name.replace(".layers.2.", ".layers.1."): weight for name, weight in weights.items() if ".layers.1." not in name}
    [logits] = artifact.run(binary, feeds_of(TOKENS)).values()
    assert artifact.scaled_error(logits, decoders.run(model, kept, TOKENS)) < 1e-4


@pytest.mark.parametrize("name", ["phi3", "gpt-neox", "gpt2", "gemma3", "qwen3-moe-mixed"])
def test_ways_in_which_decoders_are_built(name, make, tmp_path):
    """Query, key and value or gate in one product, heads side by side, windows, experts."""
    decoders.make(name, tmp_path, TOKENS)
    binary, report = make(tmp_path, "--prune=layers=1,heads=1,ffn=8")
    assert all(len(parts(report, kind)) for kind in ("layers", "heads", "ffn"))
    assert all(part["to"] == part["from"] - 1 for part in parts(report, "heads"))
    assert all(part["to"] == part["from"] - 8 for part in parts(report, "ffn"))
    [logits] = artifact.run(binary, feeds_of(TOKENS)).values()
    assert logits.shape == (len(TOKENS), 160) and np.isfinite(logits).all() and logits.std() > 0.1


@pytest.mark.parametrize("source, prune, expected", [
    (MINILM.source, "filters=50%", ["no filters", "heads in 6 places", "ffn in 6 places", "6 layers"]),
    (RECOGNIZER.source, "layers=1000", ["no layers with attention"]),
    (DETECTOR.source, "heads=10%", ["no heads", "filters in 36 places"]),
    (DETECTOR.source, "layers=1", ["no layers with attention"]),
    (MINILM.source, "layers=6", ["of the model's 6 layers at most 5 can go"]),
    (MINILM.source, "layers=1%", ["none of the model's 6 layers"]),
    (MINILM.source, "ffn=1536", ["'encoder.layer.0.intermediate.dense.weight' has 1536"]),
    (MINILM.source, "width=10%", ["layers, heads, ffn or filters"]),
    (MINILM.source, "ffn=100%", ["below 100%"]),
    (MINILM.source, "layers=~9%", ["'~' is for parts of layers"]),
    (MINILM.source, "heads=~3", ["expected a share"]),
    (MINILM.source, "ffn=10%,ffn=20%", ["ffn=10%", "already"]),
])
def test_refused(source, prune, expected, tmp_path):
    done, left = compile_to(tmp_path, source, f"--prune={prune}")
    check_refused(done, "--prune ", *expected)
    assert not left
