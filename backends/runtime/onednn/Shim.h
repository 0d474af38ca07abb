//===- Shim.h - oneDNN as a provider of kernels -----------------*- C -*-===//
//
// What the compiler and the shim that artifacts link (libpare_onednn.a) agree
// on. A product step is
//
//   y = activation(x * w + bias) + addend
//
// x [M, K], y and addend [M, N], bias [N], all f32 and dense. A task computes
// up to ROWS rows of y: ptrs are x, w, then bias and addend where FLAGS say so,
// then y; dims are listed by PareOneDnnDim.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_ONEDNN_SHIM_H
#define PARE_BACKENDS_RUNTIME_ONEDNN_SHIM_H

#include "backends/runtime/Abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  PARE_ONEDNN_M,
  PARE_ONEDNN_N,
  PARE_ONEDNN_K,
  PARE_ONEDNN_ROWS,       /* of a task */
  PARE_ONEDNN_FLAGS,      /* PareOneDnnFlags */
  PARE_ONEDNN_ACTIVATION, /* PareOneDnnActivation */
  PARE_ONEDNN_NUM_DIMS,
} PareOneDnnDim;

typedef enum {
  PARE_ONEDNN_TRANSPOSED = 1, /* w is [N, K], else [K, N] */
  PARE_ONEDNN_BIAS = 2,
  PARE_ONEDNN_ADDEND = 4,
} PareOneDnnFlags;

typedef enum {
  PARE_ONEDNN_NONE,
  PARE_ONEDNN_RELU,
  PARE_ONEDNN_GELU,
  PARE_ONEDNN_GELU_TANH,
  PARE_ONEDNN_TANH,
  PARE_ONEDNN_SIGMOID,
  PARE_ONEDNN_SILU,
} PareOneDnnActivation;

void pare_onednn_product(void *const *ptrs, const int64_t *dims, int64_t task,
                         void *scratch);
extern const PareStepState pare_onednn_product_state;

/* The implementation that oneDNN picked for the whole (last = 0) or the last,
   shorter tasks of a prepared step, "brgemm:avx2"; null where it has none. */
const char *pare_onednn_implementation(const void *state, int last);

#ifdef __cplusplus
}
#endif
#endif
