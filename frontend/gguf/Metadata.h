//===- Metadata.h - Keys and values of GGUF files ---------------*- C++ -*-===//
#ifndef PARE_FRONTEND_GGUF_METADATA_H
#define PARE_FRONTEND_GGUF_METADATA_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace pare::gguf {

/// The format's own numbers.
enum class ValueType : uint32_t {
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  Bool,
  String,
  Array,
  U64,
  I64,
  F64,
};

/// "u8", …, "f64".
llvm::StringRef getName(ValueType type);

/// A value as the file has it: a view that was checked when it was read, so
/// that accessors cannot run past its end. They give nullopt where the value
/// is of another kind.
class Value {
public:
  /// Reads a value of `type` from the front of `bytes` and drops it from them;
  /// nullopt where it does not fit, has an unknown type or nests too deep.
  static std::optional<Value> read(ValueType type,
                                   llvm::ArrayRef<uint8_t> &bytes);

  ValueType type() const { return type_; }
  /// What the file holds after the type's number.
  llvm::ArrayRef<uint8_t> bytes() const { return bytes_; }

  /// Any integer type that fits, and bools.
  std::optional<int64_t> getInteger() const;
  /// Any number.
  std::optional<double> getNumber() const;
  std::optional<bool> getBool() const;
  std::optional<llvm::StringRef> getString() const;

  bool isArray() const { return type_ == ValueType::Array; }
  /// Of an array; asserts that it is one.
  ValueType elementType() const;
  uint64_t size() const;
  /// The elements of an array, in time and memory proportional to its bytes.
  std::vector<Value> elements() const;
  /// The same as text or numbers; nullopt where one is of another kind.
  std::optional<std::vector<llvm::StringRef>> getStrings() const;
  std::optional<std::vector<int64_t>> getIntegers() const;
  std::optional<std::vector<double>> getNumbers() const;

  /// For people, on one line: long text and arrays are cut.
  std::string print() const;

private:
  Value(ValueType type, llvm::ArrayRef<uint8_t> bytes)
      : type_(type), bytes_(bytes) {}

  ValueType type_;
  llvm::ArrayRef<uint8_t> bytes_;
};

/// The metadata of a file, in its order. Errors name file and key.
class Metadata {
public:
  explicit Metadata(std::string path) : path_(std::move(path)) {}

  llvm::StringRef path() const { return path_; }
  /// False where the key is there already.
  bool add(llvm::StringRef key, Value value);

  struct Entry {
    llvm::StringRef key;
    Value value;
  };
  llvm::ArrayRef<Entry> entries() const { return entries_; }
  const Value *find(llvm::StringRef key) const;

  /// A required integer in [min, max].
  llvm::Expected<int64_t> getInteger(llvm::StringRef key, int64_t min,
                                     int64_t max) const;
  /// `fallback` where the key is absent.
  llvm::Expected<int64_t> getInteger(llvm::StringRef key, int64_t min,
                                     int64_t max, int64_t fallback) const;
  llvm::Expected<double> getNumber(llvm::StringRef key) const;
  llvm::Expected<double> getNumber(llvm::StringRef key, double fallback) const;
  llvm::Expected<bool> getBool(llvm::StringRef key, bool fallback) const;
  llvm::Expected<llvm::StringRef> getString(llvm::StringRef key) const;
  llvm::Expected<llvm::StringRef> getString(llvm::StringRef key,
                                            llvm::StringRef fallback) const;
  /// Empty where the key is absent.
  llvm::Expected<std::vector<llvm::StringRef>>
  getStrings(llvm::StringRef key) const;
  llvm::Expected<std::vector<int64_t>> getIntegers(llvm::StringRef key) const;
  llvm::Expected<std::vector<double>> getNumbers(llvm::StringRef key) const;

private:
  llvm::Error missing(llvm::StringRef key) const;
  llvm::Error mismatch(llvm::StringRef key, const llvm::Twine &wanted) const;
  template <typename T>
  llvm::Expected<T> require(llvm::StringRef key, llvm::StringRef wanted,
                            std::optional<T> (Value::*get)() const) const;

  std::string path_;
  std::vector<Entry> entries_;
  llvm::StringMap<size_t> index_;
};

} // namespace pare::gguf

#endif
