//===- Json.cpp - JSON to values ------------------------------------------===//
#include "backends/runtime/Json.h"
#include "backends/runtime/Decimal.h"

using namespace pare::rt;

bool Arena::reserve(uint64_t bytes) {
  base = static_cast<char *>(mapPages(bytes));
  limit = base ? bytes : 0;
  return base;
}

void *Arena::take(uint64_t bytes) {
  const uint64_t begin = alignUp(used, 8);
  if (begin > limit || bytes > limit - begin)
    return nullptr;
  used = begin + bytes;
  return base + begin;
}

const Value *Value::find(Str key) const {
  if (kind != Kind::Dict)
    return nullptr;
  for (uint32_t i = 0; i < size; ++i)
    if (entries[i].key.isString(key))
      return &entries[i].value;
  return nullptr;
}

namespace {

constexpr unsigned kMaxDepth = 128;
constexpr uint32_t kMaxKeys = 1024;

class Reader {
public:
  Reader(Str text, Arena &arena, Message &error)
      : text(text), arena(arena), error(error) {}

  bool read(Value &value) {
    if (!readValue(value, 0))
      return false;
    skipSpace();
    return at == text.size || fail("text behind the value");
  }

private:
  bool fail(const char *what) {
    error.start().put("JSON, byte ").unsignedNum(at).put(": ").put(what);
    return false;
  }
  bool outOfMemory() { return fail("needs too much memory"); }

  int peek() const { return at < text.size ? uint8_t(text.data[at]) : -1; }
  void skipSpace() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')
      ++at;
  }
  /// Skips space and takes `c` if it comes next.
  bool take(char c) {
    skipSpace();
    if (peek() != c)
      return false;
    ++at;
    return true;
  }
  bool word(const char *name) {
    if (!text.drop(at).startsWith(name))
      return fail("expected a value");
    at += strlen(name);
    return true;
  }

  bool readValue(Value &value, unsigned depth);
  bool readNumber(Value &value);
  bool readString(Value &value);
  bool readEscapes(Str raw, Value &value);
  bool readHex(Str raw, uint64_t &i, uint32_t &unit);
  bool readList(Value &value, unsigned depth);
  bool readDict(Value &value, unsigned depth);
  /// The values pushed since `mark` move into the arena.
  template <typename T> const T *finish(uint64_t mark, uint64_t count);

  Str text;
  Arena &arena;
  Message &error;
  uint64_t at = 0;
  Bytes open; ///< elements of the lists and dicts that are being read
};

bool Reader::readValue(Value &value, unsigned depth) {
  if (depth > kMaxDepth)
    return fail("nested too deeply");
  skipSpace();
  switch (peek()) {
  case '{':
    return readDict(value, depth);
  case '[':
    return readList(value, depth);
  case '"':
    return readString(value);
  case 't':
    value = Value::ofBool(true);
    return word("true");
  case 'f':
    value = Value::ofBool(false);
    return word("false");
  case 'n':
    value = Value();
    return word("null");
  }
  return readNumber(value);
}

bool Reader::readNumber(Value &value) {
  const uint64_t begin = at;
  auto isDigit = [&] { return peek() >= '0' && peek() <= '9'; };
  auto digits = [&] {
    if (!isDigit())
      return fail("expected a value");
    while (isDigit())
      ++at;
    return true;
  };
  bool whole = true;
  at += peek() == '-';
  if (peek() == '0')
    ++at;
  else if (!digits())
    return false;
  if (peek() == '.') {
    whole = false;
    ++at;
    if (!digits())
      return false;
  }
  if (peek() == 'e' || peek() == 'E') {
    whole = false;
    ++at;
    at += peek() == '-' || peek() == '+';
    if (!digits())
      return false;
  }
  const Str number = {text.data + begin, at - begin};
  int64_t integer;
  double real;
  if (whole && parseInt(number, integer))
    value = Value::ofInt(integer);
  else if (parseDecimal(number, real))
    value = Value::ofFloat(real);
  else
    return fail("expected a value");
  return true;
}

bool Reader::readString(Value &value) {
  const uint64_t begin = ++at;
  bool plain = true;
  while (peek() != '"') {
    if (peek() < 0x20)
      return fail(peek() < 0 ? "a string has no end"
                             : "a control character in a string");
    if (peek() == '\\') {
      plain = false;
      ++at;
      if (peek() < 0)
        return fail("a string has no end");
    }
    const unsigned n = utf8Length(text.drop(at));
    plain &= n > 0;
    at += max(n, 1u);
  }
  const Str raw = {text.data + begin, at - begin};
  ++at;
  if (raw.size > UINT32_MAX / 4)
    return outOfMemory();
  if (!plain)
    return readEscapes(raw, value);
  value = Value::ofString(raw);
  return true;
}

/// The four hexadecimal digits at `i`, which moves behind them.
bool Reader::readHex(Str raw, uint64_t &i, uint32_t &unit) {
  unit = 0;
  for (unsigned k = 0; k < 4; ++k, ++i) {
    const char c = i < raw.size ? raw.data[i] : 0;
    const char lower = char(c | 0x20);
    if (c >= '0' && c <= '9')
      unit = unit << 4 | uint32_t(c - '0');
    else if (lower >= 'a' && lower <= 'f')
      unit = unit << 4 | uint32_t(lower - 'a' + 10);
    else
      return fail("\\u is not followed by four hexadecimal digits");
  }
  return true;
}

bool Reader::readEscapes(Str raw, Value &value) {
  // A byte that is no UTF-8 becomes the three of U+FFFD.
  char *out = arena.array<char>(raw.size * 3);
  if (!out)
    return outOfMemory();
  char *end = out;
  for (uint64_t i = 0; i < raw.size;) {
    if (raw.data[i] != '\\') {
      const unsigned n = utf8Length(raw.drop(i));
      if (n)
        memcpy(end, raw.data + i, n);
      end += n ? n : putUtf8(0xfffd, end);
      i += max(n, 1u);
      continue;
    }
    const char escape = raw.data[i + 1];
    i += 2;
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const uint64_t index = Str(names).find(escape);
    if (index < sizeof(names) - 1) {
      *end++ = meanings[index];
      continue;
    }
    if (escape != 'u')
      return fail("an unknown escape in a string");
    uint32_t unit, low;
    if (!readHex(raw, i, unit))
      return false;
    uint64_t next = i + 2;
    if (unit >= 0xd800 && unit < 0xdc00 && raw.drop(i).startsWith("\\u")) {
      if (!readHex(raw, next, low))
        return false;
      if (low >= 0xdc00 && low < 0xe000) {
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        i = next;
      }
    }
    if (unit >= 0xd800 && unit < 0xe000)
      unit = 0xfffd;
    end += putUtf8(unit, end);
  }
  arena.shrink(out, uint64_t(end - out));
  value = Value::ofString({out, uint64_t(end - out)});
  return true;
}

template <typename T> const T *Reader::finish(uint64_t mark, uint64_t count) {
  T *items = arena.array<T>(count);
  if (items)
    memcpy(static_cast<void *>(items), open.data + mark, count * sizeof(T));
  open.size = mark;
  return items;
}

bool Reader::readList(Value &value, unsigned depth) {
  const uint64_t mark = open.size;
  uint64_t count = 0;
  ++at;
  if (!take(']')) {
    do {
      Value item;
      if (!readValue(item, depth + 1))
        return false;
      if (!open.append(&item, sizeof(item)) || ++count > UINT32_MAX)
        return outOfMemory();
    } while (take(','));
    if (!take(']'))
      return fail("expected ',' or ']'");
  }
  value = Value::ofList(finish<Value>(mark, count), count);
  return value.items || outOfMemory();
}

bool Reader::readDict(Value &value, unsigned depth) {
  const uint64_t mark = open.size;
  uint32_t count = 0;
  ++at;
  if (!take('}')) {
    do {
      DictEntry entry;
      skipSpace();
      if (peek() != '"')
        return fail("expected a key in quotes");
      if (!readString(entry.key))
        return false;
      if (!take(':'))
        return fail("expected ':'");
      if (!readValue(entry.value, depth + 1))
        return false;
      auto *entries = reinterpret_cast<DictEntry *>(open.data + mark);
      uint32_t same = 0;
      while (same < count && !entries[same].key.isString(entry.key.str()))
        ++same;
      if (same < count)
        entries[same].value = entry.value;
      else if (++count > kMaxKeys)
        return fail("an object has too many keys");
      else if (!open.append(&entry, sizeof(entry)))
        return outOfMemory();
    } while (take(','));
    if (!take('}'))
      return fail("expected ',' or '}'");
  }
  value = Value::ofDict(finish<DictEntry>(mark, count), count);
  return value.entries || outOfMemory();
}

} // namespace

bool pare::rt::parseJson(Str text, Arena &arena, Value &value, Message &error) {
  return Reader(text, arena, error).read(value);
}
