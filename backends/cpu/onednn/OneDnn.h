//===- OneDnn.h - oneDNN in the selection table -----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_ONEDNN_ONEDNN_H
#define PARE_BACKENDS_CPU_ONEDNN_ONEDNN_H

#include "backends/cpu/Select.h"

namespace pare::cpu {

/// Rows that call the shim of backends/runtime/onednn: f32 products of
/// activations by a weight, with a bias, an activation function and an addend
/// in this order where the group has them.
llvm::ArrayRef<KernelEntry> getOneDnnEntries();

} // namespace pare::cpu

#endif
