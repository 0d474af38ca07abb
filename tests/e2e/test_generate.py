"""The commands of a language model, on SmolLM2: what may not change the text."""

import json
import os

import pytest
from oracle import artifact, decoders, language_models
from test_chat import add_tokenizer

PROMPTS = ["The sky is", "Once upon a time", "def fib(n):", "1 2 3 4", "In the twentieth century, the ",
           "import numpy as np\n", "Dear Sir,", "A"]
PROSE = ("The quick brown fox jumps over the lazy dog. It was the best of times, it was the worst of times, it was the "
         "age of wisdom, it was the age of foolishness. ")
SAMPLED = ["--temperature", "0.9", "--seed", "7", "--max-tokens", "24", "--json", "--logprobs", "2", "--quiet"]


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    return artifact.compile(language_models.SMOLLM2, tmp_path_factory.mktemp("smol") / "smol")


@pytest.fixture(scope="module")
def smol8(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smol8")
    return artifact.compile(language_models.SMOLLM2, folder / "smol", "--kv-cache=i8")


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


def test_caches_of_codes(smol, smol8, tmp_path):
    def info(binary):
        return json.loads(artifact.call(binary, "info", "--json").stdout)

    # 30 layers of 3 heads of 64 elements, of keys and of values.
    assert info(smol)["cache_bytes_per_token"] == 30 * 3 * 2 * 64 * 2
    assert info(smol8)["cache_bytes_per_token"] == 30 * 3 * 2 * (64 + 4)
    text = tmp_path / "text"
    text.write_text(PROSE * 24)
    perplexity = [
        json.loads(artifact.call(binary, "perplexity", text, "--context", "600", "--chunks", "1", "--all", "--json").stdout)
        for binary in (smol, smol8)
    ]
    plain, codes = (each["all"]["perplexity"] for each in perplexity)
    assert codes != plain and codes == pytest.approx(plain, rel=0.01)

    # Batches and threads, at depths where a token's attention is cut into tasks.
    # Different beginnings: none is copied from another sequence.
    prompts = [f"{n}. " + PROSE * n for n in (3, 9, 20)]
    together = generate(smol8, *prompts, *SAMPLED, "--threads", "2")
    assert together == [generate(smol8, prompt, *SAMPLED, "--threads", "1")[0] for prompt in prompts]
    assert generate(smol8, prompts[2], *SAMPLED, "--guard") == together[2:]


def test_a_saved_sequence_of_codes_goes_on(smol8, smol, tmp_path):
    flags = ["--temperature", "0", "--max-tokens", "20", "--json", "--quiet"]
    [first] = generate(smol8, PROSE, *flags, "--cache-save", tmp_path / "cache")
    prompt = PROSE + first["text"] + " Then"
    [loaded] = generate(smol8, prompt, *flags, "--cache-load", tmp_path / "cache")
    [fresh] = generate(smol8, prompt, *flags)
    assert loaded["reused_tokens"] > 40 and loaded["text"] == fresh["text"]
    done = artifact.call(smol, "generate", "x", "--cache-load", tmp_path / "cache", check=False)
    assert done.returncode == 1 and "the cache is of another model" in done.stderr


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
    text.write_text(PROSE * 12)
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


SHORT = ["-p", "8", "-n", "2", "-r", "1", "-t", "1,2"]


def bench(*arguments, check=True):
    return artifact.call(artifact.PARE, "bench", *arguments, check=check)


def test_pare_bench_prints_the_artifacts_table(smol):
    for subject in (smol, language_models.SMOLLM2):
        lines = bench(subject, *SHORT, "-b", "2", "--weights-memory", "map").stdout.splitlines()
        rows = [line.split("+-")[0].split() for line in lines if line.startswith(("pp8 ", "tg2 x2 "))]
        assert len(rows) == 4 and all(float(row[-1]) > 0 for row in rows), lines


def test_pare_bench_compares_tokens_per_second(smol):
    done = bench(smol, "--vs", smol, *SHORT, "--weights-memory=map", "--rounds=2", "--json")
    result = json.loads(done.stdout)
    a, b = (m["tests"] for m in result["measurements"])
    assert [(t["test"], t["threads"]) for t in a] == [("pp8", 1), ("tg2", 1), ("pp8", 2), ("tg2", 2)]
    assert [r["tokens_per_s"] for r in result["ratios"]] == pytest.approx(
        [x["tokens_per_s"] / y["tokens_per_s"] for x, y in zip(a, b)])
    [alone] = json.loads(bench(smol, *SHORT, "--weights-memory=map", "--json").stdout)["measurements"]
    assert 0.9e8 < alone["tests"][1]["weight_bytes"] < 1.1e8
    table = bench(smol, "--vs", smol, *SHORT, "--weights-memory=map", "--rounds=1").stdout.splitlines()
    assert len(table) == 9 and "tokens/s" in table[0] and "ratio" in table[0]


@pytest.mark.parametrize("flags, word", (
    (["--runs=2"], "--runs"), (["--shape=tokens=8"], "--shape"), (["--profile", "--json"], "--profile"),
    (["-p", "100000"], "context"), (["-r", "x"], "'x'"),
))
def test_pare_bench_refuses(flags, word, smol):
    done = bench(smol, *flags, "--quiet", check=False)
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and word in done.stderr


def test_answers_end_at_a_default_length(tmp_path):
    """A model that never says that it is done."""
    decoders.make("llama", tmp_path, [1])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    add_tokenizer(tmp_path, "")
    program = artifact.compile(tmp_path, tmp_path / "program")
    run = ("generate", "ab", "--json", "--temperature", "0", "--ignore-stop-tokens")
    done = artifact.call(program, *run)
    answer = json.loads(done.stdout)
    assert answer["finish"] == "length" and answer["tokens"] == 1024
    assert "the answer ends at 1024 tokens: --max-tokens -1 lets it go on" in done.stderr
    done = artifact.call(program, *run, "--max-tokens", "-1")
    answer = json.loads(done.stdout)
    assert answer["finish"] == "context" and answer["tokens"] == 2048 - 2 + 1
    done = artifact.call(program, *run, "--max-tokens", "7")
    assert json.loads(done.stdout)["tokens"] == 7 and done.stderr == ""
