"""int8 models for the peers, made once and kept under build/peers.

OpenVINO gets NNCF's static post-training quantization, calibrated on the same
real data that pare may see; ONNX Runtime its dynamic quantization of matrix
products, or of convolutional networks its static one. A peer that cannot quantize
a model is absent from the table.
"""

import logging
import os
from pathlib import Path

from oracle import corpus, models, quality

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
    elif model in (models.EFFICIENTNET, models.MOBILENET):
        for crop in quality.photographs_to_calibrate(model):
            yield {"image": crop[None]}
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


def onnxruntime_static_int8(model):
    """Path of the statically quantized model: scales per channel, ranges by
    minimum and maximum."""
    path = FOLDER / f"{model.name}.static.int8.onnx"
    if not path.exists():
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Samples(quantization.CalibrationDataReader):
            def __init__(self):
                self.samples = iter(list(calibration(model)))

            def get_next(self):
                return next(self.samples, None)

        FOLDER.mkdir(parents=True, exist_ok=True)
        prepared, temporary = (path.with_suffix(f".{os.getpid()}{step}") for step in ("a", "b"))
        quant_pre_process(model.onnx(), prepared)
        quantization.quantize_static(
            prepared, temporary, Samples(), per_channel=True,
            # Without VNNI sums of two products may not fit 16 bits: as its documentation says.
            reduce_range=not {"avx_vnni", "avx512_vnni"} & set(Path("/proc/cpuinfo").read_text().split()),
        )
        prepared.unlink()
        temporary.rename(path)
    return path


def onnxruntime_int8(model):
    """Path of the model in 8 bits, as far as ONNX Runtime can."""
    static = model in (models.EFFICIENTNET, models.MOBILENET)
    return onnxruntime_static_int8(model) if static else onnxruntime_dynamic_int8(model)


def onnxruntime_dynamic_int8(model):
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
