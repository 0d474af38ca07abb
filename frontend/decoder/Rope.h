//===- Rope.h - Frequencies of rotary embeddings ----------------*- C++ -*-===//
#ifndef PARE_FRONTEND_DECODER_ROPE_H
#define PARE_FRONTEND_DECODER_ROPE_H

#include "frontend/decoder/Config.h"
#include "llvm/ADT/ArrayRef.h"

namespace pare::decoder {

/// Angles of a position: position · inverse[i], in radians.
struct RopeFrequencies {
  std::vector<float> inverse; ///< rope.dims / 2
  float attentionFactor = 1;  ///< of sine and cosine
};

/// The frequencies of `rope` for sequences of up to `context` positions, which
/// decides between short and long ones where a scaling has both. `divisors`
/// are those of a tensor, dims / 2 of them; empty: none.
RopeFrequencies getRopeFrequencies(const Rope &rope, int64_t context,
                                   llvm::ArrayRef<float> divisors = {});

} // namespace pare::decoder

#endif
