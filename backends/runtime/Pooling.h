//===- Pooling.h - One vector of a text's token vectors ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_POOLING_H
#define PARE_BACKENDS_RUNTIME_POOLING_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Pools `tokens` vectors of `hidden` floats at `vectors` into out[0, hidden),
/// over the tokens [first, first + count) that belong to the text; CLS takes
/// the first of them. As sentence-transformers does.
void poolTokens(ParePooling pooling, const float *vectors, uint64_t hidden,
                uint64_t first, uint64_t count, float *out);

/// Divides by the Euclidean norm, or by 1e-12 where that is larger.
void normalizeL2(float *vector, uint64_t size);

} // namespace pare::rt

#endif
