//===- OnnxFile.cpp - An ONNX file and its tensors ------------------------===//
#include "frontend/onnx/OnnxFile.h"
#include "frontend/Json.h"
#include "frontend/ir/Shape.h"
#include "frontend/onnx/Wire.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Path.h"
#include <climits>

using namespace mlir;
using onnx::TensorProto;

namespace pare::onnximport {

Type getElementType(int dataType, MLIRContext &context) {
  Builder b(&context);
  switch (dataType) {
  case TensorProto::FLOAT:
    return b.getF32Type();
  case TensorProto::DOUBLE:
    return b.getF64Type();
  case TensorProto::FLOAT16:
    return b.getF16Type();
  case TensorProto::BFLOAT16:
    return b.getBF16Type();
  case TensorProto::FLOAT8E4M3FN:
    return Float8E4M3FNType::get(&context);
  case TensorProto::FLOAT8E5M2:
    return Float8E5M2Type::get(&context);
  case TensorProto::BOOL:
    return b.getI1Type();
  case TensorProto::INT8:
    return b.getI8Type();
  case TensorProto::INT16:
    return b.getIntegerType(16);
  case TensorProto::INT32:
    return b.getI32Type();
  case TensorProto::INT64:
    return b.getI64Type();
  case TensorProto::UINT8:
    return b.getIntegerType(8, false);
  case TensorProto::UINT16:
    return b.getIntegerType(16, false);
  case TensorProto::UINT32:
    return b.getIntegerType(32, false);
  case TensorProto::UINT64:
    return b.getIntegerType(64, false);
  default:
    return {};
  }
}

bool isSupportedType(int dataType) {
  switch (dataType) {
  case TensorProto::FLOAT:
  case TensorProto::DOUBLE:
  case TensorProto::FLOAT16:
  case TensorProto::BFLOAT16:
  case TensorProto::FLOAT8E4M3FN:
  case TensorProto::FLOAT8E5M2:
  case TensorProto::BOOL:
  case TensorProto::INT8:
  case TensorProto::INT16:
  case TensorProto::INT32:
  case TensorProto::INT64:
  case TensorProto::UINT8:
  case TensorProto::UINT16:
  case TensorProto::UINT32:
  case TensorProto::UINT64:
    return true;
  default:
    return false;
  }
}

std::string getTypeName(int dataType) {
  if (!TensorProto::DataType_IsValid(dataType))
    return "type " + std::to_string(dataType);
  // The lite runtime has no names of enumerators.
  static constexpr llvm::StringLiteral names[] = {
      "undefined",    "float",    "uint8",      "int8",         "uint16",
      "int16",        "int32",    "int64",      "string",       "bool",
      "float16",      "double",   "uint32",     "uint64",       "complex64",
      "complex128",   "bfloat16", "float8e4m3", "float8e4m3uz", "float8e5m2",
      "float8e5m2uz", "uint4",    "int4",       "float4e2m1"};
  return size_t(dataType) < std::size(names)
             ? names[dataType].str()
             : "type " + std::to_string(dataType);
}

llvm::Expected<std::unique_ptr<OnnxFile>> OnnxFile::open(StringRef path) {
  llvm::Expected<std::shared_ptr<MappedFile>> mapped = MappedFile::open(path);
  if (!mapped)
    return mapped.takeError();
  llvm::Expected<std::string> reduced = copyWithoutWeights((*mapped)->bytes());
  if (!reduced)
    return llvm::createStringError(path + ": " +
                                   llvm::toString(reduced.takeError()));
  std::unique_ptr<OnnxFile> file(new OnnxFile());
  file->file_ = std::move(*mapped);
  if (reduced->size() > INT_MAX ||
      !file->model_.ParseFromArray(reduced->data(), int(reduced->size())))
    return llvm::createStringError(path + ": not an ONNX model");
  if (llvm::Error error = file->check())
    return error;
  return file;
}

llvm::Error OnnxFile::check() {
  auto fail = [&](const llvm::Twine &what) {
    return llvm::createStringError(path() + ": " + what);
  };
  if (!model_.has_graph())
    return fail("not a whole ONNX model: it has no graph");
  for (const onnx::OperatorSetIdProto &set : model_.opset_import())
    if (set.domain().empty() || set.domain() == "ai.onnx") {
      if (set.version() > kMaxOpset)
        return fail("needs ONNX opset " + llvm::Twine(set.version()) +
                    ", newer than " + llvm::Twine(int(kMaxOpset)) +
                    "; convert it with onnx.version_converter");
      if (set.version() < kMinOpset)
        return fail("has the ONNX opset " + llvm::Twine(set.version()) +
                    ", older than " + llvm::Twine(int(kMinOpset)) +
                    "; convert it with onnx.version_converter");
      opset_ = int(set.version());
    }
  if (!opset_)
    return fail("not a whole ONNX model: it names no opset");
  if (model_.graph().node().empty() && model_.graph().output().empty())
    return fail("its graph is empty");
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// Copies a typed field; each value is cut to the element's size.
template <typename Field>
static bool copyField(const Field &field, uint64_t count, unsigned bytes,
                      std::vector<uint8_t> &out) {
  if (uint64_t(field.size()) != count)
    return false;
  out.resize(count * bytes);
  for (uint64_t i = 0; i < count; ++i) {
    auto value = field.Get(int(i));
    uint64_t bits;
    if constexpr (std::is_same_v<decltype(value), float>)
      bits = llvm::bit_cast<uint32_t>(value);
    else if constexpr (std::is_same_v<decltype(value), double>)
      bits = llvm::bit_cast<uint64_t>(value);
    else
      bits = uint64_t(value);
    for (unsigned b = 0; b < bytes; ++b)
      out[i * bytes + b] = uint8_t(bits >> (8 * b));
  }
  return true;
}

/// The field that holds values of a type (onnx.proto, TensorProto).
static bool copyTyped(const TensorProto &tensor, uint64_t count, unsigned bytes,
                      std::vector<uint8_t> &out) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return copyField(tensor.float_data(), count, bytes, out);
  case TensorProto::DOUBLE:
    return copyField(tensor.double_data(), count, bytes, out);
  case TensorProto::INT64:
    return copyField(tensor.int64_data(), count, bytes, out);
  case TensorProto::UINT32:
  case TensorProto::UINT64:
    return copyField(tensor.uint64_data(), count, bytes, out);
  default:
    return copyField(tensor.int32_data(), count, bytes, out);
  }
}

llvm::Error OnnxFile::readExternal(const TensorProto &tensor, StringRef what,
                                   uint64_t size, TensorBytes &bytes) {
  auto fail = [&](const llvm::Twine &why) {
    return llvm::createStringError(what + " " + why);
  };
  std::string location;
  bytes.size = size;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef value = entry.value();
    if (entry.key() == "location") {
      location = value.str();
    } else if (entry.key() == "offset") {
      if (value.getAsInteger(10, bytes.offset))
        return fail("has the external offset '" + value +
                    "', which is not a number");
    } else if (entry.key() == "length") {
      uint64_t length;
      if (value.getAsInteger(10, length) || length != size)
        return fail("has the external length '" + value +
                    "', but its shape and type need " + llvm::Twine(size));
    }
  }
  std::shared_ptr<MappedFile> &file = external_[location];
  if (!file) {
    llvm::Expected<std::string> full =
        resolveInside(llvm::sys::path::parent_path(path()), location, what);
    if (!full)
      return full.takeError();
    llvm::Expected<std::shared_ptr<MappedFile>> mapped =
        MappedFile::open(*full);
    if (!mapped)
      return mapped.takeError();
    file = std::move(*mapped);
  }
  bytes.file = file;
  return file->range(bytes.offset, size, what).takeError();
}

llvm::Expected<TensorBytes> OnnxFile::read(const TensorProto &tensor,
                                           StringRef what,
                                           MLIRContext &context) {
  auto fail = [&](const llvm::Twine &why) {
    return llvm::createStringError(what + " " + why);
  };
  Type element = getElementType(tensor.data_type(), context);
  if (!element)
    return fail("has the element type " + getTypeName(tensor.data_type()) +
                ", which is not supported");
  SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
  if (llvm::any_of(shape, [](int64_t dim) { return dim < 0; }))
    return fail("has a negative dimension");
  std::optional<uint64_t> size = getTensorBytes(shape, element);
  if (!size)
    return fail("has more bytes than any memory");
  TensorBytes bytes;
  bytes.type = RankedTensorType::get(shape, element);
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    if (llvm::Error error = readExternal(tensor, what, *size, bytes))
      return error;
    return bytes;
  }
  if (tensor.has_raw_data()) {
    std::optional<RawLocation> raw = readRawLocation(tensor.raw_data());
    if (!raw || raw->size != *size)
      return fail("has " + llvm::Twine(raw ? raw->size : 0) +
                  " bytes of data, but its shape and type need " +
                  llvm::Twine(*size));
    bytes.file = file_;
    bytes.offset = raw->offset;
    bytes.size = raw->size;
    if (llvm::Error error =
            file_->range(raw->offset, raw->size, what).takeError())
      return error;
    return bytes;
  }
  unsigned width = nn::getElementBytes(element);
  if (!copyTyped(tensor, *size / width, width, bytes.owned))
    return fail("does not have the " + llvm::Twine(*size / width) +
                " values that its shape needs");
  return bytes;
}

} // namespace pare::onnximport
