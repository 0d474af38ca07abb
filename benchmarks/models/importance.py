"""llama.cpp's importance matrix of a GGUF file: the mean square of each input
of each product over text, as llama-imatrix computes it.

    importance.py MODEL.gguf TEXT OUT.dat [--samples 64] [--context 512]

transformers runs the model in f32. Samples begin at evenly spaced tokens of the
text. The file has the layout that llama-quantize read before GGUF: a count of
entries; for each the length of its name, the name, the calls, the number of
values and the values times calls in f32; the number of chunks and the text's
name. All counts are of 32 bits.
"""

import argparse
import struct
from pathlib import Path

import gguf
import numpy as np

CALLS = 1  # values in the file are divided by it


def name_in_file(module, names):
    """The GGUF tensor of a transformers module, or None."""
    found = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
    return found


class Statistics:
    """Sums of squares of inputs by tensor, gathered while the model runs."""

    def __init__(self, model, architecture, layers):
        import torch

        names = gguf.get_tensor_name_map(architecture, layers)
        self.sums, self.rows = {}, {}
        for module_name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                tensor = name_in_file(module_name, names)
                assert tensor, f"{module_name}: no name in GGUF"
                self.sums[tensor], self.rows[tensor] = 0, 0
                module.register_forward_pre_hook(lambda _, inputs, tensor=tensor: self.add(tensor, inputs[0]))

    def add(self, tensor, inputs):
        rows = inputs.reshape(-1, inputs.shape[-1]).double()
        self.sums[tensor] += rows.square().sum(0).numpy()
        self.rows[tensor] += len(rows)

    def means(self):
        return {tensor: self.sums[tensor] / self.rows[tensor] for tensor in self.sums}


def measure(path, text, samples, context):
    """Mean squares of inputs by tensor name of the model at `path` over `samples`
    pieces of `text` of `context` tokens each."""
    from language import Transformers

    oracle = Transformers(Path(path))
    reader = gguf.GGUFReader(path)
    architecture = reader.get_field("general.architecture").contents()
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    statistics = Statistics(oracle.model, kind, reader.get_field(f"{architecture}.block_count").contents())
    ids, begins = oracle.encode(text), oracle.encode("")[:1]
    for start in np.linspace(0, len(ids) - context, samples).astype(int):
        oracle.logits(begins + ids[start : start + context - len(begins)])
    return statistics.means()


def write(path, means, chunks, text_name):
    """The matrix as llama-quantize reads it."""
    with open(path, "wb") as file:
        file.write(struct.pack("<i", len(means)))
        for name, values in means.items():
            encoded = name.encode()
            file.write(struct.pack("<i", len(encoded)) + encoded + struct.pack("<ii", CALLS, len(values)))
            file.write((CALLS * values).astype("<f4").tobytes())
        encoded = text_name.encode()
        file.write(struct.pack("<ii", chunks, len(encoded)) + encoded)


def make(model, text_file, out, samples=64, context=512):
    """Writes `out` unless it is there; returns its path."""
    out = Path(out)
    if not out.exists():
        means = measure(model, Path(text_file).read_text(), samples, context)
        partial = out.with_suffix(".partial")
        write(partial, means, samples, Path(text_file).name)
        partial.rename(out)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("out")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--context", type=int, default=512)
    args = parser.parse_args()
    make(args.model, args.text, args.out, args.samples, args.context)
