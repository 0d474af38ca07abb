"""MiniLM in 8, 4 and 3 bits beside NNCF's int8: cosine to f32 on sentences that
calibration did not see, and what a classifier on top of the vectors loses.

    minilm_bits.py
    minilm_bits.py --no-peer --pare '4 bits=--bits 4.5 --rule *embeddings*=int8'

f32 is ONNX Runtime's. Both tools calibrate on the same sentences. Bits are those
of all linear weights, scales included, from the compile report. The probe is
a logistic regression on the vectors of 10,605 sentences of film reviews, judged
by cross-validation in five parts.
"""

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

import numpy as np  # noqa: E402
import sentiment  # noqa: E402
from oracle import artifact, models, quality  # noqa: E402
from report import all_hold, report  # noqa: E402

# Flags of pare compile by name.
PARE = {
    "int8": "--quantize=int8",
    "4 bits": "--quantize=uint4_g32_k6x192 --calibrate-texts=2048",
    "3 bits": "--quantize=uint3_g32_k6x192 --calibrate-texts=2048",
}
# Most bits, least mean and worst cosine.
LIMITS = {"int8": (8.6, 0.999, 0.98), "4 bits": (4.6, 0.992, None), "3 bits": (3.6, 0.97, None)}
PROBE_LIMIT = 0.5  # points of accuracy


def linear_bits(tensors):
    """Bits per weight of all matrices but the tables that rows are looked up in."""
    linear = [t for t in tensors if len(t["shape"]) == 2 and not t["tensor"].startswith("embeddings.")]
    return 8 * sum(t["bytes_after"] for t in linear) / sum(np.prod(t["shape"]) for t in linear)


def probe_accuracy(vectors, labels):
    """Percent right of a logistic regression on vectors, over five held-out parts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    return 100 * cross_val_score(LogisticRegression(max_iter=1000), vectors, labels, cv=parts).mean()


class Probe:
    """f32's vectors of all sentences, and what others are held against."""

    def __init__(self):
        self.judged, (self.movies, self.labels) = sentiment.judged(), sentiment.movies()
        self.truth = quality.embeddings(self.judged)
        self.accuracy = probe_accuracy(quality.embeddings(self.movies), self.labels)
        report("minilm f32, probe accuracy", self.accuracy, unit="%")

    def judge(self, name, embed, limits=(None, None, None)):
        """Cosines and loss of accuracy of `embed`, texts to unit vectors."""
        _, mean, worst = limits
        cosines = (embed(self.judged) * self.truth).sum(-1)
        report(f"minilm {name}, cosine to f32, {len(self.judged)} sentences, mean", cosines.mean(), mean, at_least=True)
        report(f"minilm {name}, cosine to f32, worst", cosines.min(), worst, at_least=True)
        lost = self.accuracy - probe_accuracy(embed(self.movies), self.labels)
        report(f"minilm {name}, probe accuracy lost", lost, None if mean is None else PROBE_LIMIT, " points")


def openvino_embed(path):
    """A function from texts to unit vectors by the model at `path`."""
    import openvino

    request = openvino.Core().compile_model(path, "CPU").create_infer_request()

    def embed(texts):
        vectors = []
        for text in texts:
            feeds = models.encode([text], min(256, len(models.tokenizer().encode(text).ids)))
            [hidden] = request.infer(feeds).values()
            vectors.append(models.pool(hidden, feeds["attention_mask"])[0])
        return np.stack(vectors)

    return embed


def judge_peer(probe):
    import quantize

    samples = [models.encode([text], min(128, len(models.tokenizer().encode(text).ids)))
               for text in sentiment.calibration(300)]
    probe.judge("NNCF int8", openvino_embed(quantize.openvino_int8(models.MINILM, samples, ".sentiment")))


def minilm_bits(folder, sets=PARE, with_peer=True):
    probe = Probe()
    if with_peer:
        judge_peer(probe)
    calibration = folder / "calibration.txt"
    calibration.write_text("".join(f"{text}\n" for text in sentiment.calibration()))
    for name, flags in sets.items():
        out, limits = folder / "minilm", LIMITS.get(name, (None, None, None))
        done = artifact.call(artifact.PARE, "compile", models.MINILM.source, "-o", out, "--json", "--quiet", "--calibrate",
                             calibration, *shlex.split(flags), timeout=3600)
        compiled = json.loads(done.stdout)
        report(f"minilm {name}, bits per linear weight", linear_bits(compiled["tensors"]), limits[0])
        report(f"minilm {name}, compile", compiled["seconds"], unit=" s")
        probe.judge(name, lambda texts, out=out: artifact.embed(out, texts), limits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pare", action="append", metavar="NAME=FLAGS", help="a set of pare compile's flags instead of those in this file; "
                        f"may be given several times; limits belong to the names {', '.join(LIMITS)}")
    parser.add_argument("--no-peer", action="store_true", help="without NNCF")
    args = parser.parse_args()
    sets = dict(item.split("=", 1) for item in args.pare) if args.pare else PARE
    with tempfile.TemporaryDirectory() as folder:
        minilm_bits(Path(folder), sets, not args.no_peer)
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
