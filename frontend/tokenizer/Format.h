//===- Format.h - The serialized tokenizer table ----------------*- C -*-===//
//
// frontend/tokenizer writes this table, the runtime reads it in place: it is
// position independent, little-endian, 8-byte aligned, and needs no parsing
// at start-up. One header, then sections found by their tag; readers refuse
// what they do not know.
//
// Text goes through the table as through the `tokenizers` library:
//
//   added tokens found in the raw text        ADDED_RAW
//   normalizer operations, in order           NORMALIZER (+ Unicode sections)
//   added tokens found in the normalized text ADDED_NORMALIZED
//   pre-tokenizer: text to words              PRE (+ PATTERNS), or
//                                             config.pre_tokenizer (+ CLASSES)
//   model: words to ids                       VOCAB, PREFIX (WordPiece);
//                                             MERGES, BYTES, … (BPE);
//                                             VOCAB, SCORES (unigram)
//   truncation, template                      config, TEMPLATE_SINGLE/_PAIR
//   decoder: ids to text                      TEXTS, config
//
// Byte-level vocabularies are stored as the bytes that their alphabet stands
// for: text never goes through that alphabet.
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
#define PARE_TOKENIZER_VERSION 2

typedef enum {
  PARE_TOKENIZER_WORDPIECE = 1,
  PARE_TOKENIZER_BPE = 2,
  PARE_TOKENIZER_UNIGRAM = 3,
  PARE_TOKENIZER_BPE_SCORES = 4, /* any token can form, best score first */
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
  PARE_TOK_NORMALIZER = 2,       /* PareTokenizerStep[]: PARE_NORM_* */
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
  PARE_TOK_PRE = 16,             /* PareTokenizerStep[]: PARE_PRE_OP_* */
  PARE_TOK_PATTERNS = 17,        /* PareTokenizerPattern[], then their tables */
  PARE_TOK_STRINGS = 18,         /* uint16_t length and bytes, each */
  PARE_TOK_MERGES = 19,          /* PareTokenizerMerges */
  PARE_TOK_BYTES = 20,           /* int32_t[256]: id of a byte, or -1 */
  PARE_TOK_SCORES = 21,          /* float[vocab_size] */
  PARE_TOK_SUFFIX = 22,          /* bytes after a word's last symbol: "</w>" */
  PARE_TOK_USER = 23,            /* trie: text that is one symbol, to id */
  PARE_TOK_CHARSMAP = 24,        /* trie: text to its string's offset */
  PARE_TOK_COMPAT = 25,          /* the same: compatibility mappings */
  PARE_TOK_NMT = 26,             /* the same: the Nmt normalizer */
  PARE_TOK_GRAPHEMES = 27,       /* runs: PareTokenizerBreak of a code point */
  PARE_TOK_TEXTS = 28,           /* PareTokenizerTexts */
  PARE_TOK_NUM_TAGS = 29,
} PareTokenizerTag;

/* An operation on text, or one that divides it. */
typedef struct {
  uint32_t op;      /* PARE_NORM_* or PARE_PRE_OP_* */
  uint32_t flags;   /* as the operation says */
  uint32_t pattern; /* index in PATTERNS */
  uint32_t string;  /* offset in STRINGS */
} PareTokenizerStep;

typedef enum {
  PARE_NORM_CLEAN_TEXT = 1, /* drop PARE_CHAR_DROPPED, spaces become U+0020 */
  PARE_NORM_SPACE_CJK = 2,  /* a space on each side of PARE_CHAR_CJK */
  PARE_NORM_NFD = 3,
  PARE_NORM_COMPOSE = 4,          /* after NFD: NFC */
  PARE_NORM_STRIP_NONSPACING = 5, /* drop PARE_CHAR_NONSPACING */
  PARE_NORM_STRIP_COMBINING = 6,  /* drop PARE_CHAR_COMBINING */
  PARE_NORM_LOWERCASE = 7,
  PARE_NORM_COMPAT = 8,        /* COMPAT on each code point; then NFD: NFKD */
  PARE_NORM_NMT = 9,           /* NMT on each code point */
  PARE_NORM_REPLACE = 10,      /* what `pattern` matches becomes `string` */
  PARE_NORM_PREPEND = 11,      /* `string` before text that is not empty */
  PARE_NORM_STRIP = 12,        /* white space; flags: 1 left, 2 right */
  PARE_NORM_PRECOMPILED = 13,  /* CHARSMAP, as the `tokenizers` library does */
  PARE_NORM_SENTENCEPIECE = 14 /* CHARSMAP, spaces; flags: PARE_SP_* */
} PareTokenizerNormalizer;

/* White space of sentencepiece's normalizer (normalizer_spec). */
#define PARE_SP_PREFIX (1u << 0)       /* add_dummy_prefix */
#define PARE_SP_REMOVE_EXTRA (1u << 1) /* remove_extra_whitespaces */
#define PARE_SP_ESCAPE (1u << 2)       /* escape_whitespaces: U+2581 */
#define PARE_SP_SUFFIX (1u << 3)       /* treat_whitespace_as_suffix */

/* Steps of a pre-tokenizer; each divides the pieces that the last one left. */
typedef enum {
  PARE_PRE_OP_RULES = 33,        /* flags: PARE_PRE_* bits */
  PARE_PRE_OP_SPLIT = 34,        /* at the matches of `pattern`; flags */
  PARE_PRE_OP_PREFIX_SPACE = 35, /* a space before pieces that have none */
  PARE_PRE_OP_METASPACE = 36,    /* spaces become `string`; flags */
} PareTokenizerPreOp;

/* Flags of PARE_PRE_OP_SPLIT: what becomes of matches, and two options. */
#define PARE_SPLIT_ISOLATED 0u
#define PARE_SPLIT_REMOVED 1u
#define PARE_SPLIT_WITH_PREVIOUS 2u
#define PARE_SPLIT_WITH_NEXT 3u
#define PARE_SPLIT_CONTIGUOUS 4u
#define PARE_SPLIT_BEHAVIOR 7u      /* mask of the above */
#define PARE_SPLIT_INVERT (1u << 3) /* matches and gaps change roles */
#define PARE_SPLIT_BYTES (1u << 4)  /* the pattern reads bytes */

/* Flags of PARE_PRE_OP_METASPACE. */
#define PARE_META_ALWAYS (1u << 0) /* `string` before pieces that have none */
#define PARE_META_FIRST (1u << 1)  /* the same where the text begins */
#define PARE_META_SPLIT (1u << 2)  /* pieces begin with `string` */

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

/* How the texts of tokens become one text. */
typedef enum {
  PARE_DECODER_NONE = 0,          /* a space between tokens */
  PARE_DECODER_WORDPIECE = 1,     /* a space before those that begin words */
  PARE_DECODER_BYTES = 2,         /* joined; broken UTF-8 becomes U+FFFD */
  PARE_DECODER_TEXT = 3,          /* joined; byte tokens that are no UTF-8
                                     become a U+FFFD each, by runs */
  PARE_DECODER_SENTENCEPIECE = 4, /* the same, by characters */
} PareTokenizerDecoder;

/* What the decoder does where text begins. */
typedef enum {
  PARE_FIRST_KEEP = 0,
  PARE_FIRST_NO_SPACES = 1,  /* the first token loses all its spaces */
  PARE_FIRST_STRIP = 2,      /* up to decode_strip spaces go */
  PARE_FIRST_SPACE = 3,      /* one space goes off the first token with text */
  PARE_FIRST_EACH_SPACE = 4, /* one off each token until there is text */
} PareTokenizerFirst;

/* config.model_flags */
#define PARE_BPE_BYTES (1u << 0) /* symbols are bytes, not characters */
#define PARE_MODEL_BYTE_FALLBACK (1u << 1) /* unknown characters: BYTES */
#define PARE_BPE_FUSE_UNK (1u << 2)        /* neighbouring unknowns are one */
#define PARE_BPE_IGNORE_MERGES (1u << 3)   /* a word in VOCAB is one token */
#define PARE_UNIGRAM_FLOAT (1u << 4)       /* sums of scores in float */
#define PARE_BPE_SPACE_STARTS                                                  \
  (1u << 5) /* in VOCAB, U+2581 follows nothing                                \
               but U+2581 */

typedef struct {
  uint32_t vocab_size; /* largest id + 1; embedding rows must reach it */
  int32_t unk_id;      /* the id of what the vocabulary cannot spell, or -1 */
  uint32_t max_word_chars; /* a longer word is unknown */
  uint32_t pre_tokenizer;  /* PARE_PRE_* bits, where there is no PRE */
  uint32_t decoder;        /* PareTokenizerDecoder */
  uint32_t max_length;     /* tokens the model takes, specials included; 0:
                              unknown */
  uint32_t truncate_left;  /* 1: the end of a long text is kept */
  int32_t pad_id;          /* -1: the tokenizer names none */
  uint32_t pad_type_id;
  uint32_t pad_left; /* 1: padding precedes the text */
  uint32_t model_flags;
  uint32_t decode_first;   /* PareTokenizerFirst */
  uint32_t decode_strip;   /* of PARE_FIRST_STRIP */
  uint32_t max_text_bytes; /* of one token in TEXTS */
  double unk_score;        /* unigram: of a character with no token */
  float user_score;        /* unigram: per byte of a token scored NaN */
  uint32_t reserved;
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

/* A regular expression as a deterministic automaton over classes of code
   points. An entry of `next` is the state after a code point, with
   PARE_PATTERN_MATCH where the text before it is a match; the longest-lived
   such match is the leftmost-first one, as alternation and quantifiers of
   backtracking engines define it. State 0 is the start. Tables lie at offsets
   from the start of the section. */
#define PARE_PATTERN_MATCH 0x8000u
#define PARE_PATTERN_DEAD 0x7fffu

typedef struct {
  uint32_t num_states, num_classes; /* the last class is the end of text */
  uint64_t runs, runs_bytes;        /* PareTokenizerRuns: class */
  uint64_t next;                    /* uint16_t[num_states][num_classes] */
  uint8_t bytes[256];               /* class of a byte: ASCII, or all where the
                                       pattern reads bytes */
} PareTokenizerPattern;

typedef struct {
  uint32_t num_patterns, reserved;
} PareTokenizerPatterns; /* followed by num_patterns PareTokenizerPattern */

/* Merges in order of rank: arrays left, right, result of num_merges ids of
   id_bytes (2 or 4) each, then num_slots slots (a power of two, more than
   num_merges) of slot_bytes (2 or 4): rank + 1, or 0. Each array is 8-byte
   aligned. A pair is looked for from slot PARE_MERGE_HASH on, linearly. */
typedef struct {
  uint32_t num_merges, num_slots, id_bytes, slot_bytes;
} PareTokenizerMerges;

#define PARE_MERGE_HASH(left, right)                                           \
  ((uint32_t)((((uint64_t)(left) << 32 | (right)) * 0x9e3779b97f4a7c15u) >> 32))

/* Texts of tokens: this header, uint32_t[num_tokens / PARE_TEXT_BLOCK + 1]
   offsets of every PARE_TEXT_BLOCK-th entry from the end of the offsets, then
   entries: a byte with the kind in its upper two bits and the length in the
   lower six (63: a uint16_t length follows), and the bytes. */
#define PARE_TEXT_BLOCK 16u
#define PARE_TEXT_PLAIN 0u
#define PARE_TEXT_BYTE 1u    /* byte fallback; WordPiece: continues a word */
#define PARE_TEXT_SPECIAL 2u /* left out on demand */
#define PARE_TEXT_HIDDEN 3u  /* never shown */

typedef struct {
  uint32_t num_tokens, reserved;
} PareTokenizerTexts;

/* Classes of Unicode's grapheme cluster boundaries that can lie inside a
   cluster of less than six bytes (Annex 29). */
typedef enum {
  PARE_BREAK_OTHER = 0,
  PARE_BREAK_CONTROL = 1,
  PARE_BREAK_EXTEND = 2,
  PARE_BREAK_ZWJ = 3,
  PARE_BREAK_SPACING_MARK = 4,
  PARE_BREAK_PREPEND = 5,
} PareTokenizerBreak;

#endif
