//===- Codegen.cpp - From kernels to machine code -------------------------===//
#include "backends/cpu/Codegen.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include <mutex>

using namespace llvm;
using namespace pare::cpu;
using pare::PhaseProgress;
using pare::ProgressFn;

/// Runs `body` and turns what it reports through MLIR diagnostics into an
/// error.
static Error withDiagnostics(mlir::MLIRContext *context, StringRef what,
                             function_ref<bool()> body) {
  std::string text;
  mlir::ScopedDiagnosticHandler handler(
      context, [&](mlir::Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error &&
            text.empty())
          text = diagnostic.str();
        return mlir::success();
      });
  if (body())
    return Error::success();
  return createStringError("code generation: " + what + " failed: " + text);
}

Error pare::cpu::lowerKernels(mlir::ModuleOp module, const Isa &isa) {
  mlir::PassManager passes(module.getContext());
#ifndef PARE_VERIFY_EACH
  passes.enableVerifier(false);
#endif
  auto &function = passes.nest<mlir::func::FuncOp>();
  function.addPass(mlir::createCSEPass());
  function.addPass(mlir::createLoopInvariantCodeMotionPass());
  function.addPass(mlir::createSCFToControlFlowPass());
  function.addPass(mlir::createConvertVectorToLLVMPass());
  function.addPass(mlir::createConvertMathToLLVMPass());
  function.addPass(mlir::createArithToLLVMConversionPass());
  passes.addPass(mlir::createConvertControlFlowToLLVMPass());
  passes.addPass(mlir::createConvertFuncToLLVMPass());
  passes.addPass(mlir::createUBToLLVMConversionPass());
  passes.addPass(mlir::createReconcileUnrealizedCastsPass());
  return withDiagnostics(module.getContext(), "lowering to LLVM",
                         [&] { return mlir::succeeded(passes.run(module)); });
}

Expected<std::unique_ptr<TargetMachine>>
pare::cpu::createTargetMachine(const Isa &isa) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
  Triple triple(isa.triple);
  std::string message;
  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return createStringError("code generation: " + message);
  TargetOptions options;
  options.FunctionSections = true;
  options.DataSections = true;
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(
      triple, isa.cpu, isa.features, options, Reloc::PIC_, CodeModel::Small,
      CodeGenOptLevel::Default));
  if (!machine)
    return createStringError("code generation: no code generator for " +
                             isa.triple);
  return machine;
}

/// What every function is told about its target.
static void setAttributes(Module &module, const Isa &isa) {
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", isa.cpu);
    if (!isa.features.empty())
      function.addFnAttr("target-features", isa.features);
    if (isa.f32Lanes == 16) {
      function.addFnAttr("prefer-vector-width", "512");
      function.addFnAttr("min-legal-vector-width", "512");
    }
    function.addFnAttr("no-trapping-math", "true");
    function.addFnAttr("frame-pointer", "none");
    function.setDoesNotThrow();
  }
}

Expected<std::unique_ptr<Module>> pare::cpu::toLLVMIR(mlir::ModuleOp module,
                                                      LLVMContext &context,
                                                      const Isa &isa) {
  auto machine = createTargetMachine(isa);
  if (!machine)
    return machine.takeError();
  mlir::registerBuiltinDialectTranslation(*module.getContext());
  mlir::registerLLVMDialectTranslation(*module.getContext());
  std::unique_ptr<Module> result;
  if (Error error = withDiagnostics(module.getContext(), "translation", [&] {
        result = mlir::translateModuleToLLVMIR(module, context, "pare");
        return bool(result);
      }))
    return error;
  result->setTargetTriple((*machine)->getTargetTriple());
  result->setDataLayout((*machine)->createDataLayout());
  result->setPICLevel(PICLevel::BigPIC);
  setAttributes(*result, isa);
  return result;
}

namespace {
/// Tells of functions that pass a point of a pipeline. Kernels differ in size
/// by orders of magnitude: a unit of progress is an instruction of the start.
class FunctionProgress {
public:
  /// Each function passes `visits` times.
  FunctionProgress(const Module &module, unsigned visits,
                   const ProgressFn &listener, StringRef phase)
      : progress(listener, phase,
                 uint64_t(visits) * module.getInstructionCount()) {
    for (const Function &function : module)
      left[&function] = {function.getInstructionCount(), visits};
  }
  void visit(const Function &function) {
    auto it = left.find(&function);
    if (it == left.end() || it->second.visits == 0)
      return;
    --it->second.visits;
    progress.finish(it->second.instructions);
  }

private:
  struct Rest {
    uint64_t instructions;
    unsigned visits;
  };
  DenseMap<const Function *, Rest> left;
  PhaseProgress progress;
};

/// A pass of LLVM's optimizer that only tells.
struct VisitPass : PassInfoMixin<VisitPass> {
  explicit VisitPass(FunctionProgress &progress) : progress(&progress) {}
  PreservedAnalyses run(Function &function, FunctionAnalysisManager &) {
    progress->visit(function);
    return PreservedAnalyses::all();
  }
  FunctionProgress *progress;
};

/// The same for code generation.
struct VisitEmittedPass : FunctionPass {
  explicit VisitEmittedPass(FunctionProgress &progress)
      : FunctionPass(ID), progress(progress) {}
  bool runOnFunction(Function &function) override {
    progress.visit(function);
    return false;
  }
  void getAnalysisUsage(AnalysisUsage &usage) const override {
    usage.setPreservesAll();
  }
  static char ID;
  FunctionProgress &progress;
};
char VisitEmittedPass::ID = 0;
} // namespace

Error pare::cpu::optimize(Module &module, const Isa &isa,
                          const ProgressFn &progress) {
  auto machine = createTargetMachine(isa);
  if (!machine)
    return machine.takeError();
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = false;
  tuning.LoopInterleaving = false;
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false;
  PassBuilder builder(machine->get(), tuning);
  FunctionProgress functionProgress(module, 2, progress, "optimize kernels");
  auto visit = [&](FunctionPassManager &passes, OptimizationLevel) {
    passes.addPass(VisitPass(functionProgress));
  };
  builder.registerScalarOptimizerLateEPCallback(visit);
  builder.registerVectorizerEndEPCallback(visit);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager callGraph;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O2)
      .run(module, modules);
  return Error::success();
}

static Error emit(Module &module, const Isa &isa, CodeGenFileType kind,
                  raw_pwrite_stream &out, const ProgressFn &progress) {
  auto machine = createTargetMachine(isa);
  if (!machine)
    return machine.takeError();
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, out, nullptr, kind))
    return createStringError("code generation: " + isa.triple +
                             " cannot emit this kind of file");
  FunctionProgress functionProgress(module, 1, progress, "emit kernels");
  passes.add(new VisitEmittedPass(functionProgress));
  passes.run(module);
  return Error::success();
}

Expected<SmallVector<char>> pare::cpu::emitObject(Module &module,
                                                  const Isa &isa,
                                                  const ProgressFn &progress) {
  SmallVector<char> bytes;
  raw_svector_ostream out(bytes);
  if (Error error =
          emit(module, isa, CodeGenFileType::ObjectFile, out, progress))
    return error;
  return bytes;
}

Expected<std::string> pare::cpu::emitAssembly(Module &module, const Isa &isa) {
  SmallString<0> text;
  raw_svector_ostream out(text);
  if (Error error =
          emit(module, isa, CodeGenFileType::AssemblyFile, out, nullptr))
    return error;
  return text.str().str();
}

Expected<SmallVector<char>> pare::cpu::compileKernels(mlir::ModuleOp module,
                                                      const Isa &isa) {
  if (Error error = lowerKernels(module, isa))
    return error;
  LLVMContext context;
  auto translated = toLLVMIR(module, context, isa);
  if (!translated)
    return translated.takeError();
  if (Error error = optimize(**translated, isa))
    return error;
  return emitObject(**translated, isa);
}
