//===- Safetensors.cpp - safetensors files --------------------------------===//
#include "frontend/safetensors/Reader.h"
#include "mlir/IR/MLIRContext.h"
#include "tests/fuzz/Check.h"
#include "tests/fuzz/MemoryFile.h"

using namespace pare;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz::MemoryFile input(data, size);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  safetensors::Tensors tensors;
  if (llvm::Error error =
          safetensors::readFile(input.path(), context, tensors)) {
    llvm::consumeError(std::move(error));
    return 0;
  }
  WeightStore store;
  for (const auto &item : tensors) {
    const safetensors::Tensor &tensor = item.getValue();
    if (llvm::Error error =
            store.addView(item.getKey(), tensor.type, tensor.file,
                          tensor.offset, tensor.size)) {
      fuzz::check(false, llvm::toString(std::move(error)).c_str());
      return 0;
    }
    (void)store.get(item.getKey()).toF32();
  }
  (void)store.findNonFinite();
  return 0;
}
