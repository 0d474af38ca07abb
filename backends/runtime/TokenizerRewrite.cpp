//===- TokenizerRewrite.cpp - Normalizers that map and replace ------------===//
#include "backends/runtime/TokenizerPattern.h"
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

constexpr uint8_t spaceMark[] = {0xe2, 0x96, 0x81}; // U+2581

/// Texts and what replaces them.
class Map {
public:
  Map(const PareTokenizer &t, PareTokenizerTag tag)
      : tokenizer(t), keys(t, tag) {}

  struct Found {
    const uint8_t *end; ///< text.begin: nothing found
    Text with;
  };
  Found longest(Text text) const { return replaced(keys.longest(text), text); }
  Found shortest(Text text) const {
    return replaced(keys.shortest(text), text);
  }

private:
  Found replaced(Trie::Match match, Text text) const {
    if (match.value == Trie::none)
      return {text.begin, text};
    return {match.end, stringAt(tokenizer, match.value)};
  }

  const PareTokenizer &tokenizer;
  Keys keys;
};

void append(Buffer &out, Text text) { out.append(text.begin, text.size()); }

void mapEach(const PareTokenizer &t, PareTokenizerTag tag, Text in,
             Buffer &out) {
  const Map map(t, tag);
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint8_t *next = p + decode(p, in.end, c);
    const Map::Found found = map.longest({p, next});
    append(out, found.end > p ? found.with : Text{p, next});
    p = next;
  }
}

void replace(const PareTokenizer &t, const PareTokenizerStep &step, Text in,
             Buffer &out) {
  const Pattern pattern(t, step.pattern, false);
  const Text with = stringAt(t, step.string);
  for (const uint8_t *p = in.begin; p < in.end;) {
    const uint8_t *end = pattern.match({p, in.end});
    const uint32_t n = pattern.unit(p, in.end);
    if (end)
      append(out, with);
    if (!end || end == p)
      out.append(p, n);
    p = end && end > p ? end : p + n;
  }
}

/// What replaces a match counts as the place of its last character.
bool keepsBeginning(const PareTokenizer &t, const PareTokenizerStep &step,
                    Text in) {
  const Pattern pattern(t, step.pattern, false);
  const uint8_t *end = pattern.match(in);
  return !end || (end <= in.begin + pattern.unit(in.begin, in.end) &&
                  stringAt(t, step.string).size() > 0);
}

void strip(const PareTokenizer &t, uint32_t sides, Text in, Buffer &out) {
  const Runs classes(t.sections[PARE_TOK_CLASSES].data);
  const uint8_t *begin = nullptr, *end = nullptr; // of what is no space
  for (const uint8_t *p = in.begin; p < in.end;) {
    uint32_t c;
    const uint8_t *next = p + decode(p, in.end, c);
    if (!(classes.at(c) & PARE_CHAR_SPACE)) {
      begin = begin ? begin : p;
      end = next;
    }
    p = next;
  }
  if (!begin) // all spaces: either side takes them
    return sides ? void() : append(out, in);
  append(out, {sides & 1 ? begin : in.begin, sides & 2 ? end : in.end});
}

/// The end of the grapheme cluster at text.begin, right where the cluster has
/// less than six bytes (Unicode Annex 29, rules GB3 to GB9b).
const uint8_t *clusterEnd(const Runs &breaks, Text text) {
  const uint8_t *p = text.begin;
  uint32_t c;
  p += decode(p, text.end, c);
  if (c == '\r' && p < text.end && *p == '\n')
    return p + 1;
  uint8_t last = c == '\r' || c == '\n' ? PARE_BREAK_CONTROL : breaks.at(c);
  while (p < text.end && last != PARE_BREAK_CONTROL) {
    const uint32_t n = decode(p, text.end, c);
    const uint8_t kind = breaks.at(c);
    const bool joins = kind == PARE_BREAK_EXTEND || kind == PARE_BREAK_ZWJ ||
                       kind == PARE_BREAK_SPACING_MARK ||
                       (last == PARE_BREAK_PREPEND &&
                        kind != PARE_BREAK_CONTROL && c != '\r' && c != '\n');
    if (!joins)
      break;
    last = kind;
    p += n;
  }
  return p;
}

/// What the `tokenizers` library makes of a charsmap: of a short cluster, the
/// shortest text that it begins with stands for all of it.
void precompiled(const PareTokenizer &t, Text in, Buffer &out) {
  constexpr int64_t longCluster = 6;
  const Map map(t, PARE_TOK_CHARSMAP);
  const Runs breaks(t.sections[PARE_TOK_GRAPHEMES].data);
  for (const uint8_t *p = in.begin; p < in.end;) {
    const uint8_t *end = clusterEnd(breaks, {p, in.end});
    if (end - p < longCluster) {
      const Map::Found found = map.shortest({p, end});
      if (found.end > p) {
        append(out, found.with);
        p = end;
        continue;
      }
    }
    while (p < end) {
      uint32_t c;
      const uint8_t *next = p + decode(p, end, c);
      const Map::Found found = map.shortest({p, next});
      append(out, found.end > p ? found.with : Text{p, next});
      p = next;
    }
  }
}

/// sentencepiece's normalizer: the charsmap by longest match, user defined
/// symbols untouched, then white space (normalizer.cc, Normalize).
class SentencePiece {
public:
  SentencePiece(const PareTokenizer &t, uint32_t flags)
      : map(t, PARE_TOK_CHARSMAP), user(t, PARE_TOK_USER), flags(flags) {}

  void apply(Text in, Buffer &out) const {
    const bool removesExtra = flags & PARE_SP_REMOVE_EXTRA;
    while (removesExtra && in.begin < in.end) {
      const Map::Found next = take(in);
      if (next.with.size() != 1 || *next.with.begin != ' ')
        break;
      in.begin = next.end;
    }
    if (in.begin == in.end)
      return;
    const uint64_t before = out.size;
    const bool suffix = flags & PARE_SP_SUFFIX;
    if (flags & PARE_SP_PREFIX && !suffix)
      addSpace(out);
    bool afterSpace = removesExtra;
    while (in.begin < in.end) {
      Map::Found next = take(in);
      in.begin = next.end;
      Text part = next.with;
      while (afterSpace && part.size() > 0 && *part.begin == ' ')
        ++part.begin;
      for (const uint8_t *p = part.begin; p < part.end; ++p)
        if (*p == ' ')
          addSpace(out);
        else
          out.push(*p);
      if (part.size() > 0)
        afterSpace = removesExtra && part.end[-1] == ' ';
    }
    if (removesExtra)
      dropSpaces(out, before);
    if (flags & PARE_SP_PREFIX && suffix)
      addSpace(out);
  }

private:
  /// What the text begins with, and what it becomes.
  Map::Found take(Text in) const {
    const auto [id, end] = user.longest(in);
    if (id != Trie::none)
      return {end, {in.begin, end}};
    const Map::Found found = map.longest(in);
    if (found.end > in.begin)
      return found;
    uint32_t c;
    const uint8_t *next = in.begin + decode(in.begin, in.end, c);
    return {next, {in.begin, next}};
  }
  void addSpace(Buffer &out) const {
    if (flags & PARE_SP_ESCAPE)
      out.append(spaceMark, sizeof(spaceMark));
    else
      out.push(' ');
  }
  void dropSpaces(Buffer &out, uint64_t begin) const {
    const uint64_t n = flags & PARE_SP_ESCAPE ? sizeof(spaceMark) : 1;
    const uint8_t *mark = flags & PARE_SP_ESCAPE
                              ? spaceMark
                              : reinterpret_cast<const uint8_t *>(" ");
    while (out.size >= begin + n &&
           memcmp(out.data + out.size - n, mark, n) == 0)
      out.size -= n;
  }

  Map map;
  Keys user;
  uint32_t flags;
};

void apply(const PareTokenizer &t, const PareTokenizerStep &step, Text in,
           Buffer &out) {
  switch (step.op) {
  case PARE_NORM_COMPAT:
    return mapEach(t, PARE_TOK_COMPAT, in, out);
  case PARE_NORM_NMT:
    return mapEach(t, PARE_TOK_NMT, in, out);
  case PARE_NORM_REPLACE:
    return replace(t, step, in, out);
  case PARE_NORM_PREPEND:
    if (in.size() > 0)
      append(out, stringAt(t, step.string));
    return append(out, in);
  case PARE_NORM_STRIP:
    return strip(t, step.flags, in, out);
  case PARE_NORM_PRECOMPILED:
    return precompiled(t, in, out);
  case PARE_NORM_SENTENCEPIECE:
    return SentencePiece(t, step.flags).apply(in, out);
  }
}

bool check(const PareTokenizer &t, const PareTokenizerStep &step) {
  switch (step.op) {
  case PARE_NORM_COMPAT:
    return t.sections[PARE_TOK_COMPAT].data;
  case PARE_NORM_NMT:
    return t.sections[PARE_TOK_NMT].data;
  case PARE_NORM_REPLACE:
    return Pattern::check(t, step.pattern);
  case PARE_NORM_STRIP:
    return t.sections[PARE_TOK_CLASSES].data;
  case PARE_NORM_PRECOMPILED:
    return t.sections[PARE_TOK_GRAPHEMES].data;
  case PARE_NORM_PREPEND:
  case PARE_NORM_SENTENCEPIECE:
    return true;
  }
  return false;
}

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerRewritePart pare_tokenizer_rewrite = {
    pare::rt::tok::check, pare::rt::tok::apply, pare::rt::tok::keepsBeginning};
