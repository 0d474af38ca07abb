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

  llvm::ArrayRef<uint8_t> file_;
  uint64_t at_ = 0;
  std::string error_;
};

bool Copier::copy(Message message, uint64_t end, std::string &out) {
  while (at_ < end) {
    uint64_t start = at_, tag, length = 0;
    if (!readVarint(end, tag))
      return false;
    uint64_t field = tag >> 3;
    if (field == 0)
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

} // namespace pare::onnximport
