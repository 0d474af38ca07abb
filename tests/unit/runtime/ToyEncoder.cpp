// A sentence encoder by hand: the tokens of a text are its bytes, and token t
// becomes [id, position] in [batch 1..4, length 2..8, 2]. It brings its own
// tokenizer in place of the runtime's.
#include "backends/runtime/Tokenizer.h"

#include "backends/runtime/Abi.h"

static const PareTokenizerConfig kConfig = {.pad_id = 99};

int pare_tokenizer_open(const uint8_t *, uint64_t, PareTokenizer *out) {
  out->config = &kConfig;
  return PARE_TOKENIZER_OK;
}

int64_t pare_tokenizer_encode(const PareTokenizer *, const char *text,
                              uint64_t n, int32_t *ids, uint64_t capacity,
                              uint32_t) {
  if (!ids)
    return int64_t(n);
  uint64_t count = n < capacity ? n : capacity;
  for (uint64_t i = 0; i < count; ++i)
    ids[i] = uint8_t(text[i]);
  return int64_t(count);
}

static void plan(const int64_t *symbols, int64_t *slots) {
  slots[0] = symbols[0];
  slots[1] = symbols[1];
  slots[2] = 64; // arena and scratch
}

static void encode(void *const *ptrs, const int64_t *dims, int64_t row,
                   void *) {
  auto *ids = static_cast<const int64_t *>(ptrs[0]) + row * dims[0];
  auto *mask = static_cast<const int64_t *>(ptrs[1]) + row * dims[0];
  auto *out = static_cast<float *>(ptrs[2]) + row * dims[0] * 2;
  for (int64_t t = 0; t < dims[0]; ++t) {
    // A padded position would show in any pooling.
    out[2 * t] = mask[t] ? float(ids[t]) : 1e9f + float(ids[t]);
    out[2 * t + 1] = float(t);
  }
}

static const PareTensorInfo kInputs[] = {
    {"input_ids", PARE_I64, 2, {-1, -2}},
    {"attention_mask", PARE_I64, 2, {-1, -2}}};
static const PareTensorInfo kOutput = {"hidden", PARE_F32, 3, {-1, -2, 2}};
static const PareDimInfo kDims[] = {{"batch", 1, 4, 0, 0},
                                    {"length", 2, 8, 0, 1}};
static const PareRef kRefs[] = {{PARE_SPACE_INPUT, 0, 0},
                                {PARE_SPACE_INPUT, 0, 1},
                                {PARE_SPACE_OUTPUT, 0, 0}};
static const uint32_t kLength[] = {1};
static const PareStep kStep = {
    encode, "hidden", "gather", "generated", kRefs, 3, 2, kLength, 1, 0, 0, 0};
#ifndef TOY_POOLING
#define TOY_POOLING PARE_POOL_MEAN
#endif
static const PareEncoderInfo kEncoder = {
    .pooling = TOY_POOLING,
    .normalize = 0,
    .max_tokens = 6,
    .output = 0,
    .input_ids = 0,
    .attention_mask = 1,
    .token_type_ids = -1,
};

const PareModel pare_model = {
    .abi_version = PARE_ABI_VERSION,
    .name = "toy-encoder",
    .target = "x86-64",
    .metadata = "{}",
    .num_inputs = 2,
    .num_outputs = 1,
    .num_dims = 2,
    .num_steps = 1,
    .inputs = kInputs,
    .outputs = &kOutput,
    .dims = kDims,
    .steps = &kStep,
    .encoder = &kEncoder,
    .plan = plan,
    .num_slots = 3,
    .arena_slot = 2,
    .scratch_slot = 2,
};
