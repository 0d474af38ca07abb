//===- Rope.h - Rotary position embedding -----------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_ROPE_H
#define PARE_BACKENDS_CPU_KERNELS_ROPE_H

#include "backends/cpu/kernels/Strided.h"

namespace pare::cpu {

/// nn.rope on f32: x and out are [rows, heads, size], cosines and sines
/// [rows, half]. `out` may be `x`.
struct RopeSpec {
  Extent rows;
  int64_t heads = 1, size = 0, half = 0;
  bool interleaved = false;
  unsigned ptrX = 0, ptrCos = 1, ptrSin = 2, ptrOut = 3;
};

/// One task: a block of rows.
Grid ropeGrid(const RopeSpec &spec);
void emitRope(KernelBuilder &b, const RopeSpec &spec);

} // namespace pare::cpu

#endif
