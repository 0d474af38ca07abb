//===- Attention.h - Fused scaled dot-product attention ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_ATTENTION_H
#define PARE_BACKENDS_CPU_KERNELS_ATTENTION_H

#include "backends/cpu/kernels/Strided.h"

namespace pare::cpu {

/// out[b, i, h, :] = softmax_j(scale * q[b, i, h] . k[b, j, g] + mask) v[b, j,
/// g, :] in f32, where head h reads key and value head g = h / (heads /
/// kvHeads).
///
/// q is [B, Sq, H, D], k [B, Sk, Hkv, D], v [B, Sk, Hkv, Dv] and out
/// [B, Sq, H, Dv], each with its own stride from token to token; heads are D
/// (Dv) apart, so that q, k and v may be parts of one matrix. Batch entries are
/// S tokens apart.
///
/// Keys are visited in blocks with a running maximum (Milakov and Gimelshein
/// 2018; Dao et al. 2022), so scratch does not grow with the sequence. A query
/// whose keys are all masked by -inf gives 0.
struct AttentionSpec {
  Extent batch, queries, keys; ///< B, Sq, Sk
  int64_t heads = 1, kvHeads = 1;
  int64_t headDim = 0, valueDim = 0; ///< D, Dv
  float scale = 1;
  /// Query i sees keys up to i + Sk - Sq.
  bool causal = false;

  unsigned ptrQ = 0, ptrK = 1, ptrV = 2, ptrOut = 3;
  /// Elements from one token to the next: a multiple of H * D or more.
  Extent strideQ, strideK, strideV, strideOut;

  /// Optional: f32, added to scaled scores.
  std::optional<unsigned> ptrMask;
  /// Elements of the mask per batch entry, head and query; 0: broadcast. Keys
  /// are 1 apart, or all the same where `maskPerKey` is false.
  Product maskStrides[3] = {0, 0, 0};
  bool maskPerKey = true;
};

/// One task: a block of queries of one head.
Grid attentionGrid(const AttentionSpec &spec, const Isa &isa);
/// Bytes of scratch of a task.
int64_t attentionScratchBytes(const AttentionSpec &spec, const Isa &isa);
void emitAttention(KernelBuilder &b, const AttentionSpec &spec);

} // namespace pare::cpu

#endif
