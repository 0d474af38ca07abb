//===- TokenizerWordPiece.cpp ---------------------------------------------===//
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

/// WordPiece: the longest token that starts the word, then the longest that
/// continues it, and so on; unknown as a whole if that fails.
void encode(Run &run, Text word) {
  const PareTokenizerConfig &config = run.config;
  Sink &sink = run.sink;
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
  const uint32_t *starts = run.tokenizer.word_starts;
  for (const uint8_t *p = word.begin; p < word.end;) {
    const auto [id, end] = run.vocab.longest(starts, {p, word.end});
    if (id == Trie::none)
      return unknown();
    sink.push(int32_t(id));
    p = end;
    starts = run.tokenizer.word_continues;
  }
}

bool check(const PareTokenizer &t) { return t.sections[PARE_TOK_VOCAB].data; }

} // namespace
} // namespace pare::rt::tok

PARE_TOKENIZER_PART const PareTokenizerModelPart pare_tokenizer_wordpiece = {
    pare::rt::tok::check, pare::rt::tok::encode};
