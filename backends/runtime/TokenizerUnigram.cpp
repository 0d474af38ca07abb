//===- TokenizerUnigram.cpp - The likeliest segmentation ------------------===//
//
// Kudo, "Subword regularization", 2018: the sequence of tokens whose scores
// have the largest sum, by dynamic programming over the ends of tokens.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

constexpr uint32_t none = UINT32_MAX;

/// The best segmentation that ends at a byte.
struct Node {
  double score;
  uint32_t begin; ///< of its last token; none: no segmentation ends here
  int32_t id;     ///< of its last token; -1: an unknown character
};

class Unigram {
public:
  explicit Unigram(Run &run)
      : run(run), unknown(run.tokenizer),
        inFloat(run.config.model_flags & PARE_UNIGRAM_FLOAT),
        scores(run.tokenizer.sections[PARE_TOK_SCORES].data),
        isNarrow(run.tokenizer.sections[PARE_TOK_SCORES].bytes ==
                 uint64_t(run.config.vocab_size) * sizeof(float)) {}

  void encode(Text text);

private:
  /// NaN marks user defined symbols, which count by their length.
  double scoreOf(uint32_t id, uint64_t length) const {
    if (id >= run.config.vocab_size)
      return run.config.unk_score;
    const double score = isNarrow
                             ? reinterpret_cast<const float *>(scores)[id]
                             : reinterpret_cast<const double *>(scores)[id];
    return score == score ? score
                          : double(float(length) * run.config.user_score) - 0.1;
  }
  void extend(Node &end, double score, uint32_t begin, int32_t id) const {
    if (inFloat)
      score = float(score);
    if (end.begin == none || score > end.score)
      end = {score, begin, id};
  }
  void fill(Text text, Node *nodes) const;
  void emitUnknown(Text text);

  Run &run;
  Unknown unknown;
  bool inFloat;
  const uint8_t *scores;
  bool isNarrow;
};

void Unigram::fill(Text text, Node *nodes) const {
  const uint32_t size = uint32_t(text.size());
  for (uint32_t i = 0; i <= size; ++i)
    nodes[i] = {0, none, -1};
  for (uint32_t begin = 0; begin < size;) {
    const double before = nodes[begin].score;
    uint32_t c;
    const uint32_t charBytes = decode(text.begin + begin, text.end, c);
    bool hasChar = false;
    uint32_t node = run.tokenizer.word_starts[text.begin[begin]];
    for (uint32_t end = begin + 1; node != none; ++end) {
      if (run.vocab.isFinal(node)) {
        const uint32_t id = run.vocab.value(node);
        extend(nodes[end], scoreOf(id, end - begin) + before, begin,
               int32_t(id));
        hasChar |= end - begin == charBytes;
      }
      if (end == size)
        break;
      node = run.vocab.child(node, text.begin[end]);
    }
    if (!hasChar)
      extend(nodes[begin + charBytes], run.config.unk_score + before, begin,
             -1);
    begin += charBytes;
  }
}

void Unigram::emitUnknown(Text text) {
  auto push = [&](int32_t id) { run.sink.push(id); };
  if (!unknown.pushBytes(text, push) && unknown.id >= 0)
    push(unknown.id);
}

void Unigram::encode(Text text) {
  if (text.size() >= none) {
    run.work.outOfMemory = true;
    return;
  }
  const uint32_t size = uint32_t(text.size());
  auto *nodes = reinterpret_cast<Node *>(
      run.work.symbols.resize((uint64_t(size) + 1) * sizeof(Node)));
  if (!nodes)
    return;
  fill(text, nodes);
  // Turn the way back into a way forth: nodes[begin].begin becomes the end.
  uint32_t next = none;
  for (uint32_t end = size; end != 0 && end != none;) {
    const uint32_t begin = nodes[end].begin;
    const int32_t id = nodes[end].id;
    nodes[end].begin = next;
    next = end;
    if (begin == none)
      return;
    nodes[end].id = id;
    end = begin;
  }
  nodes[0].begin = next;
  for (uint32_t begin = 0; begin < size && !run.sink.full();) {
    uint32_t end = nodes[begin].begin;
    const int32_t id = nodes[end].id;
    if (id >= 0 && id != unknown.id) {
      run.sink.push(id);
    } else {
      // Unknown characters in a row are one unknown token.
      while (end < size) {
        const int32_t after = nodes[nodes[end].begin].id;
        if (after >= 0 && after != unknown.id)
          break;
        end = nodes[end].begin;
      }
      emitUnknown({text.begin + begin, text.begin + end});
    }
    begin = end;
  }
}

void encode(Run &run, Text word) { Unigram(run).encode(word); }

bool check(const PareTokenizer &t) {
  const uint64_t bytes = t.sections[PARE_TOK_SCORES].bytes;
  const uint64_t count = t.config->vocab_size;
  return t.sections[PARE_TOK_VOCAB].data && count > 0 &&
         (bytes == count * sizeof(float) || bytes == count * sizeof(double)) &&
         Unknown::check(t);
}

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerModelPart pare_tokenizer_unigram = {
    pare::rt::tok::check, pare::rt::tok::encode};
