#!/usr/bin/env python3
"""Writes UnicodeData.inc: the character properties that tokenizers rely on.

    gen_unicode.py > UnicodeData.inc      needs the `tokenizers` and `regex` packages

The `tokenizers` library mixes several Unicode versions (one per Rust crate),
and ids must equal its ids, so each property is asked of the library itself,
code point by code point. How it differs from this Python's unicodedata is
printed on standard error. Run it again when a newer library is to be matched.
Only the grapheme breaks come from `regex`: the library shows none of its own.
"""
import sys
import unicodedata

import regex
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

SPACE, DROPPED, NONSPACING, COMBINING, PUNCT, WORD, CJK = (1 << i for i in range(7))
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HANGUL = range(0xAC00, 0xD7A4)
# The order of these is that of the enums in Unicode.h.
CATEGORIES = ("Cn Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So "
              "Zl Zp Zs").split()
SCRIPTS = ("Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han "
           "Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar Oriya Sinhala Tamil "
           "Telugu Thai Tibetan").split()
GRAPHEME_BREAKS = ["Control", "Extend", "ZWJ", "SpacingMark", "Prepend"]


def classes():
    """PARE_CHAR_* bits of every code point."""
    bert = normalizers.BertNormalizer
    clean = bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    cjk = bert(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    strip = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    combining = normalizers.StripAccents()
    punct = pre_tokenizers.Punctuation("removed")
    space = pre_tokenizers.WhitespaceSplit()
    word = pre_tokenizers.Whitespace()
    result = [0] * 0x110000
    for c in CODE_POINTS:
        s, bits = chr(c), 0
        if not space.pre_tokenize_str(s):
            bits |= SPACE
        elif len(word.pre_tokenize_str("a" + s)) == 1:
            bits |= WORD
        if not clean.normalize_str(s):
            bits |= DROPPED
        if not strip.normalize_str(s):
            bits |= NONSPACING
        if not combining.normalize_str(s):
            bits |= COMBINING
        if not punct.pre_tokenize_str(s):
            bits |= PUNCT
        if len(cjk.normalize_str(s)) == 3:
            bits |= CJK
        result[c] = bits
    return result


def combining_classes(nfd):
    """Canonical combining class of every code point, found by which of two
    neighbours the library's NFD puts first."""
    by_class = {}
    for c in CODE_POINTS:
        k = unicodedata.combining(chr(c))
        if k:
            by_class.setdefault(k, []).append(c)
    # One representative per class that the library knows as a non-starter.
    low, high = chr(0x0334), chr(0x0345)  # classes 1 and 240
    moves = lambda a, b: a != b and nfd(a + b) == b + a
    known = lambda s: moves(high, s) or moves(s, low)
    firsts = {k: next((chr(c) for c in v if known(chr(c))), None) for k, v in by_class.items()}
    reps = {k: s for k, s in firsts.items() if s}
    result = [0] * 0x110000
    for c in CODE_POINTS:
        s = chr(c)
        if c in HANGUL or nfd(s) != s or not known(s):
            continue
        same = [k for k, r in reps.items() if not moves(s, r) and not moves(r, s)]
        assert len(same) == 1, (hex(c), same)
        result[c] = same[0]
    return result


def case_runs(lower):
    """(first, last, delta, stride, extra) that cover the lowercase mapping."""
    items = []
    for c in CODE_POINTS:
        t = lower(chr(c))
        if t != chr(c):
            assert len(t) <= 2
            items.append((c, ord(t[0]) - c, ord(t[1]) if len(t) == 2 else 0))
    runs = []
    for c, delta, extra in items:
        if runs:
            first, last, d, stride, e = runs[-1]
            step = c - last
            if d == delta and e == extra == 0 and step <= 2 and (first == last or step == stride):
                runs[-1] = (first, c, d, step, 0)
                continue
        runs.append((c, c, delta, 1, extra))
    return runs


def decompositions(nfd):
    """(code point, first, second or 0) of the one-step canonical mappings."""
    result = {}
    for c in CODE_POINTS:
        if c in HANGUL or nfd(chr(c)) == chr(c):
            continue
        parts = [int(p, 16) for p in unicodedata.decomposition(chr(c)).split()]
        assert 1 <= len(parts) <= 2
        result[c] = (parts + [0])[:2]
    for c in result:
        a, tail = c, []
        while a in result:
            a, b = result[a]
            assert b not in result
            tail += [b] if b else []
        full = chr(a) + "".join(map(chr, reversed(tail)))
        assert unicodedata.normalize("NFD", full) == nfd(chr(c)), hex(c)
    return result


def members(pattern):
    """Code points that `pattern` matches in the library's regex engine."""
    text = "".join(map(chr, CODE_POINTS))
    parts = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
    return [ord(c) for part, _ in parts for c in part]


def enumerated(patterns):
    """Index + 1 of the pattern that matches a code point, 0 where none does."""
    result = [0] * 0x110000
    for i, pattern in enumerate(patterns):
        for c in members(pattern):
            result[c] = i + 1
    return result


def pattern_flags():
    """\\w (1) and is_numeric of Digits (2); from bit 2 on the grapheme break of
    what the library knows to be assigned."""
    unassigned = set(members(r"\p{Cn}"))
    result = [0] * 0x110000
    for c in members(r"\w"):
        result[c] |= 1
    digits = pre_tokenizers.Digits(individual_digits=True)
    for c in CODE_POINTS:
        if len(digits.pre_tokenize_str("a" + chr(c))) == 2:
            result[c] |= 2
    for i, name in enumerate(GRAPHEME_BREAKS):
        for c in regex.findall(r"\p{GCB=%s}" % name, "".join(map(chr, CODE_POINTS))):
            if name == "Control" or ord(c) not in unassigned:
                result[ord(c)] |= (i + 1) << 2
    return result


def replacements(new, old=lambda s: s):
    """Flat (code point, length, code points ...) where `new` differs from `old`."""
    flat = []
    for c in CODE_POINTS:
        s = chr(c)
        if new(s) != old(s):
            flat += [c, len(new(s)), *map(ord, new(s))]
    return flat


def runs_of(values):
    out, last = [], None
    for c, v in enumerate(values):
        if v != last:
            out.append((c << 8) | v)
            last = v
    return out


def report(name, values, reference):
    mine = {c for c in CODE_POINTS if values(c)}
    theirs = {c for c in CODE_POINTS if reference(c)}
    print(f"{name}: {len(mine)} here, {len(mine - theirs)} unknown to unicodedata "
          f"{unicodedata.unidata_version}, {len(theirs - mine)} only there", file=sys.stderr)


def emit(name, kind, rows, per_line=8):
    print(f"static const {kind} {name}[] = {{")
    for i in range(0, len(rows), per_line):
        print("    " + ", ".join(rows[i:i + per_line]) + ",")
    print("};\n")


def main():
    nfd = normalizers.NFD().normalize_str
    nfc = normalizers.NFC().normalize_str
    category = lambda c: unicodedata.category(chr(c))
    cls = classes()
    # Surrogates never occur in text; continuing the neighbour saves runs.
    cls[0xD800:0xE000] = [cls[0xE000]] * 0x800
    ccc = combining_classes(nfd)
    pairs = decompositions(nfd)
    report("Cc, Cf, Co", lambda c: cls[c] & DROPPED, lambda c: category(c) in ("Cc", "Cf", "Co"))
    report("White_Space", lambda c: cls[c] & SPACE, lambda c: chr(c).isspace())
    report("Mn", lambda c: cls[c] & NONSPACING, lambda c: category(c) == "Mn")
    report("M", lambda c: cls[c] & COMBINING, lambda c: category(c)[0] == "M")
    report("P", lambda c: cls[c] & PUNCT, lambda c: category(c)[0] == "P")
    report("combining class", lambda c: ccc[c], lambda c: unicodedata.combining(chr(c)))
    report("decomposition", lambda c: nfd(chr(c)) != chr(c),
           lambda c: unicodedata.normalize("NFD", chr(c)) != chr(c))

    print("// Generated by frontend/tokenizer/gen_unicode.py from tokenizers "
          f"{tokenizers.__version__}; run it to\n// regenerate. clang-format off\n")
    emit("classRuns", "uint32_t", [hex(r) for r in runs_of(cls)])
    emit("combiningRuns", "uint32_t", [hex(r) for r in runs_of(ccc)])
    lower = normalizers.Lowercase().normalize_str
    emit("caseRuns", "PareTokenizerCaseRun",
         [f"{{{a:#x}, {b:#x}, {d}, {s}, {e:#x}}}" for a, b, d, s, e in case_runs(lower)], 3)
    emit("decompositionTriples", "uint32_t",
         [f"{c:#x}, {a:#x}, {b:#x}" for c, (a, b) in sorted(pairs.items())], 3)
    composed = sorted((a, b, c) for c, (a, b) in pairs.items() if b and nfc(chr(c)) == chr(c))
    emit("compositionTriples", "uint32_t", [f"{a:#x}, {b:#x}, {c:#x}" for a, b, c in composed], 3)
    categories = enumerated([r"\p{%s}" % name for name in CATEGORIES[1:]])
    scripts = enumerated([r"\p{%s}" % name for name in SCRIPTS])
    emit("categoryRuns", "uint32_t", [hex(r) for r in runs_of(categories)])
    emit("scriptRuns", "uint32_t", [hex(r) for r in runs_of(scripts)])
    emit("flagRuns", "uint32_t", [hex(r) for r in runs_of(pattern_flags())])
    nfkd, nmt = normalizers.NFKD().normalize_str, normalizers.Nmt().normalize_str
    emit("compatibilityMap", "uint32_t", [hex(c) for c in replacements(nfkd, nfd)], 12)
    emit("nmtMap", "uint32_t", [hex(c) for c in replacements(nmt)], 12)


if __name__ == "__main__":
    main()
