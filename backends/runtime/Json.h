//===- Json.h - Values, their memory, and JSON to values --------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_JSON_H
#define PARE_BACKENDS_RUNTIME_JSON_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Memory that is given back all at once, from address space of a fixed size
/// that is committed as it is touched.
class Arena {
public:
  Arena() = default;
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  ~Arena() { unmapPages(base, limit); }

  /// Once, before the first `take`. False without address space.
  bool reserve(uint64_t bytes);
  /// Bytes aligned to 8; null when the arena is full.
  void *take(uint64_t bytes);
  /// Makes what `take` returned last smaller.
  void shrink(void *last, uint64_t bytes) {
    used = uint64_t(static_cast<char *>(last) - base) + bytes;
  }
  /// Makes what ends at `end` longer, if it was taken last.
  bool extend(const char *end, uint64_t bytes) {
    if (end != base + used || bytes > left())
      return false;
    used += bytes;
    return true;
  }
  template <typename T> T *array(uint64_t count) {
    return static_cast<T *>(take(count * sizeof(T)));
  }
  uint64_t left() const { return limit - used; }

private:
  char *base = nullptr;
  uint64_t limit = 0, used = 0;
};

enum class Kind : uint8_t {
  None, ///< JSON's null
  Bool,
  Int,
  Float,
  String,
  List,
  Dict,
  // What only chat templates have (ChatValue.h).
  Tuple,
  Undefined,
  Namespace,
  Loop,
  Macro,
  Function,
  Method,
};

struct DictEntry;

/// A value of JSON. What it refers to lies in an arena, or in the text that it
/// was parsed from, and does not change.
struct Value {
  Kind kind = Kind::None;
  uint8_t tag = 0;   ///< of a function or method: which
  uint32_t size = 0; ///< bytes of a string, elements of a list or dict
  union {
    int64_t integer = 0; ///< of a bool, too
    double real;
    const char *text; ///< UTF-8
    const Value *items;
    const DictEntry *entries; ///< each key once, in the text's order
    void *object;
  };

  static Value ofInt(int64_t integer) {
    Value value;
    value.kind = Kind::Int;
    value.integer = integer;
    return value;
  }
  static Value ofBool(bool boolean) {
    Value value = ofInt(boolean);
    value.kind = Kind::Bool;
    return value;
  }
  static Value ofFloat(double real) {
    Value value;
    value.kind = Kind::Float;
    value.real = real;
    return value;
  }
  static Value ofString(Str text) {
    Value value;
    value.kind = Kind::String;
    value.size = uint32_t(text.size);
    value.text = text.data;
    return value;
  }
  static Value ofList(const Value *items, uint64_t count,
                      Kind kind = Kind::List) {
    Value value;
    value.kind = kind;
    value.size = uint32_t(count);
    value.items = items;
    return value;
  }
  static Value ofDict(const DictEntry *entries, uint64_t count) {
    Value value;
    value.kind = Kind::Dict;
    value.size = uint32_t(count);
    value.entries = entries;
    return value;
  }

  bool is(Kind other) const { return kind == other; }
  bool isString(Str other) const { return is(Kind::String) && str() == other; }
  Str str() const { return {text, size}; }
  /// The value of a key of a dict; null: this is no dict, or has no such key.
  const Value *find(Str key) const;
};

struct DictEntry {
  Value key, value;
};

/// Reads a JSON text (RFC 8259) that outlives `value`: strings without escapes
/// are not copied. Of equal keys the last one counts. An integer beyond 64
/// bits reads as a float; what is not UTF-8, as U+FFFD. False with one line in
/// `error` where the text is not JSON, is nested more than 128 deep, has an
/// object of more than 1024 keys, or needs more than the arena has left.
bool parseJson(Str text, Arena &arena, Value &value, Message &error);

} // namespace pare::rt

#endif
