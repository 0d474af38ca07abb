//===- OneDnn.h - oneDNN in the selection table -----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_ONEDNN_ONEDNN_H
#define PARE_BACKENDS_CPU_ONEDNN_ONEDNN_H

#include "backends/cpu/Select.h"

namespace pare::cpu {

/// Rows that call the shim of backends/runtime/onednn: products by a weight and
/// convolutions, with an epilogue that post-ops can say (Epilogue.h).
llvm::ArrayRef<KernelEntry> getOneDnnEntries();

} // namespace pare::cpu

#endif
