//===- Format.h - The serialized tokenizer table ----------------*- C -*-===//
//
// frontend/tokenizer writes this table, the runtime reads it in place: it is
// position independent, little-endian, 8-byte aligned, and needs no parsing
// at start-up. One header, then sections found by their tag. A new model kind
// (BPE, unigram) adds tags and a `model` value; readers refuse what they do
// not know.
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
  uint64_t bytes; /* of the whole table */
} PareTokenizerHeader; /* followed by num_sections PareTokenizerSection */

typedef struct {
  uint32_t tag; /* PARE_TOK_* */
  uint32_t reserved;
  uint64_t offset, bytes; /* from the start of the table */
} PareTokenizerSection;

#endif
