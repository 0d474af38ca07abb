//===- BlockGemm.h - Products by weights in blocks --------------*- C++ -*-===//
//
// C[M, N] = X[M, K] · W[N, K]ᵀ with W packed by BlockLayout and X in f32, or in
// 8-bit codes with one scale per kBlockStep of k. For codes, with `s` the scale
// and `m` the minimum of a group of weights, -s · z where it has a zero point
// z, and `t` the scale of the codes,
//
//     C += s · t · Σ byte · code + m · t · Σ code
//
// group by group, sums of integers exact. One row decodes weights in registers;
// several share a panel that is decoded into scratch. A row of a batch gives
// bit for bit what that row alone gives.
//
// With experts, W is one matrix per expert, one after the other, each of whole
// panels; a row of C is a slot, multiplied by its expert's matrix. Tasks take
// runs of slots in the order of their experts, so that a panel is decoded once
// for all of a task's slots that need it.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_BLOCKGEMM_H
#define PARE_BACKENDS_CPU_KERNELS_BLOCKGEMM_H

#include "backends/cpu/kernels/BlockLayout.h"
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Vectors.h"

namespace pare::cpu {

/// Which row meets which matrix: the slots [starts[e], starts[e + 1]) of
/// `order` are expert e's.
struct ExpertRows {
  int64_t count = 0;       ///< of experts
  int64_t slotsPerRow = 1; ///< slot s reads row s / slotsPerRow of X
  unsigned ptrOrder = 0;   ///< i32 [M]
  unsigned ptrStarts = 0;  ///< i32 [count + 1]
};

struct BlockGemmSpec {
  const BlockFormat *format = nullptr; ///< null: W is of `plain` elements
  PareDType plain = PARE_F32; ///< or f16, bf16: [K][16] of them in a panel
  bool isInteger = true;      ///< X is codes; otherwise f32
  std::optional<ExpertRows> experts;
  Extent m;
  int64_t n = 0, k = 0;

  unsigned ptrX = 0;      ///< i8 or f32 [M, K]
  unsigned ptrScales = 1; ///< f32 [M, K / kBlockStep]; codes only
  unsigned ptrW = 2;      ///< packed
  unsigned ptrC = 3;      ///< f32 [M, N]
  /// Stores vectors of kPanel results in place of the store to C.
  GemmSpec::StoreFn store;
};

/// How a product is cut into tasks, from the weight's shape only.
struct BlockGemmTiling {
  int64_t rowsPerTask, colsPerTask;
  int64_t scratchBytes;

  /// grid = ⌈N / colsPerTask⌉ · ⌈M / rowsPerTask⌉.
  int64_t tasks(int64_t m, int64_t n) const {
    return (n + colsPerTask - 1) / colsPerTask *
           ((m + rowsPerTask - 1) / rowsPerTask);
  }
};

BlockGemmTiling blockGemmTiling(const BlockGemmSpec &spec, const Isa &isa);

/// Bytes of W, of all experts where there are any.
int64_t packedBytes(const BlockGemmSpec &spec);

/// Emits the body of the kernel that `b` has begun.
void emitBlockGemm(KernelBuilder &b, const BlockGemmSpec &spec);

/// Quantizes rows of f32 by groups: nn.dynamic_quantize with a group of
/// kBlockStep, where a group whose largest magnitude is below 2^-100 counts as
/// zero.
struct QuantizeGroupsSpec {
  Extent m;
  int64_t k = 0;          ///< a multiple of kBlockStep
  unsigned ptrX = 0;      ///< f32 [M, K]
  unsigned ptrCodes = 1;  ///< i8 [M, K]
  unsigned ptrScales = 2; ///< f32 [M, K / kBlockStep]
};

/// Rows of one task; grid = ⌈M / rows⌉.
int64_t quantizeGroupsRowsPerTask(const QuantizeGroupsSpec &spec);
void emitQuantizeGroups(KernelBuilder &b, const QuantizeGroupsSpec &spec);

/// out[i, :] = W[indices[i], :] in f32, of packed W [N, K]. Negative indices
/// count from the end; others are clamped.
struct BlockGatherSpec {
  const BlockFormat *format = nullptr;
  int64_t n = 0, k = 0;
  Extent count;                   ///< of indices
  PareDType indexType = PARE_I64; ///< i32 or i64
  unsigned ptrW = 0, ptrIndices = 1, ptrOut = 2;
};

/// Rows of one task; grid = ⌈count / rows⌉.
int64_t blockGatherRowsPerTask(const BlockGatherSpec &spec);
void emitBlockGather(KernelBuilder &b, const BlockGatherSpec &spec);

} // namespace pare::cpu

#endif
