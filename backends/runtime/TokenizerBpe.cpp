//===- TokenizerBpe.cpp - Byte pair encoding by a list of merges ----------===//
//
// Sennrich et al., "Neural machine translation of rare words with subword
// units", 2016: of all neighbours that a merge joins, the pair of lowest rank
// is joined, leftmost first, until none is left.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/TokenizerHeap.h"
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

constexpr uint32_t none = UINT32_MAX;

/// Reader of PareTokenizerMerges.
class Merges {
public:
  explicit Merges(const uint8_t *section)
      : header(*reinterpret_cast<const PareTokenizerMerges *>(section)),
        left(section + sizeof(header)),
        right(left + align8(uint64_t(header.num_merges) * header.id_bytes)),
        result(right + (right - left)), slots(result + (right - left)) {}

  static bool check(const uint8_t *section, uint64_t bytes) {
    if (bytes < sizeof(PareTokenizerMerges))
      return false;
    const auto &h = *reinterpret_cast<const PareTokenizerMerges *>(section);
    auto isWidth = [](uint32_t n) { return n == 2 || n == 4; };
    return isWidth(h.id_bytes) && isWidth(h.slot_bytes) &&
           h.num_slots > h.num_merges &&
           (h.num_slots & (h.num_slots - 1)) == 0 &&
           bytes == sizeof(h) +
                        3 * align8(uint64_t(h.num_merges) * h.id_bytes) +
                        align8(uint64_t(h.num_slots) * h.slot_bytes);
  }

  /// The rank of a pair, or none.
  uint32_t find(uint32_t a, uint32_t b) const {
    const uint32_t mask = header.num_slots - 1;
    uint32_t slot = PARE_MERGE_HASH(a, b) & mask;
    // A damaged table may have no empty slot.
    for (uint32_t tries = 0; tries <= mask; ++tries) {
      const uint32_t rank = at(slots, header.slot_bytes, slot) - 1;
      if (rank >= header.num_merges)
        return none;
      if (at(left, header.id_bytes, rank) == a &&
          at(right, header.id_bytes, rank) == b)
        return rank;
      slot = (slot + 1) & mask;
    }
    return none;
  }
  uint32_t resultOf(uint32_t rank) const {
    return at(result, header.id_bytes, rank);
  }

private:
  static uint32_t at(const uint8_t *array, uint32_t width, uint32_t i) {
    return width == 2 ? reinterpret_cast<const uint16_t *>(array)[i]
                      : reinterpret_cast<const uint32_t *>(array)[i];
  }

  const PareTokenizerMerges &header;
  const uint8_t *left, *right, *result, *slots;
};

/// Words that came before, by their bytes: most words of a text are few.
class Cache {
public:
  static constexpr uint32_t maxBytes = 19, maxIds = 4;
  struct Entry {
    uint8_t length, count, bytes[maxBytes + 3];
    int32_t ids[maxIds];
  };

  explicit Cache(Workspace &work) {
    Buffer &buffer = work.cache;
    if (work.isLong && buffer.size == 0 &&
        buffer.resize(numEntries * sizeof(Entry)))
      memset(buffer.data, 0, buffer.size);
    entries = buffer.size ? reinterpret_cast<Entry *>(buffer.data) : nullptr;
  }

  /// The entry where `word` is or would be; null: it is not kept.
  Entry *slot(Text word) const {
    if (!entries || word.size() > maxBytes)
      return nullptr;
    uint64_t hash = word.size();
    for (const uint8_t *p = word.begin; p < word.end; ++p)
      hash = (hash ^ *p) * 0x9e3779b97f4a7c15u;
    return entries + (hash >> 48) % numEntries;
  }
  static bool holds(const Entry &entry, Text word) {
    return entry.length == word.size() &&
           memcmp(entry.bytes, word.begin, word.size()) == 0;
  }

private:
  static constexpr uint64_t numEntries = 4096;
  Entry *entries;
};

class Bpe {
public:
  explicit Bpe(Run &run)
      : run(run), flags(run.config.model_flags),
        merges(run.tokenizer.sections[PARE_TOK_MERGES].data),
        prefix(section(PARE_TOK_PREFIX)), suffix(section(PARE_TOK_SUFFIX)),
        bytes(reinterpret_cast<const int32_t *>(
            run.tokenizer.sections[PARE_TOK_BYTES].data)),
        unknown(run.tokenizer),
        isPlain(flags & PARE_BPE_BYTES && prefix.size() + suffix.size() == 0) {}

  void encode(Text word);

private:
  struct Symbol {
    uint32_t id, previous, next;
  };
  struct Candidate {
    uint32_t rank, at;
    bool before(const Candidate &other) const {
      return rank != other.rank ? rank < other.rank : at < other.at;
    }
  };
  static constexpr uint32_t maxShort = 48;

  Text section(PareTokenizerTag tag) const {
    const auto &s = run.tokenizer.sections[tag];
    return {s.data, s.data + s.bytes};
  }

  uint32_t idOf(Text symbol, Text word) const;
  template <typename Push> void symbols(Text word, Push push) const;
  void encodeUncached(Text word);
  void mergeShort(uint32_t *ids, uint32_t count);
  void mergeLong(Text word);

  Run &run;
  uint32_t flags;
  Merges merges;
  Text prefix, suffix;
  const int32_t *bytes;
  Unknown unknown;
  bool isPlain;
};

/// The token of a symbol of `word` with the prefix and suffix that its place
/// asks for, or none.
uint32_t Bpe::idOf(Text symbol, Text word) const {
  uint32_t node = symbol.begin > word.begin ? run.vocab.walk(0, prefix) : 0;
  node = run.vocab.walk(node, symbol);
  if (symbol.end == word.end)
    node = run.vocab.walk(node, suffix);
  return node == none ? none : run.vocab.value(node);
}

/// The ids that a word starts as, one per character or byte.
template <typename Push> void Bpe::symbols(Text word, Push push) const {
  bool pending = false; // an unknown symbol that the next may join
  for (const uint8_t *p = word.begin; p < word.end;) {
    uint32_t c;
    const uint32_t n = flags & PARE_BPE_BYTES ? 1 : decode(p, word.end, c);
    const Text symbol = {p, p + n};
    const uint32_t id = isPlain ? uint32_t(bytes[*p]) : idOf(symbol, word);
    p += n;
    if (id != none) {
      if (pending)
        push(uint32_t(unknown.id));
      pending = false;
      push(id);
    } else if (!unknown.pushBytes(symbol, push) && unknown.id >= 0) {
      if (pending && !(flags & PARE_BPE_FUSE_UNK))
        push(uint32_t(unknown.id));
      pending = true;
    }
  }
  if (pending)
    push(uint32_t(unknown.id));
}

void Bpe::mergeShort(uint32_t *ids, uint32_t count) {
  uint32_t ranks[maxShort];
  for (uint32_t i = 0; i + 1 < count; ++i)
    ranks[i] = merges.find(ids[i], ids[i + 1]);
  while (count > 1) {
    uint32_t best = 0;
    for (uint32_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < ranks[best])
        best = i;
    if (ranks[best] == none)
      break;
    ids[best] = merges.resultOf(ranks[best]);
    --count;
    for (uint32_t i = best + 1; i < count; ++i)
      ids[i] = ids[i + 1];
    for (uint32_t i = best + 1; i + 1 < count; ++i)
      ranks[i] = ranks[i + 1];
    if (best > 0)
      ranks[best - 1] = merges.find(ids[best - 1], ids[best]);
    if (best + 1 < count)
      ranks[best] = merges.find(ids[best], ids[best + 1]);
  }
  for (uint32_t i = 0; i < count; ++i)
    run.sink.push(int32_t(ids[i]));
}

void Bpe::mergeLong(Text word) {
  Buffer &buffer = run.work.symbols;
  buffer.clear();
  uint32_t count = 0;
  symbols(word, [&](uint32_t id) {
    const Symbol symbol = {id, count - 1, count + 1};
    buffer.append(reinterpret_cast<const uint8_t *>(&symbol), sizeof(symbol));
    ++count;
  });
  if (buffer.failed() || count == 0)
    return;
  auto *list = reinterpret_cast<Symbol *>(buffer.data);
  list[count - 1].next = none;
  Heap<Candidate> agenda(run.work.agenda);
  auto consider = [&](uint32_t at) {
    if (at == none || list[at].next == none)
      return;
    const uint32_t rank = merges.find(list[at].id, list[list[at].next].id);
    if (rank != none)
      agenda.push({rank, at});
  };
  for (uint32_t i = 0; i + 1 < count; ++i)
    consider(i);
  while (!agenda.empty() && !run.work.agenda.failed()) {
    const Candidate best = agenda.pop();
    Symbol &symbol = list[best.at];
    // Joined into another meanwhile, or no longer beside what it was.
    if (symbol.id == none || symbol.next == none ||
        merges.find(symbol.id, list[symbol.next].id) != best.rank)
      continue;
    Symbol &right = list[symbol.next];
    symbol.id = merges.resultOf(best.rank);
    right.id = none;
    symbol.next = right.next;
    if (right.next != none)
      list[right.next].previous = best.at;
    consider(symbol.previous);
    consider(best.at);
  }
  for (uint32_t i = 0; i != none; i = list[i].next)
    run.sink.push(int32_t(list[i].id));
}

void Bpe::encodeUncached(Text word) {
  if (flags & PARE_BPE_IGNORE_MERGES) {
    const uint32_t node = run.vocab.walk(0, word);
    const uint32_t id = node == none ? none : run.vocab.value(node);
    if (id != none)
      return run.sink.push(int32_t(id));
  }
  if (word.size() > maxShort)
    return mergeLong(word);
  uint32_t ids[maxShort + 1], count = 0;
  symbols(word, [&](uint32_t id) {
    if (count < maxShort)
      ids[count++] = id;
  });
  mergeShort(ids, count);
}

void Bpe::encode(Text word) {
  Sink &sink = run.sink;
  Cache::Entry *entry = Cache(run.work).slot(word);
  if (!entry || !sink.ids)
    return encodeUncached(word);
  if (Cache::holds(*entry, word)) {
    for (uint32_t i = 0; i < entry->count && i < Cache::maxIds; ++i)
      sink.push(entry->ids[i]);
    return;
  }
  const uint64_t before = sink.count;
  encodeUncached(word);
  const uint64_t count = sink.count - before;
  // Only ids that the sink kept can be read back.
  if (count > Cache::maxIds || before < sink.skip ||
      sink.count - sink.skip > sink.limit)
    return;
  entry->length = uint8_t(word.size());
  entry->count = uint8_t(count);
  memcpy(entry->bytes, word.begin, word.size());
  memcpy(entry->ids, sink.ids + (before - sink.skip), count * sizeof(int32_t));
}

void encode(Run &run, Text word) {
  Bpe bpe(run);
  atSpaces(run, word, [&](Text part) { bpe.encode(part); });
}

bool check(const PareTokenizer &t) {
  const auto &merges = t.sections[PARE_TOK_MERGES];
  const uint32_t flags = t.config->model_flags;
  const bool affixes =
      t.sections[PARE_TOK_PREFIX].data || t.sections[PARE_TOK_SUFFIX].data;
  const bool needsVocab =
      flags & PARE_BPE_IGNORE_MERGES || !(flags & PARE_BPE_BYTES) || affixes;
  return merges.data && Merges::check(merges.data, merges.bytes) &&
         (!needsVocab || t.sections[PARE_TOK_VOCAB].data) &&
         (!(flags & PARE_BPE_BYTES) || t.sections[PARE_TOK_BYTES].data) &&
         Unknown::check(t);
}

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerModelPart pare_tokenizer_bpe = {
    pare::rt::tok::check, pare::rt::tok::encode};
