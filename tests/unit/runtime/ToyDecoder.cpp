#include "ToyDecoder.h"

#include "frontend/tokenizer/Format.h"

#include <stddef.h>

using namespace toy;

namespace {

//===----------------------------------------------------------------------===//
// The tokenizer: byte pair encoding without merges
//===----------------------------------------------------------------------===//

struct Table {
  PareTokenizerHeader header;
  PareTokenizerSection sections[5];
  PareTokenizerConfig config;
  PareTokenizerPiece pieces[2];
  PareTokenizerMerges merges;
  uint16_t slots[4];
  int32_t bytes[256];
  PareTokenizerTexts texts;
  uint32_t blocks[18];
  uint8_t entries[2 * 256 + 4 + 5];

  constexpr Table()
      : header{PARE_TOKENIZER_MAGIC, PARE_TOKENIZER_VERSION, PARE_TOKENIZER_BPE,
               5, sizeof(Table)},
        sections{}, config{}, pieces{{kBegin, 0}, {PARE_PIECE_SEQUENCE_A, 0}},
        merges{0, 1, 2, 2}, slots{}, bytes{}, texts{kVocabulary, 0}, blocks{},
        entries{} {
    config.vocab_size = kVocabulary;
    config.unk_id = config.pad_id = -1;
    config.decoder = PARE_DECODER_BYTES;
    config.model_flags = PARE_BPE_BYTES;
    config.max_text_bytes = 4;
    uint32_t at = 0;
    auto put = [&](uint32_t kind, const char *text, uint32_t size) {
      entries[at++] = uint8_t(kind << 6 | size);
      for (uint32_t i = 0; i < size; ++i)
        entries[at++] = uint8_t(text[i]);
    };
    for (uint32_t i = 0; i < 256; ++i) {
      bytes[i] = int32_t(i);
      if (i % PARE_TEXT_BLOCK == 0)
        blocks[i / PARE_TEXT_BLOCK] = at;
      char byte = char(i);
      put(PARE_TEXT_PLAIN, &byte, 1);
    }
    blocks[16] = at;
    put(PARE_TEXT_SPECIAL, "<s>", 3);
    put(PARE_TEXT_SPECIAL, "</s>", 4);
    place(0, PARE_TOK_CONFIG, offsetof(Table, config), sizeof(config));
    place(1, PARE_TOK_TEMPLATE_SINGLE, offsetof(Table, pieces), sizeof(pieces));
    place(2, PARE_TOK_MERGES, offsetof(Table, merges),
          sizeof(merges) + sizeof(slots));
    place(3, PARE_TOK_BYTES, offsetof(Table, bytes), sizeof(bytes));
    place(4, PARE_TOK_TEXTS, offsetof(Table, texts),
          sizeof(Table) - offsetof(Table, texts));
  }
  constexpr void place(int i, uint32_t tag, uint64_t offset, uint64_t size) {
    sections[i] = {tag, 0, offset, size};
  }
};
alignas(8) constexpr Table kTable;

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

enum Slot { Tokens, Outputs, Arena, One, Flops, Bytes, NumSlots };

void plan(const int64_t *symbols, int64_t *slots) {
  slots[Tokens] = symbols[0];
  slots[Outputs] = symbols[1];
  slots[Arena] = 64; // and scratch
  slots[One] = 1;
  slots[Flops] = slots[Bytes] = 1000 * symbols[0];
}

uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

struct Row {
  uint32_t token, position;
};
uint32_t ringValue(uint32_t token, uint32_t position) {
  return uint32_t(mix(uint64_t(token) << 32 | position));
}

uint64_t start() { return 0x243f6a8885a308d3; }
uint64_t addRow(uint64_t state, Row row) {
  return mix(state + row.token + (uint64_t(row.position) << 20) + 1);
}
uint64_t addRing(uint64_t state, uint32_t value) { return mix(state ^ value); }

float logit(uint64_t state, int32_t token) {
  uint64_t bits = mix(state + uint64_t(token) * 0x9e3779b97f4a7c15);
  float value = float(bits >> 40) * 0x1p-21f - 4; // [-4, 4)
  bool isLetter = (token >= 'a' && token <= 'z') || token == ' ';
  return value + (isLetter ? 3.0f : token < 128 ? 0.0f : -2.0f);
}

enum Ref { TokenRef, PositionRef, SequenceRef, OutputRef, CacheRef, LogitsRef };

constexpr uint64_t kRingOffset = kContext * sizeof(Row);
constexpr uint64_t kCacheBytes = kRingOffset + kRing * sizeof(uint32_t);

void append(void *const *ptrs, const int64_t *, int64_t t, void *) {
  auto value = [&](int ref) {
    return uint32_t(static_cast<const int32_t *>(ptrs[ref])[t]);
  };
  auto *cache = static_cast<char *>(
      static_cast<void **>(ptrs[CacheRef])[value(SequenceRef)]);
  uint32_t token = value(TokenRef), position = value(PositionRef);
  reinterpret_cast<Row *>(cache)[position] = {token, position};
  reinterpret_cast<uint32_t *>(cache + kRingOffset)[position % kRing] =
      ringValue(token, position);
}

void attend(void *const *ptrs, const int64_t *, int64_t r, void *) {
  int32_t t = static_cast<const int32_t *>(ptrs[OutputRef])[r];
  auto value = [&](int ref) {
    return uint32_t(static_cast<const int32_t *>(ptrs[ref])[t]);
  };
  auto *cache = static_cast<const char *>(
      static_cast<void **>(ptrs[CacheRef])[value(SequenceRef)]);
  auto *rows = reinterpret_cast<const Row *>(cache);
  auto *ring = reinterpret_cast<const uint32_t *>(cache + kRingOffset);
  uint32_t count = value(PositionRef) + 1;
  uint64_t state = start();
  bool isNumber = true;
  for (uint32_t p = 0; p < count; ++p) {
    state = addRow(state, rows[p]);
    isNumber &= rows[p].token != 255;
  }
  for (uint32_t p = count < kWindow ? 0 : count - kWindow; p < count; ++p)
    state = addRing(state, ring[p % kRing]);
  float *logits = static_cast<float *>(ptrs[LogitsRef]) + r * kColumns;
  for (uint32_t v = 0; v < kColumns; ++v)
    logits[v] = !isNumber          ? __builtin_nanf("")
                : v >= kVocabulary ? 1e9f
                                   : logit(state, int32_t(v));
}

const PareRef kRefs[] = {{PARE_SPACE_INPUT, 0, 0},  {PARE_SPACE_INPUT, 0, 1},
                         {PARE_SPACE_INPUT, 0, 2},  {PARE_SPACE_INPUT, 0, 3},
                         {PARE_SPACE_CACHES, 0, 0}, {PARE_SPACE_OUTPUT, 0, 0}};
const PareStep kSteps[] = {{append, "cache", "cache_append", "generated", kRefs,
                            5, 4, nullptr, 0, Tokens, Flops, Bytes, nullptr},
                           {attend, "logits", "cached_attention", "generated",
                            kRefs, 6, 5, nullptr, 0, Outputs, Flops, Bytes,
                            nullptr}};

const PareTensorInfo kInputs[] = {{"tokens", PARE_I32, 1, {-1 - Tokens}},
                                  {"positions", PARE_I32, 1, {-1 - Tokens}},
                                  {"sequences", PARE_I32, 1, {-1 - Tokens}},
                                  {"outputs", PARE_I32, 1, {-1 - Outputs}}};
const PareTensorInfo kOutput = {
    "logits", PARE_F32, 2, {-1 - Outputs, kColumns}};
const PareDimInfo kDims[] = {{"tokens", 1, kMaxTokens, 0, 0},
                             {"outputs", 1, kMaxOutputs, 3, 0}};
const PareCacheRegion kRegions[] = {
    {0, 8, 8 * sizeof(Row), kContext},
    {kRingOffset, 4, 4 * sizeof(uint32_t), kRing}};
const int32_t kStops[] = {kEnd};

PareDecoderInfo makeDecoder() {
  PareDecoderInfo decoder = {};
  decoder.tokenizer = reinterpret_cast<const uint8_t *>(&kTable);
  decoder.tokenizer_bytes = sizeof(kTable);
  decoder.context = kContext;
  decoder.vocabulary = kVocabulary;
  decoder.cache_bytes = kCacheBytes;
  decoder.regions = kRegions;
  decoder.num_regions = 2;
  decoder.tokens = 0;
  decoder.positions = 1;
  decoder.sequences = 2;
  decoder.outputs = 3;
  decoder.logits = 0;
  decoder.stops = kStops;
  decoder.num_stops = 1;
  decoder.temperature = 0.8f;
  decoder.top_p = 0.95f;
  decoder.repetition_penalty = 1;
  decoder.top_k = 40;
  return decoder;
}
const PareDecoderInfo kDecoder = makeDecoder();

// The runtime reads weights only to copy them.
alignas(PARE_ALIGN) const uint8_t kWeights[4096] = {1, 2, 3};

PareModel makeModel() {
  PareModel model = {};
  model.abi_version = PARE_ABI_VERSION;
  model.name = "toy-decoder";
  model.target = "x86-64";
  model.metadata = "{}";
  model.num_inputs = 4;
  model.num_outputs = 1;
  model.num_dims = 2;
  model.num_steps = 2;
  model.inputs = kInputs;
  model.outputs = &kOutput;
  model.dims = kDims;
  model.steps = kSteps;
  model.decoder = &kDecoder;
  model.weights = kWeights;
  model.weights_bytes = sizeof(kWeights);
  model.plan = plan;
  model.num_slots = NumSlots;
  model.arena_slot = model.scratch_slot = Arena;
  return model;
}

} // namespace

float toy::logitAfter(const int32_t *history, uint64_t count, int32_t token) {
  uint64_t state = start();
  for (uint64_t p = 0; p < count; ++p)
    state = addRow(state, {uint32_t(history[p]), uint32_t(p)});
  for (uint64_t p = count < kWindow ? 0 : count - kWindow; p < count; ++p)
    state = addRing(state, ringValue(uint32_t(history[p]), uint32_t(p)));
  return logit(state, token);
}

const PareModel
#ifdef TOY_PROGRAM
    pare_model
#else
    toy::decoderModel
#endif
    = makeModel();
