"""`pare eval` and the data that it and --calibrate read, against numpy on what artifacts print."""

import json
import re
import struct
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image
from scipy.stats import spearmanr

import bad_models
from oracle import artifact, corpus, decoders, language_models
from oracle.models import BUILD, CLASSIFIER, MINILM
from test_bad_input import check_refused
from test_chat import add_tokenizer

TOKENIZE = BUILD / "tests" / "unit" / "tokenizer" / "pare-tokenize"
CONTEXT = 128
INT8 = "--quantize=int8"


def pare(*arguments, check=True):
    return artifact.call(artifact.PARE, *arguments, check=check)


def evaluate(*arguments):
    return json.loads(pare("eval", *arguments, "--json", "--quiet").stdout)


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    """SmolLM2 with 8-bit activations."""
    return artifact.compile(language_models.SMOLLM2, tmp_path_factory.mktemp("smol") / "smol")


def tokenize(text):
    data = text.encode()
    done = subprocess.run([TOKENIZE, language_models.SMOLLM2], input=struct.pack("<I", len(data)) + data,
                          capture_output=True, check=True)
    return json.loads(done.stdout)


def chunk_logits(binary, ids):
    """Rows of the positions in the second half of a chunk, but for its last."""
    rows = np.arange(len(ids), dtype=np.int32)
    feeds = {"tokens": np.array(ids, np.int32), "positions": rows, "sequences": 0 * rows,
             "outputs": rows[len(ids) // 2 : -1]}
    [logits] = artifact.run(binary, feeds).values()
    return logits.astype(np.float64)


def log_softmax(rows):
    rows = rows - rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


def test_language_model_against_numpy(smol, tmp_path):
    """The file itself, in f32, is what 8-bit activations are measured against."""
    text = tmp_path / "text.txt"
    text.write_text(" ".join(corpus.sentences())[:2200])
    result = evaluate(smol, "--against", language_models.SMOLLM2, "--data", text, f"--context={CONTEXT}")

    exact = artifact.compile(language_models.SMOLLM2, tmp_path / "f32", "--activations=f32", "--kv-cache=f32")
    ids, begin = tokenize(text.read_text()), tokenize("")[:1]
    q, p, truth = [], [], []
    for first in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        chunk = begin + ids[first + len(begin) : first + CONTEXT]
        q.append(log_softmax(chunk_logits(smol, chunk)))
        p.append(log_softmax(chunk_logits(exact, chunk)))
        truth += chunk[CONTEXT // 2 + 1 :]
    q, p, rows = np.concatenate(q), np.concatenate(p), np.arange(len(truth))
    assert len(truth) > 150 and result["tokens"] == len(truth) and result["chunks"] * 63 == len(truth)

    kl = (np.exp(p) * (p - q)).sum(-1)
    close = {"rel": 1e-4, "abs": 1e-6}
    for key, want in (("value", kl.mean()), ("error", kl.std() / np.sqrt(len(kl) - 1)), ("median", np.median(kl)),
                      ("p90", np.quantile(kl, 0.9)), ("p99", np.quantile(kl, 0.99)), ("max", kl.max())):
        assert result["kl"][key] == pytest.approx(want, **close), key
    assert 1e-4 < kl.mean() < 0.05
    lq, lp = -q[rows, truth], -p[rows, truth]
    for key, loss in (("perplexity", lq), ("perplexity_against", lp), ("perplexity_ratio", lq - lp)):
        assert result[key]["value"] == pytest.approx(np.exp(loss.mean()), rel=1e-5), key
        error = np.exp(loss.mean()) * loss.std() / np.sqrt(len(loss) - 1)
        assert result[key]["error"] == pytest.approx(error, rel=1e-3)
    same = (q.argmax(-1) == p.argmax(-1)).mean()
    assert 0.9 < same < 1 and result["same_top"]["value"] == pytest.approx(same)
    rms = np.sqrt(((np.exp(-lq) - np.exp(-lp)) ** 2).mean())
    assert result["probability_rms"]["value"] == pytest.approx(rms, rel=1e-4)

    own = json.loads(artifact.call(smol, "perplexity", text, "--context", CONTEXT, "--json", "--quiet").stdout)
    assert result["perplexity"]["value"] == pytest.approx(own["second_half"]["perplexity"], rel=1e-6)
    assert result["tokens"] == own["second_half"]["tokens"]


def test_itself_and_shares_of_a_text(smol, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(corpus.sentences()[:60]))
    flags = ["--context=64", "--tokens=128"]
    same = evaluate(smol, "--against", smol, "--data", text, *flags)
    assert same["chunks"] == 2 and same["kl"]["max"] == 0 and same["same_top"]["value"] == 1
    assert same["perplexity_ratio"] == {"value": 1, "error": 0}
    # A share is what a file of that part would be.
    cut = text.read_text()[len(text.read_text()) // 2 :].split("\n", 1)[1]
    (tmp_path / "cut.txt").write_text(cut)
    a, b = (evaluate(smol, "--data", data, *flags) for data in (f"{text}:50%-100%", tmp_path / "cut.txt"))
    assert a["perplexity"] == b["perplexity"] != same["perplexity"]


def test_conversations_go_through_the_models_template(smol, tmp_path):
    system, prompt, answer = "Be brief.", "Name three colours of the sky, please.", "Blue, grey, and red at dusk." * 4
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt},
                {"role": "assistant", "content": answer}]
    chat, text = tmp_path / "chat.jsonl", tmp_path / "chat.txt"
    chat.write_text(json.dumps({"messages": messages}) + "\n")
    text.write_text("".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages))
    a, b = (evaluate(smol, "--data", data, "--context=32") for data in (chat, text))
    assert a["perplexity"] == b["perplexity"] and a["chunks"] > 1


def test_sentence_encoder_against_numpy(compiled, tmp_path):
    int8, exact = compiled(MINILM, INT8), compiled(MINILM)
    texts = corpus.spread(corpus.sentences(), 24)
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(texts) + "\n")
    result = evaluate(int8, "--against", exact, "--data", lines)
    a, b = artifact.embed(int8, texts), artifact.embed(exact, texts)
    cosines = (a.astype(np.float64) * b).sum(-1)
    assert result["texts"] == 24 and 0.99 < cosines.mean() < 1
    assert result["cosine"]["value"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert result["cosine_worst"] == pytest.approx(cosines.min(), abs=1e-6)
    assert result["cosine_p1"] == pytest.approx(np.quantile(cosines, 0.01), abs=1e-6)
    assert result["worst_text"] == texts[cosines.argmin()]
    pairs = np.tril_indices(24, -1)
    want = spearmanr((a @ a.T)[pairs], (b @ b.T)[pairs]).statistic
    assert result["rank_correlation"] == pytest.approx(want, abs=1e-5)
    # A model is compiled first, and what it is measured against in f32.
    again = evaluate(MINILM.source, INT8, "--against", MINILM.source, "--data", lines)
    assert again["cosine"] == result["cosine"]


def small(folder):
    """Scores of three classes from four numbers, one to eight rows at once."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    return artifact.compile(bad_models.save(folder, bad_models.small(inputs=[x])), folder / "small",
                            "--shape=x=n:1..8x4")


def test_arrays_with_labels(tmp_path):
    binary = small(tmp_path)
    random = np.random.default_rng(3)
    x, labels = random.normal(size=(20, 4)).astype(np.float32), random.integers(0, 3, 20)
    np.savez(tmp_path / "x.npz", x=x, labels=labels)
    y = x @ np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    right = (y.argmax(-1) == labels).mean()
    result = evaluate(binary, "--against", binary, "--data", tmp_path / "x.npz")
    assert result["rows"] == 20
    assert result["accuracy"]["value"] == pytest.approx(right)
    assert result["accuracy"]["error"] == pytest.approx(np.sqrt(right * (1 - right) / 19))
    [output] = result["outputs"]
    assert output["rows"] == 20 and output["cosine_worst"] == pytest.approx(1)
    assert output["relative_error_worst"] == 0 and output["same_top"]["value"] == 1
    half = evaluate(binary, "--data", f"{tmp_path}/x.npz:50%-100%")
    assert half["rows"] == 10
    assert half["accuracy"]["value"] == pytest.approx((y.argmax(-1) == labels)[10:].mean())
    table = pare("eval", binary, "--data", tmp_path / "x.npz", "--quiet").stdout.splitlines()
    assert table[0].split() == ["figure", "value", "error", "meaning"] and table[1].startswith("accuracy")


def test_a_folder_for_each_class(tmp_path):
    """Lines as they are and upside down, as the classifier knows them."""
    flags = ["--shape=x=1x3x48x192", "--image=x=192x48,mean=0.5,std=0.5,bgr"]
    exact = artifact.compile(CLASSIFIER.source, tmp_path / "exact", *flags)
    for i, text in enumerate(corpus.text_lines(6)):
        pixels = (127.5 * (corpus.render_line(text, i, width=192).transpose(1, 2, 0) + 1)).astype(np.uint8)
        for label, turned in enumerate((pixels, pixels[::-1, ::-1])):
            (tmp_path / "lines" / f"{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(turned).save(tmp_path / "lines" / f"{label}" / f"{i}.png")
    pictures = sorted((tmp_path / "lines").glob("*/*.png"))
    scores = [next(iter(artifact.run_picture(exact, picture).values()))[0] for picture in pictures]
    right = [score.argmax() == int(picture.parent.name) for score, picture in zip(scores, pictures)]
    result = evaluate(CLASSIFIER.source, INT8, *flags, "--against", exact, "--data", tmp_path / "lines")
    assert result["rows"] == 12 and np.mean(right) > 0.7
    assert result["accuracy_against"]["value"] == pytest.approx(np.mean(right))
    assert result["outputs"][0]["same_top"]["value"] > 0.8
    # The same labels in a file.
    listed = tmp_path / "labels"
    listed.write_text("".join(f"{p.parent.name}/{p.name} {p.parent.name}\n" for p in pictures))
    flags = ["--data", tmp_path / "lines", "--labels", listed]
    assert evaluate(exact, *flags)["accuracy"] == result["accuracy_against"]


def test_calibration_on_texts(tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in corpus.sentences()[:40]))
    flags = [INT8, "--calibrate", f"{lines}:0%-50%", "--calibrate-texts=3",
             "--keep-float=*.layer.[0-4].*"]
    done = pare("compile", MINILM.source, "-o", tmp_path / "model", *flags)
    assert re.search(r"calibrating on 3 samples with \d+ tokens", done.stderr)
    assert "GPTQ" in done.stdout


BAD = {
    "empty.txt": (b"", "' is empty"),
    "zeros.txt": (b"ab\0\0", "byte 2 is zero"),
    "line.jsonl": (b'{"text": "x"}\n{"text": 1}\n', 'line.jsonl:2: "text" is not a text'),
    "broken.jsonl": (b'{"text": "x"}\n\n{"text"', "broken.jsonl:3: not JSON"),
    "keys.jsonl": (b'{"prompt": "x"}\n', "keys.jsonl:1: expected an object"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_texts(name, compiled, tmp_path):
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    int8 = compiled(MINILM, INT8)
    check_refused(pare("eval", int8, "--against", int8, "--data", tmp_path / name, check=False), "--data: ", message)
    out = tmp_path / "out"
    done = pare("compile", MINILM.source, "-o", out, INT8, "--quiet", "--calibrate", tmp_path / name, check=False)
    check_refused(done, "--calibrate: ", message)
    assert not out.exists()


def test_sides_that_cannot_be_compared(tmp_path):
    """Small decoders: a shorter context, and other tokens for the same text."""
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij" * 20)
    binaries = {}
    cases = (("plain", [], {}), ("short", ["--context=32"], {}), ("swapped", [], {"a": 65, "b": 64}))
    for name, flags, vocabulary in cases:
        source = tmp_path / f"{name}-source"
        source.mkdir()
        decoders.make("llama", source, [1])
        add_tokenizer(source, "")
        file = source / "tokenizer.json"
        table = json.loads(file.read_text())
        table["model"]["vocab"].update(vocabulary)
        file.write_text(json.dumps(table))
        binaries[name] = artifact.compile(source, tmp_path / name, *flags)
    plain, flags = binaries["plain"], ["--data", text, "--context=64", "--quiet"]
    assert evaluate(plain, "--against", plain, *flags)["kl"]["max"] == 0
    for other, words in (("short", [str(binaries["short"]), "--context is 64, the model's context is 32"]),
                         ("swapped", ["different tokens for the same text"])):
        check_refused(pare("eval", plain, "--against", binaries[other], *flags, check=False), *words)


def test_bad_eval(compiled, smol, tmp_path):
    minilm, binary = compiled(MINILM, INT8), small(tmp_path)
    (tmp_path / "t.txt").write_text("a few words\n")
    (tmp_path / "names").write_text("x.npz 1\nx.npz cat\n")
    np.savez(tmp_path / "nan.npz", x=np.full((2, 4), np.nan, np.float32))
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4), np.float32))
    np.savez(tmp_path / "labels.npz", x=np.ones((2, 4), np.float32), labels=[0, 3])
    np.savez(tmp_path / "few.npz", x=np.ones((2, 4), np.float32), labels=[0])
    np.savez(tmp_path / "shape.npz", x=np.ones((2, 5), np.float32))
    np.savez(tmp_path / "dtype.npz", x=np.ones((2, 4)))
    np.savez(tmp_path / "name.npz", z=np.ones((2, 4), np.float32))
    for subject, data, flags, words in (
        (minilm, None, [], ["--data"]),
        (minilm, "absent.txt", [], ["absent.txt", "no such file"]),
        (minilm, "t.txt:50%-10%", [], ["expected a share"]),
        (minilm, "t.txt", [], ["--against"]),
        (minilm, "t.txt", [INT8], ["--quantize", "compiled already"]),
        (minilm, "t.txt", ["--against", binary], ["embed"]),
        (binary, "t.txt", [], ["no tokenizer"]),
        (binary, "t.txt", ["--data", tmp_path / "x.npz"], ["one kind"]),
        (binary, "x.npz", [], ["--labels", "--against"]),
        (binary, "x.npz", ["--labels", tmp_path / "names"], ["names:2", "number of its class"]),
        (binary, "x.npz", ["--labels", tmp_path / "t.txt"], ["t.txt:1"]),
        (binary, "nan.npz", ["--against", binary], ["nan.npz", "NaN"]),
        (binary, "labels.npz", [], ["label 3", "3 classes"]),
        (binary, "few.npz", [], ["1 labels of 2 rows"]),
        (binary, "shape.npz", ["--against", binary], ["shape.npz", "[n, 4]"]),
        (binary, "dtype.npz", ["--against", binary], ["dtype.npz", "float32"]),
        (binary, "name.npz", ["--against", binary], ["name.npz", "'x'"]),
        (smol, "t.txt", [], ["fewer than one chunk of 512", "--context"]),
        (smol, "t.txt", ["--against", minilm], [str(minilm), "no language model"]),
        (smol, "t.txt", ["--context=3"], ["--context", "4"]),
        (smol, "t.txt", ["--context=100000"], ["100000"]),
    ):
        arguments = ["--data", tmp_path / data] if data else []
        check_refused(pare("eval", subject, *arguments, *flags, "--quiet", check=False), *words)
