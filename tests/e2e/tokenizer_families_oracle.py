#!/usr/bin/env python3
"""Compares BPE and unigram tokenizers with `tokenizers` and `sentencepiece`.

    tokenizer_families_oracle.py PARE_TOKENIZE [--every N] [NAME ...]

Run with the Python of the test environment. Trains every tokenizer of
tokenizer_families.py and compares ids, decoded texts and streamed texts on all
translations of the Debian handbook, Python's library as code, awkward Unicode
and broken UTF-8 (about 26,000 texts; every Nth of them with --every), and on
random ids. NAME picks families. Prints counts; exit code 1 on any difference.
"""
import argparse
import base64
import html
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import sysconfig
import tempfile

import sentencepiece
from tokenizers import Tokenizer

import tokenizer_families as families
from tokenizer_oracle import awkward

HANDBOOK = pathlib.Path("/usr/share/doc/debian-handbook/html")


def prose(rng):
    """Paragraphs in every language of the handbook."""
    result = []
    for folder in sorted(HANDBOOK.iterdir()):
        found = []
        for page in sorted(folder.glob("*.html"))[:12]:
            for part in re.findall(r'<div class="para">(.*?)</div>', page.read_text(errors="replace"), re.S):
                text = html.unescape(re.sub(r"<[^>]+>", "", part)).strip()
                if text:
                    found.append(text)
        rng.shuffle(found)
        result += found[:350]
    return result


def code(rng):
    """Pieces of one to seven lines of Python."""
    result = []
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]:
        lines = path.read_text(errors="replace").split("\n")
        for first in range(0, len(lines), 7):
            result.append("\n".join(lines[first:first + rng.randrange(1, 8)]))
    rng.shuffle(result)
    return result[:4000]


class Tool:
    """pare-tokenize on one tokenizer."""

    def __init__(self, tool, path):
        self.command = [tool, str(path)]

    def run(self, items, *options):
        data = b"".join(struct.pack("<I", len(item)) + item for item in items)
        run = subprocess.run([*self.command, *options], input=data, capture_output=True)
        if run.returncode:
            sys.exit(f"{self.command}: {run.stderr.decode()}")
        return run.stdout

    def encode(self, texts, *options):
        return [json.loads(line) for line in self.run(texts, *options).splitlines()]

    def decode(self, lists, *options):
        data = self.run([struct.pack(f"<{len(ids)}i", *ids) for ids in lists], "--decode", *options)
        texts, at = [], 0
        while at < len(data):
            size, = struct.unpack_from("<I", data, at)
            texts.append(data[at + 4:at + 4 + size].decode())
            at += 4 + size
        return texts


def differences(what, got, expected, inputs):
    bad = [i for i in range(len(expected)) if got[i] != expected[i]]
    for i in bad[:3]:
        print(f"  {what} of {inputs[i]!r:.200}\n    here    {got[i]!r:.200}\n    library {expected[i]!r:.200}")
    return len(bad)


def sequences(encoded):
    """Ids as they occur, then random ones."""
    rng = random.Random(3)
    size = max(max(ids, default=0) for ids in encoded) + 1
    return encoded[:3000] + [[rng.randrange(size) for _ in range(rng.randrange(1, 20))] for _ in range(2000)]


def streamable(path, lists):
    """`lists` without runs of byte tokens that are no UTF-8: what has been streamed by then cannot be taken back."""
    vocabulary = json.loads(pathlib.Path(path).read_text())["model"]["vocab"]
    pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((t, i) for i, (t, _) in enumerate(vocabulary))
    values = {i: int(t[3:5], 16) for t, i in pairs if re.fullmatch("<0x[0-9A-F]{2}>", t)}

    def is_whole(ids):
        run = bytearray()
        for i in [*ids, -1]:
            if i in values:
                run.append(values[i])
            elif run:
                try:
                    run.decode()
                except UnicodeDecodeError:
                    return False
                run.clear()
        return True

    return [ids for ids in lists if is_whole(ids)]


def compare_library(tool, name, path, texts):
    library = Tokenizer.from_file(str(path))
    here = Tool(tool, path)
    expected = [e.ids for e in library.encode_batch([t.decode("utf-8", "replace") for t in texts])]
    bad = differences("ids", here.encode(texts), expected, texts)
    lists = sequences(expected)
    for skip in (True, False):
        options = ["--skip-special"] if skip else []
        decoded = library.decode_batch(lists, skip_special_tokens=skip)
        bad += differences("text", here.decode(lists, *options), decoded, lists)
        whole = streamable(path, lists)
        decoded = library.decode_batch(whole, skip_special_tokens=skip)
        bad += differences("stream", here.decode(whole, *options, "--stream"), decoded, whole)
    print(f"{name}: {len(texts)} texts, {sum(map(len, expected))} ids, {bad} differ", flush=True)
    return bad


def compare_sentencepiece(tool, name, path, model, texts):
    library = sentencepiece.SentencePieceProcessor(model_file=str(model))
    here = Tool(tool, path)
    expected = library.encode([t.decode("utf-8", "replace") for t in texts])
    bad = differences("ids", here.encode(texts, "--plain", "--no-special"), expected, texts)
    lists = sequences(expected)
    decoded = library.decode(lists)
    bad += differences("text", here.decode(lists, "--skip-special"), decoded, lists)
    bad += differences("stream", here.decode(lists, "--skip-special", "--stream"), decoded, lists)
    print(f"{name}: {len(texts)} texts, {sum(map(len, expected))} ids, {bad} differ", flush=True)
    return bad


def gguf_of_sentencepiece(model, path):
    """The vocabulary as a conversion to GGUF keeps it (tests/unit/tokenizer/GgufJson.h)."""
    p = sentencepiece.SentencePieceProcessor(model_file=str(model))
    ids = range(p.get_piece_size())
    user = set(families.user_defined(model))
    types = [2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 4 if i in user else 1 for i in ids]
    options = families.normalizer_options(model)
    path.write_text(json.dumps({
        "model": "llama" if families.is_bpe(model) else "t5", "tokens": [p.id_to_piece(i) for i in ids],
        "scores": [p.get_score(i) for i in ids], "types": types, "bos": p.bos_id(), "eos": p.eos_id(), "unk": p.unk_id(),
        "add_space_prefix": options["add_dummy_prefix"], "remove_extra_whitespaces": options["remove_extra_whitespaces"],
        "charsmap": base64.b64encode(families.charsmap_of(open(model, "rb").read())).decode()}))


def gguf_of_bpe(source, pre, path):
    """The same of a byte-level tokenizer.json."""
    whole = json.loads(pathlib.Path(source).read_text())
    vocab = whole["model"]["vocab"]
    specials = {t["id"] for t in whole["added_tokens"] if t["special"]}
    tokens = sorted(vocab, key=vocab.get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]]
    path.write_text(json.dumps({"model": "gpt2", "pre": pre, "tokens": tokens, "merges": merges, "add_bos": pre == "llama-bpe",
                                "bos": 0, "types": [3 if vocab[t] in specials else 1 for t in tokens]}))


GGUF_NAMES = {"GPT-2": "gpt-2", "Llama 3": "llama-bpe", "Qwen2": "qwen2", "SmolLM2": "smollm", "DeepSeek": "deepseek-v3",
              "Tekken": "tekken", "Kimi": "kimi-k2"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("names", nargs="*")
    args = parser.parse_intermixed_args()
    rng = random.Random(5)
    lines, programs = prose(rng), code(rng)
    corpus = lines[::3] + programs[::4]
    texts = ([t.encode() for t in lines + programs] + awkward())[::args.every]
    wanted = lambda name: not args.names or name in args.names
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path, gguf = folder / "tokenizer.json", folder / "vocabulary.gguf.json"
        for name, make in families.FAMILIES.items():
            if not wanted(name):
                continue
            tokenizer = make(corpus)
            tokenizer.save(str(path))
            bad += compare_library(args.tool, name, path, texts)
            if name in GGUF_NAMES:
                gguf_of_bpe(path, GGUF_NAMES[name], gguf)
                expected = [e.ids for e in Tokenizer.from_file(str(path)).encode_batch([t.decode("utf-8", "replace") for t in texts])]
                # llama.cpp's names have no BOS of their own but Llama 3's.
                options = ["--no-special"] if name in ("DeepSeek", "Tekken") else []
                if options:
                    expected = [e.ids for e in Tokenizer.from_file(str(path)).encode_batch(
                        [t.decode("utf-8", "replace") for t in texts], add_special_tokens=False)]
                count = differences("ids", Tool(args.tool, gguf).encode(texts, *options), expected, texts)
                print(f"{name} from GGUF: {count} differ", flush=True)
                bad += count
        models = dict(families.sentencepiece_models(corpus, folder)) if wanted("sentencepiece") else {}
        for name, model in models.items():
            bad += compare_sentencepiece(args.tool, f"{name}.model", model, model, texts)
            if name != "suffix":
                gguf_of_sentencepiece(model, gguf)
                bad += compare_sentencepiece(args.tool, f"{name} from GGUF", gguf, model, texts[::4])
        for name, tokenizer in families.unigram_families(models) if models else ():
            tokenizer.save(str(path))
            bad += compare_library(args.tool, f"{name}, unigram", path, texts)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
