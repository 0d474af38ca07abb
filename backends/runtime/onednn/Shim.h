//===- Shim.h - oneDNN as a provider of kernels -----------------*- C -*-===//
//
// What the compiler and the shim that artifacts link (libpare_onednn.a) agree
// on. A product step is
//
//   y = posts(x * w + bias)
//
// x [M, K], y [M, N], bias [N], all dense; a convolution step is the same with
// x [N, H, W, C], y [N, OH, OW, O] and w [O, KH, KW, C / GROUPS]. Elements are
// f32; with PARE_ONEDNN_INT8, x holds u8 codes and w int8 codes, and x * w
// stands for (x - ZERO) * w * scales.
//
// The ptrs of a step are x, w, then scales f32 [O] (INT8), bias f32 (BIAS), an
// operand f32 for each post that has one, in their order, then y. Its dims are
// those of PareOneDnnDim, those of its kind, then PARE_ONEDNN_POST_DIMS for
// each post.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_ONEDNN_SHIM_H
#define PARE_BACKENDS_RUNTIME_ONEDNN_SHIM_H

#include "backends/runtime/Abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The first dims of every step. */
typedef enum {
  PARE_ONEDNN_FLAGS, /* PareOneDnnFlags */
  PARE_ONEDNN_POSTS, /* how many, at most PARE_ONEDNN_MAX_POSTS */
  PARE_ONEDNN_ZERO,  /* INT8: the code of zero */
  PARE_ONEDNN_NUM_COMMON,
} PareOneDnnDim;

typedef enum {
  PARE_ONEDNN_TRANSPOSED = 1, /* of products: w is [N, K], else [K, N] */
  PARE_ONEDNN_BIAS = 2,
  PARE_ONEDNN_INT8 = 4,
} PareOneDnnFlags;

typedef enum {
  PARE_ONEDNN_M = PARE_ONEDNN_NUM_COMMON,
  PARE_ONEDNN_N,
  PARE_ONEDNN_K,
  PARE_ONEDNN_ROWS, /* of a task: there are ceil(M / ROWS) */
  PARE_ONEDNN_PRODUCT_DIMS,
} PareOneDnnProductDim;

typedef enum {
  PARE_ONEDNN_IMAGES = PARE_ONEDNN_NUM_COMMON,
  PARE_ONEDNN_H,
  PARE_ONEDNN_W,
  PARE_ONEDNN_C,
  PARE_ONEDNN_OH,
  PARE_ONEDNN_OW,
  PARE_ONEDNN_O,
  PARE_ONEDNN_KH,
  PARE_ONEDNN_KW,
  PARE_ONEDNN_STRIDE_H,
  PARE_ONEDNN_STRIDE_W,
  PARE_ONEDNN_PAD_TOP,
  PARE_ONEDNN_PAD_LEFT,
  PARE_ONEDNN_DILATION_H, /* 1: dense */
  PARE_ONEDNN_DILATION_W,
  PARE_ONEDNN_GROUPS,
  PARE_ONEDNN_PARTS, /* of an image: tasks are IMAGES * PARTS, some empty */
  PARE_ONEDNN_CONV_DIMS,
} PareOneDnnConvDim;

/* What follows a product, in order. A post has three dims: its kind and the
   bits of two floats, alpha and beta. Those from ADD on have an operand of the
   result's shape, or of one number per column (alpha = 1). */
typedef enum {
  PARE_ONEDNN_RELU, /* slope alpha below zero */
  PARE_ONEDNN_ELU,  /* alpha */
  PARE_ONEDNN_GELU, /* with erf */
  PARE_ONEDNN_GELU_TANH,
  PARE_ONEDNN_TANH,
  PARE_ONEDNN_SIGMOID,
  PARE_ONEDNN_SILU,
  PARE_ONEDNN_HARD_SIGMOID, /* clip(alpha * v + beta, 0, 1) */
  PARE_ONEDNN_HARD_SWISH,   /* v * clip(alpha * v + beta, 0, 1) */
  PARE_ONEDNN_CLIP,         /* to [alpha, beta] */
  PARE_ONEDNN_LINEAR,       /* alpha * v + beta */
  PARE_ONEDNN_ADD,
  PARE_ONEDNN_SUB,
  PARE_ONEDNN_MUL,
} PareOneDnnPost;

#define PARE_ONEDNN_POST_DIMS 3
#define PARE_ONEDNN_MAX_POSTS 6

void pare_onednn_product(void *const *ptrs, const int64_t *dims, int64_t task,
                         void *scratch);
extern const PareStepState pare_onednn_product_state;

void pare_onednn_conv(void *const *ptrs, const int64_t *dims, int64_t task,
                      void *scratch);
extern const PareStepState pare_onednn_conv_state;

/* The implementation that oneDNN picked for the index-th primitive of a
   prepared step, "brgemm:avx2"; null where there are fewer. */
const char *pare_onednn_implementation(const void *state, uint32_t index);

/* Bytes of weights that a prepared step holds in a layout of oneDNN's. */
uint64_t pare_onednn_packed_bytes(const void *state);

#ifdef __cplusplus
}
#endif
#endif
