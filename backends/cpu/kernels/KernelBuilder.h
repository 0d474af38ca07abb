//===- KernelBuilder.h - Writing one kernel as MLIR -------------*- C++ -*-===//
//
// Every generated kernel is one `func.func` of the runtime's kernel signature
// (backends/runtime/Abi.h):
//
//   func.func @name(%ptrs: !llvm.ptr, %dims: !llvm.ptr, %task: i64,
//                   %scratch: !llvm.ptr)
//
// Bodies use scf, arith, math and vector on SSA values and touch memory only
// through the typed loads and stores below (llvm.load/llvm.store of scalars
// and vectors on an opaque pointer plus an element index).
// backends/cpu/Codegen.h lowers a module of kernels to machine code.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_KERNELBUILDER_H
#define PARE_BACKENDS_CPU_KERNELS_KERNELBUILDER_H

#include "backends/cpu/Isa.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"
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

/// Loads the dialects that kernels are written in and lowered to.
void loadKernelDialects(mlir::MLIRContext &context);

/// Builds the body of one kernel. Indices are of `index` type throughout.
class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  /// Starts kernel `name` at the end of `module`; insertion point inside.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef name, const Isa &isa);
  /// Adds the return. Call once, when the body is complete.
  void finish();

  const Isa &isa() const { return isa_; }

  // Arguments.
  mlir::Value ptr(unsigned i); ///< ptrs[i], loaded once at entry
  mlir::Value task();          ///< task index, as index
  mlir::Value scratch();       ///< scratch block
  /// Constant, or dims[e.dim] loaded at entry.
  mlir::Value extent(const Extent &e);

  // Index arithmetic of non-negative values; folds constants.
  mlir::Value idx(int64_t v);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value add(mlir::Value a, int64_t b) { return add(a, idx(b)); }
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, int64_t b) { return mul(a, idx(b)); }
  mlir::Value divFloor(mlir::Value a, mlir::Value b);
  mlir::Value divFloor(mlir::Value a, int64_t b) { return divFloor(a, idx(b)); }
  mlir::Value divCeil(mlir::Value a, int64_t b);
  mlir::Value rem(mlir::Value a, mlir::Value b);
  mlir::Value rem(mlir::Value a, int64_t b) { return rem(a, idx(b)); }
  mlir::Value minIdx(mlir::Value a, mlir::Value b);
  mlir::Value maxIdx(mlir::Value a, mlir::Value b);
  /// a < b as i1, signed: differences below zero compare as such.
  mlir::Value less(mlir::Value a, mlir::Value b);
  mlir::Value toI64(mlir::Value index);
  mlir::Value toI32(mlir::Value index);
  mlir::Value toIndex(mlir::Value integer); ///< sign-extends
  /// The value of an index constant, if `v` is one.
  static std::optional<int64_t> constant(mlir::Value v);

  // Memory. `elem` is the element type; `offset` counts elements. Vectors
  // need the alignment of their element only.
  mlir::Value load(mlir::Type elem, mlir::Value base, mlir::Value offset);
  mlir::Value loadVec(mlir::VectorType type, mlir::Value base,
                      mlir::Value offset);
  /// Lanes at or beyond `count` (index) read as zero and are not touched. A
  /// null or a constant `count` >= lanes is a whole load.
  mlir::Value loadVecPartial(mlir::VectorType type, mlir::Value base,
                             mlir::Value offset, mlir::Value count);
  void store(mlir::Value value, mlir::Value base, mlir::Value offset);
  /// Stores lanes below `count` only; null: all.
  void storePartial(mlir::Value vector, mlir::Value base, mlir::Value offset,
                    mlir::Value count);
  /// base + offset elements.
  mlir::Value gep(mlir::Type elem, mlir::Value base, mlir::Value offset);
  /// Asks for the cache lines of [base, base + bytes), which need not exist.
  void prefetch(mlir::Value base, int64_t bytes);
  /// vector<lanes x i1>: lane index < count.
  mlir::Value laneMask(unsigned lanes, mlir::Value count);

  // Control.
  using LoopBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::Value iv, mlir::ValueRange iters)>;
  /// for (iv = lb; iv < ub; iv += step) with carried values.
  llvm::SmallVector<mlir::Value> loop(mlir::Value lb, mlir::Value ub,
                                      int64_t step, mlir::ValueRange init,
                                      LoopBody body);
  void loop(mlir::Value lb, mlir::Value ub, int64_t step,
            llvm::function_ref<void(mlir::Value iv)> body);
  /// A null `otherwise`: nothing.
  void ifThen(mlir::Value cond, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise = nullptr);

  // Values.
  mlir::VectorType vecType(unsigned lanes, mlir::Type elem);
  mlir::VectorType vecF32(unsigned lanes) {
    return vecType(lanes, getF32Type());
  }
  mlir::Value splat(mlir::Value scalar, unsigned lanes);
  mlir::Value constF32(float v, unsigned lanes = 0); ///< lanes 0: scalar
  mlir::Value constI32(int32_t v, unsigned lanes = 0);
  /// All zero, of any scalar or vector type of integers or floats.
  mlir::Value zero(mlir::Type type);
  /// a * b + c: one rounding where the target has the instruction, two
  /// elsewhere. Scalars or vectors.
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  /// Lanes of a:b by number; any result width.
  mlir::Value shuffle(mlir::Value a, mlir::Value b,
                      llvm::ArrayRef<int64_t> lanes);
  /// Lanes [first, first + count) of `vector`.
  mlir::Value slice(mlir::Value vector, unsigned first, unsigned count);
  /// The vectors, of one type, end to end; their number is a power of two.
  mlir::Value concat(llvm::ArrayRef<mlir::Value> vectors);
  /// Calls an LLVM intrinsic, `name` as in LLVM IR.
  mlir::Value intrinsic(llvm::StringRef name, mlir::Type result,
                        mlir::ValueRange operands);

  /// The same vectors, made opaque to the optimizer: all are computed before
  /// any result is used. No instruction, but an order that scheduling keeps.
  llvm::SmallVector<mlir::Value> inOrder(llvm::ArrayRef<mlir::Value> vectors);

private:
  mlir::Value atEntry(llvm::function_ref<mlir::Value()> make);

  Isa isa_;
  mlir::func::FuncOp func_;
  llvm::DenseMap<unsigned, mlir::Value> ptrs_, dims_;
  llvm::DenseMap<int64_t, mlir::Value> indices_;
  mlir::Value task_;
};

} // namespace pare::cpu

#endif
