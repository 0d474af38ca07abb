//===- Movement.cpp - Data movement
//---------------------------------------------===//
#include "backends/cpu/select/Entries.h"

namespace pare::cpu {
llvm::ArrayRef<KernelEntry> getMovementEntries() { return {}; }
} // namespace pare::cpu
