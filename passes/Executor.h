//===- Executor.h - How passes have graphs run ------------------*- C++ -*-===//
//
// Calibration runs parts of a model on many samples: too much for the
// interpreter. Passes never include backends, so what runs a graph fast comes
// through this interface, which backends implement and tools hand in.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_EXECUTOR_H
#define PARE_PASSES_EXECUTOR_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "passes/reference/HostTensor.h"

namespace pare {

/// A graph that is ready to run in this process.
class Executable {
public:
  virtual ~Executable() = default;

  /// Runs the entry on one tensor per argument; symbolic dimensions are read
  /// from their shapes. Caches are empty before each run. Fails as the
  /// interpreter does. Several threads may run it at once if the graph's
  /// context is for several (MLIRContext::isMultithreadingEnabled); results do
  /// not depend on their number.
  virtual llvm::Expected<std::vector<HostTensor>>
  run(llvm::ArrayRef<HostTensor> inputs) = 0;
};

class Executor {
public:
  virtual ~Executor() = default;

  /// `graph` is simplified, of ops in float; weights are read now and not kept.
  /// An error lists what cannot be run.
  virtual llvm::Expected<std::unique_ptr<Executable>>
  compile(mlir::OwningOpRef<mlir::ModuleOp> graph,
          const WeightStore &weights) = 0;
};

} // namespace pare

#endif
