//===- Runtime.h - Running a compiled model ---------------------*- C -*-===//
//
// The C interface to the runtime. It has no global state: a context owns one
// arena, its scratch and its threads. Several contexts of one model may run at
// the same time, each used by one thread at a time. Nothing is allocated while
// a model runs.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_RUNTIME_H
#define PARE_BACKENDS_RUNTIME_RUNTIME_H

#include "backends/runtime/Abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_API __attribute__((visibility("default")))

typedef struct PareContext PareContext;

/* A tensor that the caller owns: row-major, contiguous, aligned to its element
   size. `bytes` is the size of an input and the capacity of an output. */
typedef struct {
  void *data;
  uint64_t bytes;
  uint32_t dtype; /* PareDType */
  uint32_t rank;
  int64_t dims[PARE_MAX_RANK];
} PareTensor;

/* One task of a parallel step. `worker` < threads; no two tasks that run at
   the same time have the same one. */
typedef void (*PareTask)(void *state, int64_t task, uint32_t worker);

/* The caller's own thread pool, in place of the context's. */
typedef struct {
  void *user;
  uint32_t threads; /* workers are numbered [0, threads) */
  /* Calls task(state, i, worker) for each i in [0, count), returns when all
     are done. */
  void (*parallel_for)(void *user, int64_t count, PareTask task, void *state);
} PareThreadPool;

typedef struct {
  void *user;
  void *(*allocate)(void *user, uint64_t bytes,
                    uint64_t alignment); /* null: no memory */
  void (*release)(void *user, void *memory, uint64_t bytes);
} PareAllocator;

/* Where a context reads the weights. */
typedef enum {
  PARE_WEIGHTS_MAP = 0,  /* where they lie, mapped from the file */
  PARE_WEIGHTS_HUGE = 1, /* a copy in huge pages, made when it is created */
} PareWeightsMemory;

/* Zero-initialised options are the defaults. */
typedef struct {
  uint32_t threads; /* with the caller's; 0: the model's, else what the CPU mask
                       and cgroup allow */
  uint32_t guard;   /* 1: buffers end at an inaccessible page and start as NaN,
                       for tests */
  const PareThreadPool *pool;     /* null: own threads */
  const PareAllocator *allocator; /* null: mmap, committed as it is touched */
  void (*log)(void *user, const char *line); /* null: silent */
  void *log_user;
  uint32_t sequences;      /* a language model's caches; 0: 1 */
  uint32_t weights_memory; /* PareWeightsMemory */
} PareOptions;

/* Makes a context. Returns null and one line in `error` (at most `error_bytes`
   with the final zero) when the CPU lacks a feature or memory is short.
   `options` may be null. */
PARE_API PareContext *pare_create(const PareModel *model,
                                  const PareOptions *options, char *error,
                                  uint64_t error_bytes);
PARE_API void pare_destroy(PareContext *context);

/* Checks the shapes and dtypes of `inputs` (model->num_inputs of them; data is
   not read) and fills dtype, rank, dims and bytes of each of the
   model->num_outputs `outputs`. Returns 0, or 1 with pare_error() set. */
PARE_API int pare_output_shapes(PareContext *context, const PareTensor *inputs,
                                PareTensor *outputs);

/* Runs the model: reads the inputs' data, writes to the outputs' data and
   fills their shape. An output's `bytes` must be at least what it needs.
   Returns 0, or 1 with pare_error() set and the outputs unspecified. */
PARE_API int pare_run(PareContext *context, const PareTensor *inputs,
                      PareTensor *outputs);

/* The last error: one line without a newline. Valid until the next call. */
PARE_API const char *pare_error(const PareContext *context);

/* Number of threads a run uses, the caller's included. */
PARE_API uint32_t pare_threads(const PareContext *context);

/* Bytes of arena at the shapes of the last run. */
PARE_API uint64_t pare_arena_bytes(const PareContext *context);

/* slots[slot] at the shapes of the last run; for profiles. */
PARE_API int64_t pare_slot(const PareContext *context, uint32_t slot);

/* Adds the nanoseconds of step i to step_nanos[i] in each later run; null
   stops it. */
PARE_API void pare_set_profile(PareContext *context, uint64_t *step_nanos);

/* Calls `probe` for each entry of model->values after the step that makes it.
   The tensor is valid during the call. Null stops it. */
typedef void (*PareProbe)(void *user, uint32_t value, const PareTensor *tensor);
PARE_API void pare_set_probe(PareContext *context, PareProbe probe, void *user);

/* The caches of a language model: one for each sequence id in [0,
   pare_sequences()), a block of address space that is committed as positions
   are written. Runs write the positions that their inputs name, and read those
   before. The caller knows which positions hold what. */
PARE_API uint32_t pare_sequences(const PareContext *context);

/* Forgets what a sequence holds and gives its memory back. Returns 0, or 1
   with pare_error() set where there is no such sequence. */
PARE_API int pare_cache_reset(PareContext *context, uint32_t sequence);

/* How many of its first positions, `positions` at most, a sequence can go on
   from: `positions` if all of them were written, or 0 where layers with a
   window have written over some that the next one would read. */
PARE_API uint32_t pare_cache_reusable(const PareContext *context,
                                      uint32_t sequence, uint32_t positions);

/* Copies the first `positions` of sequence `from` to `to`. Returns 0, or 1
   with pare_error() set where `from` cannot go on from there. */
PARE_API int pare_cache_copy(PareContext *context, uint32_t to, uint32_t from,
                             uint32_t positions);

/* A sequence's first `positions` as one block of bytes that any context of the
   same model can load. The size of the block; 0 for more positions than the
   model's context. */
PARE_API uint64_t pare_cache_bytes(const PareContext *context,
                                   uint32_t positions);
/* Writes the block to block[0, bytes). Returns 0, or 1 with pare_error() set
   where the sequence cannot go on from there or `bytes` is too few. */
PARE_API int pare_cache_save(PareContext *context, uint32_t sequence,
                             uint32_t positions, void *block, uint64_t bytes);
/* Puts a block in place of what `sequence` holds; *positions: how many it has.
   Returns 0, or 1 with pare_error() set, and the sequence as it was, where the
   block is cut or of another model. */
PARE_API int pare_cache_load(PareContext *context, uint32_t sequence,
                             const void *block, uint64_t bytes,
                             uint32_t *positions);

/* Bytes of one element; 0 for an unknown dtype. "float32", "int64", …. */
PARE_API uint64_t pare_dtype_bytes(uint32_t dtype);
PARE_API const char *pare_dtype_name(uint32_t dtype);

#ifdef __cplusplus
}
#endif
#endif
