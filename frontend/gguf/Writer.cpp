//===- Writer.cpp - Writing GGUF files ------------------------------------===//
#include "frontend/gguf/Writer.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

namespace endian = llvm::support::endian;
using llvm::ArrayRef;
using llvm::StringRef;

namespace pare::gguf {

template <typename T> static void append(std::string &out, T value) {
  char bytes[sizeof(T)];
  endian::write<T, llvm::endianness::little>(bytes, value);
  out.append(bytes, sizeof(T));
}

static void append(std::string &out, StringRef text) {
  append<uint64_t>(out, text.size());
  out.append(text.data(), text.size());
}

void Writer::addKey(StringRef key, ValueType type) {
  append(metadata_, key);
  append(metadata_, uint32_t(type));
  hasAlignment_ |= key == "general.alignment";
  ++numKeys_;
}

void Writer::addValue(StringRef key, const Value &value) {
  addKey(key, value.type());
  metadata_ += llvm::toStringRef(value.bytes());
}

void Writer::addString(StringRef key, StringRef value) {
  addKey(key, ValueType::String);
  append(metadata_, value);
}

void Writer::addU32(StringRef key, uint32_t value) {
  addKey(key, ValueType::U32);
  append(metadata_, value);
}

void Writer::addF32(StringRef key, float value) {
  addKey(key, ValueType::F32);
  append(metadata_, value);
}

void Writer::addBool(StringRef key, bool value) {
  addKey(key, ValueType::Bool);
  append(metadata_, uint8_t(value));
}

/// Element type, count, elements.
template <typename T>
static void appendArray(std::string &out, ValueType type, ArrayRef<T> values) {
  append(out, uint32_t(type));
  append<uint64_t>(out, values.size());
  for (const T &value : values)
    append(out, value);
}

void Writer::addStrings(StringRef key, ArrayRef<StringRef> values) {
  addKey(key, ValueType::Array);
  appendArray(metadata_, ValueType::String, values);
}

void Writer::addI32s(StringRef key, ArrayRef<int32_t> values) {
  addKey(key, ValueType::Array);
  appendArray(metadata_, ValueType::I32, values);
}

void Writer::addF32s(StringRef key, ArrayRef<float> values) {
  addKey(key, ValueType::Array);
  appendArray(metadata_, ValueType::F32, values);
}

void Writer::addTensor(StringRef name, const TensorType &type,
                       ArrayRef<int64_t> shape, Payload payload) {
  std::optional<uint64_t> size = type.getBytes(shape);
  assert(size && shape.size() <= 4 && "not a shape of this type");
  tensors_.push_back({name.str(), &type, llvm::SmallVector<int64_t, 4>(shape),
                      *size, std::move(payload)});
}

void Writer::addTensor(StringRef name, const TensorType &type,
                       ArrayRef<int64_t> shape, ArrayRef<uint8_t> bytes) {
  assert(type.getBytes(shape) == bytes.size() && "not a tensor's bytes");
  addTensor(name, type, shape, [bytes](llvm::raw_ostream &stream) {
    stream << llvm::toStringRef(bytes);
    return llvm::Error::success();
  });
}

llvm::Error Writer::write(llvm::raw_ostream &stream) const {
  assert(llvm::isPowerOf2_32(alignment_) && "not an alignment");
  bool addsAlignment = alignment_ != 32 && !hasAlignment_;
  std::string header = "GGUF";
  append<uint32_t>(header, 3);
  append<uint64_t>(header, tensors_.size());
  append<uint64_t>(header, numKeys_ + addsAlignment);
  header += metadata_;
  if (addsAlignment) {
    append(header, StringRef("general.alignment"));
    append(header, uint32_t(ValueType::U32));
    append(header, alignment_);
  }
  uint64_t offset = 0;
  for (const Entry &tensor : tensors_) {
    append(header, StringRef(tensor.name));
    append(header, uint32_t(tensor.shape.size()));
    for (int64_t dim : llvm::reverse(tensor.shape))
      append(header, uint64_t(dim));
    append(header, tensor.type->id);
    append(header, offset);
    offset += llvm::alignTo(tensor.size, alignment_);
  }
  stream << header;
  auto pad = [&](uint64_t size) {
    for (uint64_t rest = llvm::alignTo(size, alignment_) - size; rest > 0;) {
      unsigned count = unsigned(std::min<uint64_t>(rest, 64));
      stream.write_zeros(count);
      rest -= count;
    }
  };
  pad(header.size());
  for (const Entry &tensor : tensors_) {
    [[maybe_unused]] uint64_t begin = stream.tell();
    if (llvm::Error error = tensor.payload(stream))
      return error;
    assert(stream.tell() - begin == tensor.size && "not a tensor's bytes");
    pad(tensor.size);
  }
  return llvm::Error::success();
}

/// Takes the error out of a file's stream, where it would be fatal in the end.
static std::error_code takeError(llvm::raw_ostream &stream) {
  if (stream.get_kind() != llvm::raw_ostream::OStreamKind::OK_FDStream)
    return {};
  auto &file = static_cast<llvm::raw_fd_ostream &>(stream);
  file.flush();
  std::error_code error = file.error();
  file.clear_error();
  return error;
}

llvm::Error Writer::write(StringRef path) const {
  return llvm::writeToOutput(
      path, [&](llvm::raw_ostream &stream) -> llvm::Error {
        llvm::Error error = write(stream);
        std::error_code failure = takeError(stream);
        if (error || !failure)
          return error;
        return llvm::createStringError("cannot write '" + path +
                                       "': " + failure.message());
      });
}

} // namespace pare::gguf
