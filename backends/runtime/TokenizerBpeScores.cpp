//===- TokenizerBpeScores.cpp - Byte pair encoding by scores --------------===//
//
// As sentencepiece does it: neighbours join where their text together is a
// token, the highest score first, leftmost first among equals. User defined
// symbols are found beforehand and join nothing.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/TokenizerHeap.h"
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

constexpr uint32_t none = UINT32_MAX;

class ScoredBpe {
public:
  explicit ScoredBpe(Run &run)
      : run(run), user(run.tokenizer, PARE_TOK_USER), unknown(run.tokenizer),
        scores(reinterpret_cast<const float *>(
            run.tokenizer.sections[PARE_TOK_SCORES].data)),
        numScores(run.tokenizer.sections[PARE_TOK_SCORES].bytes /
                  sizeof(float)) {}

  void encode(Text text);

private:
  struct Symbol {
    const uint8_t *begin;
    uint32_t length; ///< 0: joined to the symbol before
    uint32_t node;   ///< where its text ends in the vocabulary, or none
    uint32_t previous, next;
    int32_t userId; ///< of a user defined symbol, or -1
  };
  struct Candidate {
    float score;
    uint32_t left, right, length, node;
    bool before(const Candidate &other) const {
      return score != other.score ? score > other.score : left < other.left;
    }
  };

  uint32_t divide(Text text);
  void emit(const Symbol &symbol, bool &afterUnknown);

  Run &run;
  Keys user;
  Unknown unknown;
  const float *scores;
  uint64_t numScores;
};

/// Fills the list with user defined symbols and characters; returns how many.
uint32_t ScoredBpe::divide(Text text) {
  Buffer &buffer = run.work.symbols;
  buffer.clear();
  uint32_t count = 0;
  for (const uint8_t *p = text.begin; p < text.end; ++count) {
    Symbol symbol = {p, 0, none, count - 1, count + 1, -1};
    const auto [id, end] = user.longest({p, text.end});
    if (id != none) {
      symbol.userId = int32_t(id);
      symbol.length = uint32_t(end - p);
    } else {
      uint32_t c;
      symbol.length = decode(p, text.end, c);
      symbol.node = run.vocab.walk(0, {p, p + symbol.length});
    }
    p += symbol.length;
    buffer.append(reinterpret_cast<const uint8_t *>(&symbol), sizeof(symbol));
  }
  return buffer.failed() ? 0 : count;
}

void ScoredBpe::emit(const Symbol &symbol, bool &afterUnknown) {
  Sink &sink = run.sink;
  uint32_t id = none;
  if (symbol.userId >= 0)
    id = uint32_t(symbol.userId);
  else if (symbol.node != none)
    id = run.vocab.value(symbol.node);
  const bool isUnknown = id == none;
  const Text text = {symbol.begin, symbol.begin + symbol.length};
  if (!isUnknown)
    sink.push(int32_t(id));
  else if (!unknown.pushBytes(text, [&](int32_t byte) { sink.push(byte); }) &&
           !afterUnknown && unknown.id >= 0)
    sink.push(unknown.id);
  afterUnknown = isUnknown;
}

void ScoredBpe::encode(Text text) {
  if (text.size() >= none) {
    run.work.outOfMemory = true;
    return;
  }
  const uint32_t count = divide(text);
  if (count == 0)
    return;
  auto *list = reinterpret_cast<Symbol *>(run.work.symbols.data);
  list[count - 1].next = none;
  Heap<Candidate> agenda(run.work.agenda);
  auto consider = [&](uint32_t left) {
    if (left == none || list[left].next == none || list[left].node == none)
      return;
    const Symbol &a = list[left], &b = list[a.next];
    if (b.userId >= 0)
      return;
    const uint32_t node = run.vocab.walk(a.node, {b.begin, b.begin + b.length});
    const uint32_t id = node == none ? none : run.vocab.value(node);
    if (id < numScores)
      agenda.push({scores[id], left, a.next, a.length + b.length, node});
  };
  for (uint32_t i = 0; i + 1 < count; ++i)
    consider(i);
  while (!agenda.empty() && !run.work.agenda.failed()) {
    const Candidate best = agenda.pop();
    Symbol &left = list[best.left], &right = list[best.right];
    if (left.length == 0 || right.length == 0 ||
        left.length + right.length != best.length)
      continue;
    left.length = best.length;
    left.node = best.node;
    left.next = right.next;
    right.length = 0;
    if (right.next != none)
      list[right.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  bool afterUnknown = false;
  for (uint32_t i = 0; i != none && !run.sink.full(); i = list[i].next)
    emit(list[i], afterUnknown);
}

void encode(Run &run, Text word) {
  ScoredBpe bpe(run);
  atSpaces(run, word, [&](Text part) { bpe.encode(part); });
}

bool check(const PareTokenizer &t) {
  return t.sections[PARE_TOK_VOCAB].data && t.sections[PARE_TOK_SCORES].data &&
         t.sections[PARE_TOK_SCORES].bytes ==
             uint64_t(t.config->vocab_size) * sizeof(float) &&
         Unknown::check(t);
}

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerModelPart pare_tokenizer_bpe_scores = {
    pare::rt::tok::check, pare::rt::tok::encode};
