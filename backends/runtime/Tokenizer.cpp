//===- Tokenizer.cpp - Open a table, encode text --------------------------===//
#include "backends/runtime/Tokenizer.h"
#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {
namespace {

bool checkRuns(const PareTokenizer &t, PareTokenizerTag tag) {
  const auto &section = t.sections[tag];
  if (section.bytes < sizeof(PareTokenizerRuns))
    return false;
  const auto &runs = *reinterpret_cast<const PareTokenizerRuns *>(section.data);
  if (runs.num_runs == 0 ||
      section.bytes != sizeof(runs) + uint64_t(runs.num_runs) * 4)
    return false;
  for (uint32_t i = 0; i <= 256; ++i)
    if (runs.page[i] >= runs.num_runs ||
        (i > 0 && runs.page[i] < runs.page[i - 1]))
      return false;
  return true;
}

/// Checks that the sections which `op` reads are there.
bool checkNormalizer(const PareTokenizer &t, uint32_t op) {
  switch (op) {
  case PARE_NORM_CLEAN_TEXT:
  case PARE_NORM_SPACE_CJK:
  case PARE_NORM_STRIP_NONSPACING:
  case PARE_NORM_STRIP_COMBINING:
    return t.sections[PARE_TOK_CLASSES].data;
  case PARE_NORM_NFD:
    return t.sections[PARE_TOK_COMBINING].data &&
           t.sections[PARE_TOK_DECOMPOSE].data &&
           t.sections[PARE_TOK_DECOMPOSE_WIDE].data;
  case PARE_NORM_COMPOSE:
    return t.sections[PARE_TOK_COMBINING].data &&
           t.sections[PARE_TOK_COMPOSE].data;
  case PARE_NORM_LOWERCASE:
    return t.sections[PARE_TOK_LOWERCASE].data;
  }
  return false;
}

/// Sizes of one element, per section; the sections' bytes are multiples.
uint64_t elementBytes(uint32_t tag) {
  switch (tag) {
  case PARE_TOK_NORMALIZER:
    return sizeof(uint32_t);
  case PARE_TOK_TEMPLATE_SINGLE:
  case PARE_TOK_TEMPLATE_PAIR:
    return sizeof(PareTokenizerPiece);
  case PARE_TOK_ADDED:
    return sizeof(PareTokenizerAdded);
  case PARE_TOK_LOWERCASE:
    return sizeof(PareTokenizerCaseRun);
  case PARE_TOK_DECOMPOSE:
    return 3 * sizeof(uint16_t);
  case PARE_TOK_DECOMPOSE_WIDE:
  case PARE_TOK_COMPOSE:
    return 3 * sizeof(uint32_t);
  }
  return 1;
}

bool readSections(const uint8_t *table, uint64_t bytes, PareTokenizer &t) {
  if (bytes < sizeof(PareTokenizerHeader) ||
      reinterpret_cast<uintptr_t>(table) % 8 != 0)
    return false;
  const auto &header = *reinterpret_cast<const PareTokenizerHeader *>(table);
  if (header.magic != PARE_TOKENIZER_MAGIC ||
      header.version != PARE_TOKENIZER_VERSION ||
      header.model != PARE_TOKENIZER_WORDPIECE || header.bytes != bytes ||
      header.num_sections >= PARE_TOK_NUM_TAGS)
    return false;
  const uint64_t begin =
      sizeof(header) + header.num_sections * sizeof(PareTokenizerSection);
  if (begin > bytes)
    return false;
  const auto *index =
      reinterpret_cast<const PareTokenizerSection *>(table + sizeof(header));
  for (uint32_t i = 0; i < header.num_sections; ++i) {
    const PareTokenizerSection &s = index[i];
    if (s.tag == 0 || s.tag >= PARE_TOK_NUM_TAGS || t.sections[s.tag].data ||
        s.bytes == 0 || s.offset % 8 != 0 || s.offset < begin ||
        s.offset > bytes || s.bytes > bytes - s.offset ||
        s.bytes % elementBytes(s.tag) != 0)
      return false;
    t.sections[s.tag] = {table + s.offset, s.bytes};
  }
  return true;
}

bool checkTemplate(PareTokenizer &t) {
  const auto &section = t.sections[PARE_TOK_TEMPLATE_SINGLE];
  const auto *pieces =
      reinterpret_cast<const PareTokenizerPiece *>(section.data);
  const uint64_t count = section.bytes / sizeof(PareTokenizerPiece);
  if (count > 1024)
    return false;
  uint64_t text = count;
  for (uint64_t i = 0; i < count; ++i) {
    if (pieces[i].id >= 0)
      continue;
    if (pieces[i].id != PARE_PIECE_SEQUENCE_A || text != count)
      return false;
    text = i;
  }
  if (text == count)
    return false;
  t.num_before = uint32_t(text);
  t.num_after = uint32_t(count - text - 1);
  return true;
}

bool checkSections(PareTokenizer &t) {
  const auto &config = t.sections[PARE_TOK_CONFIG];
  if (config.bytes != sizeof(PareTokenizerConfig) || !checkTemplate(t))
    return false;
  t.config = reinterpret_cast<const PareTokenizerConfig *>(config.data);
  constexpr PareTokenizerTag runs[] = {PARE_TOK_CLASSES, PARE_TOK_COMBINING};
  constexpr PareTokenizerTag tries[] = {PARE_TOK_VOCAB, PARE_TOK_ADDED_RAW,
                                        PARE_TOK_ADDED_NORMALIZED};
  for (PareTokenizerTag tag : runs)
    if (t.sections[tag].data && !checkRuns(t, tag))
      return false;
  for (PareTokenizerTag tag : tries)
    if (t.sections[tag].data &&
        !Trie::check(t.sections[tag].data, t.sections[tag].bytes))
      return false;
  if (!t.sections[PARE_TOK_VOCAB].data ||
      (t.config->pre_tokenizer && !t.sections[PARE_TOK_CLASSES].data))
    return false;

  const auto &normalizer = t.sections[PARE_TOK_NORMALIZER];
  const auto *ops = reinterpret_cast<const uint32_t *>(normalizer.data);
  for (uint64_t i = 0; i < normalizer.bytes / sizeof(uint32_t); ++i)
    if (i >= 64 || !checkNormalizer(t, ops[i]))
      return false;

  const auto &added = t.sections[PARE_TOK_ADDED];
  const auto *tokens = reinterpret_cast<const PareTokenizerAdded *>(added.data);
  for (uint64_t i = 0; i < added.bytes / sizeof(PareTokenizerAdded); ++i)
    if (tokens[i].flags & ~uint32_t(PARE_ADDED_SPECIAL) &&
        !t.sections[PARE_TOK_CLASSES].data)
      return false;
  return true;
}

/// Takes ids. Those in [skip, skip + limit) are kept.
struct Sink {
  int32_t *ids; ///< null: only count
  uint64_t limit, skip;
  bool stopEarly; ///< what lies beyond the limit need not be counted
  uint64_t count = 0;

  void push(int32_t id) {
    if (ids && count >= skip && count - skip < limit)
      ids[count - skip] = id;
    ++count;
  }
  bool full() const { return stopEarly && count >= limit; }
};

class Encoder {
public:
  Encoder(const PareTokenizer &t, Sink &sink, Workspace &work)
      : tokenizer(t), sink(sink), work(work), vocab(trie(PARE_TOK_VOCAB)),
        addedRaw(trie(PARE_TOK_ADDED_RAW)),
        addedNormalized(trie(PARE_TOK_ADDED_NORMALIZED)),
        classes(t.sections[PARE_TOK_CLASSES].data) {}

  /// Encodes valid UTF-8, without the template.
  void encode(Text text) {
    splitAdded(addedRaw, tokenizer.raw_starts, text,
               [&](Text piece) { encodeInParts(piece); });
  }

private:
  Trie trie(PareTokenizerTag tag) const {
    const uint8_t *data = tokenizer.sections[tag].data;
    return data ? Trie(data) : Trie();
  }

  /// Class bits of the code point at `p`, or 0 at the end.
  uint8_t classAt(const uint8_t *p, const uint8_t *end) const {
    uint32_t c;
    if (p >= end)
      return 0;
    decode(p, end, c);
    return classes.at(c);
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
  void encodeInParts(Text text);
  bool singleWord(const uint8_t *begin, const uint8_t *end, Text text) const;
  void splitWords(Text text);
  void encodeWord(Text word);

  const PareTokenizer &tokenizer;
  Sink &sink;
  Workspace &work;
  Trie vocab, addedRaw, addedNormalized;
  Runs classes;
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
void Encoder::encodeInParts(Text text) {
  constexpr uint64_t partBytes = 1 << 14;
  const bool divisible =
      tokenizer.config->pre_tokenizer & PARE_PRE_REMOVE_SPACE &&
      !addedNormalized;
  while (text.begin < text.end && !sink.full()) {
    Text part = text;
    if (divisible && text.size() > partBytes) {
      part.end = text.begin + partBytes;
      while (part.end < text.end && *part.end != ' ' && *part.end != '\n')
        ++part.end;
    }
    splitAdded(addedNormalized, tokenizer.normalized_starts,
               normalize(tokenizer, part, work),
               [&](Text normal) { splitWords(normal); });
    text.begin = part.end;
  }
}

void Encoder::splitWords(Text text) {
  const uint32_t rules = tokenizer.config->pre_tokenizer;
  if (!rules)
    return encodeWord(text);
  uint8_t separates = 0, isolates = 0;
  if (rules & PARE_PRE_REMOVE_SPACE)
    separates |= PARE_CHAR_SPACE;
  if (rules & PARE_PRE_REMOVE_PUNCT)
    separates |= PARE_CHAR_PUNCT;
  else if (rules & PARE_PRE_ISOLATE_PUNCT)
    isolates |= PARE_CHAR_PUNCT;
  const uint8_t changes = rules & PARE_PRE_SPLIT_WORD ? PARE_CHAR_WORD : 0;

  const uint8_t *word = text.begin;
  uint8_t last = 0;
  auto finish = [&](const uint8_t *end) {
    if (word < end)
      encodeWord({word, end});
    word = end;
  };
  for (const uint8_t *p = text.begin; p < text.end && !sink.full();) {
    uint32_t c;
    const uint32_t n = decode(p, text.end, c);
    const uint8_t kind = classes.at(c);
    if (kind & separates) {
      finish(p);
      word = p + n;
    } else if (kind & isolates) {
      finish(p);
      finish(p + n);
    } else if ((kind ^ last) & changes) {
      finish(p);
    }
    last = kind;
    p += n;
  }
  if (!sink.full())
    finish(text.end);
}

/// WordPiece: the longest token that starts the word, then the longest that
/// continues it, and so on; unknown as a whole if that fails.
void Encoder::encodeWord(Text word) {
  const PareTokenizerConfig &config = *tokenizer.config;
  const uint64_t start = sink.count;
  auto unknown = [&] {
    sink.count = start;
    sink.push(config.unk_id);
  };
  if (word.size() > config.max_word_chars) {
    uint64_t chars = 0;
    for (const uint8_t *p = word.begin; p < word.end; ++p)
      chars += (*p & 0xc0) != 0x80;
    if (chars > config.max_word_chars)
      return unknown();
  }
  const uint32_t *starts = tokenizer.word_starts;
  for (const uint8_t *p = word.begin; p < word.end;) {
    const auto [id, end] = vocab.longest(starts, {p, word.end});
    if (id == Trie::none)
      return unknown();
    sink.push(int32_t(id));
    p = end;
    starts = tokenizer.word_continues;
  }
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

int pare_tokenizer_open(const uint8_t *table, uint64_t bytes,
                        PareTokenizer *out) {
  memset(out, 0, sizeof(*out));
  if (!table || !readSections(table, bytes, *out) || !checkSections(*out))
    return PARE_TOKENIZER_E_TABLE;
  auto readStarts = [&](PareTokenizerTag tag, const uint8_t *prefix, uint64_t n,
                        uint32_t *starts) {
    memset(starts, 0xff, 256 * sizeof(uint32_t));
    if (!out->sections[tag].data)
      return;
    const Trie trie(out->sections[tag].data);
    uint32_t node = 0;
    for (uint64_t i = 0; i < n && node != Trie::none; ++i)
      node = trie.child(node, prefix[i]);
    if (node != Trie::none)
      trie.children(node, starts);
  };
  const auto &prefix = out->sections[PARE_TOK_PREFIX];
  readStarts(PARE_TOK_VOCAB, nullptr, 0, out->word_starts);
  readStarts(PARE_TOK_VOCAB, prefix.data, prefix.bytes, out->word_continues);
  readStarts(PARE_TOK_ADDED_RAW, nullptr, 0, out->raw_starts);
  readStarts(PARE_TOK_ADDED_NORMALIZED, nullptr, 0, out->normalized_starts);
  return PARE_TOKENIZER_OK;
}

int64_t pare_tokenizer_encode(const PareTokenizer *tokenizer, const char *text,
                              uint64_t n, int32_t *ids, uint64_t capacity,
                              uint32_t flags) {
  const PareTokenizer &t = *tokenizer;
  const bool special = !(flags & PARE_TOKENIZER_NO_SPECIAL);
  const uint64_t before = special ? t.num_before : 0;
  const uint64_t after = special ? t.num_after : 0;
  if (ids && capacity < before + after)
    return PARE_TOKENIZER_E_CAPACITY;

  const bool left = t.config->truncate_left;
  Workspace work;
  const auto *bytes = reinterpret_cast<const uint8_t *>(text);
  const Text valid = repair({bytes, bytes + n}, work.valid);
  Sink sink = {ids ? ids + before : nullptr,
               ids ? capacity - before - after : 0, 0, ids && !left};
  if (!work.failed())
    Encoder(t, sink, work).encode(valid);
  if (ids && left && sink.count > sink.limit) {
    Sink second = {sink.ids, sink.limit, sink.count - sink.limit, false};
    Encoder(t, second, work).encode(valid);
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
