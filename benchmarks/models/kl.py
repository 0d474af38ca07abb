"""KL divergence to a float language model at the same bytes: pare beside
llama.cpp with its importance matrix.

    kl.py                                       all models, all sets
    kl.py --models smollm2 --peers q4_0,q2_k --pare '4.2 bits=--bits 4.23 --rule token_embd.weight=int4_g32 --rule output.weight=int8_g32'
    kl.py --peers none --pare '3 bits=--quantize int3'

The sources are float_source.py's. Both tools calibrate on Python's documentation
and as much of it (32,768 tokens); all files are judged on the second half of the
Debian handbook by `pare eval`, against the source in f32. The peers' files are
run with f32 activations, which is to their advantage; files with types that pare
does not read run in the peer's own runtime (`*`). llama-quantize is that of
ik_llama.cpp, whose K types and importance matrix are llama.cpp's.

Types in blocks of 256 do not fit rows of 576 or 640: llama-quantize then takes
one that does, and none of its files has fewer than some 4 bits in its body. So
its 2- and 3-bit types are also compared where they fit: only ffn_down (rows of
1536 and 2048) in few bits, everything else in 8.5 bits by both tools; the body
is then those matrices. Bytes are those of tensors.
"""

import argparse
import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import float_source  # noqa: E402
import gguf  # noqa: E402
import importance  # noqa: E402
import numpy as np  # noqa: E402
from oracle import artifact, corpus, language_models, models  # noqa: E402
from report import all_hold, report  # noqa: E402

SOURCES = {"smollm2": lambda: language_models.SMOLLM2, "gemma3": language_models.gemma3}
PEERS = ("q4_k_m", "q4_k_s", "q4_0", "iq4_xs", "iq4_nl", "q3_k_m", "q3_k_s", "iq3_xxs",
         "q2_k", "q2_k_s", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs")
# Types of one kind of tensor, in a file that is Q8_0 otherwise.
PEERS_DOWN = tuple(f"ffn_down={kind}" for kind in ("q4_K", "q3_K", "iq3_xxs", "q2_K", "iq2_xs", "iq2_xxs"))
READ = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
        "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0"}  # of GGUF's types, by pare
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
# Embedding and head as large as the peers have them beside such bodies.
ENDS = f"--rule={EMBEDDING}={{}} --rule={HEAD}=int8_g32"
# Flags of pare compile by name; {super} is the longest super-group that fits all rows.
PARE = {
    "5.5 bits": f"--quantize=int5_g32 {ENDS.format('int5_g32')}",
    "4.5 bits": f"--quantize=int4_g32 {ENDS.format('int4_g32')}",
    "4.2 bits": f"--quantize=int4_g64_k6x{{super}} {ENDS.format('int4_g32')}",
    "3.3 bits": f"--quantize=int3_g32_k6x{{super}} {ENDS.format('int4_g32')}",
    "2.6 bits": f"--quantize=uint2_g32_k4x{{super}} {ENDS.format('int4_g32')}",
}
PARE_DOWN = {
    f"ffn_down {format}": f"--quantize=int8_g32 --rule={EMBEDDING}=int8_g32 --rule=blk.*.ffn_down.weight={format}"
    for format in ("uint4_g32_k6x256", "int3_g16_k6x256", "uint3_g128_k4x512", "uint2_g16_k4x256", "uint2_g32_k4x512", "int2_g128_k4x512")
}
SUPER_GROUPS = {"smollm2": 192, "gemma3": 128}
# Gemma3's own file, smaller than any peer makes it: (flags, most MB, most KL).
SHIPPED = ("--size=165MB", 165, 0.10)


@dataclass
class Row:
    """One file: bytes of its parts, and how far it is from the source."""

    name: str
    body: int
    embedding: int
    head: int
    body_weights: int
    perplexity: float
    kl: float
    same_top: float
    seconds: float = 0
    is_peer: bool = True

    @property
    def is_down(self):
        return "ffn_down" in self.name

    @property
    def total(self):
        return self.body + self.embedding + self.head

    def print(self):
        mb = "".join(f"{bytes / 1e6:9.2f}" for bytes in (self.body, self.embedding, self.head, self.total))
        print(f"{self.name:30}{mb}{8 * self.body / self.body_weights:8.3f}{self.perplexity:9.3f}{self.kl:10.5f}"
              f"{100 * self.same_top:9.2f}%{self.seconds:8.0f}", flush=True)


HEADS = f"{'':30}{'body':>9}{'embedding':>9.8}{'head':>9}{'total MB':>9}{'bits':>8}{'PPL':>9}{'KL':>10}{'same top':>10}{'s':>8}"


class Bench:
    """A model's source, its texts and what both tools need, kept in a folder."""

    def __init__(self, name, folder, tokens, context):
        self.name, self.folder, self.tokens, self.context = name, folder, tokens, context
        folder.mkdir(parents=True, exist_ok=True)
        self.calibration, self.prose = folder / "calibration.txt", folder / "prose.txt"
        self.calibration.write_text("".join(f"{text}\n" for text in corpus.python_paragraphs()))
        sentences = corpus.sentences()
        self.prose.write_text(" ".join(sentences[len(sentences) // 2 :]) + "\n")
        self.source = float_source.make(SOURCES[name](), folder / f"{name}-f16.gguf")
        self.truth = None

    def compile_truth(self, source):
        """The source as an artifact in f32, which all are compared with."""
        self.truth = artifact.compile(source, self.folder / f"{self.name}-truth", "--activations=f32", "--kv-cache=f32",
                                      f"--context={self.context}")

    def evaluate(self, subject, *flags):
        done = artifact.call(artifact.PARE, "eval", subject, "--against", self.truth, "--data", self.prose, "--context",
                             self.context, "--tokens", self.tokens, "--json", "--quiet", *flags, timeout=3600)
        found = json.loads(done.stdout)
        return {"perplexity": found["perplexity"]["value"], "kl": found["kl"]["value"], "same_top": found["same_top"]["value"]}

    def check_source(self):
        """The source computes what the shipped file does."""
        self.compile_truth(self.source)
        found = self.evaluate(SOURCES[self.name](), "--activations=f32", "--kv-cache=f32")
        shipped, truth = found["perplexity"], self.evaluate(self.truth)["perplexity"]
        report(f"{self.name}, perplexity of the float source", truth)
        report(f"{self.name}, source off the shipped file's perplexity", 100 * abs(truth / shipped - 1), 0.1, " %")
        report(f"{self.name}, KL of the shipped file to the source", found["kl"])

    def quantize_by_peer(self, kind):
        """The file that llama-quantize makes, once per folder; None where it refuses."""
        import ik_llama_cpp

        matrix = importance.make(self.source, self.calibration, self.folder / f"{self.name}.imatrix")
        out = self.folder / f"{self.name}-{kind.replace('=', '-')}.gguf"
        types = ["--custom-q", kind] if "=" in kind else []
        if not out.exists():
            partial = out.with_suffix(".partial")
            done = artifact.call(ik_llama_cpp.find_quantize_bin(), "--imatrix", matrix, *types,
                                 self.source, partial, "q8_0" if types else kind, check=False, timeout=3600)
            if done.returncode:
                partial.unlink(missing_ok=True)
                return None
            partial.rename(out)
        return out

    def measure_peer(self, kind):
        start = time.perf_counter()
        path = self.quantize_by_peer(kind)
        seconds = time.perf_counter() - start
        if not path:
            print(f"llama.cpp {kind}: refused by llama-quantize")
            return None
        try:
            tensors, name = gguf.GGUFReader(path).tensors, f"llama.cpp {kind}"
        except ValueError:
            print(f"llama.cpp {kind}: left out, made of types that only ik_llama.cpp has")
            return None
        if {t.tensor_type.name for t in tensors} <= READ:
            found = self.evaluate(path, "--activations=f32", "--kv-cache=f32")
        else:
            import peer_logits

            name += " *"
            found = peer_logits.compare(path, self.source, self.prose.read_text(), self.context, self.tokens)
        sizes = {t.name: (int(t.n_bytes), int(t.n_elements)) for t in tensors}
        return self.make_row(name, sizes, **found, seconds=seconds)

    def measure_pare(self, name, flags, source=None):
        out, start = self.folder / f"{self.name}-pare", time.perf_counter()
        flags = flags.replace("{super}", str(SUPER_GROUPS[self.name]))
        done = artifact.call(artifact.PARE, "compile", source or self.source, "-o", out, "--json", "--quiet",
                             f"--context={self.context}", "--calibrate", self.calibration, *shlex.split(flags), timeout=7200)
        seconds = time.perf_counter() - start
        tensors = json.loads(done.stdout)["tensors"]
        sizes = {t["tensor"]: (t["bytes_after"], int(np.prod(t["shape"]))) for t in tensors}
        return self.make_row(f"pare {name}", sizes, **self.evaluate(out), seconds=seconds, is_peer=False)

    def make_row(self, name, sizes, **found):
        """Bytes of matrices, or of ffn_down's for its rows; vectors are the same few in all files."""
        body = [size for tensor, size in sizes.items() if tensor not in (EMBEDDING, HEAD) and not tensor.endswith("norm.weight")
                and ("ffn_down" in tensor or "ffn_down" not in name)]
        ends = [sizes.get(tensor, (0, 0))[0] for tensor in (EMBEDDING, HEAD)]
        return Row(name, sum(bytes for bytes, _ in body), *ends, sum(weights for _, weights in body), **found)


def compare(rows):
    """For each of the peer's files: pare's best with no more bytes in its body, in
    its embedding and head, and in total; half of the KL is asked for."""
    for peer in (row for row in rows if row.is_peer):
        fitting = [row for row in rows if row.is_down == peer.is_down and not row.is_peer
                   and row.body <= peer.body and row.total <= peer.total
                   and row.embedding + row.head <= peer.embedding + peer.head]
        if not fitting:
            print(f"{peer.name}: no set of pare's is as small")
            continue
        best = min(fitting, key=lambda row: row.kl)
        report(f"{best.name} to {peer.name}, KL ratio", best.kl / peer.kl, 0.5)
        report(f"  {best.name}, quantization", best.seconds / 60, 15, " min")


def run(bench, peers, sets, shipped=False):
    bench.check_source()
    print(f"\n{bench.name}, {bench.tokens} tokens\n{HEADS}")
    rows = []
    for measure, items in ((bench.measure_peer, [(kind,) for kind in peers]), (bench.measure_pare, sets.items())):
        for item in items:
            row = measure(*item)
            if row:
                rows.append(row)
                row.print()
    compare(rows)
    if shipped:
        run_shipped(bench)


def run_shipped(bench):
    """Gemma3's own file, against itself in f32."""
    flags, limit_mb, limit_kl = SHIPPED
    bench.compile_truth(SOURCES[bench.name]())
    row = bench.measure_pare("as shipped", flags, SOURCES[bench.name]())
    row.print()
    report(f"{bench.name} as shipped, weights", row.total / 1e6, limit_mb, " MB")
    report(f"{bench.name} as shipped, KL", row.kl, limit_kl)


def kl(_=None, folder=models.BUILD / "kl", names=tuple(SOURCES), peers=PEERS + PEERS_DOWN, sets=PARE | PARE_DOWN, tokens=16384, context=512):
    """All files stay in `folder`: sources and the peers' take long to make."""
    for name in names:
        run(Bench(name, folder, tokens, context), peers, sets, shipped=name == "gemma3")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(SOURCES), help="of %(default)s")
    parser.add_argument("--peers", default=",".join(PEERS + PEERS_DOWN),
                        help="of llama-quantize's types, or none [%(default)s]")
    parser.add_argument("--pare", action="append", metavar="NAME=FLAGS", help="a set of pare compile's flags instead of those in this file; may be given several times")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=models.BUILD / "kl", help="for sources and files, which are kept [%(default)s]")
    args = parser.parse_args()
    for name in args.models.split(","):
        if name not in SOURCES:
            parser.error(f"no model '{name}'")
    peers = [] if args.peers == "none" else args.peers.split(",")
    sets = dict(item.split("=", 1) for item in args.pare) if args.pare else PARE | PARE_DOWN
    kl(None, args.folder, args.models.split(","), peers, sets, args.tokens, args.context)
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
