//===- TokenizerText.h - UTF-8, properties, tries, buffers ------*- C++ -*-===//
//
// Internal to Tokenizer*.cpp. Every read of the table is bounds-checked, so
// that damaged values give wrong answers and nothing worse.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZERTEXT_H
#define PARE_BACKENDS_RUNTIME_TOKENIZERTEXT_H

#include "backends/runtime/Tokenizer.h"

#include <stdlib.h>
#include <string.h>

namespace pare::rt::tok {

/// A range of text; valid UTF-8 except for the caller's own.
struct Text {
  const uint8_t *begin, *end;
  uint64_t size() const { return uint64_t(end - begin); }
};

/// Decodes one code point at `p` (p < end) and returns the bytes it takes; a
/// maximal part of broken UTF-8 gives U+FFFD and `valid` false.
uint32_t decode(const uint8_t *p, const uint8_t *end, uint32_t &codePoint,
                bool &valid);

inline uint32_t decode(const uint8_t *p, const uint8_t *end,
                       uint32_t &codePoint) {
  bool valid;
  return decode(p, end, codePoint, valid);
}

/// Arrays in the table begin at multiples of 8 bytes.
inline uint64_t align8(uint64_t n) { return (n + 7) & ~uint64_t(7); }

/// Growing bytes from malloc. Once an allocation fails, `failed` stays set and
/// what is pushed is lost.
class Buffer {
public:
  Buffer() = default;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer() { free(data); }

  void clear() { size = 0; }
  bool failed() const { return outOfMemory; }
  Text text() const { return {data, data + size}; }

  void push(uint8_t byte) {
    if (size < capacity || grow(1))
      data[size++] = byte;
  }
  void append(const uint8_t *bytes, uint64_t n) {
    if (n > 0 && (n <= capacity - size || grow(n))) {
      memcpy(data + size, bytes, n);
      size += n;
    }
  }
  void pushCodePoint(uint32_t c);
  /// `n` bytes of any content, aligned for every type; null without memory.
  uint8_t *resize(uint64_t n) {
    size = 0;
    if (n > capacity && !grow(n))
      return nullptr;
    size = n;
    return data;
  }

  uint8_t *data = nullptr;
  uint64_t size = 0;

private:
  bool grow(uint64_t n);
  uint64_t capacity = 0;
  bool outOfMemory = false;
};

/// Reader of PareTokenizerRuns.
class Runs {
public:
  Runs() = default;
  explicit Runs(const uint8_t *section)
      : header(reinterpret_cast<const PareTokenizerRuns *>(section)) {}
  static bool check(const uint8_t *section, uint64_t bytes);
  explicit operator bool() const { return header; }

  uint8_t ascii(uint8_t c) const { return header->ascii[c & 127]; }
  uint8_t at(uint32_t c) const { return c < 128 ? ascii(uint8_t(c)) : wide(c); }

private:
  uint8_t wide(uint32_t c) const;
  const PareTokenizerRuns *header = nullptr;
};

/// Reader of PareTokenizerTrie.
class Trie {
public:
  static constexpr uint32_t none = UINT32_MAX;

  Trie() = default;
  /// `section` has passed `check`.
  explicit Trie(const uint8_t *section);
  static bool check(const uint8_t *section, uint64_t bytes);
  explicit operator bool() const { return blocks; }

  /// The child of `node` along `label`, or none.
  uint32_t child(uint32_t node, uint8_t label) const;
  /// The node that `text` leads to from `node`, or none.
  uint32_t walk(uint32_t node, Text text) const {
    for (const uint8_t *p = text.begin; p < text.end && node != none; ++p)
      node = child(node, *p);
    return node;
  }
  /// The value of the key that ends at `node`, or none.
  uint32_t value(uint32_t node) const;
  bool isFinal(uint32_t node) const {
    return blocks[node / 64].final >> (node % 64) & 1;
  }
  /// The child of `node` along each label, or none.
  void children(uint32_t node, uint32_t out[256]) const;

  struct Match {
    uint32_t value; ///< none: no key starts here
    const uint8_t *end;
  };
  /// The longest key that starts at text.begin. `start[label]` are the
  /// children of the node where the walk starts.
  Match longest(const uint32_t start[256], Text text) const {
    uint32_t best = none;
    const uint8_t *end = text.begin;
    uint32_t node = text.begin < text.end ? start[*text.begin] : none;
    for (const uint8_t *p = text.begin + 1; node != none;) {
      if (isFinal(node)) {
        best = node;
        end = p;
      }
      if (p == text.end)
        break;
      node = child(node, *p++);
    }
    return {best == none ? none : value(best), end};
  }

private:
  bool children(uint32_t node, uint32_t &begin, uint32_t &end) const;

  const PareTokenizerTrieBlock *blocks = nullptr;
  const uint8_t *labels = nullptr;
  const uint32_t *samples = nullptr;
  const uint8_t *values = nullptr;
  uint32_t numNodes = 0, numBlocks = 0, numSamples = 0, numValues = 0;
  uint32_t valueBytes = 0;
};

/// The trie of a section, searched from its root; without that section there
/// is nothing to find.
class Keys {
public:
  Keys(const PareTokenizer &t, PareTokenizerTag tag) {
    if (const uint8_t *data = t.sections[tag].data) {
      trie = Trie(data);
      trie.children(0, starts);
    }
  }

  /// The longest key that `text`, not empty, begins with.
  Trie::Match longest(Text text) const {
    if (!trie)
      return {Trie::none, text.begin};
    return trie.longest(starts, text);
  }
  /// The shortest one.
  Trie::Match shortest(Text text) const {
    uint32_t node = trie ? starts[*text.begin] : Trie::none;
    for (const uint8_t *p = text.begin + 1; node != Trie::none; ++p) {
      if (trie.isFinal(node))
        return {trie.value(node), p};
      if (p == text.end)
        break;
      node = trie.child(node, *p);
    }
    return {Trie::none, text.begin};
  }

private:
  Trie trie;
  uint32_t starts[256];
};

struct Workspace {
  Buffer valid, even, odd, scratch;
  Buffer symbols, agenda, cache; ///< of models
  bool isLong = false;           ///< the text is worth a cache of its words
  bool outOfMemory = false;      ///< elsewhere

  void note(const Buffer &other) { outOfMemory |= other.failed(); }
  bool failed() const {
    return outOfMemory || valid.failed() || even.failed() || odd.failed() ||
           scratch.failed() || symbols.failed() || agenda.failed() ||
           cache.failed();
  }
};

/// Applies the table's normalizer to `text` and returns the result, which
/// lies in `text` or in `work` until the next call. `keepsBeginning`: the first
/// character of `text` has left something in it.
Text normalize(const PareTokenizer &tokenizer, Text text, Workspace &work,
               bool &keepsBeginning);

} // namespace pare::rt::tok

#endif
