//===- Tokenizer.h - Text to token ids, from a table in place ---*- C++ -*-===//
//
// Reads the table of frontend/tokenizer/Format.h where it lies: opening costs
// a check of its sections, no copy. Results equal those of the `tokenizers`
// library for the same tokenizer.json. No global state: one table serves any
// number of threads.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZER_H
#define PARE_BACKENDS_RUNTIME_TOKENIZER_H

#include "frontend/tokenizer/Format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Results of pare_tokenizer_open and, when negative, pare_tokenizer_encode. */
#define PARE_TOKENIZER_OK 0
#define PARE_TOKENIZER_E_TABLE (-1)    /* damaged, or newer than this reader */
#define PARE_TOKENIZER_E_MEMORY (-2)   /* no memory for the normalized text */
#define PARE_TOKENIZER_E_CAPACITY (-3) /* capacity below the special tokens */

/* pare_tokenizer_encode: leave out the template's special tokens. Special
   tokens that the text itself spells are still recognised. */
#define PARE_TOKENIZER_NO_SPECIAL (1u << 0)
/* pare_tokenizer_encode: text that reads like an added token is text: what a
   user typed cannot become <|im_end|>. */
#define PARE_TOKENIZER_PLAIN (1u << 1)

struct PareTokenizerModelPart;

/* An open table; fields are private to Tokenizer*.cpp, but for `config`. */
typedef struct PareTokenizer {
  const PareTokenizerConfig *config;
  const struct PareTokenizerModelPart *model; /* TokenizerRun.h */
  struct {
    const uint8_t *data; /* null: the table has no such section */
    uint64_t bytes;
  } sections[PARE_TOK_NUM_TAGS];
  uint32_t num_before, num_after; /* special tokens around one text */
  /* Trie nodes one byte into a token, UINT32_MAX where there is none. */
  uint32_t word_starts[256], word_continues[256];
  uint32_t raw_starts[256], normalized_starts[256];
} PareTokenizer;

/* Opens the `bytes` bytes at `table`, which must be 8-byte aligned and outlive
   `out`. Returns PARE_TOKENIZER_OK, or PARE_TOKENIZER_E_TABLE for a table that
   is cut, damaged or of a kind this runtime does not know. Damage that keeps
   the structure intact gives other ids, never a wild access. */
int pare_tokenizer_open(const uint8_t *table, uint64_t bytes,
                        PareTokenizer *out);

/* Encodes the `n` UTF-8 bytes at `text` into ids[0, capacity) and returns how
   many there are, special tokens included. Text that needs more is truncated
   as the library does: special tokens stay, the end goes (the beginning where
   the table says truncate_left). Pass min(capacity, config->max_length) for
   the model's own limit. With ids null, returns the untruncated count.
   Each maximal part of broken UTF-8 reads as U+FFFD (Unicode 3.9, table 3-7;
   what Python's errors="replace" does). Time is linear in n; allocates work
   buffers, 64 KiB unless the text is broken or has no spaces. `flags`:
   PARE_TOKENIZER_NO_SPECIAL. Negative: PARE_TOKENIZER_E_MEMORY or
   PARE_TOKENIZER_E_CAPACITY. */
int64_t pare_tokenizer_encode(const PareTokenizer *tokenizer, const char *text,
                              uint64_t n, int32_t *ids, uint64_t capacity,
                              uint32_t flags);

#ifdef __cplusplus
}
#endif
#endif
