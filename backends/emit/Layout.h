//===- Layout.h - A program's slots, buffers and references -----*- C++ -*-===//
//
// Between kernel calls (backends/cpu/Program.h) and the constant tables of the
// artifact (backends/runtime/Abi.h): every size, offset and extent becomes a
// slot, every tensor a place.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_EMIT_LAYOUT_H
#define PARE_BACKENDS_EMIT_LAYOUT_H

#include "backends/cpu/Program.h"
#include "backends/runtime/Abi.h"
#include "llvm/ADT/DenseMap.h"

namespace pare::emit {

/// A number that the artifact computes from its symbolic dimensions.
struct Slot {
  enum Kind { Expression, Max, Sum } kind = Expression;
  nn::Dim expression;             ///< of Expression
  std::vector<unsigned> operands; ///< earlier slots, of Max and Sum
};

struct StepLayout {
  std::vector<PareRef> ptrs; ///< inputs, then outputs
  std::vector<unsigned> dims;
  unsigned grid = 0, flops = 0, bytes = 0;
};

struct ValueLayout {
  mlir::Value value;
  unsigned step;
  PareRef ref;
};

struct Layout {
  std::vector<Slot> slots;
  std::vector<StepLayout> steps;   ///< one per call of the program
  std::vector<ValueLayout> values; ///< named results of steps, for probes
  unsigned arenaSlot = 0, scratchSlot = 0;

  unsigned slot(nn::Dim expression);

private:
  llvm::DenseMap<mlir::AffineExpr, unsigned> slotOf_;
  friend llvm::Expected<Layout> layOut(cpu::Program &, mlir::ModuleOp,
                                       llvm::ArrayRef<uint64_t>);
};

/// Plans memory and refers to everything. `weightOffsets[i]` is where
/// program.packed[i] lies in the weights segment.
llvm::Expected<Layout> layOut(cpu::Program &program, mlir::ModuleOp module,
                              llvm::ArrayRef<uint64_t> weightOffsets);

} // namespace pare::emit

#endif
