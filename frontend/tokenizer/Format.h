//===- Format.h - The serialized tokenizer table ----------------*- C -*-===//
//
// frontend/tokenizer writes this table, the runtime reads it in place: it is
// position independent, little-endian, 8-byte aligned, and needs no parsing
// at start-up. One header, then sections found by their tag. A new model kind
// (BPE, unigram) adds tags and a `model` value; readers refuse what they do
// not know.
//
// Text goes through the table as through the `tokenizers` library:
//
//   added tokens found in the raw text        ADDED_RAW
//   normalizer operations, in order           NORMALIZER (+ Unicode sections)
//   added tokens found in the normalized text ADDED_NORMALIZED
//   pre-tokenizer: text to words              config.pre_tokenizer (+ CLASSES)
//   model: words to ids                       VOCAB, PREFIX (WordPiece)
//   truncation, template                      config, TEMPLATE_SINGLE/_PAIR
//
// Unicode properties travel inside the table, cut down to the ones that this
// tokenizer uses: a cased model carries 2 KB of them, an uncased one 26 KB, and
// none is linked into artifacts without a tokenizer.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_TOKENIZER_FORMAT_H
#define PARE_FRONTEND_TOKENIZER_FORMAT_H

#include <stdint.h>

#define PARE_TOKENIZER_MAGIC 0x4b4f5450u /* "PTOK" */
#define PARE_TOKENIZER_VERSION 1

typedef enum {
  PARE_TOKENIZER_WORDPIECE = 1,
  PARE_TOKENIZER_BPE = 2,
  PARE_TOKENIZER_UNIGRAM = 3,
} PareTokenizerModel;

typedef struct {
  uint32_t magic, version;
  uint32_t model; /* PareTokenizerModel */
  uint32_t num_sections;
  uint64_t bytes;      /* of the whole table */
} PareTokenizerHeader; /* followed by num_sections PareTokenizerSection */

typedef struct {
  uint32_t tag; /* PARE_TOK_* */
  uint32_t reserved;
  uint64_t offset, bytes; /* from the start of the table */
} PareTokenizerSection;

typedef enum {
  PARE_TOK_CONFIG = 1,           /* PareTokenizerConfig */
  PARE_TOK_NORMALIZER = 2,       /* uint32_t[]: PareTokenizerNormalizer */
  PARE_TOK_TEMPLATE_SINGLE = 3,  /* PareTokenizerPiece[]: one sequence */
  PARE_TOK_TEMPLATE_PAIR = 4,    /* PareTokenizerPiece[]: two sequences */
  PARE_TOK_VOCAB = 5,            /* trie: token bytes to id */
  PARE_TOK_PREFIX = 6,           /* bytes before a word's later pieces: "##" */
  PARE_TOK_ADDED = 7,            /* PareTokenizerAdded[] */
  PARE_TOK_ADDED_RAW = 8,        /* trie: raw text to index in ADDED */
  PARE_TOK_ADDED_NORMALIZED = 9, /* trie: normalized text to index in ADDED */
  PARE_TOK_CLASSES = 10,         /* runs: PARE_CHAR_* of a code point */
  PARE_TOK_COMBINING = 11,       /* runs: canonical combining class */
  PARE_TOK_LOWERCASE = 12,       /* PareTokenizerCaseRun[], ascending */
  PARE_TOK_DECOMPOSE = 13,       /* uint16_t[3][]: code point, first, second */
  PARE_TOK_DECOMPOSE_WIDE = 14,  /* uint32_t[3][]: the same beyond 16 bits */
  PARE_TOK_COMPOSE = 15,         /* uint32_t[3][]: first, second, composed */
  PARE_TOK_NUM_TAGS = 16,
} PareTokenizerTag;

typedef enum {
  PARE_NORM_CLEAN_TEXT = 1, /* drop PARE_CHAR_DROPPED, spaces become U+0020 */
  PARE_NORM_SPACE_CJK = 2,  /* a space on each side of PARE_CHAR_CJK */
  PARE_NORM_NFD = 3,
  PARE_NORM_COMPOSE = 4,          /* after NFD: NFC */
  PARE_NORM_STRIP_NONSPACING = 5, /* drop PARE_CHAR_NONSPACING */
  PARE_NORM_STRIP_COMBINING = 6,  /* drop PARE_CHAR_COMBINING */
  PARE_NORM_LOWERCASE = 7,
} PareTokenizerNormalizer;

/* Pre-tokenizer: bits, every one a rule that ends words. None: one word. */
#define PARE_PRE_REMOVE_SPACE (1u << 0) /* white space separates and goes */
#define PARE_PRE_ISOLATE_PUNCT                                                 \
  (1u << 1)                             /* punctuation: a word per character   \
                                         */
#define PARE_PRE_REMOVE_PUNCT (1u << 2) /* punctuation separates and goes */
#define PARE_PRE_SPLIT_WORD (1u << 3)   /* \w beside \W ends a word */

/* Classes of a code point, as the `tokenizers` library sees them. */
#define PARE_CHAR_SPACE (1u << 0)      /* White_Space */
#define PARE_CHAR_DROPPED (1u << 1)    /* control, format, private, U+FFFD */
#define PARE_CHAR_NONSPACING (1u << 2) /* category Mn */
#define PARE_CHAR_COMBINING (1u << 3)  /* category M */
#define PARE_CHAR_PUNCT (1u << 4)      /* category P, ASCII symbols */
#define PARE_CHAR_WORD (1u << 5)       /* \w of the regex crate */
#define PARE_CHAR_CJK (1u << 6)        /* ideographs, as BERT counts them */

typedef enum {
  PARE_DECODER_NONE = 0,
  PARE_DECODER_WORDPIECE = 1,
} PareTokenizerDecoder;

typedef struct {
  uint32_t vocab_size; /* largest id + 1; embedding rows must reach it */
  int32_t unk_id;      /* the id of a word that the vocabulary cannot spell */
  uint32_t max_word_chars; /* a longer word is unknown */
  uint32_t pre_tokenizer;  /* PARE_PRE_* bits */
  uint32_t decoder;        /* PareTokenizerDecoder */
  uint32_t max_length;     /* tokens the model takes, specials included; 0:
                              unknown */
  uint32_t truncate_left;  /* 1: the end of a long text is kept */
  int32_t pad_id;          /* -1: the tokenizer names none */
  uint32_t pad_type_id;
  uint32_t pad_left; /* 1: padding precedes the text */
} PareTokenizerConfig;

#define PARE_PIECE_SEQUENCE_A (-1)
#define PARE_PIECE_SEQUENCE_B (-2)

typedef struct {
  int32_t id; /* a special token, or PARE_PIECE_SEQUENCE_* */
  uint32_t type_id;
} PareTokenizerPiece;

#define PARE_ADDED_SINGLE_WORD (1u << 0) /* not beside a \w character */
#define PARE_ADDED_LSTRIP (1u << 1)      /* takes the white space before it */
#define PARE_ADDED_RSTRIP (1u << 2)      /* takes the white space after it */
#define PARE_ADDED_SPECIAL (1u << 3)

typedef struct {
  int32_t id;
  uint32_t flags; /* PARE_ADDED_* */
} PareTokenizerAdded;

/* A level-order byte trie (LOUDS; Jacobson, "Space-efficient static trees and
   graphs", 1989). Node 0 is the root; siblings are consecutive and ascend by
   label; the children of the k-th node that has any are the group k + 1.
   Sections in this order, each 8-byte aligned: header, num_blocks
   PareTokenizerTrieBlock, labels uint8_t[num_nodes], samples
   uint32_t[num_samples] (the block where group 64 i starts), values
   (num_values of value_bytes each, in node order). */
typedef struct {
  uint32_t num_nodes, num_blocks, num_samples, num_values;
  uint32_t value_bytes; /* 2 or 4 */
  uint32_t reserved;
} PareTokenizerTrie;

typedef struct {  /* 64 nodes, one bit each */
  uint64_t first; /* starts a group of siblings */
  uint64_t inner; /* has children */
  uint64_t final; /* ends a key */
  uint32_t groups_before, inner_before,
      final_before; /* set bits in earlier blocks */
  uint32_t reserved;
} PareTokenizerTrieBlock;

/* A function of the code point that is constant on runs: this header, then
   uint32_t[num_runs], ascending: first code point << 8 | value. The run of a
   code point below 0x10000 lies between page[c >> 8] and page[(c >> 8) + 1]. */
typedef struct {
  uint32_t num_runs, reserved;
  uint8_t ascii[128];
  uint16_t page[260]; /* 257 used: the run that holds the page's first one */
} PareTokenizerRuns;

/* first, first + stride, … last map to themselves + delta, then `extra` (0:
   nothing) follows. */
typedef struct {
  uint32_t first, last;
  int32_t delta;
  uint16_t stride, extra;
} PareTokenizerCaseRun;

#endif
