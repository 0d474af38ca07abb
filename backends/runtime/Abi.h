//===- Abi.h - What the compiler writes and the runtime reads ---*- C -*-===//
//
// The one contract between compiled models and the runtime that is linked
// into them. Plain C, so that emitted objects, the runtime and the generated C
// header of `--emit lib` agree on it. The compiler emits one `PareModel` with
// everything it points to as constant data; the runtime executes it.
//
// Execution model: a model is a list of steps. A step is one kernel, called
// once per task index in [0, grid). Tasks of a step are independent: the
// thread pool runs them in any order on any thread and results are the same.
// Every buffer lives in the arena at an offset that `plan` computes from the
// values of the model's symbolic dimensions; for a static model these are
// constants.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_ABI_H
#define PARE_BACKENDS_RUNTIME_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_ABI_VERSION 2
#define PARE_MAX_RANK 8
#define PARE_ALIGN 64 /* bytes; of every buffer, weight and scratch block */

typedef enum {
  PARE_F32 = 0,
  PARE_F16 = 1,
  PARE_BF16 = 2,
  PARE_F64 = 3,
  PARE_I8 = 4,
  PARE_U8 = 5,
  PARE_I16 = 6,
  PARE_U16 = 7,
  PARE_I32 = 8,
  PARE_U32 = 9,
  PARE_I64 = 10,
  PARE_U64 = 11,
  PARE_BOOL = 12,
} PareDType;

/* A kernel. `ptrs`: the step's buffers, inputs first, in the order that the
   step lists them. `dims`: the run-time extents that the step lists. `task`:
   which tile of the work. `scratch`: at least the step's scratch bytes,
   private to the calling thread, aligned to PARE_ALIGN. */
typedef void (*PareKernel)(void *const *ptrs, const int64_t *dims, int64_t task,
                           void *scratch);

/* What a library's kernel needs besides its buffers, such as primitives and
   weights in the library's own layout. Each context makes its own when it is
   created, for likely shapes, and again before a run whose shapes are others;
   the kernel finds it behind the step's buffers, in
   ptrs[num_ptrs]. */
typedef struct {
  /* The state for `dims`. `state`: what the last call returned, null at first;
     it is taken over. `weights[i]`: the step's ptrs[i] where that is a weight,
     else null. Null with one line in `error` where it cannot be made. */
  void *(*prepare)(void *state, const void *const *weights, const int64_t *dims,
                   char *error, uint64_t error_bytes);
  void (*destroy)(void *state);
} PareStepState;

typedef enum {
  PARE_SPACE_ARENA = 0,   /* base: context arena;      offset: slots[index] */
  PARE_SPACE_WEIGHTS = 1, /* base: model weights;      offset: index (bytes) */
  PARE_SPACE_INPUT = 2,   /* index-th model input, bound by the caller */
  PARE_SPACE_OUTPUT = 3,  /* index-th model output, bound by the caller */
  PARE_SPACE_CACHES = 4,  /* void *bases[]: the cache of each sequence */
} PareSpace;

typedef struct {
  uint32_t space; /* PareSpace */
  uint32_t
      offset_slot; /* 0: none; else slots[offset_slot - 1] bytes are added */
  int64_t index;
} PareRef;

typedef struct {
  PareKernel kernel;
  const char *name;     /* the source's name for the value it makes */
  const char *op;       /* what it is, for profiles: "matmul+bias+gelu int8" */
  const char *provider; /* "generated" or "onednn" */
  const PareRef *ptrs;
  uint32_t num_ptrs;
  uint32_t num_inputs; /* ptrs[0, num_inputs) are read, the rest written */
  const uint32_t *dim_slots; /* dims[i] = slots[dim_slots[i]] */
  uint32_t num_dims;
  uint32_t grid_slot;         /* number of tasks = slots[grid_slot] */
  uint32_t flops_slot;        /* multiply-add counts 2; for profiles */
  uint32_t bytes_slot;        /* compulsory traffic; for profiles */
  const PareStepState *state; /* null: the kernel needs none */
} PareStep;

/* A tensor of the model's interface. dims[i] >= 0 is fixed, otherwise
   slots[-1 - dims[i]] holds it once `plan` has run. */
typedef struct {
  const char *name;
  uint32_t dtype; /* PareDType */
  uint32_t rank;
  int64_t dims[PARE_MAX_RANK];
} PareTensorInfo;

/* A symbolic dimension: read from input `input`, axis `axis` at each run. */
typedef struct {
  const char *name;
  int64_t min, max; /* inclusive bounds that the model was compiled for */
  uint32_t input, axis;
} PareDimInfo;

/* Two sizes that the model takes to be equal: slots[a] == slots[b] must hold
   once `plan` has run. */
typedef struct {
  uint32_t a, b;
  const char *what; /* the value that needs it */
} PareConstraint;

/* What a probe of `pare diff` needs: the buffer that holds a named value after
   step `step` has run. */
typedef struct {
  const char *name;
  uint32_t step;
  PareRef ref;
  PareTensorInfo info;
} PareValueInfo;

/* Preprocessing of an image input, stored at compile time (`--image`). */
typedef struct {
  uint32_t input; /* which model input */
  uint32_t width, height, channels;
  uint32_t nchw;         /* 1: planar, 0: interleaved */
  uint32_t bgr;          /* 1: channel order is blue, green, red */
  float mean[4], std[4]; /* (pixel / 255 - mean) / std, per channel */
} PareImageInfo;

/* How a sentence encoder makes one vector of its token vectors. */
typedef enum {
  PARE_POOL_NONE = 0,
  PARE_POOL_MEAN = 1,
  PARE_POOL_CLS = 2,
  PARE_POOL_MAX = 3,
} ParePooling;

typedef struct {
  const uint8_t *tokenizer; /* serialized table (frontend/tokenizer/Format.h) */
  uint64_t tokenizer_bytes;
  uint32_t pooling;    /* ParePooling, over output `output` */
  uint32_t normalize;  /* 1: L2-normalise */
  uint32_t max_tokens; /* longer text is truncated to this many */
  uint32_t output;     /* index of [batch, tokens, hidden] */
  int32_t input_ids;   /* indices of model inputs, -1 where absent */
  int32_t attention_mask;
  int32_t token_type_ids;
} PareEncoderInfo;

/* Part of a sequence's cache: blocks of `block_rows` positions, one behind the
   other. Position p is in block p % capacity / block_rows. What a block holds
   of positions that were not written yet is never read. */
typedef struct {
  uint64_t offset; /* bytes, in the sequence's cache */
  uint32_t block_rows, block_bytes;
  uint32_t capacity; /* positions, a multiple of block_rows; at least the
                        context, or a layer's window and the rows of one run */
} PareCacheRegion;

/* A decoder language model. A row of a run is one token of one sequence at one
   position: its inputs `tokens`, `positions` and `sequences` are i32 [T], and
   row r of the logits, [R, vocabulary], is what follows row outputs[r], i32
   [R]. Rows of a sequence are in the order of their positions. What earlier
   positions left is in the sequence's cache, a block of `cache_bytes` that may
   be moved and copied. */
typedef struct {
  const uint8_t *tokenizer; /* serialized table (frontend/tokenizer/Format.h) */
  uint64_t tokenizer_bytes;
  const uint8_t *chat_template; /* serialized (frontend/chat/Format.h) */
  uint64_t chat_template_bytes; /* 0: none */

  uint32_t context; /* positions of a sequence */
  uint32_t vocabulary;
  uint64_t cache_bytes;
  const PareCacheRegion *regions;
  uint32_t num_regions;

  uint32_t tokens, positions, sequences, outputs; /* indices of inputs */
  uint32_t logits;                                /* index of the output */

  uint32_t num_stops;
  const int32_t *stops; /* tokens that end a text */

  /* Sampling that the model's authors advise. 0: not said. */
  float temperature, top_p, min_p, repetition_penalty;
  uint32_t top_k;

  /* Tokens [vocabulary, vocabulary + prompt_tokens) begin every sequence; no
     text has them (prompt tuning). */
  uint32_t prompt_tokens;
} PareDecoderInfo;

/* What the CPU must have; bits of PareModel.features. */
#define PARE_CPU_AVX2 (1u << 0)   /* avx2 + fma + f16c + bmi2 */
#define PARE_CPU_AVX512 (1u << 1) /* f, bw, cd, dq, vl */
#define PARE_CPU_AVX512_VNNI (1u << 2)
#define PARE_CPU_AVX512_BF16 (1u << 3)
#define PARE_CPU_AVX_VNNI (1u << 4)
#define PARE_CPU_NEON_DOTPROD (1u << 8)
#define PARE_CPU_NEON_I8MM (1u << 9)

typedef struct {
  uint32_t abi_version;
  uint32_t features;    /* PARE_CPU_*: what the kernels use */
  const char *name;     /* of the model */
  const char *target;   /* "x86-64-v4+avx512vnni" */
  const char *metadata; /* JSON: source, tool version, per-tensor table, … */

  uint32_t num_inputs, num_outputs, num_dims, num_steps, num_values, num_images;
  const PareTensorInfo *inputs;
  const PareTensorInfo *outputs;
  const PareDimInfo *dims;
  const PareStep *steps;
  const PareValueInfo *values;
  const PareImageInfo *images;
  const PareEncoderInfo *encoder; /* null: not a sentence encoder */
  const PareDecoderInfo *decoder; /* null: not a language model */

  const uint8_t *weights; /* read-only, page-aligned, mapped from the file */
  uint64_t weights_bytes;
  uint8_t weights_sha256[32];

  /* slots[0, num_slots) = f(symbols[0, num_dims)). */
  void (*plan)(const int64_t *symbols, int64_t *slots);
  uint32_t num_slots;
  uint32_t arena_slot;      /* slots[arena_slot]: arena bytes at these dims */
  uint32_t scratch_slot;    /* slots[scratch_slot]: scratch bytes per thread */
  uint32_t default_threads; /* 0: from affinity and cgroup quota */
  uint32_t num_constraints;
  const PareConstraint *constraints;
} PareModel;

/* The compiler emits exactly one definition. */
extern const PareModel pare_model;

#ifdef __cplusplus
}
#endif
#endif
