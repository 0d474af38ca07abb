//===- Text.cpp - Numbers and JSON as text --------------------------------===//
#include "backends/runtime/Support.h"

#include "backends/runtime/FloatText.h"

#include <errno.h>

using namespace pare::rt;

Writer::Writer(int fd, char *buffer, uint64_t capacity)
    : fd(fd), buffer(buffer), capacity(capacity) {}

Writer &Writer::put(Str text) {
  total += text.size;
  if (fd < 0) {
    uint64_t n = min(text.size, capacity - 1 - size);
    memcpy(buffer + size, text.data, n);
    size += n;
    buffer[size] = 0;
    return *this;
  }
  while (text.size && !failed) {
    if (size == capacity)
      flush();
    uint64_t n = min(text.size, capacity - size);
    memcpy(buffer + size, text.data, n);
    size += n;
    text = text.drop(n);
  }
  return *this;
}

bool Writer::flush() {
  if (fd >= 0 && size && !failed)
    failed = !writeAll(fd, buffer, size);
  if (fd >= 0)
    size = 0;
  return !failed;
}

Writer &Writer::unsignedNum(uint64_t value) {
  char digits[20];
  unsigned at = sizeof(digits);
  do
    digits[--at] = char('0' + value % 10);
  while (value /= 10);
  return put(Str(digits + at, sizeof(digits) - at));
}

Writer &Writer::num(int64_t value) {
  if (value < 0)
    put('-');
  return unsignedNum(value < 0 ? 0 - uint64_t(value) : uint64_t(value));
}

Writer &Writer::fixed(double value, unsigned decimals) {
  if (value != value)
    return put("nan");
  if (value < 0) {
    put('-');
    value = -value;
  }
  double scale = 1;
  for (unsigned i = 0; i < decimals; ++i)
    scale *= 10;
  if (value * scale >= 0x1p63)
    return put(value > 1e300 ? "inf" : "9223372036854775807");
  uint64_t scaled = uint64_t(value * scale + 0.5);
  uint64_t unit = uint64_t(scale);
  unsignedNum(scaled / unit);
  if (!decimals)
    return *this;
  put('.');
  for (uint64_t rest = scaled % unit, digit = unit / 10; digit; digit /= 10)
    put(char('0' + rest / digit % 10));
  return *this;
}

Writer &Writer::real(float value) {
  char text[kFloatTextBytes];
  return put(Str(text, floatText(value, text)));
}

unsigned pare::rt::utf8Length(Str text) {
  auto byte = [&](unsigned i) { return uint8_t(text.data[i]); };
  auto continues = [&](unsigned i) {
    return i < text.size && (byte(i) & 0xc0) == 0x80;
  };
  uint8_t lead = byte(0);
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead < 0xe0)
    return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead < 0xf0) {
    if (!continues(1) || !continues(2) || (lead == 0xe0 && byte(1) < 0xa0) ||
        (lead == 0xed && byte(1) >= 0xa0))
      return 0;
    return 3;
  }
  if (lead >= 0xf0 && lead < 0xf5) {
    if (!continues(1) || !continues(2) || !continues(3) ||
        (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) >= 0x90))
      return 0;
    return 4;
  }
  return 0;
}

unsigned pare::rt::putUtf8(uint32_t c, char *out) {
  if (c < 0x80) {
    out[0] = char(c);
    return 1;
  }
  const unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (unsigned i = n - 1; i > 0; --i, c >>= 6)
    out[i] = char(0x80 | (c & 0x3f));
  out[0] = char((0xf00 >> n & 0xf0) | c);
  return n;
}

Writer &Writer::json(Str text) {
  put('"');
  while (text.size) {
    uint8_t c = uint8_t(text.data[0]);
    unsigned length = utf8Length(text);
    if (length == 0) {
      put("\\ufffd");
      length = 1;
    } else if (c == '"' || c == '\\') {
      put('\\').put(char(c));
    } else if (c == '\n') {
      put("\\n");
    } else if (c == '\t') {
      put("\\t");
    } else if (c == '\r') {
      put("\\r");
    } else if (c < 0x20 || c == 0x7f) {
      const char *hex = "0123456789abcdef";
      put("\\u00").put(hex[c >> 4]).put(hex[c & 15]);
    } else {
      put(Str(text.data, length));
    }
    text = text.drop(length);
  }
  return put('"');
}

Writer &Writer::shape(const int64_t *dims, uint32_t rank) {
  if (!rank)
    return put("scalar");
  for (uint32_t i = 0; i < rank; ++i) {
    if (i)
      put('x');
    num(dims[i]);
  }
  return *this;
}

Writer &Writer::pad(uint64_t from, uint64_t width) {
  while (total - from < width)
    put(' ');
  return *this;
}

Writer &Message::start() {
  writer = Writer(-1, text, sizeof(text));
  text[0] = 0;
  return writer;
}
