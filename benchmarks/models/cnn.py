"""EfficientNet-Lite0 in int8 beside ONNX Runtime's and NNCF's: how often the first
class of photographs' crops is that of f32, and time beside f32.

    cnn.py
    cnn.py --crops 100 --no-peers --pare 'int8=--quantize int8'

f32 is ONNX Runtime's. All calibrate on the same crops of other photographs.
Times are of one thread, in turns, as ratios to pare's f32.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

from oracle import artifact, corpus, models, quality  # noqa: E402
from report import all_hold, report  # noqa: E402

MODEL = models.EFFICIENTNET
CROPS, SAMPLES, ROUNDS = 480, 32, 5
# Flags of pare compile by name; only the first is calibrated and has a limit.
PARE = {"int8": "--quantize=int8", "int8 without calibration": "--quantize=int8"}
AGREEMENT = 95


def onnxruntime_classify(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda crop: session.run(None, {"image": crop})[0]


def openvino_classify(path):
    import openvino

    request = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    return lambda crop: request.infer({"image": crop})[0]


def judge_peers(crops):
    import quantize

    samples = [{"image": crop[None]} for crop in corpus.photographs(SAMPLES, 224, judged=False)]
    label = f".{SAMPLES}"
    for name, quantized, classify in (
        ("ONNX Runtime static", quantize.onnxruntime_static_int8, onnxruntime_classify),
        ("NNCF", quantize.openvino_int8, openvino_classify),
    ):
        same = quality.class_agreement(classify(quantized(MODEL, samples, label)), crops)
        report(f"efficientnet-lite0 {name} int8, same class", 100 * same, unit="%")


def time_ratio(binary, base):
    """Latency of `binary` over `base`'s, in turns, the median."""
    return statistics.median(artifact.bench(binary, 1)["p50_ms"] / artifact.bench(base, 1)["p50_ms"] for _ in range(ROUNDS))


def cnn(folder, sets=PARE, crops=CROPS, with_peers=True):
    if with_peers:
        judge_peers(crops)
    base = artifact.compile(MODEL.source, folder / "f32")
    calibration = quality.photograph_calibration(folder, SAMPLES)
    for i, (name, flags) in enumerate(sets.items()):
        flags = [*shlex.split(flags), *([calibration] if name == "int8" else [])]
        binary = artifact.compile(MODEL.source, folder / f"int8-{i}", *flags)
        same = quality.class_agreement(quality.classify_by(binary), crops)
        limited = name == "int8"
        report(f"efficientnet-lite0 {name}, same class, {crops} crops", 100 * same, AGREEMENT if limited else None, "%", at_least=True)
        report(f"efficientnet-lite0 {name}, time beside f32", time_ratio(binary, base), 1 if limited else None, "x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pare", action="append", metavar="NAME=FLAGS", help="a set of pare compile's flags instead of those in this file")
    parser.add_argument("--crops", type=int, default=CROPS, help="photographs' crops to judge on")
    parser.add_argument("--no-peers", action="store_true", help="without ONNX Runtime's and NNCF's int8")
    args = parser.parse_args()
    sets = dict(item.split("=", 1) for item in args.pare) if args.pare else PARE
    with tempfile.TemporaryDirectory() as folder:
        cnn(Path(folder), sets, args.crops, not args.no_peers)
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
