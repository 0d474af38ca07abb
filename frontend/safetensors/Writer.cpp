//===- Writer.cpp - Writing safetensors files -----------------------------===//
#include "frontend/safetensors/Writer.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace pare::safetensors {

StringRef getTypeName(mlir::Type element) {
  if (auto type = mlir::dyn_cast<mlir::FloatType>(element)) {
    if (type.isF64())
      return "F64";
    if (type.isF32())
      return "F32";
    if (type.isF16())
      return "F16";
    if (type.isBF16())
      return "BF16";
    if (mlir::isa<mlir::Float8E4M3FNType>(type))
      return "F8_E4M3";
    if (mlir::isa<mlir::Float8E5M2Type>(type))
      return "F8_E5M2";
    return "";
  }
  bool isUnsigned = element.isUnsignedInteger();
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return "BOOL";
  case 8:
    return isUnsigned ? "U8" : "I8";
  case 16:
    return isUnsigned ? "U16" : "I16";
  case 32:
    return isUnsigned ? "U32" : "I32";
  case 64:
    return isUnsigned ? "U64" : "I64";
  default:
    return "";
  }
}

/// Bytes of an element: "BF16", "F8_E4M3", "BOOL".
static unsigned getBytes(StringRef type) {
  if (type.ends_with("64"))
    return 8;
  if (type.ends_with("32"))
    return 4;
  return type.ends_with("16") ? 2 : 1;
}

void Writer::add(StringRef name, StringRef type, ArrayRef<int64_t> shape,
                 uint64_t size, Payload payload) {
  entries.push_back({name.str(),
                     type.str(),
                     SmallVector<int64_t>(shape),
                     size,
                     {},
                     std::move(payload)});
}

void Writer::add(StringRef name, StringRef type, ArrayRef<int64_t> shape,
                 ArrayRef<uint8_t> bytes) {
  entries.push_back({name.str(),
                     type.str(),
                     SmallVector<int64_t>(shape),
                     bytes.size(),
                     bytes,
                     {}});
}

void Writer::write(raw_ostream &stream) {
  llvm::sort(entries, [](const Entry &a, const Entry &b) {
    unsigned x = getBytes(a.type), y = getBytes(b.type);
    return x != y ? x > y : a.name < b.name;
  });
  // transformers refuses files that do not say of whom they are.
  json::Object header{{"__metadata__", json::Object{{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const Entry &entry : entries) {
    header[entry.name] = json::Object{
        {"dtype", entry.type},
        {"shape", json::Array(entry.shape)},
        {"data_offsets", json::Array{offset, offset + entry.size}}};
    offset += entry.size;
  }
  std::string text;
  raw_string_ostream(text) << json::Value(std::move(header));
  text.resize(alignTo(text.size(), 8), ' ');
  char size[8];
  support::endian::write64le(size, text.size());
  stream << StringRef(size, sizeof size) << text;
  for (const Entry &entry : entries) {
    if (!entry.payload) {
      stream << toStringRef(entry.bytes);
      continue;
    }
    std::string bytes = entry.payload();
    assert(bytes.size() == entry.size && "not a tensor's bytes");
    stream << bytes;
  }
}

} // namespace pare::safetensors
