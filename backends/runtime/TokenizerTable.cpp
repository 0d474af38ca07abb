//===- TokenizerTable.cpp - Open a table ----------------------------------===//
#include "backends/runtime/TokenizerRun.h"

namespace pare::rt::tok {
namespace {

/// Checks that the sections which `op` reads are there.
bool checkNormalizer(const PareTokenizer &t, const PareTokenizerStep &step) {
  switch (step.op) {
  case PARE_NORM_CLEAN_TEXT:
  case PARE_NORM_SPACE_CJK:
  case PARE_NORM_STRIP_NONSPACING:
  case PARE_NORM_STRIP_COMBINING:
    return t.sections[PARE_TOK_CLASSES].data;
  case PARE_NORM_NFD:
    return t.sections[PARE_TOK_COMBINING].data &&
           t.sections[PARE_TOK_DECOMPOSE].data &&
           t.sections[PARE_TOK_DECOMPOSE_WIDE].data;
  case PARE_NORM_COMPOSE:
    return t.sections[PARE_TOK_COMBINING].data &&
           t.sections[PARE_TOK_COMPOSE].data;
  case PARE_NORM_LOWERCASE:
    return t.sections[PARE_TOK_LOWERCASE].data;
  }
  return &pare_tokenizer_rewrite && pare_tokenizer_rewrite.check(t, step);
}

/// Sizes of one element, per section; the sections' bytes are multiples.
uint64_t elementBytes(uint32_t tag) {
  switch (tag) {
  case PARE_TOK_NORMALIZER:
  case PARE_TOK_PRE:
    return sizeof(PareTokenizerStep);
  case PARE_TOK_TEMPLATE_SINGLE:
  case PARE_TOK_TEMPLATE_PAIR:
    return sizeof(PareTokenizerPiece);
  case PARE_TOK_ADDED:
    return sizeof(PareTokenizerAdded);
  case PARE_TOK_LOWERCASE:
    return sizeof(PareTokenizerCaseRun);
  case PARE_TOK_DECOMPOSE:
    return 3 * sizeof(uint16_t);
  case PARE_TOK_DECOMPOSE_WIDE:
  case PARE_TOK_COMPOSE:
    return 3 * sizeof(uint32_t);
  case PARE_TOK_BYTES:
    return 256 * sizeof(int32_t);
  }
  return 1;
}

/// The part that encodes with a model; null: unknown, or not linked in.
const PareTokenizerModelPart *partOf(uint32_t model) {
  switch (model) {
  case PARE_TOKENIZER_WORDPIECE:
    return &pare_tokenizer_wordpiece;
  case PARE_TOKENIZER_BPE:
    return &pare_tokenizer_bpe;
  case PARE_TOKENIZER_BPE_SCORES:
    return &pare_tokenizer_bpe_scores;
  case PARE_TOKENIZER_UNIGRAM:
    return &pare_tokenizer_unigram;
  }
  return nullptr;
}

bool readSections(const uint8_t *table, uint64_t bytes, PareTokenizer &t) {
  if (bytes < sizeof(PareTokenizerHeader) ||
      reinterpret_cast<uintptr_t>(table) % 8 != 0)
    return false;
  const auto &header = *reinterpret_cast<const PareTokenizerHeader *>(table);
  if (header.magic != PARE_TOKENIZER_MAGIC ||
      header.version != PARE_TOKENIZER_VERSION || header.bytes != bytes ||
      header.num_sections >= PARE_TOK_NUM_TAGS)
    return false;
  const uint64_t begin =
      sizeof(header) + header.num_sections * sizeof(PareTokenizerSection);
  if (begin > bytes)
    return false;
  const auto *index =
      reinterpret_cast<const PareTokenizerSection *>(table + sizeof(header));
  for (uint32_t i = 0; i < header.num_sections; ++i) {
    const PareTokenizerSection &s = index[i];
    if (s.tag == 0 || s.tag >= PARE_TOK_NUM_TAGS || t.sections[s.tag].data ||
        s.bytes == 0 || s.offset % 8 != 0 || s.offset < begin ||
        s.offset > bytes || s.bytes > bytes - s.offset ||
        s.bytes % elementBytes(s.tag) != 0)
      return false;
    t.sections[s.tag] = {table + s.offset, s.bytes};
  }
  t.model = partOf(header.model);
  return t.model;
}

bool checkTemplate(PareTokenizer &t) {
  const auto &section = t.sections[PARE_TOK_TEMPLATE_SINGLE];
  const auto *pieces =
      reinterpret_cast<const PareTokenizerPiece *>(section.data);
  const uint64_t count = section.bytes / sizeof(PareTokenizerPiece);
  if (count > 1024)
    return false;
  uint64_t text = count;
  for (uint64_t i = 0; i < count; ++i) {
    if (pieces[i].id >= 0)
      continue;
    if (pieces[i].id != PARE_PIECE_SEQUENCE_A || text != count)
      return false;
    text = i;
  }
  if (text == count)
    return false;
  t.num_before = uint32_t(text);
  t.num_after = uint32_t(count - text - 1);
  return true;
}

bool checkSections(PareTokenizer &t) {
  const auto &config = t.sections[PARE_TOK_CONFIG];
  if (config.bytes != sizeof(PareTokenizerConfig) || !checkTemplate(t))
    return false;
  t.config = reinterpret_cast<const PareTokenizerConfig *>(config.data);
  constexpr PareTokenizerTag runs[] = {PARE_TOK_CLASSES, PARE_TOK_COMBINING,
                                       PARE_TOK_GRAPHEMES};
  constexpr PareTokenizerTag tries[] = {
      PARE_TOK_VOCAB,    PARE_TOK_ADDED_RAW, PARE_TOK_ADDED_NORMALIZED,
      PARE_TOK_CHARSMAP, PARE_TOK_COMPAT,    PARE_TOK_NMT,
      PARE_TOK_USER};
  for (PareTokenizerTag tag : runs)
    if (t.sections[tag].data &&
        !Runs::check(t.sections[tag].data, t.sections[tag].bytes))
      return false;
  for (PareTokenizerTag tag : tries)
    if (t.sections[tag].data &&
        !Trie::check(t.sections[tag].data, t.sections[tag].bytes))
      return false;
  if ((t.config->pre_tokenizer && !t.sections[PARE_TOK_CLASSES].data) ||
      !t.model->check(t) ||
      (t.sections[PARE_TOK_PRE].data &&
       (!&pare_tokenizer_split || !pare_tokenizer_split.check(t))))
    return false;

  const auto &normalizer = t.sections[PARE_TOK_NORMALIZER];
  const auto *steps =
      reinterpret_cast<const PareTokenizerStep *>(normalizer.data);
  for (uint64_t i = 0; i < normalizer.bytes / sizeof(PareTokenizerStep); ++i)
    if (i >= 64 || !checkNormalizer(t, steps[i]))
      return false;

  const auto &added = t.sections[PARE_TOK_ADDED];
  const auto *tokens = reinterpret_cast<const PareTokenizerAdded *>(added.data);
  for (uint64_t i = 0; i < added.bytes / sizeof(PareTokenizerAdded); ++i)
    if (tokens[i].flags & ~uint32_t(PARE_ADDED_SPECIAL) &&
        !t.sections[PARE_TOK_CLASSES].data)
      return false;
  return true;
}

} // namespace
} // namespace pare::rt::tok

using namespace pare::rt::tok;

int pare_tokenizer_open(const uint8_t *table, uint64_t bytes,
                        PareTokenizer *out) {
  memset(out, 0, sizeof(*out));
  if (!table || !readSections(table, bytes, *out) || !checkSections(*out))
    return PARE_TOKENIZER_E_TABLE;
  auto readStarts = [&](PareTokenizerTag tag, Text prefix, uint32_t *starts) {
    memset(starts, 0xff, 256 * sizeof(uint32_t));
    if (!out->sections[tag].data)
      return;
    const Trie trie(out->sections[tag].data);
    const uint32_t node = trie.walk(0, prefix);
    if (node != Trie::none)
      trie.children(node, starts);
  };
  const Text empty = {nullptr, nullptr};
  const auto &prefix = out->sections[PARE_TOK_PREFIX];
  readStarts(PARE_TOK_VOCAB, empty, out->word_starts);
  readStarts(PARE_TOK_VOCAB, {prefix.data, prefix.data + prefix.bytes},
             out->word_continues);
  readStarts(PARE_TOK_ADDED_RAW, empty, out->raw_starts);
  readStarts(PARE_TOK_ADDED_NORMALIZED, empty, out->normalized_starts);
  return PARE_TOKENIZER_OK;
}
