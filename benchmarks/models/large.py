"""A model larger than the memory it is quantized in, and a kill half-way.

    tools/bench-quality large
    python benchmarks/models/large.py --size 1b --folder /somewhere/with/room --method hqq

Makes a Llama with random weights in shards of bf16 (7b: 13.5 GB), quantizes it in a
memory cgroup of --limit bytes where one can be made, kills a second run with SIGKILL
when half of its weights are finished, compares some of those with numpy's, bit for
bit, lets the run go on and compares the artifacts. 7b needs 32 GB of disk.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from oracle import artifact, memory, rounding, synthetic  # noqa: E402
from report import all_hold, report  # noqa: E402

FORMATS = {"uint4_g32": rounding.UINT4, "int4_g32": rounding.INT4, "int8_g32": rounding.INT8}
# --quantize, by --method.
QUANTIZE = {"hqq": "uint4_g32", "nearest": "int4"}
# Before the blocks of a part: its header, and what was measured of the weight.
PART_HEADER = 128


def quantize(source, out, method, limit, until=None):
    """One run of `pare compile`: the process, its report, seconds, peak of anonymous bytes."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as stdout:
        process, peak = memory.peak_anonymous(
            artifact.PARE, "compile", source, "-o", out, f"--quantize={QUANTIZE[method]}", f"--method={method}",
            f"--checkpoints={out}.partial", "--json", stdout=stdout, period=0.01, until=until,
            preexec_fn=limit.enter)
        stdout.seek(0)
        text = stdout.read()
    return process, json.loads(text) if text else None, time.perf_counter() - start, peak


def count_equal(source, parts, tensors):
    """Of parts by number: how many have the bytes that numpy rounds to."""
    equal = 0
    for number in parts:
        name, format = tensors[number]["tensor"], FORMATS[tensors[number]["format"].split(",")[0]]
        levels, scale, zero, _ = rounding.quantize(synthetic.read_tensor(source, name), format)
        is_equal = parts[number].read_bytes()[PART_HEADER:] == rounding.pack(levels, scale, zero, format)
        print(f"  {name}, {format.bits} bits: {'equal' if is_equal else 'DIFFERENT'}", flush=True)
        equal += is_equal
    return equal


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(folder, size, method, limit_bytes, samples, given=None):
    start = time.perf_counter()
    source = given or folder / size
    if not (source / "config.json").exists():
        synthetic.make_llama(source, synthetic.SIZES[size])
        report(f"{size}, made in", time.perf_counter() - start, unit=" s")
    weights = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    report(f"{size}, shards of bf16", weights / 1e9, unit=" GB")
    label, limit_gb = f"{size} {method}", limit_bytes / 1e9
    out, again = folder / "whole", folder / "resumed"
    with memory.Limit(limit_bytes) as limit:
        print(f"memory cgroup of {limit_gb:g} GB: {'yes' if limit else 'cannot be made'}", flush=True)
        process, result, seconds, peak = quantize(source, out, method, limit)
        if process.returncode != 0:
            raise RuntimeError(process.text)
        tensors = [row for row in result["tensors"] if row["format"].split(",")[0] in FORMATS]
        print("  " + "\n  ".join(process.text.splitlines()[:3]), flush=True)
        report(f"{label}, undisturbed", seconds, unit=" s")
        report(f"{label}, of it passes", result["phases"]["passes"], unit=" s")
        report(f"{label}, peak anonymous memory", peak / 1e9, limit_gb, " GB")
        report(f"{label}, artifact", result["file_bytes"] / 1e9, unit=" GB")
        whole = sha256(out)
        out.unlink()

        folder_of_parts = Path(f"{again}.partial")
        half = len(tensors) // 2
        process, *_ = quantize(source, again, method, limit,
                               until=lambda: len(list(folder_of_parts.glob("weight-*.part"))) >= half)
        report(f"{label}, killed by signal", -process.returncode, 9)
        parts = {int(path.stem.split("-")[1]): path for path in sorted(folder_of_parts.glob("weight-*.part"))}
        spread = list(parts)[:: max(1, len(parts) // samples)][:samples]
        equal = count_equal(source, {number: parts[number] for number in spread}, tensors)
        report(f"{label}, of {len(spread)} sampled weights equal to numpy's", equal, len(spread), at_least=True)
        process, _, seconds, peak = quantize(source, again, method, limit)
        print("  " + "\n  ".join(process.text.splitlines()[:3]), flush=True)
        report(f"{label}, weights that were done", len(parts), 1, at_least=True)
        report(f"{label}, resumed", seconds, unit=" s")
        report(f"{label}, resumed, peak anonymous memory", peak / 1e9, limit_gb, " GB")
        same = process.returncode == 0 and sha256(again) == whole
        report(f"{label}, resumed to the same bytes", same, 1, at_least=True)
    again.unlink()
    if not given:
        shutil.rmtree(source)


def large(folder):
    measure(folder, "7b", "hqq", 1_500_000_000, samples=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=synthetic.SIZES, default="7b")
    parser.add_argument("--method", choices=QUANTIZE, default="hqq")
    parser.add_argument("--source", type=Path, help="where the model is kept; made where it is not")
    parser.add_argument("--limit", type=int, default=1_500_000_000, help="bytes of memory")
    parser.add_argument("--samples", type=int, default=5, help="weights to compare with numpy's")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as inside:
        measure(Path(inside), given.size, given.method, given.limit, given.samples, given.source)
    sys.exit(0 if all_hold() else 1)
