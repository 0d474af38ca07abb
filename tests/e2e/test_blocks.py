"""Weights in blocks: SmolLM2 as its GGUF file has it."""

import json
from pathlib import Path

import gguf
import pytest

from oracle import artifact
from oracle.language_models import SMOLLM2

TEXT = Path(__file__).parents[2] / "docs" / "design.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By kind of activations: the artifact and what `pare compile` says of it."""
    folder = tmp_path_factory.mktemp("blocks")
    return {
        kind: (folder / kind, json.loads(artifact.call(
            artifact.PARE, "compile", SMOLLM2, "-o", folder / kind, "--json", f"--activations={kind}").stdout))
        for kind in ("f32", "int8")
    }


def test_blocks_are_stored_as_they_are(made):
    """Each once, at its own bits, whatever the activations."""
    tensors = gguf.GGUFReader(SMOLLM2).tensors
    in_blocks = {t.name: t.tensor_type.name.lower() for t in tensors if t.tensor_type.name.startswith("Q")}
    for _, report in made.values():
        formats = {row["tensor"]: row["format"].split(",")[0] for row in report["tensors"]}
        assert formats == in_blocks
        assert all(row["bytes_before"] == row["bytes_after"] for row in report["tensors"])
        assert report["weight_bytes"] <= sum(int(t.n_bytes) for t in tensors) * 1.002
    reasons = {row["reason"] for row in made["f32"][1]["tensors"]}
    assert any(reason.startswith("activations stay f32 as --activations says") for reason in reasons)


def test_codes_of_activations_cost_little(made, tmp_path):
    text = tmp_path / "text"
    text.write_text(TEXT.read_text()[:9000])
    perplexity = {
        kind: json.loads(artifact.call(binary, "perplexity", text, "--json").stdout)["second_half"]["perplexity"]
        for kind, (binary, _) in made.items()
    }
    assert perplexity["int8"] != perplexity["f32"]
    assert perplexity["int8"] == pytest.approx(perplexity["f32"], rel=0.01)
