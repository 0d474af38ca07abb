//===- Tail.h - The elementwise end of a fused group ------------*- C++ -*-===//
//
// Kernels with an anchor (matmul, conv, …) compute vectors of its result and
// hand them to the group's elementwise ops, which read further operands at the
// same position, before anything is stored.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_SELECT_TAIL_H
#define PARE_BACKENDS_CPU_SELECT_TAIL_H

#include "backends/cpu/Select.h"
#include "backends/runtime/Abi.h"

namespace pare::cpu {

/// The ops of a group in order, without its constants: `op` alone, or the body
/// of an nn.fused.
llvm::SmallVector<mlir::Operation *> getGroup(mlir::Operation *op);
/// The first op of type T in the group, or null.
template <typename T> T findAnchor(mlir::Operation *op) {
  for (mlir::Operation *member : getGroup(op))
    if (auto anchor = llvm::dyn_cast<T>(member))
      return anchor;
  return T();
}
/// The group's results: of `op` itself.
inline mlir::ResultRange getGroupResults(mlir::Operation *op) {
  return op->getResults();
}

/// The number that fills a splat constant; nullopt for anything else.
std::optional<double> getLiteral(mlir::Value value);
/// That number in all lanes, in the compute type of the value's elements.
mlir::Value emitLiteral(KernelBuilder &b, mlir::Value value, unsigned lanes);

class Tail {
public:
  /// Why the ops after `anchor` in its group are not such a tail; nullopt if
  /// they are: elementwise, on the anchor's result, on values of the group, and
  /// on operands that broadcast to the anchor's shape.
  static std::optional<std::string> whyNot(mlir::Operation *op,
                                           mlir::Operation *anchor);

  /// `call` gets the tail's operands appended to its inputs; `firstPtr` is the
  /// kernel pointer index of the first of them.
  Tail(mlir::Operation *op, mlir::Operation *anchor, Selector &selector,
       KernelCall &call);

  /// What of the tail the kernel's code depends on.
  std::string signature() const;

  /// Pointer index of the group's result `i`, once all inputs are known.
  unsigned resultPtr(unsigned i, const KernelCall &call) const {
    return call.inputs.size() + i;
  }

  /// The group's results for anchor results at `row` (all axes but the last,
  /// flattened) and columns [col, col + lanes); `count` valid ones, null: all.
  llvm::SmallVector<mlir::Value> emit(KernelBuilder &b, mlir::Value vec,
                                      mlir::Value row, mlir::Value col,
                                      mlir::Value count) const;

  /// emit, and stores every result at the same position.
  void emitAndStore(KernelBuilder &b, mlir::Value vec, mlir::Value row,
                    mlir::Value col, mlir::Value count,
                    unsigned firstResultPtr) const;

  bool empty() const { return ops_.empty(); }

private:
  struct External {
    mlir::Value value; ///< in the group's body
    unsigned ptr;
    PareDType type;
    bool splat; ///< last axis is 1
    enum Rows { None, Linear, General } rows = None;
    llvm::SmallVector<std::pair<Extent, bool>>
        axes;       ///< General: leading axes (extent in the anchor, varies)
    Extent columns; ///< of this operand
  };
  mlir::Value load(KernelBuilder &b, const External &external, mlir::Value row,
                   mlir::Value col, mlir::Value count, unsigned lanes) const;

  mlir::Operation *op_, *anchor_;
  llvm::SmallVector<PareDType> resultTypes_;
  llvm::SmallVector<mlir::Operation *> ops_;
  llvm::SmallVector<External> externals_;
  llvm::SmallVector<mlir::Value> literals_;
  Extent anchorColumns_;
};

} // namespace pare::cpu

#endif
