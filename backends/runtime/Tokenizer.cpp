//===- Tokenizer.cpp - Encode text ----------------------------------------===//
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

class Encoder {
public:
  /// `plain`: added tokens in the text are text.
  Encoder(const PareTokenizer &t, Sink &sink, Workspace &work, bool plain)
      : run(t, sink, work), tokenizer(t), sink(sink),
        addedRaw(plain ? Trie() : run.trie(PARE_TOK_ADDED_RAW)),
        addedNormalized(plain ? Trie() : run.trie(PARE_TOK_ADDED_NORMALIZED)) {}

  /// Encodes valid UTF-8, without the template.
  void encode(Text text) {
    splitAdded(addedRaw, tokenizer.raw_starts, text, [&](Text piece) {
      encodeInParts(piece, piece.begin == text.begin);
    });
  }

private:
  /// Class bits of the code point at `p`, or 0 at the end.
  uint8_t classAt(const uint8_t *p, const uint8_t *end) const {
    uint32_t c;
    if (p >= end)
      return 0;
    decode(p, end, c);
    return run.classes.at(c);
  }
  static const uint8_t *previous(const uint8_t *p, const uint8_t *begin) {
    do
      --p;
    while (p > begin && (*p & 0xc0) == 0x80);
    return p;
  }

  template <typename OnText>
  void splitAdded(const Trie &trie, const uint32_t *starts, Text text,
                  OnText onText);
  void encodeInParts(Text text, bool atStart);
  void encodeWords(Text text, bool atStart);
  bool singleWord(const uint8_t *begin, const uint8_t *end, Text text) const;

  Run run;
  const PareTokenizer &tokenizer;
  Sink &sink;
  Trie addedRaw, addedNormalized;
};

bool Encoder::singleWord(const uint8_t *begin, const uint8_t *end,
                         Text text) const {
  const bool before =
      begin > text.begin &&
      classAt(previous(begin, text.begin), text.end) & PARE_CHAR_WORD;
  return !before && !(classAt(end, text.end) & PARE_CHAR_WORD);
}

/// Emits the added tokens in `text`, leftmost and longest first, and hands on
/// what lies between them. A match that is refused (single_word) still hides
/// the matches inside it, as in the library.
template <typename OnText>
void Encoder::splitAdded(const Trie &trie, const uint32_t *starts, Text text,
                         OnText onText) {
  const auto &section = tokenizer.sections[PARE_TOK_ADDED];
  const auto *added =
      reinterpret_cast<const PareTokenizerAdded *>(section.data);
  const uint64_t numAdded = section.bytes / sizeof(PareTokenizerAdded);

  const uint8_t *done = text.begin; // all before it is emitted
  const uint8_t *spaceBegin = text.begin, *spaceEnd = text.begin;
  for (const uint8_t *p = text.begin; trie && p < text.end && !sink.full();) {
    if (starts[*p] == Trie::none) {
      ++p;
      continue;
    }
    const auto [index, matchEnd] = trie.longest(starts, {p, text.end});
    if (index >= numAdded) {
      ++p;
      continue;
    }
    const uint8_t *begin = p, *end = matchEnd;
    const PareTokenizerAdded &token = added[index];
    p = end;
    if (token.flags & PARE_ADDED_SINGLE_WORD && !singleWord(begin, end, text))
      continue;
    if (token.flags & PARE_ADDED_LSTRIP)
      while (begin > done) {
        const uint8_t *before = previous(begin, text.begin);
        if (!(classAt(before, text.end) & PARE_CHAR_SPACE))
          break;
        begin = before;
      }
    if (token.flags & PARE_ADDED_RSTRIP) {
      // A run of spaces is walked once, however many tokens end in it.
      if (end < spaceBegin || end >= spaceEnd) {
        spaceBegin = spaceEnd = end;
        while (classAt(spaceEnd, text.end) & PARE_CHAR_SPACE) {
          uint32_t c;
          spaceEnd += decode(spaceEnd, text.end, c);
        }
      }
      end = spaceEnd;
    }
    if (done < begin)
      onText(Text{done, begin});
    if (sink.full())
      return;
    sink.push(token.id);
    done = end;
  }
  if (done < text.end && !sink.full())
    onText(Text{done, text.end});
}

/// Normalizes and encodes text, a long one in parts, so that work buffers stay
/// small and nothing is normalized that truncation drops. A part ends before
/// white space: no normalizer operation looks across it, and no word does.
void Encoder::encodeInParts(Text text, bool atStart) {
  constexpr uint64_t partBytes = 1 << 14;
  const bool divisible = run.config.pre_tokenizer & PARE_PRE_REMOVE_SPACE &&
                         !addedNormalized &&
                         !tokenizer.sections[PARE_TOK_PRE].data;
  while (text.begin < text.end && !sink.full()) {
    Text part = text;
    if (divisible && text.size() > partBytes) {
      part.end = text.begin + partBytes;
      while (part.end < text.end && *part.end != ' ' && *part.end != '\n')
        ++part.end;
    }
    bool keepsBeginning;
    const Text normal = normalize(tokenizer, part, run.work, keepsBeginning);
    atStart = atStart && keepsBeginning;
    splitAdded(addedNormalized, tokenizer.normalized_starts, normal,
               [&](Text piece) {
                 encodeWords(piece, atStart && piece.begin == normal.begin);
               });
    text.begin = part.end;
  }
}

void Encoder::encodeWords(Text text, bool atStart) {
  if (tokenizer.sections[PARE_TOK_PRE].data)
    return pare_tokenizer_split.split(run, text, atStart,
                                      tokenizer.model->encode);
  wordsByRules(run, run.config.pre_tokenizer, text,
               [&](Text word) { tokenizer.model->encode(run, word); });
}

/// `text` itself where it is valid UTF-8, else a repaired copy.
Text repair(Text text, Buffer &copy) {
  const uint8_t *p = text.begin;
  uint32_t c;
  bool valid = true;
  while (p < text.end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    const uint32_t n = decode(p, text.end, c, valid);
    if (!valid)
      break;
    p += n;
  }
  if (p == text.end)
    return text;
  copy.append(text.begin, uint64_t(p - text.begin));
  while (p < text.end) {
    const uint32_t n = decode(p, text.end, c, valid);
    if (valid)
      copy.append(p, n);
    else
      copy.pushCodePoint(c);
    p += n;
  }
  return copy.text();
}

} // namespace
} // namespace pare::rt::tok

using namespace pare::rt::tok;

int64_t pare_tokenizer_encode(const PareTokenizer *tokenizer, const char *text,
                              uint64_t n, int32_t *ids, uint64_t capacity,
                              uint32_t flags) {
  const PareTokenizer &t = *tokenizer;
  const bool special = !(flags & PARE_TOKENIZER_NO_SPECIAL);
  const bool plain = flags & PARE_TOKENIZER_PLAIN;
  const uint64_t before = special ? t.num_before : 0;
  const uint64_t after = special ? t.num_after : 0;
  if (ids && capacity < before + after)
    return PARE_TOKENIZER_E_CAPACITY;

  const bool left = t.config->truncate_left;
  Workspace work;
  work.isLong = n >= 4096;
  const auto *bytes = reinterpret_cast<const uint8_t *>(text);
  const Text valid = repair({bytes, bytes + n}, work.valid);
  Sink sink = {ids ? ids + before : nullptr,
               ids ? capacity - before - after : 0, 0, ids && !left};
  if (!work.failed())
    Encoder(t, sink, work, plain).encode(valid);
  if (ids && left && sink.count > sink.limit) {
    Sink second = {sink.ids, sink.limit, sink.count - sink.limit, false};
    Encoder(t, second, work, plain).encode(valid);
  }
  if (work.failed())
    return PARE_TOKENIZER_E_MEMORY;
  if (!ids)
    return int64_t(sink.count + before + after);

  const uint64_t count = sink.count < sink.limit ? sink.count : sink.limit;
  const auto *pieces = reinterpret_cast<const PareTokenizerPiece *>(
      t.sections[PARE_TOK_TEMPLATE_SINGLE].data);
  for (uint64_t i = 0; i < before; ++i)
    ids[i] = pieces[i].id;
  for (uint64_t i = 0; i < after; ++i)
    ids[before + count + i] = pieces[before + 1 + i].id;
  return int64_t(before + count + after);
}
