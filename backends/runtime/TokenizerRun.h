//===- TokenizerRun.h - Parts of the encoder --------------------*- C++ -*-===//
//
// Internal to Tokenizer*.cpp. Models, and steps that only some tokenizers
// take, are parts: the core refers to them weakly, and what compiles a
// tokenizer into a program links the parts that its table needs (`-u` with the
// names below; runtimeParts in frontend/tokenizer/Tokenizer.h lists them).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZERRUN_H
#define PARE_BACKENDS_RUNTIME_TOKENIZERRUN_H

#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {

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

/// One text on its way through the tokenizer.
struct Run {
  Run(const PareTokenizer &t, Sink &sink, Workspace &work)
      : tokenizer(t), config(*t.config), sink(sink), work(work),
        vocab(trie(PARE_TOK_VOCAB)),
        classes(t.sections[PARE_TOK_CLASSES].data) {}

  Trie trie(PareTokenizerTag tag) const {
    const uint8_t *data = tokenizer.sections[tag].data;
    return data ? Trie(data) : Trie();
  }

  const PareTokenizer &tokenizer;
  const PareTokenizerConfig &config;
  Sink &sink;
  Workspace &work;
  Trie vocab;
  Runs classes;
};

/// Encodes one word: pushes its ids.
using EncodeWord = void (*)(Run &run, Text word);

/// Divides `text` by PARE_PRE_* bits and hands on the words.
template <typename OnWord>
void wordsByRules(const Run &run, uint32_t rules, Text text, OnWord onWord) {
  if (!rules)
    return onWord(text);
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
      onWord({word, end});
    word = end;
  };
  for (const uint8_t *p = text.begin; p < text.end && !run.sink.full();) {
    uint32_t c;
    const uint32_t n = decode(p, text.end, c);
    const uint8_t kind = run.classes.at(c);
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
  if (!run.sink.full())
    finish(text.end);
}

/// Hands on the parts of `text` that begin with U+2581, where no merge joins
/// what is before one to it (PARE_BPE_SPACE_STARTS), or else all of it.
template <typename OnPart>
void atSpaces(const Run &run, Text text, OnPart onPart) {
  if (!(run.config.model_flags & PARE_BPE_SPACE_STARTS))
    return onPart(text);
  auto isSpace = [&](const uint8_t *p) {
    return text.end - p >= 3 && p[0] == 0xe2 && p[1] == 0x96 && p[2] == 0x81;
  };
  const uint8_t *part = text.begin;
  bool inSpaces = true;
  for (const uint8_t *p = text.begin; p < text.end && !run.sink.full();) {
    if (!isSpace(p)) {
      inSpaces = false;
      ++p;
      continue;
    }
    if (!inSpaces) {
      onPart(Text{part, p});
      part = p;
    }
    inSpaces = true;
    p += 3;
  }
  if (part < text.end && !run.sink.full())
    onPart(Text{part, text.end});
}

/// Ids of text that the vocabulary lacks, bytes or the unknown token.
struct Unknown {
  explicit Unknown(const PareTokenizer &t)
      : bytes(t.config->model_flags & PARE_MODEL_BYTE_FALLBACK
                  ? reinterpret_cast<const int32_t *>(
                        t.sections[PARE_TOK_BYTES].data)
                  : nullptr),
        id(t.config->unk_id) {}

  /// Is there what the constructor reads?
  static bool check(const PareTokenizer &t) {
    return !(t.config->model_flags & PARE_MODEL_BYTE_FALLBACK) ||
           t.sections[PARE_TOK_BYTES].data;
  }

  /// Pushes the tokens of the bytes of `text`; false, pushing nothing, where
  /// one has none.
  template <typename Push> bool pushBytes(Text text, Push push) const {
    if (!bytes)
      return false;
    for (const uint8_t *p = text.begin; p < text.end; ++p)
      if (bytes[*p] < 0)
        return false;
    for (const uint8_t *p = text.begin; p < text.end; ++p)
      push(bytes[*p]);
    return true;
  }

  const int32_t *bytes; ///< null: no byte fallback
  int32_t id;
};

} // namespace pare::rt::tok

extern "C" {

struct PareTokenizerModelPart {
  /// Are the sections there that the model reads, and sound?
  bool (*check)(const PareTokenizer &tokenizer);
  pare::rt::tok::EncodeWord encode;
};

extern const PareTokenizerModelPart pare_tokenizer_wordpiece
    __attribute__((weak));
extern const PareTokenizerModelPart pare_tokenizer_bpe __attribute__((weak));
extern const PareTokenizerModelPart pare_tokenizer_bpe_scores
    __attribute__((weak));
extern const PareTokenizerModelPart pare_tokenizer_unigram
    __attribute__((weak));

/// The pre-tokenizer of PARE_TOK_PRE.
typedef struct {
  bool (*check)(const PareTokenizer &tokenizer);
  /// `atStart`: `text` is where the whole text begins.
  void (*split)(pare::rt::tok::Run &run, pare::rt::tok::Text text, bool atStart,
                pare::rt::tok::EncodeWord encode);
} PareTokenizerSplitPart;
extern const PareTokenizerSplitPart pare_tokenizer_split __attribute__((weak));

/// Normalizer operations from PARE_NORM_COMPAT on.
typedef struct {
  bool (*check)(const PareTokenizer &tokenizer, const PareTokenizerStep &step);
  void (*apply)(const PareTokenizer &tokenizer, const PareTokenizerStep &step,
                pare::rt::tok::Text in, pare::rt::tok::Buffer &out);
  /// PARE_NORM_REPLACE: is what begins `in`, not empty, still the beginning?
  bool (*keeps_beginning)(const PareTokenizer &tokenizer,
                          const PareTokenizerStep &step,
                          pare::rt::tok::Text in);
} PareTokenizerRewritePart;
extern const PareTokenizerRewritePart pare_tokenizer_rewrite
    __attribute__((weak));
}

#define PARE_TOKENIZER_PART extern "C" __attribute__((visibility("default")))

#endif
