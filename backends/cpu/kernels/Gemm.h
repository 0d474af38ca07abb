//===- Gemm.h - Matrix multiplication kernels -------------------*- C++ -*-===//
//
// C[M, N] = epilogue(A[M, K] · B[K, N]), f32 or int8, batched or not.
//
// B is packed at compile time (kernels/Pack.h), or f32 in memory as [K, N] or
// [N, K] and then packed by each task into its scratch. Results do not depend
// on M, on the number of tasks or on how rows fall into tiles: a row of a batch
// is bit for bit what that row alone gives.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_GEMM_H
#define PARE_BACKENDS_CPU_KERNELS_GEMM_H

#include "backends/cpu/kernels/MicroKernel.h"
#include <functional>

namespace pare::cpu {

/// Which elements of C a vector holds.
struct GemmAt {
  mlir::Value row, col; ///< of its first lane, as index, within M and N
  mlir::Value count;    ///< valid lanes, as index; null: all
  mlir::Value batch;    ///< as index
};

struct GemmSpec {
  /// Maps a vector of f32 results (8 or 16 lanes: see its type), dequantized,
  /// to the vector to store. It may read C or other buffers at the same
  /// elements, but no others of C.
  using EpilogueFn = std::function<mlir::Value(KernelBuilder &, mlir::Value vec,
                                               const GemmAt &)>;
  /// Stores a vector of results in place of the store to C.
  using StoreFn =
      std::function<void(KernelBuilder &, mlir::Value vec, const GemmAt &)>;
  /// Element offset of a matrix from the number of its batch entry.
  using OffsetFn =
      std::function<mlir::Value(KernelBuilder &, mlir::Value batch)>;

  MicroKernel::Format format = MicroKernel::F32;
  Extent m, n, k;
  Extent batch = Extent::of(1);

  unsigned ptrA = 0, ptrB = 1, ptrC = 2; ///< kernel pointers
  Extent lda, ldc; ///< row strides in elements; int8: lda in codes,
                   ///< a multiple of 4
  bool packedB = true;
  bool transB = false;                ///< unpacked: B is [N, K]
  Extent ldb;                         ///< unpacked: row stride of B in elements
  OffsetFn offsetA, offsetB, offsetC; ///< null: 0

  // Int8 only.
  unsigned ptrRowScale = 0;     ///< f32 [batch * M]
  unsigned ptrColScale = 0;     ///< f32 [N], padded to a multiple of kPanel
  unsigned ptrCompensation = 0; ///< i32 [N], padded likewise; read only where
                                ///< MicroKernel::needsCompensation() and
                                ///< rows have no zero points
  /// Zero points of rows, of codes as stored: i32 [batch * M].
  std::optional<unsigned> ptrRowZero;
  unsigned ptrColumnSums = 0; ///< i32 [N], padded; read with ptrRowZero

  EpilogueFn epilogue; ///< null: none
  StoreFn store;       ///< null: to C
};

/// How a GEMM is cut into tasks: blocks of rows × columns, from shapes only.
struct GemmTiling {
  int64_t rowsPerTask, colsPerTask;
  /// Scratch is scratchBytesPerK · K bytes: the packed block of B.
  int64_t scratchBytesPerK;

  /// grid = batch · ⌈N / colsPerTask⌉ · ⌈M / rowsPerTask⌉.
  int64_t tasks(int64_t m, int64_t n, int64_t batch = 1) const {
    return batch * ((n + colsPerTask - 1) / colsPerTask) *
           ((m + rowsPerTask - 1) / rowsPerTask);
  }
};

GemmTiling gemmTiling(const GemmSpec &spec, const Isa &isa);

/// Emits the body of the kernel that `b` has begun; its task index runs over
/// gemmTiling(spec, isa).tasks(m, n, batch).
void emitGemm(KernelBuilder &b, const GemmSpec &spec);

/// Quantizes rows of f32 to codes (RowCoding.h), one scale per row.
struct QuantizeRowsSpec {
  Extent m, k;
  Extent ldx;                      ///< row stride of x in elements
  unsigned ptrX = 0;               ///< f32 [M, K]
  unsigned ptrCodes = 1;           ///< [M, paddedK] of Isa::codeStorage()
  unsigned ptrScale = 2;           ///< f32 [M]
  std::optional<unsigned> ptrZero; ///< i32 [M]; given: asymmetric
};

/// Codes per row: K rounded up to a multiple of 4; the padding holds the code
/// of zero. This is `lda` of the GEMM that reads them.
constexpr int64_t paddedCodes(int64_t k) { return (k + 3) / 4 * 4; }

/// Rows of one task of emitQuantizeRows; grid = ⌈M / rows⌉.
int64_t quantizeRowsPerTask(const QuantizeRowsSpec &spec);

void emitQuantizeRows(KernelBuilder &b, const QuantizeRowsSpec &spec);

} // namespace pare::cpu

#endif
