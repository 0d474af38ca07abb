"""Language models beside transformers, in f32 on the same weights, and their
artifacts by themselves."""

import json
import os
import statistics
import sys
import time

import numpy as np
from oracle import artifact, corpus, decoders, language_models
from report import report

REAL = {"smollm2": lambda: language_models.SMOLLM2, "gemma3": language_models.gemma3}
F32 = ("--activations=f32", "--kv-cache=f32", "--context=2048")
GREEDY = ("--temperature", "0", "--ignore-stop-tokens", "--quiet")


class Transformers:
    """A folder's model, or a GGUF file's, as transformers reads it."""

    def __init__(self, path):
        os.environ["TQDM_DISABLE"] = "1"
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging

        logging.set_verbosity_error()
        self.torch = torch
        if path.is_dir():
            self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        else:
            path = path.resolve()
            source = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
            self.model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
            self.tokenizer = AutoTokenizer.from_pretrained(**source)
        self.model.eval()

    def logits(self, ids):
        """[T, vocabulary] of one sequence."""
        with self.torch.no_grad():
            return self.model(self.torch.tensor([list(map(int, ids))])).logits[0].numpy()

    def encode(self, text):
        return self.tokenizer(text).input_ids

    def continue_greedily(self, ids, count):
        with self.torch.no_grad():
            out = self.model.generate(self.torch.tensor([ids]), do_sample=False, min_new_tokens=count,
                                      max_new_tokens=count, repetition_penalty=1.0)
        return out[0, len(ids) :].tolist()


def logit_error(binary, ids, oracle):
    """Of the last 64 tokens: as many rows as one run gives."""
    rows = np.arange(len(ids), dtype=np.int32)
    feeds = {"tokens": np.array(ids, np.int32), "positions": rows, "sequences": 0 * rows, "outputs": rows[-64:]}
    [logits] = artifact.run(binary, feeds).values()
    return artifact.scaled_error(logits, oracle.logits(ids)[-64:])


def logits(folder):
    """Largest difference of logits, as a share of the largest one: small random
    models of every architecture, then the real ones."""
    # More than all windows and original contexts: transformers takes LongRoPE's
    # long divisors by the length of a text, pare by the longest it may have.
    ids = np.random.default_rng(1).integers(0, 160, 80).tolist()
    for name in decoders.MODELS:
        source = folder / f"{name}-source"
        source.mkdir()
        decoders.make(name, source, ids)
        binary = artifact.compile(source, folder / name, "--kv-cache=f32")
        error = logit_error(binary, ids, Transformers(source))
        report(f"{name}, small, f32, max logit error / scale", error, 1e-3)
    ids = np.random.default_rng(2).integers(100, 40000, 48).tolist()
    for name, path in REAL.items():
        binary = artifact.compile(path(), folder / name, *F32)
        error = logit_error(binary, ids, Transformers(path()))
        report(f"{name} f32, max logit error / scale", error, 1e-3)


def text(folder, prompts=20, count=64):
    """Greedy text beside transformers'. Texts that part where the oracle itself is
    undecided, by less than 1e-3 of its largest logit, count as the same."""
    for name, path in REAL.items():
        oracle, binary = Transformers(path()), artifact.compile(path(), folder / name, *F32)
        same = ties = 0
        for sentence in corpus.spread(corpus.sentences(), prompts):
            prompt = " ".join(sentence.split()[:6])
            done = artifact.call(binary, "generate", prompt, "--max-tokens", count, "--json", "--logprobs", 1, *GREEDY)
            got = [step["id"] for step in json.loads(done.stdout)["logprobs"]]
            ids = oracle.encode(prompt)
            want = oracle.continue_greedily(ids, count)
            parted = next((i for i, pair in enumerate(zip(got, want)) if pair[0] != pair[1]), None)
            if parted is None:
                same += 1
                continue
            row = oracle.logits(ids + want[:parted])[-1]
            ties += row[want[parted]] - row[got[parted]] < 1e-3 * np.abs(row).max()
        report(f"{name} f32, {prompts} greedy texts of {count} tokens, equal", same + ties, prompts, at_least=True)
        report(f"{name}   of these, parted at a tie", ties)


def perplexity(folder, characters=60000, context=512):
    """Perplexity of the handbook's prose in f32 and with 8-bit activations, over
    transformers'; both over the second halves of chunks."""
    prose = folder / "prose.txt"
    prose.write_text(" ".join(corpus.sentences())[:characters])
    for name, path in REAL.items():
        oracle = Transformers(path())
        ids = oracle.encode(prose.read_text())
        begins, losses = oracle.encode("")[:1], []
        for first in range(0, len(ids) - context + 1, context):
            chunk = begins + ids[first + len(begins) : first + context]
            row = oracle.logits(chunk).astype(np.float64)
            row = row[context // 2 : -1] - row[context // 2 : -1].max(-1, keepdims=True)
            logs = row - np.log(np.exp(row).sum(-1, keepdims=True))
            losses.extend(-logs[np.arange(len(logs)), chunk[context // 2 + 1 :]])
        want = np.exp(np.mean(losses))
        report(f"{name}, transformers f32, perplexity", want)
        for kind, flags, limit in (("f32", F32, 0.1), ("8-bit activations", ("--activations=int8",), 0.7)):
            binary = artifact.compile(path(), folder / name, *flags)
            done = artifact.call(binary, "perplexity", prose, "--context", context, "--json", "--quiet")
            half = json.loads(done.stdout)["second_half"]
            assert half["tokens"] == len(losses), f"{half['tokens']} tokens, transformers has {len(losses)}"
            report(f"{name} {kind}, perplexity, off transformers'", 100 * abs(half["perplexity"] / want - 1), limit, " %")


def measure_peak(*command):
    """Bytes that a command holds at most, by a parent that is smaller than it."""
    parent = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); " \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return 1024 * int(artifact.call(sys.executable, "-c", parent, *command).stdout)


def decoder_artifact(folder):
    """SmolLM2's: compile time, size, start, memory; eight sequences at once."""
    start = time.perf_counter()
    binary = artifact.compile(language_models.SMOLLM2, folder / "smollm2")
    report("smollm2, compile", time.perf_counter() - start, 15, " s")
    info = json.loads(artifact.call(binary, "info", "--json").stdout)
    report("smollm2, file without weights", (binary.stat().st_size - info["weights_bytes"]) / 1e6, 1.5, " MB")
    prompt, times = "Once upon a time,", []
    for _ in range(21):
        start = time.perf_counter()
        artifact.call(binary, "generate", prompt, "--max-tokens", 1, *GREEDY)
        times.append(1e3 * (time.perf_counter() - start))
    report("smollm2, process start to end of a one-token answer", statistics.median(times), 60, " ms")
    peak = measure_peak(binary, "generate", " ".join(corpus.sentences())[:1500], "--max-tokens", 256, *GREEDY)
    report("smollm2, peak memory over weights, 600 tokens", (peak - info["weights_bytes"]) / 1e6, 40, " MB")
    bench = ("bench", "--json", "--quiet", "--weights-memory", "map", "-t", 2)
    ratios = []
    for _ in range(3):
        tests = [json.loads(artifact.call(binary, *bench, "-p", 0, "-n", 64, "-b", batch).stdout)["tests"] for batch in (8, 1)]
        speeds = [test["tokens_per_s"] for [test] in tests]
        ratios.append(speeds[0] / speeds[1])
    report("smollm2, 8 sequences over one, tokens/s, 2 threads", statistics.median(ratios), 2.5, "x", at_least=True)


ORACLE_PARTS = {"logits": logits, "text": text, "perplexity": perplexity}  # need transformers
PARTS = {**ORACLE_PARTS, "decoder": decoder_artifact}
