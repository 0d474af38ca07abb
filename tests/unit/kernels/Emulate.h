//===- Emulate.h - Instructions that this machine may lack ------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_KERNELS_EMULATE_H
#define PARE_TESTS_UNIT_KERNELS_EMULATE_H

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/Module.h"

namespace pare::test {

/// Gives vpdpbusd, which this machine may lack, a body of plain instructions:
/// acc[i] += Σ_k zext(a[4i + k]) · sext(w[4i + k]).
inline void emulateVpdpbusd(llvm::Module &module) {
  for (llvm::StringRef bits : {"256", "512"}) {
    llvm::Function *intrinsic =
        module.getFunction(("llvm.x86.avx512.vpdpbusd." + bits).str());
    if (!intrinsic)
      continue;
    auto *body = llvm::Function::Create(intrinsic->getFunctionType(),
                                        llvm::Function::InternalLinkage,
                                        "vpdpbusd" + bits, module);
    body->addFnAttr(llvm::Attribute::NoInline);
    llvm::IRBuilder<> b(
        llvm::BasicBlock::Create(module.getContext(), "", body));
    llvm::Value *sum = body->getArg(0);
    for (int k = 0; k < 4; ++k) {
      llvm::SmallVector<int> lanes;
      for (int i = 0; i < (bits == "512" ? 16 : 8); ++i)
        lanes.push_back(4 * i + k);
      llvm::Value *a = b.CreateShuffleVector(body->getArg(1), lanes);
      llvm::Value *w = b.CreateShuffleVector(body->getArg(2), lanes);
      sum = b.CreateAdd(sum, b.CreateMul(b.CreateZExt(a, sum->getType()),
                                         b.CreateSExt(w, sum->getType())));
    }
    b.CreateRet(sum);
    intrinsic->replaceAllUsesWith(body);
  }
}

/// Gives vpshufb of 512 bits the instructions of its halves.
inline void emulateWideVpshufb(llvm::Module &module) {
  llvm::Function *intrinsic = module.getFunction("llvm.x86.avx512.pshuf.b.512");
  if (!intrinsic)
    return;
  auto *body = llvm::Function::Create(intrinsic->getFunctionType(),
                                      llvm::Function::InternalLinkage,
                                      "vpshufb512", module);
  body->addFnAttr(llvm::Attribute::NoInline);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(module.getContext(), "", body));
  auto half = [&](unsigned arg, int first) {
    llvm::SmallVector<int> lanes;
    for (int i = 0; i < 32; ++i)
      lanes.push_back(first + i);
    return b.CreateShuffleVector(body->getArg(arg), lanes);
  };
  llvm::Value *low = b.CreateIntrinsic(llvm::Intrinsic::x86_avx2_pshuf_b, {},
                                       {half(0, 0), half(1, 0)}),
              *high = b.CreateIntrinsic(llvm::Intrinsic::x86_avx2_pshuf_b, {},
                                        {half(0, 32), half(1, 32)});
  llvm::SmallVector<int> all;
  for (int i = 0; i < 64; ++i)
    all.push_back(i);
  b.CreateRet(b.CreateShuffleVector(low, high, all));
  intrinsic->replaceAllUsesWith(body);
}

/// The same of vpermps of 512 bits, lane by lane.
inline void emulateWideVpermps(llvm::Module &module) {
  llvm::Function *intrinsic =
      module.getFunction("llvm.x86.avx512.permvar.sf.512");
  if (!intrinsic)
    return;
  auto *body = llvm::Function::Create(intrinsic->getFunctionType(),
                                      llvm::Function::InternalLinkage,
                                      "vpermps512", module);
  body->addFnAttr(llvm::Attribute::NoInline);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(module.getContext(), "", body));
  llvm::Value *result = llvm::PoisonValue::get(body->getReturnType());
  for (int i = 0; i < 16; ++i) {
    llvm::Value *lane =
        b.CreateAnd(b.CreateExtractElement(body->getArg(1), i), 15);
    result = b.CreateInsertElement(
        result, b.CreateExtractElement(body->getArg(0), lane), i);
  }
  b.CreateRet(result);
  intrinsic->replaceAllUsesWith(body);
}

} // namespace pare::test

#endif
