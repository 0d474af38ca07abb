//===- TokenizerNormalize.cpp - The normalizer operations -----------------===//
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

// Hangul syllables decompose by arithmetic (Unicode 3.12).
constexpr uint32_t hangulBase = 0xac00, leadBase = 0x1100, vowelBase = 0x1161,
                   tailBase = 0x11a7;
constexpr uint32_t numVowels = 21, numTails = 28, numLeads = 19;
constexpr uint32_t numSyllables = numLeads * numVowels * numTails;

/// A section of {key, first, second} triples with ascending keys.
template <typename T> struct Triples {
  const T *data;
  uint64_t count;

  const T *find(uint32_t key) const {
    uint64_t low = 0, high = count;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      if (data[3 * middle] < key)
        low = middle + 1;
      else
        high = middle;
    }
    return low < count && data[3 * low] == key ? data + 3 * low : nullptr;
  }
};

template <typename T>
Triples<T> triples(const PareTokenizer &t, PareTokenizerTag tag) {
  return {reinterpret_cast<const T *>(t.sections[tag].data),
          t.sections[tag].bytes / (3 * sizeof(T))};
}

class Normalizer {
public:
  Normalizer(const PareTokenizer &t, Workspace &work)
      : tokenizer(t), work(work), classes(t.sections[PARE_TOK_CLASSES].data),
        combining(t.sections[PARE_TOK_COMBINING].data),
        narrow(triples<uint16_t>(t, PARE_TOK_DECOMPOSE)),
        wide(triples<uint32_t>(t, PARE_TOK_DECOMPOSE_WIDE)) {}

  /// Applies one operation to `in`, appending to `out`.
  void apply(const PareTokenizerStep &step, Text in, Buffer &out);
  /// Does the first character of `in`, not empty, leave something?
  bool keepsBeginning(const PareTokenizerStep &step, Text in, Buffer &spare);

private:
  void cleanText(Text in, Buffer &out);
  void spaceCjk(Text in, Buffer &out);
  void drop(uint8_t mask, Text in, Buffer &out);
  void lowercase(Text in, Buffer &out);
  void decompose(Text in, Buffer &out);
  void compose(Text in, Buffer &out);

  uint32_t decomposition(uint32_t c, uint32_t out[8]) const;
  uint32_t composition(uint32_t first, uint32_t second) const;
  void sortByClass(Buffer &out, uint64_t begin);

  const PareTokenizer &tokenizer;
  Workspace &work;
  Runs classes, combining;
  Triples<uint16_t> narrow;
  Triples<uint32_t> wide;
};

void Normalizer::cleanText(Text in, Buffer &out) {
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint32_t n = decode(p, in.end, c);
    const uint8_t kind = classes.at(c);
    if (kind & PARE_CHAR_DROPPED)
      ;
    else if (kind & PARE_CHAR_SPACE)
      out.push(' ');
    else
      out.append(p, n);
    p += n;
  }
}

void Normalizer::spaceCjk(Text in, Buffer &out) {
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint32_t n = decode(p, in.end, c);
    const bool cjk = c >= 128 && classes.at(c) & PARE_CHAR_CJK;
    if (cjk)
      out.push(' ');
    out.append(p, n);
    if (cjk)
      out.push(' ');
    p += n;
  }
}

void Normalizer::drop(uint8_t mask, Text in, Buffer &out) {
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint32_t n = decode(p, in.end, c);
    if (!(classes.at(c) & mask))
      out.append(p, n);
    p += n;
  }
}

void Normalizer::lowercase(Text in, Buffer &out) {
  const auto *runs = reinterpret_cast<const PareTokenizerCaseRun *>(
      tokenizer.sections[PARE_TOK_LOWERCASE].data);
  const uint64_t count = tokenizer.sections[PARE_TOK_LOWERCASE].bytes /
                         sizeof(PareTokenizerCaseRun);
  for (const uint8_t *p = in.begin; p < in.end;) {
    if (*p < 0x80) {
      out.push(uint8_t(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
      ++p;
      continue;
    }
    uint32_t c;
    const uint32_t n = decode(p, in.end, c);
    uint64_t low = 0, high = count;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      if (runs[middle].last < c)
        low = middle + 1;
      else
        high = middle;
    }
    const PareTokenizerCaseRun *run = low < count ? runs + low : nullptr;
    if (run && run->first <= c && run->stride != 0 &&
        (c - run->first) % run->stride == 0) {
      out.pushCodePoint((c + uint32_t(run->delta)) & 0x1fffff);
      if (run->extra)
        out.pushCodePoint(run->extra);
    } else {
      out.append(p, n);
    }
    p += n;
  }
}

/// Full canonical decomposition of `c`; returns how many code points it is.
/// Only a first part decomposes further (gen_unicode.py asserts that).
uint32_t Normalizer::decomposition(uint32_t c, uint32_t out[8]) const {
  if (c - hangulBase < numSyllables) {
    const uint32_t index = c - hangulBase, tail = index % numTails;
    out[0] = leadBase + index / (numVowels * numTails);
    out[1] = vowelBase + index / numTails % numVowels;
    out[2] = tailBase + tail;
    return tail ? 3 : 2;
  }
  uint32_t tail[7], numTail = 0;
  for (uint32_t step = 0; step < 7; ++step) {
    uint32_t second;
    if (const uint16_t *pair = c < 0x10000 ? narrow.find(c) : nullptr) {
      c = pair[1];
      second = pair[2];
    } else if (const uint32_t *pair = c >= 0x80 ? wide.find(c) : nullptr) {
      c = pair[1] & 0x1fffff;
      second = pair[2] & 0x1fffff;
    } else {
      break;
    }
    if (second)
      tail[numTail++] = second;
  }
  out[0] = c;
  for (uint32_t i = 0; i < numTail; ++i)
    out[1 + i] = tail[numTail - 1 - i];
  return 1 + numTail;
}

/// Stable counting sort of the code points in out[begin, size) by combining
/// class, so that hostile runs of marks cost linear time.
void Normalizer::sortByClass(Buffer &out, uint64_t begin) {
  if (out.failed())
    return;
  uint64_t offsets[257] = {0};
  const Text run = {out.data + begin, out.data + out.size};
  uint32_t c;
  for (const uint8_t *p = run.begin; p < run.end;) {
    const uint32_t n = decode(p, run.end, c);
    offsets[combining.at(c) + 1] += n;
    p += n;
  }
  for (uint32_t i = 1; i < 257; ++i)
    offsets[i] += offsets[i - 1];
  work.scratch.clear();
  work.scratch.append(run.begin, run.size());
  if (work.scratch.failed())
    return;
  const Text copy = work.scratch.text();
  for (const uint8_t *p = copy.begin; p < copy.end;) {
    const uint32_t n = decode(p, copy.end, c);
    uint64_t &offset = offsets[combining.at(c)];
    memcpy(out.data + begin + offset, p, n);
    offset += n;
    p += n;
  }
}

void Normalizer::decompose(Text in, Buffer &out) {
  uint64_t marks = out.size; // where the current run of non-starters begins
  uint8_t last = 0;
  bool sorted = true;
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t parts[8], count = 1, n = 1;
    if (*p < 0x80) {
      parts[0] = *p;
    } else {
      uint32_t c;
      n = decode(p, in.end, c);
      count = decomposition(c, parts);
    }
    p += n;
    for (uint32_t i = 0; i < count; ++i) {
      const uint8_t order = parts[i] < 0x80 ? 0 : combining.at(parts[i]);
      if (order == 0 && !sorted)
        sortByClass(out, marks);
      out.pushCodePoint(parts[i]);
      if (order == 0) {
        marks = out.size;
        sorted = true;
      } else if (order < last) {
        sorted = false;
      }
      last = order;
    }
  }
  if (!sorted)
    sortByClass(out, marks);
}

/// The primary composite of the pair, or 0.
uint32_t Normalizer::composition(uint32_t first, uint32_t second) const {
  if (first - leadBase < numLeads && second - vowelBase < numVowels)
    return hangulBase +
           ((first - leadBase) * numVowels + second - vowelBase) * numTails;
  if (first - hangulBase < numSyllables &&
      (first - hangulBase) % numTails == 0 && second > tailBase &&
      second < tailBase + numTails)
    return first + second - tailBase;
  const auto table = triples<uint32_t>(tokenizer, PARE_TOK_COMPOSE);
  for (const uint32_t *t = table.find(first);
       t && t < table.data + 3 * table.count && t[0] == first; t += 3)
    if (t[1] == second)
      return t[2] & 0x1fffff;
  return 0;
}

/// Canonical composition (Unicode 3.11, D117) of decomposed text.
void Normalizer::compose(Text in, Buffer &out) {
  uint32_t starter = 0;
  bool hasStarter = false;
  uint8_t last = 0; // class of the last mark kept after the starter
  Buffer &marks = work.scratch;
  marks.clear();
  auto flush = [&] {
    if (hasStarter)
      out.pushCodePoint(starter);
    out.append(marks.data, marks.size);
    marks.clear();
    last = 0;
  };
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint32_t n = decode(p, in.end, c);
    const uint8_t order = combining.at(c);
    const bool open = hasStarter && (marks.size == 0 || last < order);
    if (uint32_t composed = open ? composition(starter, c) : 0) {
      starter = composed;
    } else if (order == 0) {
      flush();
      starter = c;
      hasStarter = true;
    } else {
      marks.append(p, n);
      last = order;
    }
    p += n;
  }
  flush();
}

void Normalizer::apply(const PareTokenizerStep &step, Text in, Buffer &out) {
  switch (step.op) {
  case PARE_NORM_CLEAN_TEXT:
    return cleanText(in, out);
  case PARE_NORM_SPACE_CJK:
    return spaceCjk(in, out);
  case PARE_NORM_NFD:
    return decompose(in, out);
  case PARE_NORM_COMPOSE:
    return compose(in, out);
  case PARE_NORM_STRIP_NONSPACING:
    return drop(PARE_CHAR_NONSPACING, in, out);
  case PARE_NORM_STRIP_COMBINING:
    return drop(PARE_CHAR_COMBINING, in, out);
  case PARE_NORM_LOWERCASE:
    return lowercase(in, out);
  default:
    return pare_tokenizer_rewrite.apply(tokenizer, step, in, out);
  }
}

bool Normalizer::keepsBeginning(const PareTokenizerStep &step, Text in,
                                Buffer &spare) {
  if (step.op == PARE_NORM_PRECOMPILED)
    return true; // the library counts it there even if it is dropped
  if (step.op == PARE_NORM_REPLACE)
    return pare_tokenizer_rewrite.keeps_beginning(tokenizer, step, in);
  uint32_t c;
  spare.clear();
  apply(step, {in.begin, in.begin + decode(in.begin, in.end, c)}, spare);
  return spare.size > 0;
}

bool isAscii(Text text) {
  for (const uint8_t *p = text.begin; p < text.end; ++p)
    if (*p >= 0x80)
      return false;
  return true;
}

/// Operations that leave ASCII as it is.
bool keepsAscii(uint32_t op) {
  return op <= PARE_NORM_COMPAT && op != PARE_NORM_CLEAN_TEXT &&
         op != PARE_NORM_LOWERCASE;
}

} // namespace

Text normalize(const PareTokenizer &tokenizer, Text text, Workspace &work,
               bool &keepsBeginning) {
  keepsBeginning = true;
  const auto &section = tokenizer.sections[PARE_TOK_NORMALIZER];
  const auto *steps = reinterpret_cast<const PareTokenizerStep *>(section.data);
  Normalizer normalizer(tokenizer, work);
  bool ascii = isAscii(text);
  Buffer *out = &work.even, *spare = &work.odd;
  for (uint64_t i = 0; i < section.bytes / sizeof(PareTokenizerStep); ++i) {
    if (ascii && keepsAscii(steps[i].op))
      continue;
    if (keepsBeginning && text.size() > 0)
      keepsBeginning = normalizer.keepsBeginning(steps[i], text, *out);
    out->clear();
    normalizer.apply(steps[i], text, *out);
    text = out->text();
    ascii = ascii && (steps[i].op < PARE_NORM_COMPAT || isAscii(text));
    Buffer *used = out;
    out = spare;
    spare = used;
  }
  return text;
}

} // namespace pare::rt::tok
