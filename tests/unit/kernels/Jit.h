//===- Jit.h - Runs kernels in a test or benchmark --------------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_KERNELS_JIT_H
#define PARE_TESTS_UNIT_KERNELS_JIT_H

#include "backends/cpu/Codegen.h"
#include "backends/cpu/kernels/KernelBuilder.h"
#include "backends/runtime/Abi.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include <cstdio>
#include <cstdlib>

namespace pare::test {

/// Ends the test program with the message of `error`.
[[noreturn]] inline void fail(llvm::Error error) {
  std::fprintf(stderr, "%s\n", llvm::toString(std::move(error)).c_str());
  std::exit(1);
}

template <typename T> T orFail(llvm::Expected<T> value) {
  if (!value)
    fail(value.takeError());
  return std::move(*value);
}

inline cpu::Isa isa(llvm::StringRef name) {
  return orFail(cpu::Isa::parse(name));
}

/// A module that kernels are written into, then compiled and called:
///
///   Kernels kernels;
///   KernelBuilder b(kernels.module(), "f", kernels.isa()); …; b.finish();
///   kernels.compile();
///   kernels.call("f", {a, c}, {dims}, task, scratch);
class Kernels {
public:
  explicit Kernels(cpu::Isa isa = test::isa("host"))
      : isa_(std::move(isa)),
        own_(mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_))),
        module_(*own_) {
    cpu::loadKernelDialects(context_);
  }
  /// Of a module that has been written already.
  Kernels(cpu::Isa isa, mlir::ModuleOp module)
      : isa_(std::move(isa)), module_(module) {}
  mlir::ModuleOp module() { return module_; }
  const cpu::Isa &isa() const { return isa_; }

  /// Compiles the module for this machine; `edit` may change its LLVM IR.
  /// Kernels of another target cannot be called: use assembly().
  void compile(llvm::function_ref<void(llvm::Module &)> edit = nullptr) {
    llvm::LLVMContext context;
    auto ir = translate(context);
    if (edit)
      edit(*ir);
    if (llvm::Error error = cpu::optimize(*ir, isa_))
      fail(std::move(error));
    auto object = orFail(cpu::emitObject(*ir, isa_));
    jit_ = orFail(llvm::orc::LLJITBuilder().create());
    if (llvm::Error error =
            jit_->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
                llvm::StringRef(object.data(), object.size()), "kernels")))
      fail(std::move(error));
  }

  PareKernel lookup(llvm::StringRef name) {
    return orFail(jit_->lookup(name)).toPtr<PareKernel>();
  }

  /// Calls kernel `name` once for each task in [0, tasks).
  void call(llvm::StringRef name, llvm::ArrayRef<const void *> ptrs,
            llvm::ArrayRef<int64_t> dims = {}, int64_t tasks = 1,
            void *scratch = nullptr) {
    PareKernel kernel = lookup(name);
    for (int64_t task = 0; task < tasks; ++task)
      kernel(const_cast<void *const *>(ptrs.data()), dims.data(), task,
             scratch);
  }

  /// The module as assembly of its target. Consumes the module.
  std::string assembly() {
    llvm::LLVMContext context;
    auto ir = translate(context);
    if (llvm::Error error = cpu::optimize(*ir, isa_))
      fail(std::move(error));
    return orFail(cpu::emitAssembly(*ir, isa_));
  }

private:
  std::unique_ptr<llvm::Module> translate(llvm::LLVMContext &context) {
    if (mlir::failed(module_.verify()))
      std::exit(1); // The diagnostic is on standard error.
    if (llvm::Error error = cpu::lowerKernels(module_, isa_))
      fail(std::move(error));
    return orFail(cpu::toLLVMIR(module_, context, isa_));
  }

  cpu::Isa isa_;
  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> own_;
  mlir::ModuleOp module_;
  std::unique_ptr<llvm::orc::LLJIT> jit_;
};

} // namespace pare::test

#endif
