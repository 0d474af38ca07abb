//===- Program.h - A model as kernel calls ----------------------*- C++ -*-===//
//
// What selection makes of an nn graph and emission writes out: generated
// kernels, the calls of them in order, packed weights, and where every value
// lives.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_PROGRAM_H
#define PARE_BACKENDS_CPU_PROGRAM_H

#include "frontend/ir/NN.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pare::cpu {

/// Bytes of the weights segment, made while it is written: a weight in a
/// kernel's layout, or a constant.
struct PackedWeight {
  std::string key;  ///< equal keys are equal bytes: stored once
  std::string name; ///< of the source's tensor, for reports
  uint64_t bytes = 0;
  std::function<void(llvm::MutableArrayRef<uint8_t>)>
      write; ///< into zeroed memory
};

/// One pointer argument of a call.
struct Operand {
  mlir::Value value;     ///< a tensor of the entry or a temporary, or null
  int64_t packed = -1;   ///< else an index into Program::packed
  bool isCaches = false; ///< else the table of the sequences' caches
  nn::Dim byteOffset;    ///< into the value's buffer; null: none
};

/// One kernel, called over a grid of independent tasks.
struct KernelCall {
  std::string kernel; ///< symbol in Program::kernels, or of a provider's shim
  std::string op;     ///< for people: "matmul+add+gelu int8"
  std::string provider = "generated";
  std::string state; ///< symbol of the shim's PareStepState; empty: none
  mlir::Operation *source = nullptr; ///< the op of the graph that it computes
  std::vector<Operand> inputs, outputs;
  std::vector<nn::Dim> dims; ///< run-time extents, in the kernel's order
  nn::Dim grid, scratchBytes, flops, bytes;
  /// Outputs that may take over an input's buffer when it dies here:
  /// (output index, input index).
  std::vector<std::pair<unsigned, unsigned>> inPlace;
};

/// Between the kernels of two providers, or why the second has none.
struct Choice {
  std::string name; ///< of the value that the op makes
  std::string op, provider, reason;
};

struct Program {
  mlir::OwningOpRef<mlir::ModuleOp> kernels;
  /// Its arguments are tensors between the calls of one op.
  std::unique_ptr<mlir::Block> temporaries = std::make_unique<mlir::Block>();
  std::vector<KernelCall> calls;
  std::vector<PackedWeight> packed;
  std::vector<Choice> choices; ///< ops that more than one provider computes
  std::deque<std::vector<uint8_t>> constants; ///< what `packed` reads of the IR
};

} // namespace pare::cpu

#endif
