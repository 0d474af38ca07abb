//===- Codegen.h - From kernels to machine code -----------------*- C++ -*-===//
//
//   kernels (func, scf, arith, math, vector)
//     → lowerKernels → LLVM dialect → toLLVMIR → optimize → emitObject
//
// A module may also hold hand-made llvm.func and llvm.mlir.global ops: they
// pass through. math ops other than fma, sqrt, rounding, min/max and abs would
// become calls of libm, which artifacts do not have: build them from arith
// with kernels/VectorMath.h.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_CODEGEN_H
#define PARE_BACKENDS_CPU_CODEGEN_H

#include "backends/cpu/Isa.h"
#include "frontend/Progress.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace pare::cpu {

/// Lowers a module of kernels to LLVM dialect, in place.
llvm::Error lowerKernels(mlir::ModuleOp module, const Isa &isa);

/// Translates a lowered module; every function defined in it is made for
/// `isa`.
llvm::Expected<std::unique_ptr<llvm::Module>>
toLLVMIR(mlir::ModuleOp module, llvm::LLVMContext &context, const Isa &isa);

/// Runs LLVM's -O2 without the transformations that kernel generators have
/// already decided about: loop and SLP vectorization, unrolling.
llvm::Error optimize(llvm::Module &module, const Isa &isa,
                     const ProgressFn &progress = nullptr);

/// A position-independent ELF object with one section per function.
llvm::Expected<llvm::SmallVector<char>>
emitObject(llvm::Module &module, const Isa &isa,
           const ProgressFn &progress = nullptr);
/// The same as assembly text, for tests and `--emit` of a human-readable form.
llvm::Expected<std::string> emitAssembly(llvm::Module &module, const Isa &isa);

/// All of the above: consumes a module of kernels.
llvm::Expected<llvm::SmallVector<char>> compileKernels(mlir::ModuleOp module,
                                                       const Isa &isa);

/// The LLVM target behind `isa`. X86 and AArch64 only.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(const Isa &isa);

} // namespace pare::cpu

#endif
