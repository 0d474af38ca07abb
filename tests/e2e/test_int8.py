"""int8 artifacts on samples of the data that benchmarks/models/quality.py uses whole."""

import pytest

from oracle import artifact, quality
from oracle.models import EFFICIENTNET, MINILM, RECOGNIZER, VIT


def test_sentence_embeddings(compiled):
    cosines = quality.sentence_cosines(compiled(MINILM, "--quantize=int8"), 200)
    assert cosines.mean() >= 0.995
    assert cosines.min() >= 0.93


def test_recognized_text(compiled, tmp_path):
    """Without calibration int8 keeps most lines, with it nearly all. What it
    keeps of 300 lines: tools/bench-quality int8."""
    flags = list(artifact.shape_flags(RECOGNIZER.shapes((5, 320))))
    binary = compiled(RECOGNIZER, "--quantize=int8", *flags)
    assert quality.line_agreement(binary, 100, 5) >= 0.9
    calibration = quality.recognizer_calibration(tmp_path, 5)
    binary = compiled(RECOGNIZER, "--quantize=int8", calibration, *flags)
    assert quality.line_agreement(binary, 100, 5) >= 0.97


def test_importance_maps(compiled):
    flags = artifact.shape_flags(VIT.shapes((1,)))
    assert quality.map_correlations(compiled(VIT, "--quantize=int8", *flags), 8).min() >= 0.99


def test_classes_of_photographs(compiled, tmp_path):
    """Of 480 crops, and beside the peers: tools/bench-quality cnn."""
    calibration = quality.photograph_calibration(EFFICIENTNET, tmp_path, 16)
    binary = compiled(EFFICIENTNET, "--quantize=int8", calibration)
    assert quality.class_agreement(EFFICIENTNET, quality.classify_by(binary), 96) >= 0.93


def test_threads_change_nothing(compiled):
    feeds = MINILM.feeds(3, 50)
    binary = compiled(MINILM, "--quantize=int8")
    one, two = (artifact.run(binary, feeds, f"--threads={n}")["last_hidden_state"] for n in (1, 2))
    assert (one == two).all()


def test_guard_pages(compiled):
    artifact.run(compiled(MINILM, "--quantize=int8"), MINILM.feeds(3, 50), "--guard")


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3+avxvnni", "x86-64-v4+avx512vnni", "aarch64+dotprod"])
def test_compiles_for_every_way_to_store_codes(compiled, target):
    assert compiled(MINILM, "--quantize=int8", f"--target={target}").exists()
