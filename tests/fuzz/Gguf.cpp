//===- Gguf.cpp - GGUF files, their configs and blocks --------------------===//
#include "frontend/decoder/Config.h"
#include "frontend/decoder/TensorNames.h"
#include "frontend/gguf/File.h"
#include "mlir/IR/MLIRContext.h"
#include "tests/fuzz/Check.h"
#include "tests/fuzz/MemoryFile.h"

using namespace pare;

/// Blocks put together again are the same bytes, but for TQ1_0, whose bytes
/// need not be canonical.
static void checkBlocks(const gguf::Tensor &tensor) {
  const BlockStorage *storage = tensor.type->storage;
  if (!storage || tensor.type->name == "TQ1_0")
    return;
  BlockPlanes planes;
  storage->unpack(tensor.bytes(), planes);
  fuzz::check(llvm::ArrayRef<uint8_t>(storage->pack(planes)) == tensor.bytes(),
              "blocks survive a round trip");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz::MemoryFile input(data, size);
  llvm::Expected<gguf::File> file = gguf::File::open(input.path());
  if (!file) {
    fuzz::checkError(file.takeError());
    return 0;
  }
  for (const gguf::Metadata::Entry &entry : file->metadata().entries()) {
    fuzz::check(!entry.value.print().empty(), "values can be shown");
    (void)entry.value.getStrings();
  }
  auto config = decoder::readConfig(*file);
  if (!config)
    llvm::consumeError(config.takeError());

  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  WeightStore store;
  for (const gguf::Tensor &tensor : file->tensors()) {
    (void)decoder::parseTensorName(tensor.name, decoder::Naming::Gguf,
                                   decoder::Architecture::Llama);
    if (llvm::Error error = file->addTo(store, tensor, context)) {
      llvm::consumeError(std::move(error));
      continue;
    }
    std::vector<float> values = store.get(tensor.name).toF32();
    fuzz::check(values.size() == tensor.getNumElements(),
                "every element is decoded");
    checkBlocks(tensor);
  }
  return 0;
}
