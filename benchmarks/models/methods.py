"""Methods of quantization and pruning on MiniLM, in the order that their papers give.

    methods.py
    methods.py --seeds 0 --bits 3 --sparsity 2:4

Weights of all products, in groups of 64 with zero points; activations and tables
of words stay f32, so that weights alone tell. Methods that look at samples get
the same sentences, drawn by each seed; figures are mean cosines to f32 over
sentences that no seed draws from. The others do not depend on seeds.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import numpy as np  # noqa: E402
import sentiment  # noqa: E402
from oracle import artifact, models, quality  # noqa: E402
from report import all_hold, report  # noqa: E402

CALIBRATION, JUDGED, SEEDS = 256, 1000, (0, 1)
BITS, SPARSITY = (4, 3, 2), ("50%", "2:4")
COMMON = "--activations f32 --checkpoints none"
# Flags of pare compile by method, and whether it looks at samples.
ROUNDED = {
    "RTN": ("--method nearest --scales maxabs", False),
    "nearest": ("--method nearest", False),
    "HQQ": ("--method hqq", False),
    "AWQ": ("--method nearest --scales maxabs --input-scales all", True),
    "GPTQ": ("--method gptq", True),
    "AutoRound": ("--method autoround", True),
    "descent": ("--method descent", True),
}
PRUNED = {
    "magnitude": ("--prune-by magnitude", False),
    "RIA": ("--prune-by ria", True),
    "Wanda": ("--prune-by wanda", True),
    "SparseGPT": ("--prune-by sparsegpt", True),
}
# Of each pair the second loses less of a cosine's distance to 1.
ROUNDED_ORDER = [("RTN", "HQQ"), ("RTN", "AWQ"), ("RTN", "GPTQ"), ("AWQ", "GPTQ"), ("RTN", "AutoRound"), ("GPTQ", "descent")]
PRUNED_ORDER = [("magnitude", "Wanda"), ("magnitude", "RIA"), ("Wanda", "SparseGPT")]
# Where papers say so and it does not hold here (docs/quantization.md, docs/pruning.md): printed alone.
NOT_HERE = [("GPTQ", "AutoRound"), ("Wanda", "RIA")]


class Table:
    """Mean distances of cosines to 1 by column, method and seed."""

    def __init__(self, folder, seeds):
        self.folder, self.seeds, self.lost = folder, seeds, {}
        self.texts = sentiment.judged(JUDGED)
        self.truth = quality.embeddings(self.texts)
        self.samples = folder / "calibration.txt"
        self.samples.write_text("".join(f"{text}\n" for text in sentiment.calibration()))

    def measure(self, column, method, flags, uses_samples):
        lost = []
        for seed in self.seeds if uses_samples else self.seeds[:1]:
            samples = f" --calibrate {self.samples} --calibrate-texts {CALIBRATION} --calibrate-seed {seed}" if uses_samples else ""
            binary = artifact.compile(models.MINILM.source, self.folder / "minilm", *shlex.split(f"{COMMON} {flags}{samples}"))
            lost.append(1 - (artifact.embed(binary, self.texts) * self.truth).sum(-1).mean())
        self.lost[column, method] = np.mean(lost)
        spread = f"   {max(lost) - min(lost):.4f} between seeds" if len(lost) > 1 else ""
        print(f"minilm {column}, {method:10} cosine to f32, mean {1 - np.mean(lost):.4f}{spread}", flush=True)

    def check(self, column, order):
        known = [pair for pair in NOT_HERE if (column, pair[0]) in self.lost]
        for worse, better in order + known:
            ratio = self.lost[column, better] / self.lost[column, worse]
            report(f"minilm {column}, lost by {better} over {worse}", ratio, None if (worse, better) in known else 1, "x")

    def print(self, columns, methods):
        print(f"\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for method in methods:
            print(f"| {method} | {' | '.join(f'{1 - self.lost[column, method]:.4f}' for column in columns)} |")
        print(flush=True)


def methods(folder, seeds=SEEDS, bits=BITS, sparsity=SPARSITY):
    table = Table(folder, seeds)
    widths = [f"{width} bits" for width in bits]
    for width, column in zip(bits, widths):
        for method, (flags, uses_samples) in ROUNDED.items():
            table.measure(column, method, f"--quantize uint{width}_g64 --rule *word_embeddings*=none {flags}", uses_samples)
        table.check(column, ROUNDED_ORDER)
    for column in sparsity:
        for method, (flags, uses_samples) in PRUNED.items():
            table.measure(column, method, f"--prune {column} {flags}", uses_samples)
        table.check(column, PRUNED_ORDER)
    if set(SPARSITY) <= set(sparsity):
        for method in PRUNED:
            ratio = table.lost["50%", method] / table.lost["2:4", method]
            report(f"minilm, lost by {method} at 50% over 2:4", ratio, 1, "x")
    table.print(widths, ROUNDED)
    table.print(sparsity, PRUNED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--bits", type=int, nargs="*", default=BITS)
    parser.add_argument("--sparsity", nargs="*", default=SPARSITY)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        methods(Path(folder), args.seeds, args.bits, args.sparsity)
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
