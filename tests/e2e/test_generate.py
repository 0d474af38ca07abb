"""The commands of a language model, on SmolLM2: what may not change the text."""

import json
import os

import pytest
from oracle import artifact, language_models

PROMPTS = ["The sky is", "Once upon a time", "def fib(n):", "1 2 3 4", "In the twentieth century, the ",
           "import numpy as np\n", "Dear Sir,", "A"]
SAMPLED = ["--temperature", "0.9", "--seed", "7", "--max-tokens", "24", "--json", "--logprobs", "2", "--quiet"]


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    return artifact.compile(language_models.SMOLLM2, tmp_path_factory.mktemp("smol") / "smol")


def generate(smol, *arguments):
    done = artifact.call(smol, "generate", *arguments)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_small_without_weights(smol):
    weights = json.loads(artifact.call(smol, "info", "--json").stdout)["weights_bytes"]
    assert weights > 90e6
    assert os.path.getsize(smol) - weights <= 1.5e6


def test_batched_text_is_the_text_alone(smol):
    together = generate(smol, *PROMPTS, *SAMPLED, "--threads", "2")
    alone = [generate(smol, prompt, *SAMPLED, "--threads", "1")[0] for prompt in PROMPTS]
    # Not only the text: every log probability, to the last digit.
    assert together == alone
    assert len({answer["text"] for answer in alone}) == len(PROMPTS)


def test_weights_memory_and_guards_change_nothing(smol):
    plain = generate(smol, PROMPTS[1], *SAMPLED)
    assert generate(smol, PROMPTS[1], *SAMPLED, "--weights-memory", "huge") == plain
    assert generate(smol, PROMPTS[1], *SAMPLED, "--guard") == plain


def test_a_saved_sequence_goes_on(smol, tmp_path):
    flags = ["--temperature", "0", "--max-tokens", "20", "--json", "--quiet"]
    [first] = generate(smol, "Once upon a time", *flags, "--cache-save", tmp_path / "cache")
    prompt = "Once upon a time" + first["text"] + " Then"
    [loaded] = generate(smol, prompt, *flags, "--cache-load", tmp_path / "cache")
    [fresh] = generate(smol, prompt, *flags)
    assert loaded["reused_tokens"] > 10 and fresh["reused_tokens"] == 0
    assert loaded["text"] == fresh["text"]
    # Positions in use only.
    assert (tmp_path / "cache").stat().st_size < 40 * 23040 + 1000
    damaged = bytearray((tmp_path / "cache").read_bytes())
    damaged[200] ^= 1
    (tmp_path / "cut").write_bytes(damaged[:-1])
    done = artifact.call(smol, "generate", "x", "--cache-load", tmp_path / "cut", check=False)
    assert done.returncode == 1 and "not a whole saved sequence" in done.stderr


def test_perplexity_of_prose(smol, tmp_path):
    text = tmp_path / "text"
    text.write_text("The quick brown fox jumps over the lazy dog. It was the best of times, it was the worst of "
                    "times, it was the age of wisdom, it was the age of foolishness. " * 12)
    result = json.loads(artifact.call(smol, "perplexity", text, "--context", "128", "--all", "--json").stdout)
    assert result["all"]["tokens"] == result["chunks"] * 127
    assert result["second_half"]["tokens"] == result["chunks"] * 63
    # What repeats is known by the second half of a chunk.
    assert 1 < result["second_half"]["perplexity"] < 2 < result["all"]["perplexity"] < 40


def test_bench_counts_the_weights_of_a_token(smol):
    done = artifact.call(smol, "bench", "-p", "32", "-n", "4", "-t", "1", "-r", "1", "--json", "--weights-memory", "map")
    prompt, answer = json.loads(done.stdout)["tests"]
    assert (prompt["test"], answer["test"]) == ("pp32", "tg4")
    # All of the file but embeddings of other tokens: those of SmolLM2 are its output layer too.
    assert 0.9 < answer["weight_bytes"] / os.path.getsize(language_models.SMOLLM2) < 1.1
    assert 0 < answer["of_read_bandwidth"] < 2
