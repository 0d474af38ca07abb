//===- Pack.h - Weights in the layout of the micro-kernels ------*- C++ -*-===//
//
// Host-side packing of B [K, N], done once when a model is compiled. The same
// bytes serve every target. Columns beyond N and k beyond K are zero.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_PACK_H
#define PARE_BACKENDS_CPU_KERNELS_PACK_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace pare::cpu {

/// N rounded up to whole panels: the length of per-column data.
int64_t packedColumns(int64_t n);
/// Elements of packed f32: [N/16][K][16].
int64_t packedSizeF32(int64_t k, int64_t n);
/// Bytes of packed int8: [N/16][ceil(K/4)][16][4].
int64_t packedSizeS8(int64_t k, int64_t n);

/// Packs element (k, n) = b[k * strideK + n * strideN].
void packF32(const float *b, int64_t k, int64_t n, int64_t strideK,
             int64_t strideN, float *out);
void packS8(const int8_t *b, int64_t k, int64_t n, int64_t strideK,
            int64_t strideN, int8_t *out);

/// Packs rows of W [N, K], elements of `width` bytes (2 or 4) at any address,
/// to zeroed [N/16][K][16].
void packElements(llvm::ArrayRef<uint8_t> w, int64_t n, int64_t k,
                  unsigned width, llvm::MutableArrayRef<uint8_t> out);

/// out[n] = factor · Σ_k b[k, n], zero for padding columns; exact for |factor|
/// · K up to 16,900,000. With -128 the sums that unsigned codes start from.
void sumColumnsS8(const int8_t *b, int64_t k, int64_t n, int64_t strideK,
                  int64_t strideN, int32_t factor, int32_t *out);

} // namespace pare::cpu

#endif
