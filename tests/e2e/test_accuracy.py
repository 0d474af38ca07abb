"""f32 artifacts against ONNX Runtime: within 1e-4 of each output's scale."""

import numpy as np
import pytest

from oracle import artifact, models, quality
from oracle.models import MINILM, MODELS, VIT

TOLERANCE = 1e-4


def compare(got, want):
    assert list(got) == list(want)
    for name in want:
        assert artifact.scaled_error(got[name], want[name]) <= TOLERANCE, name


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_static_shape(model, compiled):
    feeds = model.feeds(*model.cases[0])
    binary = compiled(model, *artifact.shape_flags(model.shapes(model.cases[0])))
    compare(artifact.run(binary, feeds, "--guard"), models.expected(model, feeds))


@pytest.mark.parametrize(
    "model, case", [(m, c) for m in MODELS for c in m.cases], ids=lambda v: getattr(v, "name", str(v))
)
def test_dynamic_shape(model, case, compiled):
    feeds = model.feeds(*case)
    binary = compiled(model, *model.dynamic)
    compare(artifact.run(binary, feeds, "--guard"), models.expected(model, feeds))


@pytest.mark.parametrize("model", (MINILM, VIT), ids=lambda m: m.name)
def test_threads_change_nothing(model, compiled):
    feeds = model.feeds(*model.cases[-1])
    binary = compiled(model, *model.dynamic)
    one = artifact.run(binary, feeds, "--threads=1")
    for threads in (2, 3, 5):
        more = artifact.run(binary, feeds, f"--threads={threads}")
        assert all(np.array_equal(one[name], more[name]) for name in one)


def test_a_batch_gives_what_its_rows_give(compiled):
    feeds = MINILM.feeds(3, 50)
    binary = compiled(MINILM, *MINILM.dynamic)
    together = artifact.run(binary, feeds)["last_hidden_state"]
    for row in range(3):
        alone = {name: array[row : row + 1] for name, array in feeds.items()}
        assert np.array_equal(artifact.run(binary, alone)["last_hidden_state"][0], together[row])


def test_embeddings_of_sentences(compiled):
    assert quality.sentence_cosines(compiled(MINILM), 100).min() > 0.99999


def test_embeddings_of_awkward_text(compiled):
    texts = [
        "é vs. e\u0301, ﬁne ﬂow, ＦＵＬＬ width", "你好，世界", "\u200bzero\u00adwidth\ufeff", "İstanbul ǅ ß",
        "👩‍👩‍👧 family 🇨🇭", "a" * 300, "tab\there\x0bvt", "[CLS] [MASK] literal", "…—“quotes”", "नमस्ते", "١٢٣ 42",
        "word " * 400,
    ]
    got = artifact.embed(compiled(MINILM), texts)
    assert (got * quality.embeddings(texts)).sum(-1) == pytest.approx(1, abs=1e-5)


def test_onnx_and_safetensors_agree(compiled, tmp_path):
    feeds = MINILM.feeds(1, 32)
    binary = artifact.compile(MINILM.onnx(), tmp_path / "m", *artifact.shape_flags(MINILM.shapes((1, 32))))
    compare(artifact.run(binary, feeds), models.expected(MINILM, feeds))


def test_decomposed_normalization(compiled, tmp_path):
    import onnx

    from oracle import minilm_onnx

    source = tmp_path / "decomposed.onnx"
    onnx.save(minilm_onnx.build(MINILM.source, decomposed=True), source)
    feeds = MINILM.feeds(1, 32)
    binary = artifact.compile(source, tmp_path / "m", *artifact.shape_flags(MINILM.shapes((1, 32))))
    compare(artifact.run(binary, feeds), models.expected(MINILM, feeds))
