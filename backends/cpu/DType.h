//===- DType.h - Element types of the IR and of the runtime -----*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_DTYPE_H
#define PARE_BACKENDS_CPU_DTYPE_H

#include "backends/runtime/Abi.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>

namespace pare::cpu {

/// The runtime's name of an element type; nullopt where it has none.
std::optional<PareDType> getDType(mlir::Type element);

} // namespace pare::cpu

#endif
