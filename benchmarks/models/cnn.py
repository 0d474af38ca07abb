"""Convolutional networks in int8 beside ONNX Runtime's and NNCF's: how often the first
class of photographs' crops is that of f32, and time beside f32.

    cnn.py
    cnn.py --models mobilenet-v2 --crops 100 --no-peers --pare '--quantize int8 --keep-float Conv_1'

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

from oracle import artifact, models, quality  # noqa: E402
from report import all_hold, report  # noqa: E402

CROPS, ROUNDS = 480, 5
# Models with the least share of crops, in percent, that keep their class. MobileNetV2
# knows 19 breeds of dogs, the photographs show none: most of its choices are close.
MODELS = {models.EFFICIENTNET: 95, models.MOBILENET: None}


def onnxruntime_classify(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda crop: session.run(None, {"image": crop})[0]


def openvino_classify(path):
    import openvino

    request = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    return lambda crop: request.infer({"image": crop})[0]


def judge_peers(model, crops):
    import quantize

    for name, quantized, classify in (
        ("ONNX Runtime static", quantize.onnxruntime_static_int8, onnxruntime_classify),
        ("NNCF", quantize.openvino_int8, openvino_classify),
    ):
        same = quality.class_agreement(model, classify(quantized(model)), crops)
        report(f"{model.name} {name} int8, same class", 100 * same, unit="%")


def time_ratio(binary, base):
    """Latency of `binary` over `base`'s, in turns, the median."""
    return statistics.median(artifact.bench(binary, 1)["p50_ms"] / artifact.bench(base, 1)["p50_ms"] for _ in range(ROUNDS))


def judge_pare(model, folder, flags, crops, least):
    base = artifact.compile(model.source, folder / f"{model.name}-f32")
    calibration = quality.photograph_calibration(model, folder)
    for name, more in ((" int8", [calibration]), (" int8 without calibration", [])):
        binary = artifact.compile(model.source, folder / f"{model.name}{name}".replace(" ", "-"), *flags, *more)
        same = quality.class_agreement(model, quality.classify_by(binary), crops)
        report(f"{model.name}{name}, same class", 100 * same, least if more else None, "%", at_least=True)
        report(f"{model.name}{name}, time beside f32", time_ratio(binary, base), 1 if more and least else None, "x")
    exported = folder / f"{model.name}-int8.onnx"
    artifact.call(artifact.PARE, "optimize", model.onnx(), "-o", exported, "--quantize=int8", "--quiet", calibration)
    same = quality.class_agreement(model, onnxruntime_classify(exported), crops)
    report(f"{model.name} int8 by pare optimize, in ONNX Runtime, same class", 100 * same, unit="%")


def cnn(folder, names=None, flags=("--quantize=int8",), crops=CROPS, with_peers=True):
    for model, least in MODELS.items():
        if names and model.name not in names:
            continue
        if with_peers:
            judge_peers(model, crops)
        judge_pare(model, folder, flags, crops, least)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help=f"of {', '.join(model.name for model in MODELS)}; default: all")
    parser.add_argument("--pare", metavar="FLAGS", default="--quantize=int8", help="flags of pare compile")
    parser.add_argument("--crops", type=int, default=CROPS, help="photographs' crops to judge on")
    parser.add_argument("--no-peers", action="store_true", help="without ONNX Runtime's and NNCF's int8")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cnn(Path(folder), args.models and args.models.split(","), shlex.split(args.pare), args.crops, not args.no_peers)
    return 0 if all_hold() else 1


if __name__ == "__main__":
    sys.exit(main())
