//===- Wire.cpp - ONNX files without their weights ------------------------===//
#include "frontend/onnx/Wire.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"

namespace pare::onnximport {
namespace {

constexpr size_t kLocationBytes = 16;

enum WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// The messages that lead to weights, and their field numbers (onnx.proto).
enum class Message { Model, Graph, Node, Attribute, Tensor };

std::optional<Message> getSubmessage(Message message, uint64_t field) {
  switch (message) {
  case Message::Model:
    return field == 7 ? std::optional(Message::Graph) : std::nullopt;
  case Message::Graph:
    return field == 1   ? std::optional(Message::Node)
           : field == 5 ? std::optional(Message::Tensor)
                        : std::nullopt;
  case Message::Node:
    return field == 5 ? std::optional(Message::Attribute) : std::nullopt;
  case Message::Attribute:
    return field == 5 ? std::optional(Message::Tensor) : std::nullopt;
  case Message::Tensor:
    return std::nullopt;
  }
  llvm_unreachable("unknown message");
}

constexpr uint64_t kRawDataField = 9; // of TensorProto

void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(char(value | 0x80));
  out.push_back(char(value));
}

class Copier {
public:
  explicit Copier(llvm::ArrayRef<uint8_t> file) : file_(file) {}

  /// Copies the message in [at_, end).
  bool copy(Message message, uint64_t end, std::string &out);
  /// Lists the fields of the message in [at_, end).
  bool split(uint64_t end, std::vector<WireField> &fields);
  llvm::Error takeError() const {
    return llvm::createStringError("not a whole ONNX file: " + error_ +
                                   " at offset " + llvm::Twine(at_));
  }

private:
  bool fail(const char *what) {
    error_ = what;
    return false;
  }
  bool readVarint(uint64_t end, uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ >= end)
        return fail("it ends inside a number");
      uint8_t byte = file_[at_++];
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80)
        return true;
    }
    return fail("a number is too long");
  }

  /// A field's tag and the bytes of its value, which fit before `end` and
  /// begin at at_; of a varint, read already, none are left.
  bool readHeader(uint64_t end, uint64_t &tag, uint64_t &length);

  llvm::ArrayRef<uint8_t> file_;
  uint64_t at_ = 0;
  std::string error_;
};

bool Copier::readHeader(uint64_t end, uint64_t &tag, uint64_t &length) {
  length = 0;
  if (!readVarint(end, tag))
    return false;
  if (tag >> 3 == 0)
    return fail("there is no field");
  switch (tag & 7) {
  case Varint:
    if (!readVarint(end, length))
      return false;
    length = 0;
    break;
  case Fixed64:
    length = 8;
    break;
  case Fixed32:
    length = 4;
    break;
  case Bytes:
    if (!readVarint(end, length))
      return false;
    break;
  default:
    return fail("a field has an unknown encoding");
  }
  if (length > end - at_)
    return fail("a field is longer than the message that holds it");
  return true;
}

bool Copier::split(uint64_t end, std::vector<WireField> &fields) {
  while (at_ < end) {
    uint64_t start = at_, tag, length;
    if (!readHeader(end, tag, length))
      return false;
    bool isBytes = (tag & 7) == Bytes;
    fields.push_back({tag >> 3, file_.slice(start, at_ + length - start),
                      file_.slice(at_, isBytes ? length : 0)});
    at_ += length;
  }
  return true;
}

bool Copier::copy(Message message, uint64_t end, std::string &out) {
  while (at_ < end) {
    uint64_t start = at_, tag, length;
    if (!readHeader(end, tag, length))
      return false;
    uint64_t field = tag >> 3;
    bool isBytes = (tag & 7) == Bytes;
    if (std::optional<Message> inner = getSubmessage(message, field);
        inner && isBytes) {
      std::string reduced;
      if (!copy(*inner, at_ + length, reduced))
        return false;
      appendVarint(out, tag);
      appendVarint(out, reduced.size());
      out += reduced;
      continue;
    }
    if (message == Message::Tensor && field == kRawDataField && isBytes) {
      char location[kLocationBytes];
      llvm::support::endian::write64le(location, at_);
      llvm::support::endian::write64le(location + 8, length);
      appendVarint(out, tag);
      appendVarint(out, kLocationBytes);
      out.append(location, kLocationBytes);
    } else {
      out += llvm::toStringRef(file_.slice(start, at_ + length - start));
    }
    at_ += length;
  }
  return true;
}

} // namespace

llvm::Expected<std::string> copyWithoutWeights(llvm::ArrayRef<uint8_t> file) {
  Copier copier(file);
  std::string out;
  if (!copier.copy(Message::Model, file.size(), out))
    return copier.takeError();
  return out;
}

std::optional<RawLocation> readRawLocation(llvm::StringRef rawData) {
  if (rawData.size() != kLocationBytes)
    return std::nullopt;
  return RawLocation{llvm::support::endian::read64le(rawData.data()),
                     llvm::support::endian::read64le(rawData.data() + 8)};
}

llvm::Expected<std::vector<WireField>>
splitFields(llvm::ArrayRef<uint8_t> message) {
  Copier copier(message);
  std::vector<WireField> fields;
  if (!copier.split(message.size(), fields))
    return copier.takeError();
  return fields;
}

std::string makeFieldHeader(uint64_t number, uint64_t size) {
  std::string header;
  appendVarint(header, number << 3 | Bytes);
  appendVarint(header, size);
  return header;
}

void appendField(std::string &out, uint64_t number, llvm::StringRef value) {
  out += makeFieldHeader(number, value.size());
  out += value;
}

} // namespace pare::onnximport
