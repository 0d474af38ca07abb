"""Mixtures of experts: folders and GGUF files of both families → logits."""

import json

import ml_dtypes
import numpy as np
import pytest
from oracle import artifact, decoders, gguf_decoders
from safetensors.numpy import load_file, save_file
from test_decoder import TOKENS, change_config, feeds

F32 = ("--activations=f32", "--kv-cache=f32")
FILES = [("mixtral", "Q4_0", False), ("mixtral", "Q8_0", True), ("qwen3-moe", "Q5_1", False), ("qwen3-moe", "F16", False),
         ("qwen3-moe", "BF16", False), ("qwen3-moe", "F32", False)]


def run_rows(binary, rows, *flags):
    """Logits of rows of (token, position, sequence), of all in one run."""
    tokens, positions, sequences = (np.asarray(column, np.int32) for column in zip(*rows))
    [got] = artifact.run(binary, {"tokens": tokens, "positions": positions, "sequences": sequences,
                                  "outputs": np.arange(len(rows), dtype=np.int32)}, *flags).values()
    return got


def check_batches(binary, whole):
    """A row's logits are the same to the last bit alone, beside another
    sequence's rows and with other threads; `whole` are those of TOKENS."""
    mine = [(token, i, 0) for i, token in enumerate(TOKENS)]
    others = [(token, i, 1) for i, token in enumerate(TOKENS[::-1][:16])]
    assert np.array_equal(run_rows(binary, mine[:1], "--threads", "2"), whole[:1])
    assert np.array_equal(run_rows(binary, mine[:3], "--threads", "1"), whole[:3])
    together = run_rows(binary, others[:9] + mine + others[9:], "--threads", "2", "--sequences", "2", "--guard")
    assert np.array_equal(together[9:-7], whole)


@pytest.mark.parametrize("name, kind, split", FILES)
def test_gguf(name, kind, split, tmp_path):
    path = tmp_path / "model.gguf"
    want = gguf_decoders.make(name, path, TOKENS.tolist(), kind, split)
    assert want.std() > 1
    binary = artifact.compile(path, tmp_path / "model", *F32)
    [got] = artifact.run(binary, feeds(TOKENS), "--guard").values()
    assert artifact.scaled_error(got, want) < 1e-4
    check_batches(binary, got)


def test_codes_of_activations(tmp_path):
    path = tmp_path / "model.gguf"
    want = gguf_decoders.make("qwen3-moe", path, TOKENS.tolist(), "Q8_0")
    report = json.loads(artifact.call(artifact.PARE, "compile", path, "-o", tmp_path / "model", "--json").stdout)
    reasons = {row["tensor"]: row["reason"] for row in report["tensors"]}
    assert reasons["blk.1.ffn_down_exps.weight"] == "activations in int8, one scale per 32"
    [got] = artifact.run(tmp_path / "model", feeds(TOKENS), "--guard").values()
    # Of most rows: a close choice of experts may turn.
    assert np.median(np.abs(got - want)) < 0.05 * want.std()
    check_batches(tmp_path / "model", got)


def test_steps_are_the_prompt(tmp_path):
    """Tokens generated one by one have the probabilities that reading them has."""
    path = tmp_path / "model.gguf"
    gguf_decoders.make("qwen3-moe", path, [1], "Q4_0")
    binary = artifact.compile(path, tmp_path / "model")
    flags = ["--temperature", "1", "--seed", "3", "--max-tokens", "20", "--json", "--logprobs", "1", "--quiet"]
    prompts = ["abcdefgh", "kl", "aaaabbbbccccdddd"]
    together = [json.loads(line) for line in artifact.call(binary, "generate", *prompts, *flags).stdout.splitlines()]
    for prompt, answer in zip(prompts, together):
        assert json.loads(artifact.call(binary, "generate", prompt, *flags).stdout) == answer
        chosen = [step["id"] for step in answer["logprobs"]]
        assert len(chosen) == 20
        pairs = [prompt[i:i + 2] for i in range(0, len(prompt), 2)]
        ids = [12 + 12 * (ord(a) - ord("a")) + ord(b) - ord("a") for a, b in pairs]
        assert len(ids) == answer["prompt_tokens"]
        logits = run_rows(binary, [(token, i, 0) for i, token in enumerate(ids + chosen)])[len(ids) - 1:-1]
        logits = logits - logits.max(-1, keepdims=True)
        want = (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(20), chosen]
        assert np.abs(want - [step["logprob"] for step in answer["logprobs"]]).max() < 1e-4


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_stays(dtype, tmp_path):
    """Experts of a folder keep their 16 bits."""
    want = decoders.make("mixtral", tmp_path, TOKENS.tolist(), dtype)
    report = json.loads(artifact.call(
        artifact.PARE, "compile", tmp_path, "-o", tmp_path / "model", "--json", "--kv-cache=f32").stdout)
    [got] = artifact.run(tmp_path / "model", feeds(TOKENS)).values()
    assert artifact.scaled_error(got, want) < 1e-4
    experts = 3 * 3 * 5 * 64 * 96
    rest = sum(value.size for value in load_file(tmp_path / "model.safetensors").values()) - experts
    assert report["weight_bytes"] < (2 * experts + 4 * rest) * 1.05
    check_batches(tmp_path / "model", got)


def test_aarch64_under_qemu(tmp_path):
    """The same sums of codes, and of floats to the last bits."""
    path = tmp_path / "model.gguf"
    gguf_decoders.make("qwen3-moe", path, [1], "Q4_0")
    want, got = (
        artifact.run(artifact.compile(path, tmp_path / target, f"--target={target}"), feeds(TOKENS[:9]),
                     launcher=launcher)["logits"]
        for target, launcher in (("x86-64-v3", []), ("aarch64+dotprod", ["qemu-aarch64"])))
    assert artifact.scaled_error(got, want) < 1e-4


def refuse(source, folder):
    done = artifact.call(artifact.PARE, "compile", source, "-o", folder / "out", check=False)
    assert done.returncode == 1 and not (folder / "out").exists()
    [line] = [line for line in done.stderr.splitlines() if "warning" not in line]
    return line


EXPERT = "model.layers.1.block_sparse_moe.experts.{}.w1.weight"


@pytest.mark.parametrize("changes, message", [
    ({"num_local_experts": 6}, "block_sparse_moe.gate.weight' has shape 5x64, config.json expects 6x64"),
    ({"num_local_experts": 4}, "block_sparse_moe.gate.weight' has shape 5x64, config.json expects 4x64"),
    ({"num_experts_per_tok": 6}, "num_experts_per_tok 6 is more than num_local_experts 5"),
])
def test_config_and_tensors_disagree(changes, message, tmp_path):
    decoders.make("mixtral", tmp_path, [1])
    change_config(tmp_path, **changes)
    assert message in refuse(tmp_path, tmp_path)


def test_damaged_experts_of_a_folder(tmp_path):
    decoders.make("mixtral", tmp_path, [1])
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    save_file({key: value for key, value in whole.items() if key != EXPERT.format(3)}, path)
    assert f"tensor '{EXPERT.format(3)}' is missing" in refuse(tmp_path, tmp_path)
    save_file(whole | {EXPERT.format(2): whole[EXPERT.format(2)][:, :-1].copy()}, path)
    assert "has shape 96x63, config.json expects 96x64" in refuse(tmp_path, tmp_path)
    save_file(whole | {EXPERT.format(2): whole[EXPERT.format(2)].astype(np.float16)}, path)
    assert f"'{EXPERT.format(0)}' and '{EXPERT.format(2)}' must have one type" in refuse(tmp_path, tmp_path)
    save_file(whole | {EXPERT.format(5): whole[EXPERT.format(0)]}, path)
    assert "more than the 5 experts" in refuse(tmp_path, tmp_path)


@pytest.mark.parametrize("changes, message", [
    ({"expert_shared_count": 1}, "'qwen3moe.expert_shared_count': shared experts are not supported"),
    ({"expert_gating_func": 2}, "'qwen3moe.expert_gating_func' is 2; only softmax (1) is supported"),
])
def test_unknown_variants(changes, message, tmp_path):
    gguf_decoders.make("qwen3-moe", tmp_path / "model.gguf", [1], "Q8_0", **changes)
    assert message in refuse(tmp_path / "model.gguf", tmp_path)
