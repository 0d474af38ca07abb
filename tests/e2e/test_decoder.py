"""Decoders of every architecture: folder → artifact → logits."""

import json

import numpy as np
import pytest
from oracle import artifact, decoders, language_models, models
from safetensors.numpy import load_file, save_file

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


F32 = ("--activations=f32", "--kv-cache=f32", "--context=2048")


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_real_models(name, tmp_path):
    path = language_models.SMOLLM2 if name == "smollm2" else language_models.gemma3()
    model = decoders.load_gguf(path)
    binary = artifact.compile(path, tmp_path / name, *F32)
    tokens = np.random.default_rng(2).integers(100, 40000, 40)
    [got] = artifact.run(binary, feeds(tokens)).values()
    assert artifact.scaled_error(got, model(tokens)) < 1e-4
    # Greedy text, up to where the oracle itself is undecided.
    flags = ["--temperature", "0", "--max-tokens", "24", "--ignore-stop-tokens", "--json", "--logprobs", "2", "--quiet"]
    for prompt in ("The sky is", "Once upon a time"):
        [answer] = map(json.loads, artifact.call(binary, "generate", prompt, *flags).stdout.splitlines())
        chosen = [step["id"] for step in answer["logprobs"]]
        ids = decoders.encode_words(path, prompt)
        assert len(ids) == answer["prompt_tokens"]
        want = model(ids + chosen[:-1])[-len(chosen) :]
        best = np.sort(want, -1)[:, ::-1]
        decided = (best[:, 0] - best[:, 1]) > 1e-3
        assert (want.argmax(-1) == chosen)[decided].all() and decided.sum() > 20


def test_diff(tmp_path):
    decoders.make("qwen3", tmp_path, [1])
    binary = artifact.compile(tmp_path, tmp_path / "model", "--kv-cache=f32")
    report = artifact.call(artifact.PARE, "diff", binary, tmp_path, "--json").stdout
    rows = json.loads(report)["values"]
    assert any(row["name"].startswith("layer.2.") for row in rows)
    assert max(row["max_error"] for row in rows) < 1e-2


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes, flags, message",
    [
        ({"intermediate_size": 95}, (), "has shape 96x64, config.json expects 95x64"),
        ({"num_hidden_layers": 4}, (), "tensor 'model.layers.3.input_layernorm.weight' is missing"),
        ({"attention_bias": True}, (), "tensor 'model.layers.0.self_attn.q_proj.bias' is missing"),
        ({}, ("--context=257",), "--context 257: the model was made for 256 positions"),
        ({}, ("--shape=tokens=1x3",), "--context bounds the positions"),
    ],
)
def test_contradictions(changes, flags, message, tmp_path):
    decoders.make("llama", tmp_path, [1, 2])
    change_config(tmp_path, **changes)
    done = artifact.call(artifact.PARE, "compile", tmp_path, "-o", tmp_path / "model", *flags, check=False)
    assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "model").exists()


def warnings_of_unused(path):
    lines = artifact.call(artifact.PARE, "inspect", path).stderr.splitlines()
    return [line for line in lines if "not used" in line]


def test_unused_tensors(tmp_path):
    """A tensor that nothing uses is said: the config may be another model's."""
    decoders.make("llama-biases", tmp_path, [1])
    weights = load_file(tmp_path / "model.safetensors")
    inert = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}
    save_file(weights | inert, tmp_path / "model.safetensors")
    assert not warnings_of_unused(tmp_path)
    change_config(tmp_path, attention_bias=False, mlp_bias=False)
    [line] = warnings_of_unused(tmp_path)
    assert "21 tensors are not used: 'model.layers.0.mlp.down_proj.bias', " in line and line.endswith(", …")
    change_config(tmp_path, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
    assert not warnings_of_unused(tmp_path)


@pytest.mark.parametrize("path", [language_models.SMOLLM2, models.MINILM.source])
def test_real_models_use_every_tensor(path):
    assert not warnings_of_unused(path)
