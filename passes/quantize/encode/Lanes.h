//===- Lanes.h - Sixteen rows of a matrix at a time -------------*- C++ -*-===//
//
// Rows of a weight are rounded independently of each other and columns one
// after the other. So the matrix is cut into panels of 16 rows, and a panel is
// an array of columns: all arithmetic runs over the lanes of a column. A panel
// is also the unit of work of threads, so that results do not depend on their
// number.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_QUANTIZE_ENCODE_LANES_H
#define PARE_PASSES_QUANTIZE_ENCODE_LANES_H

#include <cstdint>
#include <vector>

// For encoders as a whole: results do not depend on whether a CPU has fused
// multiply-add.
#pragma STDC FP_CONTRACT OFF

namespace pare::encode {

constexpr int kLanes = 16;

/// One value per row of a panel.
struct alignas(64) Lanes {
  float at[kLanes];

  float &operator[](int lane) { return at[lane]; }
  float operator[](int lane) const { return at[lane]; }
};

/// Lanes in arithmetic. Only ever a reference to Lanes or a local variable:
/// how one is passed depends on the CPU.
using Vector = float __attribute__((vector_size(sizeof(Lanes))));

inline Vector &vec(Lanes &lanes) { return reinterpret_cast<Vector &>(lanes); }
inline const Vector &vec(const Lanes &lanes) {
  return reinterpret_cast<const Vector &>(lanes);
}

inline Lanes splat(float value) {
  Lanes lanes;
  for (float &lane : lanes.at)
    lane = value;
  return lanes;
}

/// A column of a panel each.
using Columns = std::vector<Lanes>;

/// out[i] += Σ_k matrix[i · stride + k] · in[k] for `count` columns `out` and
/// `depth` columns `in`. Sums are of f32 and in the order of k.
void addProducts(const float *matrix, int64_t stride, int64_t count,
                 const Lanes *in, int64_t depth, Lanes *out);

/// Per lane eᵀ H e of a symmetric matrix [size, size].
void addQuadraticForm(const float *matrix, int64_t size, const Lanes *columns,
                      double (&sums)[kLanes]);

} // namespace pare::encode

#endif
