//===- Decode.cpp - GGUF files for tests in Python ------------------------===//
//
// gguf-decode decode FILE: every tensor as f32 (integers too) to standard
// output, one after the other. gguf-decode rewrite FILE OUT: reads FILE, takes
// its blocks apart, puts them together and writes all to OUT.
//
//===----------------------------------------------------------------------===//
#include "frontend/gguf/Writer.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"

using namespace pare;

static llvm::Error decode(const gguf::File &file) {
  mlir::MLIRContext context;
  for (const gguf::Tensor &tensor : file.tensors()) {
    WeightStore store;
    if (llvm::Error error = file.addTo(store, tensor, context))
      return error;
    std::vector<float> values = store.get(tensor.name).toF32();
    llvm::outs().write(reinterpret_cast<const char *>(values.data()),
                       values.size() * sizeof(float));
  }
  return llvm::Error::success();
}

static llvm::Error rewrite(const gguf::File &file, llvm::StringRef out) {
  gguf::Writer writer;
  for (const gguf::Metadata::Entry &entry : file.metadata().entries())
    writer.addValue(entry.key, entry.value);
  writer.setAlignment(uint32_t(file.alignment()));
  for (const gguf::Tensor &tensor : file.tensors())
    writer.addTensor(tensor.name, *tensor.type, tensor.shape,
                     [&](llvm::raw_ostream &stream) {
                       if (const BlockStorage *blocks = tensor.type->storage) {
                         BlockPlanes planes;
                         blocks->unpack(tensor.bytes(), planes);
                         stream << llvm::toStringRef(blocks->pack(planes));
                       } else {
                         stream << llvm::toStringRef(tensor.bytes());
                       }
                       return llvm::Error::success();
                     });
  return writer.write(out);
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  llvm::StringRef command = argv[1];
  llvm::Expected<gguf::File> file = gguf::File::open(argv[2]);
  llvm::Error error = !file                 ? file.takeError()
                      : command == "decode" ? decode(*file)
                                            : rewrite(*file, argv[argc - 1]);
  if (!error)
    return 0;
  llvm::errs() << "gguf-decode: " << llvm::toString(std::move(error)) << "\n";
  return 1;
}
