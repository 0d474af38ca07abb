//===- Blocks.h - How ggml lays out blocks ----------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_BLOCKS_H
#define PARE_FRONTEND_GGUF_BLOCKS_H

#include "frontend/weights/BlockFormat.h"

namespace pare::gguf {

/// One per block type of ggml; the layouts are those of ggml-common.h.
///
/// TQ1_0 puts five base-3 digits into a byte in a way that leaves 13 bytes
/// unused; packing gives the canonical byte, which decodes alike.
extern const BlockStorage q4_0, q4_1, q5_0, q5_1, q8_0, q2_K, q3_K, q4_K, q5_K,
    q6_K, iq4_NL, iq4_XS, mxfp4, nvfp4, tq1_0, tq2_0;

} // namespace pare::gguf

#endif
