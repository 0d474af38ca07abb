//===- HostExecutor.h - Graphs run by kernels in this process ---*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_HOSTEXECUTOR_H
#define PARE_BACKENDS_CPU_HOSTEXECUTOR_H

#include "passes/Executor.h"

namespace pare::cpu {

/// Compiles graphs for this machine with the kernels that artifacts have, and
/// runs them on the threads of llvm::parallelFor. Graphs whose kernels are
/// equal, as layers' are, share their code.
llvm::Expected<std::unique_ptr<Executor>> createHostExecutor();

} // namespace pare::cpu

#endif
