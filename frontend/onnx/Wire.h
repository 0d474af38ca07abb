//===- Wire.h - ONNX files without their weights ----------------*- C++ -*-===//
//
// A model's weights stay in the mapped file. The protobuf wire format
// (https://protobuf.dev/programming-guides/encoding) is walked first and copied
// without the weights' bytes, so that protobuf parses a message of a few
// hundred kilobytes whatever the model's size, its own 2 GB limit included.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_ONNX_WIRE_H
#define PARE_FRONTEND_ONNX_WIRE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace pare::onnximport {

/// Where the bytes of a tensor are in the file.
struct RawLocation {
  uint64_t offset = 0, size = 0;
};

/// A copy of the ModelProto in `file` in which `raw_data` of every initializer
/// and every attribute tensor of the main graph holds its location in the file
/// in place of the bytes. An error names the offset of the damage.
llvm::Expected<std::string> copyWithoutWeights(llvm::ArrayRef<uint8_t> file);

/// The location that `copyWithoutWeights` wrote into a raw_data field.
std::optional<RawLocation> readRawLocation(llvm::StringRef rawData);

/// A field of a message in the wire format, in place.
struct WireField {
  uint64_t number;
  llvm::ArrayRef<uint8_t> whole; ///< tag, length and value
  llvm::ArrayRef<uint8_t> value; ///< of a field with a length; else empty
};

/// The fields of a message, in order; an error names the offset of the damage.
llvm::Expected<std::vector<WireField>>
splitFields(llvm::ArrayRef<uint8_t> message);

/// Appends a field with a length.
void appendField(std::string &out, uint64_t number, llvm::StringRef value);
/// The tag and length that go before the `size` bytes of such a field.
std::string makeFieldHeader(uint64_t number, uint64_t size);

} // namespace pare::onnximport

#endif
