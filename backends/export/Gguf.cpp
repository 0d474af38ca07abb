//===- Gguf.cpp - GGUF files with other weights ---------------------------===//
//
// Metadata is the source's, byte for byte, but for what would no longer be true
// of the file: its number of shards and the type of most weights. Tensors that
// keep their type are copied.
//
//===----------------------------------------------------------------------===//
#include "backends/export/Export.h"
#include "frontend/Importer.h"
#include "frontend/gguf/Writer.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"

using namespace llvm;

namespace pare::exporting {
namespace {

/// Whether two formats have the same planes, which stand for the same weights.
bool meanTheSame(const BlockFormat &a, const BlockFormat &b) {
  return a.bits == b.bits && a.group == b.group && a.codes == b.codes &&
         a.offset == b.offset && a.zeroBits == b.zeroBits &&
         a.codebook == b.codebook && a.scale == b.scale &&
         a.minimum == b.minimum && a.superGroup == b.superGroup &&
         a.subBits == b.subBits && a.subOffset == b.subOffset &&
         a.subSigned == b.subSigned;
}

/// ggml's type of such weights, or null.
const gguf::TensorType *findType(const BlockFormat &format) {
  // Of two types of ternary weights the one that has a code in 2 bits, as the
  // format does.
  const gguf::TensorType *found = nullptr;
  for (const gguf::TensorType &type : gguf::getTensorTypes())
    if (type.storage && meanTheSame(type.storage->format, format))
      found = &type;
  return found;
}

/// general.file_type of a file with mostly this type, in the smallest variant
/// where there are several (llama.cpp's llama_ftype); nullopt: it has none.
std::optional<uint32_t> getFileType(StringRef type) {
  int number = StringSwitch<int>(type)
                   .Case("F32", 0)
                   .Case("F16", 1)
                   .Case("Q4_0", 2)
                   .Case("Q4_1", 3)
                   .Case("Q8_0", 7)
                   .Case("Q5_0", 8)
                   .Case("Q5_1", 9)
                   .Case("Q2_K", 10)
                   .Case("Q3_K", 11)
                   .Case("Q4_K", 14)
                   .Case("Q5_K", 16)
                   .Case("Q6_K", 18)
                   .Case("IQ4_NL", 25)
                   .Case("IQ4_XS", 30)
                   .Case("BF16", 32)
                   .Case("TQ1_0", 36)
                   .Case("TQ2_0", 37)
                   .Default(-1);
  return number < 0 ? std::nullopt : std::optional<uint32_t>(number);
}

class GgufExporter : public Exporter {
public:
  StringRef name() const override { return "GGUF"; }
  StringRef runner() const override { return "llama.cpp"; }
  bool takesOutput(StringRef output) const override {
    return output.ends_with(".gguf");
  }
  bool takesSource(StringRef format) const override { return format == "gguf"; }
  bool supports(const BlockFormat &format, bool) const override {
    return findType(format) != nullptr;
  }
  StringRef getTableFormat() const override { return "int8_g32"; }

  Expected<uint64_t> write(const ExportRequest &request) const override;
};

Expected<uint64_t> GgufExporter::write(const ExportRequest &request) const {
  Expected<gguf::File> file = gguf::File::open(request.source);
  if (!file)
    return file.takeError();
  for (const auto &[name, weight] : request.weights) {
    const gguf::Tensor *tensor = file->find(name);
    if (!tensor)
      return onOneLine(
          createStringError(file->path() + ": tensor '" + name +
                            "' is none of the file: it cannot be written"));
    if (ArrayRef<int64_t>(tensor->shape) != weight.data.type.getShape())
      return onOneLine(createStringError(
          file->path() + ": tensor '" + name + "' has shape " +
          printShape(tensor->shape) + ", its new weights " +
          printShape(weight.data.type.getShape())));
    if (Error error = checkFormat(*this, weight.format(), false,
                                  file->path() + ": tensor '" + name + "'"))
      return onOneLine(std::move(error));
  }

  gguf::Writer writer;
  writer.setAlignment(uint32_t(file->alignment()));
  StringMap<uint64_t> elements; // of matrices, by type
  for (const gguf::Tensor &tensor : file->tensors()) {
    auto it = request.weights.find(tensor.name);
    const gguf::TensorType *type = tensor.type;
    if (it == request.weights.end()) {
      writer.addTensor(tensor.name, *type, tensor.shape, tensor.bytes());
    } else {
      const QuantizedWeight &weight = it->second;
      type = findType(weight.format());
      writer.addTensor(tensor.name, *type, tensor.shape,
                       [&weight, type](raw_ostream &stream) {
                         std::vector<uint8_t> blocks =
                             type->storage->pack(weight.unpack());
                         stream << toStringRef(ArrayRef(blocks));
                         return Error::success();
                       });
    }
    if (tensor.shape.size() > 1)
      elements[type->name] += tensor.getNumElements();
  }
  StringRef most = "F32";
  for (const gguf::TensorType &type : gguf::getTensorTypes())
    if (elements.lookup(type.name) > elements.lookup(most))
      most = type.name;

  bool hasVersion = false;
  for (const gguf::Metadata::Entry &entry : file->metadata().entries()) {
    hasVersion |= entry.key == "general.quantization_version";
    if (entry.key.starts_with("split."))
      continue;
    if (entry.key != "general.file_type")
      writer.addValue(entry.key, entry.value);
    else if (std::optional<uint32_t> number = getFileType(most))
      writer.addU32(entry.key, *number);
  }
  // llama.cpp's number for the blocks of today, without which it says so.
  if (!hasVersion)
    writer.addU32("general.quantization_version", 2);

  if (Error error = writer.write(request.output))
    return std::move(error);
  uint64_t bytes = 0;
  if (std::error_code error = sys::fs::file_size(request.output, bytes))
    return createStringError("cannot read '" + request.output +
                             "': " + error.message());
  return bytes;
}

} // namespace

const Exporter &getGgufExporter() {
  static const GgufExporter exporter;
  return exporter;
}

} // namespace pare::exporting
