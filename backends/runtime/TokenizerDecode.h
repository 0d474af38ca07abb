//===- TokenizerDecode.h - Token ids to text --------------------*- C++ -*-===//
//
// Needs a table with texts (frontend/tokenizer: TableOptions::decodes). One
// without gives no text. Nothing is allocated.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZERDECODE_H
#define PARE_BACKENDS_RUNTIME_TOKENIZERDECODE_H

#include "backends/runtime/Tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Leave out tokens that the tokenizer calls special. */
#define PARE_TOKENIZER_SKIP_SPECIAL (1u << 0)

/* Decodes ids[0, n) into out[0, capacity) as UTF-8, not zero-terminated, and
   returns the bytes; with out null, only counts them. Equals the library's
   decode of the same ids. Ids that the tokenizer lacks give nothing. Negative:
   PARE_TOKENIZER_E_CAPACITY. */
int64_t pare_tokenizer_decode(const PareTokenizer *tokenizer,
                              const int32_t *ids, uint64_t n, char *out,
                              uint64_t capacity, uint32_t flags);

/* A text as its tokens come. What is pushed out is whole characters, and
   together what pare_tokenizer_decode gives; only a run of byte tokens that
   turns out not to be UTF-8 has shown its good beginning by then. */
typedef struct {
  const PareTokenizer *tokenizer;
  uint32_t flags, strip;
  uint8_t started, has_text, at_start, broken_run;
  uint8_t num_pending, pending[4];
} PareTokenizerStream;

void pare_tokenizer_stream_begin(PareTokenizerStream *stream,
                                 const PareTokenizer *tokenizer,
                                 uint32_t flags);

/* Bytes that one push or finish may write. */
uint64_t pare_tokenizer_stream_capacity(const PareTokenizer *tokenizer);

/* The text that `id` completes: its bytes in `out`. Negative:
   PARE_TOKENIZER_E_CAPACITY, or PARE_TOKENIZER_E_TABLE for a damaged one. */
int64_t pare_tokenizer_stream_push(PareTokenizerStream *stream, int32_t id,
                                   char *out, uint64_t capacity);

/* What is left: characters that never became whole, as U+FFFD. */
int64_t pare_tokenizer_stream_finish(PareTokenizerStream *stream, char *out,
                                     uint64_t capacity);

#ifdef __cplusplus
}
#endif
#endif
