//===- Support.h - Text, memory and checked arithmetic ----------*- C++ -*-===//
//
// What the runtime uses in place of libstdc++ and stdio.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_SUPPORT_H
#define PARE_BACKENDS_RUNTIME_SUPPORT_H

#include "backends/runtime/Runtime.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// Placement new with a name of its own: <new> is libstdc++.
struct PareInPlace {};
inline void *operator new(size_t, void *memory, PareInPlace) { return memory; }

namespace pare::rt {

template <typename T> T min(T a, T b) { return a < b ? a : b; }
template <typename T> T max(T a, T b) { return a < b ? b : a; }

inline uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// A piece of text that someone else owns; not zero-terminated.
struct Str {
  const char *data = nullptr;
  uint64_t size = 0;

  constexpr Str() = default;
  constexpr Str(const char *data, uint64_t size) : data(data), size(size) {}
  Str(const char *text) : data(text), size(text ? strlen(text) : 0) {}

  bool operator==(Str other) const {
    return size == other.size &&
           (size == 0 || memcmp(data, other.data, size) == 0);
  }
  bool startsWith(Str prefix) const {
    return size >= prefix.size && Str(data, prefix.size) == prefix;
  }
  bool endsWith(Str suffix) const {
    return size >= suffix.size &&
           Str(data + size - suffix.size, suffix.size) == suffix;
  }
  Str drop(uint64_t n) const { return {data + n, size - n}; }
  Str take(uint64_t n) const { return {data, n}; }
  /// Index of the first `c`, or `size`.
  uint64_t find(char c) const {
    uint64_t i = 0;
    while (i < size && data[i] != c)
      ++i;
    return i;
  }
};

/// Parses a decimal integer that fills all of `text`. False if it does not or
/// does not fit.
bool parseInt(Str text, int64_t &value);

/// Length of the well-formed UTF-8 sequence at the start of `text`, which is
/// not empty, or 0.
unsigned utf8Length(Str text);
/// Writes a code point, no surrogate, as 1 to 4 bytes; returns how many.
unsigned putUtf8(uint32_t codePoint, char *out);

/// Text into a file descriptor (buffered), or into memory when fd < 0, where
/// it is cut at the capacity and always zero-terminated.
class Writer {
public:
  Writer(int fd, char *buffer, uint64_t capacity);

  Writer &put(Str text);
  Writer &put(char c) { return put(Str(&c, 1)); }
  Writer &num(int64_t value);
  Writer &unsignedNum(uint64_t value);
  /// `value` with `decimals` digits after the point.
  Writer &fixed(double value, unsigned decimals);
  /// The shortest decimal text that reads back as `value`; not a number and
  /// infinities as JSON-unfriendly `nan`, `inf`, `-inf`.
  Writer &real(float value);
  /// A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
  Writer &json(Str text);
  /// "1x3x48x320"; "scalar" for rank 0.
  Writer &shape(const int64_t *dims, uint32_t rank);
  /// Spaces up to `width` characters after `from` (a value of column()).
  Writer &pad(uint64_t from, uint64_t width);
  /// Characters put so far.
  uint64_t column() const { return total; }

  /// False if any write failed; errno says why.
  bool flush();
  bool ok() const { return !failed; }

private:
  int fd;
  char *buffer;
  uint64_t capacity, size = 0, total = 0;
  bool failed = false;
};

/// One line of at most 511 bytes: error messages.
class Message {
public:
  Message() : writer(-1, text, sizeof(text)) { text[0] = 0; }
  Message(const Message &) = delete;
  Message &operator=(const Message &) = delete;

  /// Starts a new line.
  Writer &start();
  const char *c_str() const { return text; }
  bool empty() const { return text[0] == 0; }

private:
  char text[512];
  Writer writer;
};

/// Text of an errno value, for the causes that a user can act on.
const char *errnoText(int error);

/// Writes all bytes; false with errno set on failure.
bool writeAll(int fd, const void *data, uint64_t size);

/// Zeroed pages of address space, committed when touched; null if there are
/// none.
void *mapPages(uint64_t bytes);
void unmapPages(void *memory, uint64_t bytes);

/// Bytes of RAM and swap, read from the text of /proc/meminfo; UINT64_MAX where
/// it does not say.
uint64_t parseMemInfo(Str text);
/// Whether this machine could hold `bytes` if it did nothing else. Pages are
/// committed when touched: without this question the kernel would end the
/// process in the middle of a run.
bool fitsMemory(uint64_t bytes);

/// A buffer whose last byte is followed, and whose first page is preceded, by
/// an inaccessible page. `alignment` may leave up to alignment-1 bytes between
/// the end and the page. Filled with 0xff, which is NaN in float formats, or
/// with zeros that are committed as they are touched.
struct GuardedBuffer {
  void *data = nullptr;
  void *mapping = nullptr;
  uint64_t mapped = 0;

  bool allocate(uint64_t bytes, uint64_t alignment, bool fills = true);
  void release();
};

/// Zeroed memory that the kernel is asked to back by huge pages.
struct HugeBuffer {
  void *data = nullptr;
  void *mapping = nullptr;
  uint64_t mapped = 0;

  bool allocate(uint64_t bytes);
  void release();
};

/// A growable array of bytes on the heap.
struct Bytes {
  uint8_t *data = nullptr;
  uint64_t size = 0, capacity = 0;

  Bytes() = default;
  Bytes(const Bytes &) = delete;
  Bytes &operator=(const Bytes &) = delete;
  ~Bytes();

  bool reserve(uint64_t bytes);
  bool resize(uint64_t bytes);
  bool append(const void *bytes, uint64_t count);
  Str str() const { return {reinterpret_cast<const char *>(data), size}; }
};

/// Reads a whole file. False with one line in `error`.
bool readFile(const char *path, Bytes &bytes, Message &error);

/// Bytes of a tensor; false on a negative extent or overflow.
bool tensorBytes(uint32_t dtype, const int64_t *dims, uint32_t rank,
                 uint64_t &bytes);

uint64_t nowNanos();

/// `value` of an f16 or bf16 bit pattern.
float halfToFloat(uint16_t bits);
float bfloatToFloat(uint16_t bits);

} // namespace pare::rt

#endif
