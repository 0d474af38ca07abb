"""int8 models for the peers, made once and kept under build/peers.

OpenVINO gets NNCF's static post-training quantization, calibrated on the same
real data that pare may see; ONNX Runtime its dynamic quantization of matrix
products. A peer that cannot quantize a model is absent from the table.
"""

import logging
import os

from oracle import corpus, models

FOLDER = models.BUILD / "peers"
logging.disable(logging.WARNING)


def calibration(model, count=300):
    """Real inputs to calibrate on, one sample each."""
    if model is models.MINILM:
        # Not the sentences at the ends of the list, which quality is judged on.
        for text in corpus.spread(corpus.sentences()[1::2], count):
            yield models.encode([text], min(128, len(models.tokenizer().encode(text).ids)))
    elif model is models.RECOGNIZER:
        for line in corpus.lines(count):
            yield {"x": line[None]}
    elif model is models.VIT:
        for image in corpus.pictures(min(count, 64), 224):
            yield {"input_image": image[None]}
    else:
        feeds = model.feeds(32, *model.cases[0][1:])
        for i in range(32):
            yield {name: array[i : i + 1] for name, array in feeds.items()}


def openvino_int8(model, samples=None, label=""):
    """Path of the NNCF-quantized model; `label` is of other `samples` than calibration's."""
    path = FOLDER / f"{model.name}{label}.int8.xml"
    if not path.exists():
        import nncf
        import openvino

        transformer = model in (models.MINILM, models.VIT)
        quantized = nncf.quantize(
            openvino.Core().read_model(model.onnx()),
            nncf.Dataset(samples or list(calibration(model))),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        )
        FOLDER.mkdir(parents=True, exist_ok=True)
        openvino.save_model(quantized, path, compress_to_fp16=False)
    return path


def onnxruntime_int8(model):
    """Path of the dynamically quantized model."""
    path = FOLDER / f"{model.name}.int8.onnx"
    if not path.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        FOLDER.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        quantize_dynamic(
            model.onnx(), temporary, op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True, weight_type=QuantType.QInt8,
        )
        temporary.rename(path)
    return path
