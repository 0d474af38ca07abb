//===- KernelBuilder.h - Writing one kernel as MLIR -------------*- C++ -*-===//
//
// Every generated kernel is one `func.func` of the runtime's kernel signature
// (backends/runtime/Abi.h):
//
//   func.func @name(%ptrs: !llvm.ptr, %dims: !llvm.ptr, %task: i64, %scratch: !llvm.ptr)
//
// Bodies use scf, arith, math and vector on SSA values and touch memory only
// through the typed loads and stores below (llvm.load/llvm.store of scalars
// and vectors on an opaque pointer plus an element index).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_KERNELBUILDER_H
#define PARE_BACKENDS_CPU_KERNELS_KERNELBUILDER_H

#include "backends/cpu/Isa.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace pare::cpu {

/// An extent of a kernel: a number known when the kernel is generated, or the
/// `dim`-th of the run-time dims.
struct Extent {
  int64_t fixed = -1; ///< >= 0: known
  unsigned dim = 0;   ///< index into `dims` otherwise
  static Extent of(int64_t n) { return {n, 0}; }
  static Extent runtime(unsigned dim) { return {-1, dim}; }
  bool isFixed() const { return fixed >= 0; }
  /// For kernel names and signatures: "384" or "d0".
  std::string str() const;
};

/// Builds the body of one kernel. Indices are of `index` type throughout.
class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  /// Starts kernel `name` at the end of `module`; insertion point inside.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef name, const Isa &isa);
  /// Adds the return. Call once, when the body is complete.
  void finish();

  const Isa &isa() const { return isa_; }

  // Arguments.
  mlir::Value ptr(unsigned i);            ///< ptrs[i], loaded once at entry
  mlir::Value task();                     ///< task index, as index
  mlir::Value scratch();                  ///< scratch block
  mlir::Value extent(const Extent &e);    ///< constant, or dims[e.dim] loaded at entry

  // Index arithmetic; folds constants.
  mlir::Value idx(int64_t v);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, int64_t b);
  mlir::Value divFloor(mlir::Value a, mlir::Value b); ///< of non-negative values
  mlir::Value rem(mlir::Value a, mlir::Value b);
  mlir::Value minIdx(mlir::Value a, mlir::Value b);

  // Memory. `elem` is the element type; `offset` counts elements.
  mlir::Value load(mlir::Type elem, mlir::Value base, mlir::Value offset);
  mlir::Value loadVec(mlir::VectorType type, mlir::Value base, mlir::Value offset);
  /// Lanes at or beyond `count` (index) read as zero and are not touched.
  mlir::Value loadVecPartial(mlir::VectorType type, mlir::Value base, mlir::Value offset, mlir::Value count);
  void store(mlir::Value value, mlir::Value base, mlir::Value offset);
  void storePartial(mlir::Value vector, mlir::Value base, mlir::Value offset, mlir::Value count);
  /// base + offset elements.
  mlir::Value gep(mlir::Type elem, mlir::Value base, mlir::Value offset);

  // Control.
  using LoopBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value iv, mlir::ValueRange iters)>;
  /// for (iv = lb; iv < ub; iv += step) with carried values.
  llvm::SmallVector<mlir::Value> loop(mlir::Value lb, mlir::Value ub, int64_t step, mlir::ValueRange init, LoopBody body);
  void loop(mlir::Value lb, mlir::Value ub, int64_t step, llvm::function_ref<void(mlir::Value iv)> body);
  void ifThen(mlir::Value cond, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);

  // Values.
  mlir::VectorType vecType(unsigned lanes, mlir::Type elem);
  mlir::Value splat(mlir::Value scalar, unsigned lanes);
  mlir::Value constF32(float v, unsigned lanes = 0); ///< lanes 0: scalar
  mlir::Value constI32(int32_t v, unsigned lanes = 0);

private:
  Isa isa_;
  // …
};

/// Lowers a module of kernels to LLVM dialect, in place.
llvm::Error lowerKernels(mlir::ModuleOp module, const Isa &isa);

} // namespace pare::cpu

#endif
