"""Decoders of every architecture: folder → artifact → logits."""

import numpy as np
import pytest
from oracle import artifact, decoders

TOKENS = np.random.default_rng(1).integers(0, 160, 48)


def feeds(tokens, first=0, sequences=0, outputs=None):
    """Inputs of a run: rows of `tokens` from position `first` on."""
    count = len(tokens)
    return {
        "tokens": np.asarray(tokens, np.int32),
        "positions": np.arange(first, first + count, dtype=np.int32),
        "sequences": np.broadcast_to(np.int32(sequences), (count,)).copy(),
        "outputs": np.arange(count, dtype=np.int32) if outputs is None else np.asarray(outputs, np.int32),
    }


@pytest.mark.parametrize("name", decoders.MODELS)
def test_logits(name, tmp_path):
    want = decoders.make(name, tmp_path, TOKENS.tolist())
    assert want.std() > 1
    binary = artifact.compile(tmp_path, tmp_path / "model", "--kv-cache=f32")
    [got] = artifact.run(binary, feeds(TOKENS), "--guard").values()
    assert artifact.scaled_error(got, want) < 1e-4
    # Only the rows asked for, in the order asked for.
    [some] = artifact.run(binary, feeds(TOKENS, outputs=[40, 7])).values()
    assert np.array_equal(some, got[[40, 7]])
