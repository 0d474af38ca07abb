#include "backends/runtime/Pooling.h"

using namespace pare::rt;

void pare::rt::poolTokens(ParePooling pooling, const float *vectors,
                          uint64_t hidden, uint64_t first, uint64_t count,
                          float *out) {
  const float *text = vectors + first * hidden;
  for (uint64_t i = 0; i < hidden; ++i)
    out[i] = count ? text[i] : 0.0f;
  if (pooling == PARE_POOL_CLS || pooling == PARE_POOL_NONE)
    return;
  for (uint64_t t = 1; t < count; ++t)
    for (uint64_t i = 0; i < hidden; ++i) {
      float value = text[t * hidden + i];
      out[i] = pooling == PARE_POOL_MAX ? max(out[i], value) : out[i] + value;
    }
  if (pooling == PARE_POOL_MEAN && count)
    for (uint64_t i = 0; i < hidden; ++i)
      out[i] /= float(count);
}

void pare::rt::normalizeL2(float *vector, uint64_t size) {
  double squares = 0;
  for (uint64_t i = 0; i < size; ++i)
    squares += double(vector[i]) * double(vector[i]);
  double norm = max(__builtin_sqrt(squares), 1e-12);
  for (uint64_t i = 0; i < size; ++i)
    vector[i] = float(double(vector[i]) / norm);
}
