//===- Library.h - What the entry points of a library call ------*- C -*-===//
//
// `pare compile --emit lib` generates functions with one parameter per input,
// output and symbolic dimension of a model; these are what they come down to.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_LIBRARY_H
#define PARE_BACKENDS_RUNTIME_LIBRARY_H

#include "backends/runtime/Runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the model at the values `symbols` of its dimensions (num_dims of them)
   on the data of its inputs, and writes to its outputs, which must have room.
   Returns 0, or 1 with pare_error() set. */
int pare_run_at(PareContext *context, const int64_t *symbols,
                void *const *inputs, void *const *outputs);

/* Writes the extents of each output at `symbols` to shapes[output], where that
   is not null. Returns 0, or 1 with pare_error() set. */
int pare_shapes_at(PareContext *context, const int64_t *symbols,
                   int64_t *const *shapes);

#ifdef __cplusplus
}
#endif
#endif
