//===- CompressedTensors.cpp - Hugging Face folders with other weights ----===//
//
// The format "pack-quantized" of compressed-tensors
// (https://github.com/vllm-project/compressed-tensors), which vLLM and
// transformers load. Of a module's `weight` there are then
//
//   weight_packed      codes of 4 or 8 bits in int32 words along a row, lowest
//                      bits first
//   weight_scale       one per group of a row
//   weight_zero_point  as weight_packed, but along a column; asymmetric only
//   weight_shape       outputs and inputs
//
// and config.json says which modules have which format. All other tensors and
// files are the source's.
//
//===----------------------------------------------------------------------===//
#include "backends/export/Export.h"
#include "frontend/Importer.h"
#include "frontend/Json.h"
#include "frontend/safetensors/Reader.h"
#include "frontend/safetensors/Writer.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/quantize/encode/ScaleStorage.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

using namespace llvm;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace pare::exporting {
namespace {

using safetensors::joinPath;

bool isExpressible(const BlockFormat &format) {
  bool isDefault = format.codes == CodeKind::Signed || format.zeroBits ||
                   format.offset == 1 << (format.bits - 1);
  return format.codes != CodeKind::Codebook && !format.hasMinimum() &&
         isDefault && (format.bits == 4 || format.bits == 8);
}

/// Codes, as compressed-tensors offsets them.
std::string packCodes(const QuantizedWeight &weight) {
  BlockPlanes planes = weight.unpack();
  if (weight.format().codes == CodeKind::Signed)
    for (uint8_t &code : planes.codes)
      code ^= 0x80;
  if (weight.format().bits == 8)
    return toStringRef(ArrayRef(planes.codes)).str();
  std::string packed(planes.codes.size() / 2, '\0');
  for (size_t i = 0; i < packed.size(); ++i)
    packed[i] = char(planes.codes[2 * i] | planes.codes[2 * i + 1] << 4);
  return packed;
}

/// Words per column that hold the zero points of `rows` rows.
int64_t getZeroWords(const QuantizedWeight &weight) {
  return int64_t(
      divideCeil(uint64_t(weight.rows()) * weight.format().bits, 32));
}

std::string packZeros(const QuantizedWeight &weight) {
  BlockPlanes planes = weight.unpack();
  int64_t groups = weight.columns() / weight.format().group;
  unsigned bits = weight.format().bits;
  // int32 [words, groups], little-endian.
  std::string packed(size_t(getZeroWords(weight) * groups * 4), '\0');
  for (int64_t row = 0; row < weight.rows(); ++row)
    for (int64_t group = 0; group < groups; ++group) {
      int64_t at = row * bits, word = at / 32;
      packed[size_t((word * groups + group) * 4 + at % 32 / 8)] |=
          char(planes.zeros[size_t(row * groups + group)] << at % 8);
    }
  return packed;
}

std::string packScales(const QuantizedWeight &weight, ScaleType type) {
  std::vector<float> scales = getGroupScales(weight.format(), weight.unpack());
  unsigned bytes = getScaleBytes(type);
  std::string packed(scales.size() * bytes, '\0');
  for (size_t i = 0; i < scales.size(); ++i)
    encode::encodeScale(type, scales[i],
                        reinterpret_cast<uint8_t *>(&packed[i * bytes]));
  return packed;
}

/// Scales have the type that the weight had: runtimes compute in it.
std::optional<ScaleType> getScaleType(mlir::Type weight) {
  if (weight.isF32())
    return ScaleType::F32;
  if (weight.isF16())
    return ScaleType::F16;
  if (weight.isBF16())
    return ScaleType::BF16;
  return std::nullopt;
}

json::Object describe(const BlockFormat &format) {
  return json::Object{
      {"num_bits", format.bits},           {"type", "int"},
      {"symmetric", format.zeroBits == 0}, {"strategy", "group"},
      {"group_size", format.group},        {"dynamic", false}};
}

/// A folder under construction, which is removed unless it is kept.
class NewFolder {
public:
  explicit NewFolder(StringRef output)
      : output(output.rtrim('/')),
        temporary(
            (this->output + "." + Twine(sys::Process::getProcessId()) + ".tmp")
                .str()) {}
  ~NewFolder() {
    if (!kept)
      fs::remove_directories(temporary);
  }
  StringRef path() const { return temporary; }
  Error fail(std::error_code error) {
    return createStringError("cannot write '" + output +
                             "': " + error.message());
  }
  Error create() {
    if (fs::exists(output))
      return createStringError("'" + output +
                               "' is there already: remove it or choose "
                               "another name");
    if (std::error_code error = fs::create_directory(temporary, false))
      return fail(error);
    return Error::success();
  }
  Error keep() {
    if (std::error_code error = fs::rename(temporary, output))
      return fail(error);
    kept = true;
    return Error::success();
  }

private:
  std::string output, temporary;
  bool kept = false;
};

/// Whether a file of the source holds weights, in any framework's format.
bool holdsWeights(StringRef name) {
  return StringSwitch<bool>(path::extension(name))
             .Cases({".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack"},
                    true)
             .Cases({".onnx", ".gguf", ".ot", ".npz"}, true)
             .Default(false) ||
         name.ends_with(".safetensors.index.json");
}

/// Copies what is no weights: tokenizers, pooling, texts. config.json of the
/// model itself is written anew.
std::error_code copyOthers(StringRef from, StringRef to, unsigned depth = 0) {
  constexpr unsigned kMaxDepth = 3; // nothing of a model is deeper
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; it != end && !error;
       it.increment(error)) {
    StringRef name = path::filename(it->path());
    std::string target = joinPath(to, name);
    if (fs::is_directory(it->path())) {
      if (name.starts_with(".") || depth == kMaxDepth) // .git and the like
        continue;
      if ((error = fs::create_directory(target)) ||
          (error = copyOthers(it->path(), target, depth + 1)))
        return error;
    } else if (!holdsWeights(name) && (depth > 0 || name != "config.json")) {
      if ((error = fs::copy_file(it->path(), target)))
        return error;
    }
  }
  return error;
}

class CompressedTensorsExporter : public Exporter {
public:
  StringRef name() const override { return "compressed-tensors"; }
  StringRef runner() const override { return "vLLM and transformers"; }
  bool takesOutput(StringRef output) const override {
    // Names of folders have dots too: llama-3.2.
    return output.ends_with("/") || !StringSwitch<bool>(path::extension(output))
                                         .Cases({".gguf", ".onnx"}, true)
                                         .Case(".safetensors", true)
                                         .Default(false);
  }
  bool takesSource(StringRef format) const override {
    return format == "safetensors";
  }
  bool supports(const BlockFormat &format, bool isTable) const override {
    return !isTable && isExpressible(format);
  }
  Error checkSource(StringRef folder) const override;
  Expected<uint64_t> write(const ExportRequest &request) const override;
};

Error CompressedTensorsExporter::checkSource(StringRef folder) const {
  if (!fs::is_directory(folder))
    return createStringError(folder +
                             ": name the model's folder, whose other files the "
                             "result needs too");
  std::string file = joinPath(folder, "config.json");
  Expected<json::Object> config = readJsonObject(file);
  if (!config)
    return config.takeError();
  if (config->get("quantization_config"))
    return createStringError(file + ": has a quantization_config already");
  return Error::success();
}

/// config.json with one more entry at its end; what it has keeps its bytes.
Expected<std::string> addToConfig(StringRef file, StringRef key,
                                  json::Value value) {
  auto buffer = MemoryBuffer::getFile(file);
  if (!buffer)
    return createStringError("cannot read '" + file +
                             "': " + buffer.getError().message());
  StringRef text = (*buffer)->getBuffer().rtrim();
  if (!text.consume_back("}"))
    return createStringError(file + ": does not end in an object");
  text = text.rtrim();
  std::string body = formatv("{0:2}", value).str(), indented;
  for (char c : body) {
    indented += c;
    if (c == '\n')
      indented += "  ";
  }
  return (text + (text.ends_with("{") ? "" : ",") + "\n  \"" + key +
          "\": " + indented + "\n}\n")
      .str();
}

Expected<uint64_t>
CompressedTensorsExporter::write(const ExportRequest &request) const {
  mlir::MLIRContext context;
  safetensors::Tensors tensors;
  Expected<std::string> file = safetensors::findTensorFile(request.source);
  if (!file)
    return file.takeError();
  if (Error error = safetensors::readTensors(*file, context, tensors))
    return std::move(error);
  auto fail = [&](StringRef tensor, const Twine &why) {
    return onOneLine(
        createStringError(*file + ": tensor '" + tensor + "' " + why));
  };

  // By format, in the order of their names.
  std::map<std::string, std::vector<std::string>> modules;
  std::map<std::string, const BlockFormat *> formats;
  for (const auto &[name, weight] : request.weights) {
    auto it = tensors.find(name);
    if (it == tensors.end())
      return fail(name, "is none of the file's: it cannot be written");
    StringRef module = name;
    if (!module.consume_back(".weight"))
      return fail(name, "is no module's weight: keep it as it is with --rule "
                        "'" +
                            name + "=none'");
    if (weight.isTransposed ||
        it->second.type.getShape() != weight.data.type.getShape())
      return fail(name, "has another shape than its new weights, or its inputs "
                        "first, which " +
                            this->name() + " has not");
    if (!getScaleType(it->second.type.getElementType()))
      return fail(name, "has elements that scales cannot have");
    modules[weight.format().name.str()].push_back(module.str());
    formats[weight.format().name.str()] = &weight.format();
  }

  safetensors::Writer writer;
  for (const auto &entry : tensors) {
    StringRef name = entry.getKey();
    const safetensors::Tensor &tensor = entry.getValue();
    StringRef type = safetensors::getTypeName(tensor.type.getElementType());
    auto it = request.weights.find(name);
    if (it == request.weights.end()) {
      writer.add(name, type, tensor.type.getShape(),
                 tensor.file->bytes().slice(tensor.offset, tensor.size));
      continue;
    }
    const QuantizedWeight &weight = it->second;
    const BlockFormat &format = weight.format();
    int64_t rows = weight.rows(), columns = weight.columns(),
            groups = columns / format.group, words = columns * format.bits / 32;
    ScaleType scale = *getScaleType(tensor.type.getElementType());
    writer.add((name + "_packed").str(), "I32", {rows, words},
               uint64_t(rows * words * 4),
               [&weight] { return packCodes(weight); });
    writer.add((name + "_scale").str(), type, {rows, groups},
               uint64_t(rows * groups) * getScaleBytes(scale),
               [&weight, scale] { return packScales(weight, scale); });
    if (format.zeroBits) {
      int64_t zeroWords = getZeroWords(weight);
      writer.add((name + "_zero_point").str(), "I32", {zeroWords, groups},
                 uint64_t(zeroWords * groups * 4),
                 [&weight] { return packZeros(weight); });
    }
    writer.add((name + "_shape").str(), "I64", {2}, 16, [rows, columns] {
      std::string shape(16, '\0');
      support::endian::write64le(&shape[0], uint64_t(rows));
      support::endian::write64le(&shape[8], uint64_t(columns));
      return shape;
    });
  }

  json::Object groups;
  for (const auto &[format, names] : modules)
    groups["group_" + std::to_string(groups.size())] =
        json::Object{{"targets", json::Array(names)},
                     {"weights", describe(*formats[format])}};
  json::Object description{{"quant_method", "compressed-tensors"},
                           {"format", "pack-quantized"},
                           {"quantization_status", "compressed"},
                           {"config_groups", std::move(groups)},
                           {"ignore", json::Array()}};
  Expected<std::string> config =
      addToConfig(joinPath(request.source, "config.json"),
                  "quantization_config", std::move(description));
  if (!config)
    return config.takeError();

  NewFolder folder(request.output);
  if (Error error = folder.create())
    return std::move(error);
  if (std::error_code error = copyOthers(request.source, folder.path()))
    return folder.fail(error);
  std::string weights = joinPath(folder.path(), "model.safetensors");
  if (Error error =
          writeFile(weights, [&](raw_ostream &os) { writer.write(os); }))
    return std::move(error);
  if (Error error = writeFile(joinPath(folder.path(), "config.json"),
                              [&](raw_ostream &os) { os << *config; }))
    return std::move(error);
  uint64_t bytes = 0;
  if (std::error_code error = fs::file_size(weights, bytes))
    return folder.fail(error);
  if (Error error = folder.keep())
    return std::move(error);
  return bytes;
}

} // namespace

const Exporter &getCompressedTensorsExporter() {
  static const CompressedTensorsExporter exporter;
  return exporter;
}

} // namespace pare::exporting
