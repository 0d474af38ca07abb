//===- Lanes.cpp - Sixteen rows of a matrix at a time ---------------------===//
#include "passes/quantize/encode/Lanes.h"
#include <algorithm>

namespace pare::encode {

/// Columns `in` at a time: 8 KiB, which stay in the first-level cache.
constexpr int64_t kDepth = 128;

template <int kCount>
[[gnu::always_inline]] static inline void
addTile(const float *matrix, int64_t stride, const Lanes *in, int64_t depth,
        Lanes *out) {
  Vector sums[kCount];
  for (int i = 0; i < kCount; ++i)
    sums[i] = vec(out[i]);
  for (int64_t k = 0; k < depth; ++k) {
    Vector column = vec(in[k]);
    for (int i = 0; i < kCount; ++i)
      sums[i] += matrix[i * stride + k] * column;
  }
  for (int i = 0; i < kCount; ++i)
    vec(out[i]) = sums[i];
}

template <int kCount>
[[gnu::always_inline]] static inline void
addAll(const float *matrix, int64_t stride, int64_t count, const Lanes *in,
       int64_t depth, Lanes *out) {
  for (int64_t k = 0; k < depth; k += kDepth) {
    int64_t part = std::min(kDepth, depth - k);
    int64_t i = 0;
    for (; i + kCount <= count; i += kCount)
      addTile<kCount>(matrix + i * stride + k, stride, in + k, part, out + i);
    for (; i < count; ++i)
      addTile<1>(matrix + i * stride + k, stride, in + k, part, out + i);
  }
}

using AddProducts = void (*)(const float *, int64_t, int64_t, const Lanes *,
                             int64_t, Lanes *);

// As many sums as registers hold.
static void addBaseline(const float *matrix, int64_t stride, int64_t count,
                        const Lanes *in, int64_t depth, Lanes *out) {
  addAll<2>(matrix, stride, count, in, depth, out);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] static void addAvx2(const float *matrix, int64_t stride,
                                            int64_t count, const Lanes *in,
                                            int64_t depth, Lanes *out) {
  addAll<4>(matrix, stride, count, in, depth, out);
}

static AddProducts selectAdd() {
  return __builtin_cpu_supports("avx2") ? addAvx2 : addBaseline;
}
#else
static AddProducts selectAdd() { return addBaseline; }
#endif

void addProducts(const float *matrix, int64_t stride, int64_t count,
                 const Lanes *in, int64_t depth, Lanes *out) {
  static const AddProducts add = selectAdd();
  add(matrix, stride, count, in, depth, out);
}

void addQuadraticForm(const float *matrix, int64_t size, const Lanes *columns,
                      double (&sums)[kLanes]) {
  constexpr int64_t kBlock = 32;
  Lanes products[kBlock];
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    int64_t count = std::min(kBlock, size - begin);
    std::fill_n(products, count, splat(0));
    // What is left of the diagonal block counts twice, by symmetry.
    addProducts(matrix + begin * size, size, count, columns, begin, products);
    for (int64_t i = 0; i < count; ++i)
      for (float &value : products[i].at)
        value *= 2;
    addProducts(matrix + begin * size + begin, size, count, columns + begin,
                count, products);
    for (int64_t i = 0; i < count; ++i)
      for (int lane = 0; lane < kLanes; ++lane)
        sums[lane] += double(products[i][lane]) * columns[begin + i][lane];
  }
}

} // namespace pare::encode
