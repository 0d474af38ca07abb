"""What pare promises of the real models, measured: accuracy, quality, size, start, memory.

    tools/bench-quality             everything
    tools/bench-quality accuracy int8 artifact
    tools/bench-quality methods     orders of methods on MiniLM: 47 compilations
    tools/bench-quality large       a model of 7B in 1.5 GB of memory: 32 GB of disk under $TMPDIR, an hour

The parts logits, text, perplexity and kl are of language models and need
transformers: `tools/setup --transformers` (6 GB of packages). minilm-bits needs
NNCF, and so does cnn: `tools/setup --peers`. cnn.py, kl.py, methods.py and
minilm_bits.py also run by themselves, with options.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import language  # noqa: E402
from cnn import cnn  # noqa: E402
from kl import kl  # noqa: E402
from large import large  # noqa: E402
from methods import methods  # noqa: E402
from minilm_bits import minilm_bits  # noqa: E402
from oracle import artifact, corpus, models, quality  # noqa: E402
from pruning import prune  # noqa: E402
from report import all_hold, report  # noqa: E402

INT8 = "--quantize=int8"
def accuracy(folder):
    """Largest error of f32 outputs against ONNX Runtime, as a share of their scale."""
    for model in models.MODELS:
        binary = artifact.compile(model.source, folder / model.name, *model.dynamic)
        for case in model.cases:
            feeds = model.feeds(*case)
            got, want = artifact.run(binary, feeds), models.expected(model, feeds)
            error = max(artifact.scaled_error(got[name], want[name]) for name in want)
            report(f"{model.name} {'x'.join(map(str, case))} f32, max error / scale", error, 1e-4)


def int8(folder):
    """What int8 keeps of each model's use."""
    minilm = artifact.compile(models.MINILM.source, folder / "minilm-int8", INT8)
    cosines = quality.sentence_cosines(minilm, 1500)
    report("minilm int8, cosine to f32, 1500 sentences, mean", cosines.mean(), 0.995, at_least=True)
    report("minilm int8, cosine to f32, 1500 sentences, worst", cosines.min(), 0.93, at_least=True)

    flags = [INT8, *artifact.shape_flags(models.RECOGNIZER.shapes((10, 320)))]
    calibration = quality.recognizer_calibration(folder, 10)
    recognizer = artifact.compile(models.RECOGNIZER.source, folder / "rec-int8", calibration, *flags)
    same = 100 * quality.line_agreement(recognizer, 300, 10)
    report("recognizer int8, same text, 300 rendered lines", same, 99, "%", at_least=True)
    recognizer = artifact.compile(models.RECOGNIZER.source, folder / "rec-plain", *flags)
    same = 100 * quality.line_agreement(recognizer, 300, 10)
    report("recognizer int8 without calibration", same, unit="%")

    flags = [INT8, *artifact.shape_flags(models.VIT.shapes((1,)))]
    calibration = quality.vit_calibration(folder, 16)
    vit = artifact.compile(models.VIT.source, folder / "vit-int8", calibration, *flags)
    correlations = quality.map_correlations(vit, 32)
    report("vit int8, map correlation, worst of 32 pictures", correlations.min(), 0.99, at_least=True)
    report("vit int8, map correlation, mean", correlations.mean(), 0.999, at_least=True)
    vit = artifact.compile(models.VIT.source, folder / "vit-plain", *flags)
    correlations = quality.map_correlations(vit, 32)
    report("vit int8 without calibration, worst", correlations.min())
    report("vit int8 without calibration, mean", correlations.mean(), 0.99, at_least=True)


def artifact_itself(folder):
    """Size, start-up, memory and compile time of MiniLM."""
    start = time.perf_counter()
    binary = artifact.compile(models.MINILM.source, folder / "minilm", INT8)
    report("minilm int8, compile", time.perf_counter() - start, 10, " s")

    weights = json.loads(artifact.call(binary, "info", "--json").stdout)["weights_bytes"]
    report("minilm int8, file without weights", (binary.stat().st_size - weights) / 2**20, 1, " MiB")

    times = []
    for text in corpus.sentences()[:20]:
        start = time.perf_counter()
        artifact.call(binary, "embed", text)
        times.append(1e3 * (time.perf_counter() - start))
    report("minilm int8, process start to embedding, median", statistics.median(times), 30, " ms")

    flags = artifact.shape_flags(models.MINILM.shapes((1, 128)))
    for precision in ("none", "int8"):
        fixed = artifact.compile(models.MINILM.source, folder / "m128", f"--quantize={precision}", *flags)
        weights = json.loads(artifact.call(fixed, "info", "--json").stdout)["weights_bytes"]
        peak = artifact.bench(fixed, 1)["peak_rss_bytes"]
        report(f"minilm 1x128 {precision}, peak memory over weights", (peak - weights) / 2**20, 20, " MiB")

    bounded = artifact.compile(models.MINILM.source, folder / "dynamic")
    fixed = artifact.compile(models.MINILM.source, folder / "static", *flags)
    shapes = list(artifact.shape_flags(models.MINILM.shapes((1, 128))))
    pairs = [
        (artifact.bench(bounded, 1, *shapes)["p50_ms"], artifact.bench(fixed, 1)["p50_ms"])
        for _ in range(5)
    ]
    ratio = statistics.median(d / s for d, s in pairs)
    report("minilm 1x128 f32, dynamic over static latency", ratio, 1.15, "x")


PARTS = {"accuracy": accuracy, "int8": int8, "artifact": artifact_itself, **language.PARTS,
         "minilm-bits": minilm_bits, "methods": methods, "cnn": cnn, "kl": kl, "prune": prune, "large": large}
# Parts that run only when they are asked for.
HEAVY = {"large", "methods"}
# What parts need beyond tools/setup: the option that installs it, and a module that shows it is there.
NEEDS = {**dict.fromkeys((*language.ORACLE_PARTS, "kl"), ("--transformers", "transformers")),
         **dict.fromkeys(("minilm-bits", "cnn"), ("--peers", "nncf"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parts = parser.parse_args().parts or [part for part in PARTS if part not in HEAVY]
    for part in parts:
        if part not in PARTS:
            parser.error(f"no part '{part}'")
    missing = {part: NEEDS[part] for part in parts if part in NEEDS and not importlib.util.find_spec(NEEDS[part][1])}
    for part, (option, module) in missing.items():
        print(f"Without {module} (tools/setup {option}): no {part}")
    parts = [part for part in parts if part not in missing]
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            PARTS[part](Path(folder))
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
