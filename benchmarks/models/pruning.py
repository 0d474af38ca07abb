"""Parts left out of real models: arithmetic removed beside time saved, and what
is lost. Pruned and whole artifacts are timed in turn by `pare bench --vs`."""

import json
import math

import numpy as np
from oracle import artifact, corpus, language_models, models, quality
from report import report

# Time saved, as a share of the arithmetic removed.
LEAST = 0.8
ROUNDS = 7


def compile_pair(source, folder, name, prune, *flags):
    """Paths of the pruned and of the whole artifact, and the report of the first."""
    pruned, whole = folder / f"{name}-pruned", artifact.compile(source, folder / name, *shared(flags))
    done = artifact.call(artifact.PARE, "compile", source, "-o", pruned, "--json", "--quiet", f"--prune={prune}", *flags,
                         timeout=3600)
    return pruned, whole, json.loads(done.stdout)


def shared(flags):
    return [flag for flag in flags if not str(flag).startswith("--calibrate")]


def judge(what, removed, ratio):
    """`ratio`: time of the pruned artifact over the whole one's."""
    report(f"{what}, arithmetic removed", 100 * removed, unit="%")
    report(f"{what}, time saved", 100 * (1 - ratio), unit="%")
    report(f"{what}, saved over removed", (1 - ratio) / removed, LEAST, at_least=True)


def time_ratio(pruned, whole):
    done = artifact.call(artifact.PARE, "bench", pruned, "--vs", whole, "--threads=1", f"--rounds={ROUNDS}", "--json",
                         "--quiet", timeout=3600)
    return json.loads(done.stdout)["ratios"][0]["p50"]


def removed_share(compiled):
    pruned = compiled["pruned"]
    return 1 - pruned["flops_after"] / pruned["flops_before"]


def sentences_file(folder, texts):
    path = folder / "sentences.txt"
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def minilm(folder):
    """30% of hidden units and heads."""
    texts = corpus.sentences()
    calibrate = f"--calibrate={sentences_file(folder, corpus.spread(texts[1::2], 256))}"
    prune = "ffn=30%,heads=30%"
    shape = artifact.shape_flags(models.MINILM.shapes((1, 128)))
    pruned, whole, compiled = compile_pair(models.MINILM.source, folder, "minilm128", prune, calibrate, *shape)
    judge("minilm 1x128, 30% of ffn and heads", removed_share(compiled), time_ratio(pruned, whole))
    judged = corpus.spread(texts[::2], 300)
    truth = quality.embeddings(judged)
    for name, flags in (("by samples", [calibrate]), ("by norms", [])):
        binary = artifact.compile(models.MINILM.source, folder / "minilm-any", f"--prune={prune}", *flags)
        cosines = (artifact.embed(binary, judged) * truth).sum(-1)
        report(f"minilm, 30% of ffn and heads {name}, mean cosine", cosines.mean())


def product_flops(tensors, rows, logits):
    """Of a decoder's products for `rows` tokens and `logits` wanted rows. The
    last layer's feed-forward network computes only those."""
    last = max(int(t["tensor"].split(".")[1]) for t in tensors if t["tensor"].startswith("blk."))
    total = 0
    for tensor in tensors:
        name = tensor["tensor"]
        is_wanted_only = not name.startswith("blk.") or name.startswith(f"blk.{last}.ffn_")
        total += 2 * math.prod(tensor["shape"]) * (logits if is_wanted_only else rows)
    return total


def smollm2(folder):
    """6 of 30 layers."""
    text = folder / "prose.txt"
    text.write_text("\n".join(corpus.sentences()))
    calibrate = [f"--calibrate={text}:0%-50%", "--calibrate-tokens=8192"]
    source = language_models.SMOLLM2
    pruned, whole, compiled = compile_pair(source, folder, "smollm2", "layers=6", *calibrate)
    before = json.loads(artifact.call(whole, "info", "--json").stdout)["metadata"]["tensors"]
    done = artifact.call(artifact.PARE, "bench", pruned, "--vs", whole, "--threads=1", f"--rounds={ROUNDS}", "-p", 512,
                         "-n", 64, "-r", 1, "--json", "--quiet", timeout=3600)
    for ratio in json.loads(done.stdout)["ratios"]:
        rows = 512 if ratio["test"].startswith("pp") else 1
        removed = 1 - product_flops(compiled["tensors"], rows, 1) / product_flops(before, rows, 1)
        judge(f"smollm2, 6 layers, {ratio['test']} {ratio['weights']}", removed, 1 / ratio["tokens_per_s"])
    held = folder / "held.txt"
    held.write_text("\n".join(corpus.sentences()[-len(corpus.sentences()) // 3 :])[:30000])
    narrow = artifact.compile(source, folder / "smollm2-narrow", "--prune=ffn=10%", *calibrate)
    for name, binary in (("whole", whole), ("6 layers dropped", pruned), ("10% of ffn", narrow)):
        found = json.loads(artifact.call(binary, "perplexity", held, "--context", 512, "--json", "--quiet").stdout)
        report(f"smollm2, {name}, perplexity", found["second_half"]["perplexity"])


def cnns(folder):
    """Half of the filters."""
    for model, case, samples in (
        (models.RECOGNIZER, (1, 320), lambda: np.split(corpus.calibration_lines(20), 20)),
        (models.DETECTOR, (1, 320, 480), lambda: [models.picture(1, 320, 480)]),
    ):
        shape = artifact.shape_flags(model.shapes(case))
        calibrate = quality.calibration(model, folder, samples())
        pruned, whole, compiled = compile_pair(model.source, folder, model.name, "filters=50%", calibrate, *shape)
        judge(f"{model.name} {'x'.join(map(str, case))}, half of the filters", removed_share(compiled),
              time_ratio(pruned, whole))
        if model is models.RECOGNIZER:
            mild = artifact.compile(model.source, folder / "mild", "--prune=filters=10%", calibrate, *shape)
            for share, binary in ((50, pruned), (10, mild)):
                same = 100 * quality.line_agreement(binary, 100, 1)
                report(f"recognizer, {share}% of the filters, same text, 100 lines", same, unit="%")


def prune(folder):
    minilm(folder)
    smollm2(folder)
    cnns(folder)
