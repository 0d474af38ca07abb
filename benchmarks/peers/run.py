"""Latency of pare, OpenVINO and ONNX Runtime on the real models, side by side.

All contenders of a row run in one process on the same cores, in turns, for
several rounds; a figure is the median of the rounds' medians. Shapes are
static, OpenVINO has its latency hint and the precision of the row.

    tools/bench-peers --models minilm,recognizer --threads 1,2 --rounds 5
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from oracle import artifact, models, quality  # noqa: E402

import quantize  # noqa: E402

CASES = {
    "minilm": ((1, 32), (1, 128), (16, 128)),
    "recognizer": ((1, 320),),
    "detector": ((1, 640, 640),),
    "classifier": ((1,),),
    "vit": ((1,),),
    "magika": ((1,),),
    "efficientnet-lite0": ((1,),),
}
PRECISIONS = ("f32", "int8")
# int8 as `bench-quality int8` judges it: some models need samples.
CALIBRATIONS = {
    "recognizer": lambda folder: quality.recognizer_calibration(folder, 1),
    "vit": quality.vit_calibration,
    "efficientnet-lite0": lambda folder: quality.photograph_calibration(models.EFFICIENTNET, folder),
}


def openvino_runner(model, feeds, precision, threads):
    """A function that runs one inference with OpenVINO."""
    import openvino

    core = openvino.Core()
    path = quantize.openvino_int8(model) if precision == "int8" else model.onnx()
    network = core.read_model(path)
    network.reshape({name: list(array.shape) for name, array in feeds.items()})
    request = core.compile_model(network, "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # else two cores of a virtual machine may count as one
        "ENABLE_CPU_PINNING": False,  # the process is pinned, as for all
    }).create_infer_request()
    for name, array in feeds.items():
        request.set_tensor(name, openvino.Tensor(array))
    return request.infer


def onnxruntime_runner(model, feeds, precision, threads):
    """A function that runs one inference with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    path = quantize.onnxruntime_int8(model) if precision == "int8" else model.onnx()
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def median_ms(step, seconds):
    """Median milliseconds of `step`, called for `seconds`, at least 5 times."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def pare_artifact(model, case, precision):
    """Compiles `model` for the case's static shape; None where pare is not built."""
    if precision == "bf16" or not artifact.PARE.exists():
        return None
    out = quantize.FOLDER / f"{model.name}-{'x'.join(map(str, case))}-{precision}"
    out.parent.mkdir(parents=True, exist_ok=True)
    quantized = ["--quantize=int8"] if precision == "int8" else []
    if quantized and model.name in CALIBRATIONS:
        quantized.append(CALIBRATIONS[model.name](out.parent))
    return artifact.compile(model.source, out, *quantized, *artifact.shape_flags(model.shapes(case)))


def pare_runner(out, threads):
    """A function that measures one round of `artifact bench`."""
    last = artifact.bench(out, threads, "--runs", 5)["p50_ms"]

    def round_ms(seconds):
        nonlocal last
        runs = max(5, round(1e3 * seconds / last))
        last = artifact.bench(out, threads, "--runs", runs)["p50_ms"]
        return last

    return round_ms


def contenders(model, case, precision, threads):
    """Functions that measure one round, by the contender's name."""
    feeds, found = model.feeds(*case), {}
    out = pare_artifact(model, case, precision)
    if out:
        found["pare"] = pare_runner(out, threads)
    makers = {"openvino": openvino_runner, "onnxruntime": onnxruntime_runner}
    if precision == "bf16":
        del makers["onnxruntime"]
    for name, maker in makers.items():
        try:
            step = maker(model, feeds, precision, threads)
            step()
        except Exception as error:  # a peer that fails on a model is a result
            print(f"{name} on {model.name} {precision}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        found[name] = lambda seconds, step=step: median_ms(step, seconds)
    return found


def measure(model, case, precision, threads, rounds, seconds):
    """One row, measured in a process of its own on the first `threads` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    runners = contenders(model, case, precision, threads)
    rows = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            time.sleep(0.05)  # a peer's threads may still be spinning
            rows[name].append(runner(seconds))
    return {name: statistics.median(times) for name, times in rows.items()}


def child(queue, name, *rest):
    queue.put(measure(models.BY_NAME[name], *rest))


def in_process(*row):
    """measure(), isolated: thread pools and affinity end with the row."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, *row))
    process.start()
    while process.is_alive() and queue.empty():
        process.join(0.2)
    result = queue.get(timeout=5) if process.exitcode in (None, 0) else {}
    process.join()
    return result


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="minilm,recognizer", help=f"of {','.join(CASES)}, or all")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="of f32,int8,bf16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="per contender and round")
    parser.add_argument("--output", type=Path, default=quantize.FOLDER / "peers.json")
    args = parser.parse_args()

    names = list(CASES) if args.models == "all" else args.models.split(",")
    for variable in [v for v in os.environ if v.startswith("OPENBLAS_")]:
        del os.environ[variable]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

    print(f"{cpu()}, milliseconds, medians of {args.rounds} interleaved rounds")
    print(f"{'model':12}{'shape':>12}{'':>6}{'threads':>8}{'pare':>9}{'OpenVINO':>10}{'ORT':>9}{'pare/OpenVINO':>15}")
    rows = []
    for name in names:
        for case in CASES[name]:
            for precision in args.precisions.split(","):
                for threads in map(int, args.threads.split(",")):
                    row = in_process(name, case, precision, threads, args.rounds, args.seconds)
                    rows.append({"model": name, "shape": case, "precision": precision,
                                 "threads": threads, "ms": row})
                    ratio = row["pare"] / row["openvino"] if {"pare", "openvino"} <= set(row) else None
                    shown = [f"{row[c]:.3f}" if c in row else "-" for c in ("pare", "openvino", "onnxruntime")]
                    print(f"{name:12}{'x'.join(map(str, case)):>12}{precision:>6}{threads:8}"
                          f"{shown[0]:>9}{shown[1]:>10}{shown[2]:>9}{f'{ratio:.2f}' if ratio else '-':>15}",
                          flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"cpu": cpu(), "rounds": args.rounds, "rows": rows}, indent=1))
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
