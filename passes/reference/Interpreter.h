//===- Interpreter.h - The meaning of nn graphs, executed -------*- C++ -*-===//
//
// The oracle: every nn op evaluated one by one, in the plainest way. f32
// arithmetic with sums in double. Used by tests, calibration, constant folding
// and `pare diff`.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_REFERENCE_INTERPRETER_H
#define PARE_PASSES_REFERENCE_INTERPRETER_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "passes/reference/HostTensor.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <map>

namespace pare {

/// Sees every value that is computed, inside nn.fused too.
using ProbeFn = llvm::function_ref<void(mlir::Value, const HostTensor &)>;

/// What a language model's runs leave for later ones: per cache and sequence,
/// keys and values as f32, [position][heads][head_dim], rounded to the cache's
/// type. Positions are kept whatever the capacity.
struct CacheState {
  struct Rows {
    std::vector<float> keys, values;
  };
  std::map<std::pair<std::string, int32_t>, Rows> rows;
};

class Interpreter {
public:
  /// Both must outlive the interpreter.
  Interpreter(mlir::ModuleOp module, const WeightStore &weights)
      : module(module), weights(weights) {}

  /// Runs the entry point on one tensor per argument. Symbolic dimensions are
  /// read from the inputs' shapes; ops on caches use and extend `caches`, or
  /// start without any. Fails with one line that names the input or
  /// value: wrong number, element type or shape of inputs, indices out of
  /// range, shapes that only turn out not to fit when they are known.
  llvm::Expected<std::vector<HostTensor>>
  run(llvm::ArrayRef<HostTensor> inputs, ProbeFn probe = nullptr,
      CacheState *caches = nullptr) const;

private:
  mlir::ModuleOp module;
  const WeightStore &weights;
};

/// Values of the symbolic dimensions under which `inputs` fit the entry's
/// arguments; an error that names the input and both shapes where they do not.
llvm::Expected<llvm::SmallVector<int64_t>>
bindSymbols(mlir::func::FuncOp entry, llvm::ArrayRef<HostTensor> inputs);

/// Evaluates one op on concrete operands, for constant folding. The op's result
/// types must not depend on symbolic dimensions.
llvm::Expected<std::vector<HostTensor>>
evaluateOp(mlir::Operation *op, llvm::ArrayRef<HostTensor> operands);

} // namespace pare

#endif
