//===- ModelObject.h - A program as constant tables -------------*- C++ -*-===//
#ifndef PARE_BACKENDS_EMIT_MODELOBJECT_H
#define PARE_BACKENDS_EMIT_MODELOBJECT_H

#include "backends/cpu/Isa.h"
#include "backends/emit/Layout.h"
#include "backends/emit/ModelInfo.h"
#include "llvm/IR/Module.h"
#include <array>

namespace pare::emit {

/// Facts of the weights segment that the tables hold.
struct WeightsFacts {
  std::string symbol = "pare_weights_data"; ///< of the first byte
  uint64_t bytes = 0;
  std::array<uint8_t, 32> sha256{};
};

/// Adds the definition of `pare_model` (backends/runtime/Abi.h), with all that
/// it points to and its `plan` function, to the module that holds the kernels.
llvm::Error addModel(llvm::Module &kernels, const cpu::Program &program,
                     const Layout &layout, mlir::ModuleOp graph,
                     const ModelInfo &info, const cpu::Isa &isa,
                     const WeightsFacts &weights);

} // namespace pare::emit

#endif
