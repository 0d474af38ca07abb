//===- Cpu.h - What this CPU can do -----------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CPU_H
#define PARE_BACKENDS_RUNTIME_CPU_H

#include <stdint.h>

namespace pare::rt {

/// PARE_CPU_* bits that this CPU and its operating system support.
uint32_t cpuFeatures();

/// Name of the lowest feature that `needed` has and `present` lacks, as users
/// write it in --target; null if there is none.
const char *missingFeature(uint32_t needed, uint32_t present);

} // namespace pare::rt

#endif
