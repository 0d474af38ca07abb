//===- BlockCost.h - What products of blocks cost ---------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_BLOCKCOST_H
#define PARE_BACKENDS_CPU_KERNELS_BLOCKCOST_H

#include "backends/cpu/Isa.h"
#include "frontend/weights/BlockFormat.h"

namespace pare::cpu {

/// Arithmetic vector instructions of the product that emitBlockGemm makes of
/// `m` rows of codes by a weight [n, k] in blocks of `format`, which has an
/// integer kernel: decoding, products and what is done to a group's sums.
double countInstructions(const BlockFormat &format, const Isa &isa, int64_t m,
                         int64_t n, int64_t k);

} // namespace pare::cpu

#endif
