//===- Metadata.cpp - Keys and values of GGUF files -----------------------===//
#include "frontend/gguf/Metadata.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace endian = llvm::support::endian;

namespace pare::gguf {

static constexpr uint32_t numTypes = uint32_t(ValueType::F64) + 1;
static constexpr unsigned maxNesting = 16;

llvm::StringRef getName(ValueType type) {
  static constexpr llvm::StringLiteral names[numTypes] = {
      "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
      "bool", "string", "array", "u64", "i64", "f64"};
  return uint32_t(type) < numTypes ? llvm::StringRef(names[uint32_t(type)])
                                   : "unknown";
}

/// Bytes of a number; 0 for strings and arrays.
static unsigned getWidth(ValueType type) {
  switch (type) {
  case ValueType::U8:
  case ValueType::I8:
  case ValueType::Bool:
    return 1;
  case ValueType::U16:
  case ValueType::I16:
    return 2;
  case ValueType::U32:
  case ValueType::I32:
  case ValueType::F32:
    return 4;
  case ValueType::U64:
  case ValueType::I64:
  case ValueType::F64:
    return 8;
  case ValueType::String:
  case ValueType::Array:
    return 0;
  }
  llvm_unreachable("a type of values without a width");
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// The bytes that a value of `type` at the front of `bytes` takes.
static std::optional<uint64_t>
measure(ValueType type, llvm::ArrayRef<uint8_t> bytes, unsigned nesting) {
  if (uint32_t(type) >= numTypes)
    return std::nullopt;
  if (unsigned width = getWidth(type))
    return width <= bytes.size() ? std::optional<uint64_t>(width)
                                 : std::nullopt;
  if (type == ValueType::String) {
    if (bytes.size() < 8)
      return std::nullopt;
    uint64_t length = endian::read64le(bytes.data());
    return length <= bytes.size() - 8 ? std::optional<uint64_t>(8 + length)
                                      : std::nullopt;
  }
  if (bytes.size() < 12 || nesting == maxNesting)
    return std::nullopt;
  auto element = ValueType(endian::read32le(bytes.data()));
  uint64_t count = endian::read64le(bytes.data() + 4), size = 12;
  if (uint32_t(element) >= numTypes)
    return std::nullopt;
  if (unsigned width = getWidth(element))
    return count <= (bytes.size() - size) / width
               ? std::optional<uint64_t>(size + count * width)
               : std::nullopt;
  // Every element takes bytes, so that the loop ends with them.
  for (; count > 0; --count) {
    std::optional<uint64_t> next =
        measure(element, bytes.drop_front(size), nesting + 1);
    if (!next)
      return std::nullopt;
    size += *next;
  }
  return size;
}

std::optional<Value> Value::read(ValueType type,
                                 llvm::ArrayRef<uint8_t> &bytes) {
  std::optional<uint64_t> size = measure(type, bytes, 0);
  if (!size)
    return std::nullopt;
  Value value(type, bytes.take_front(*size));
  bytes = bytes.drop_front(*size);
  return value;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

std::optional<int64_t> Value::getInteger() const {
  const uint8_t *p = bytes_.data();
  switch (type_) {
  case ValueType::U8:
    return *p;
  case ValueType::Bool:
    return *p != 0;
  case ValueType::I8:
    return int8_t(*p);
  case ValueType::U16:
    return endian::read16le(p);
  case ValueType::I16:
    return int16_t(endian::read16le(p));
  case ValueType::U32:
    return endian::read32le(p);
  case ValueType::I32:
    return int32_t(endian::read32le(p));
  case ValueType::U64:
    if (endian::read64le(p) > uint64_t(INT64_MAX))
      return std::nullopt;
    [[fallthrough]];
  case ValueType::I64:
    return int64_t(endian::read64le(p));
  default:
    return std::nullopt;
  }
}

std::optional<double> Value::getNumber() const {
  if (type_ == ValueType::F32)
    return llvm::bit_cast<float>(endian::read32le(bytes_.data()));
  if (type_ == ValueType::F64)
    return llvm::bit_cast<double>(endian::read64le(bytes_.data()));
  if (std::optional<int64_t> integer = getInteger())
    return double(*integer);
  return std::nullopt;
}

std::optional<bool> Value::getBool() const {
  if (type_ != ValueType::Bool)
    return std::nullopt;
  return bytes_[0] != 0;
}

std::optional<llvm::StringRef> Value::getString() const {
  if (type_ != ValueType::String)
    return std::nullopt;
  return llvm::toStringRef(bytes_.drop_front(8));
}

ValueType Value::elementType() const {
  assert(isArray() && "only arrays have elements");
  return ValueType(endian::read32le(bytes_.data()));
}

uint64_t Value::size() const {
  assert(isArray() && "only arrays have elements");
  return endian::read64le(bytes_.data() + 4);
}

std::vector<Value> Value::elements() const {
  std::vector<Value> values;
  llvm::ArrayRef<uint8_t> rest = bytes_.drop_front(12);
  values.reserve(size());
  for (uint64_t i = 0, e = size(); i < e; ++i)
    values.push_back(*read(elementType(), rest));
  return values;
}

/// The elements of an array by one of their accessors.
template <typename T>
static std::optional<std::vector<T>>
getAll(const Value &array, std::optional<T> (Value::*get)() const) {
  if (!array.isArray())
    return std::nullopt;
  std::vector<T> all;
  for (const Value &value : array.elements()) {
    std::optional<T> element = (value.*get)();
    if (!element)
      return std::nullopt;
    all.push_back(*element);
  }
  return all;
}

std::optional<std::vector<llvm::StringRef>> Value::getStrings() const {
  return getAll(*this, &Value::getString);
}

std::optional<std::vector<int64_t>> Value::getIntegers() const {
  return getAll(*this, &Value::getInteger);
}

std::optional<std::vector<double>> Value::getNumbers() const {
  return getAll(*this, &Value::getNumber);
}

/// Text in quotes: control characters escaped, all bytes beyond ASCII where
/// they are not UTF-8.
static void printText(llvm::StringRef text, llvm::raw_ostream &stream) {
  constexpr size_t maxText = 60;
  llvm::StringRef head = text.take_front(maxText);
  // Not within a character.
  while (head.size() < text.size() && !head.empty() &&
         (uint8_t(text[head.size()]) & 0xc0) == 0x80)
    head = head.drop_back();
  bool isUtf8 = llvm::json::isUTF8(head);
  stream << '"';
  for (char c : head)
    if (isUtf8 && uint8_t(c) >= 0x80)
      stream << c;
    else
      llvm::printEscapedString(llvm::StringRef(&c, 1), stream);
  stream << (head.size() < text.size() ? "…\"" : "\"");
}

std::string Value::print() const {
  constexpr size_t maxElements = 6;
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (std::optional<llvm::StringRef> string = getString()) {
    printText(*string, stream);
  } else if (isArray()) {
    stream << size() << " x " << getName(elementType()) << " [";
    llvm::ArrayRef<uint8_t> rest = bytes_.drop_front(12);
    for (uint64_t i = 0, e = std::min<uint64_t>(size(), maxElements); i < e;
         ++i)
      stream << (i ? ", " : "") << read(elementType(), rest)->print();
    stream << (size() > maxElements ? ", …]" : "]");
  } else if (type_ == ValueType::Bool) {
    stream << (*getBool() ? "true" : "false");
  } else if (type_ == ValueType::F32 || type_ == ValueType::F64) {
    stream << llvm::format("%.9g", *getNumber());
  } else if (type_ == ValueType::U64) {
    stream << endian::read64le(bytes_.data());
  } else {
    stream << *getInteger();
  }
  return text;
}

//===----------------------------------------------------------------------===//
// Metadata
//===----------------------------------------------------------------------===//

bool Metadata::add(llvm::StringRef key, Value value) {
  if (!index_.try_emplace(key, entries_.size()).second)
    return false;
  entries_.push_back({key, value});
  return true;
}

const Value *Metadata::find(llvm::StringRef key) const {
  auto it = index_.find(key);
  return it == index_.end() ? nullptr : &entries_[it->second].value;
}

llvm::Error Metadata::missing(llvm::StringRef key) const {
  return llvm::createStringError(path_ + ": metadata key '" + key +
                                 "' is missing");
}

llvm::Error Metadata::mismatch(llvm::StringRef key,
                               const llvm::Twine &wanted) const {
  const Value *value = find(key);
  return llvm::createStringError(path_ + ": metadata key '" + key +
                                 "' must be " + wanted + ", not " +
                                 getName(value->type()) + " " + value->print());
}

template <typename T>
llvm::Expected<T> Metadata::require(llvm::StringRef key, llvm::StringRef wanted,
                                    std::optional<T> (Value::*get)()
                                        const) const {
  const Value *value = find(key);
  if (!value)
    return missing(key);
  if (std::optional<T> result = (value->*get)())
    return std::move(*result);
  return mismatch(key, wanted);
}

llvm::Expected<int64_t> Metadata::getInteger(llvm::StringRef key, int64_t min,
                                             int64_t max) const {
  const Value *value = find(key);
  if (!value)
    return missing(key);
  std::optional<int64_t> integer = value->getInteger();
  if (!integer || *integer < min || *integer > max)
    return mismatch(key, "an integer from " + llvm::Twine(min) + " to " +
                             llvm::Twine(max));
  return *integer;
}

llvm::Expected<int64_t> Metadata::getInteger(llvm::StringRef key, int64_t min,
                                             int64_t max,
                                             int64_t fallback) const {
  return find(key) ? getInteger(key, min, max) : fallback;
}

llvm::Expected<double> Metadata::getNumber(llvm::StringRef key) const {
  return require(key, "a number", &Value::getNumber);
}

llvm::Expected<double> Metadata::getNumber(llvm::StringRef key,
                                           double fallback) const {
  return find(key) ? getNumber(key) : fallback;
}

llvm::Expected<bool> Metadata::getBool(llvm::StringRef key,
                                       bool fallback) const {
  return find(key) ? require(key, "a bool", &Value::getBool) : fallback;
}

llvm::Expected<llvm::StringRef> Metadata::getString(llvm::StringRef key) const {
  return require(key, "a string", &Value::getString);
}

llvm::Expected<llvm::StringRef>
Metadata::getString(llvm::StringRef key, llvm::StringRef fallback) const {
  return find(key) ? getString(key) : fallback;
}

llvm::Expected<std::vector<llvm::StringRef>>
Metadata::getStrings(llvm::StringRef key) const {
  if (!find(key))
    return std::vector<llvm::StringRef>();
  return require(key, "an array of strings", &Value::getStrings);
}

llvm::Expected<std::vector<int64_t>>
Metadata::getIntegers(llvm::StringRef key) const {
  if (!find(key))
    return std::vector<int64_t>();
  return require(key, "an array of integers", &Value::getIntegers);
}

llvm::Expected<std::vector<double>>
Metadata::getNumbers(llvm::StringRef key) const {
  if (!find(key))
    return std::vector<double>();
  return require(key, "an array of numbers", &Value::getNumbers);
}

} // namespace pare::gguf
