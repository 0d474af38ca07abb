//===- Pack.cpp - Weights in the layout of the micro-kernels --------------===//
#include "backends/cpu/kernels/Pack.h"
#include "backends/cpu/kernels/MicroKernel.h"
#include <cstring>
#include <vector>

using namespace pare::cpu;

int64_t pare::cpu::packedColumns(int64_t n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

int64_t pare::cpu::packedSizeF32(int64_t k, int64_t n) {
  return k * packedColumns(n);
}

int64_t pare::cpu::packedSizeS8(int64_t k, int64_t n) {
  return (k + 3) / 4 * 4 * packedColumns(n);
}

/// Packs with `group` consecutive k side by side.
template <typename T>
static void pack(const T *b, int64_t k, int64_t n, int64_t strideK,
                 int64_t strideN, int64_t group, T *out) {
  int64_t paddedK = (k + group - 1) / group * group;
  for (int64_t panel = 0; panel < packedColumns(n); panel += kPanel)
    for (int64_t k0 = 0; k0 < paddedK; k0 += group)
      for (int64_t col = panel; col < panel + kPanel; ++col)
        for (int64_t i = k0; i < k0 + group; ++i)
          *out++ = col < n && i < k ? b[i * strideK + col * strideN] : T(0);
}

void pare::cpu::packF32(const float *b, int64_t k, int64_t n, int64_t strideK,
                        int64_t strideN, float *out) {
  pack(b, k, n, strideK, strideN, 1, out);
}

template <typename T>
static void packRows(llvm::ArrayRef<uint8_t> w, int64_t n, int64_t k,
                     llvm::MutableArrayRef<uint8_t> out) {
  // A panel's rows, aligned.
  std::vector<T> rows(kPanel * k);
  for (int64_t row = 0; row < n; row += kPanel) {
    int64_t count = std::min(kPanel, n - row);
    std::memcpy(rows.data(), w.data() + row * k * sizeof(T),
                count * k * sizeof(T));
    T *to = reinterpret_cast<T *>(out.data()) + row * k;
    for (int64_t r = 0; r < count; ++r)
      for (int64_t i = 0; i < k; ++i)
        to[i * kPanel + r] = rows[r * k + i];
  }
}

void pare::cpu::packElements(llvm::ArrayRef<uint8_t> w, int64_t n, int64_t k,
                             unsigned width,
                             llvm::MutableArrayRef<uint8_t> out) {
  assert(int64_t(w.size()) == n * k * width);
  assert(int64_t(out.size()) == packedColumns(n) * k * width);
  if (width == 2)
    packRows<uint16_t>(w, n, k, out);
  else
    packRows<uint32_t>(w, n, k, out);
}

void pare::cpu::packS8(const int8_t *b, int64_t k, int64_t n, int64_t strideK,
                       int64_t strideN, int8_t *out) {
  pack(b, k, n, strideK, strideN, 4, out);
}

void pare::cpu::sumColumnsS8(const int8_t *b, int64_t k, int64_t n,
                             int64_t strideK, int64_t strideN, int32_t factor,
                             int32_t *out) {
  for (int64_t col = 0; col < packedColumns(n); ++col) {
    int32_t sum = 0;
    for (int64_t i = 0; col < n && i < k; ++i)
      sum += b[i * strideK + col * strideN];
    out[col] = factor * sum;
  }
}
