//===- CharSet.h - Sets of code points --------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_TOKENIZER_CHARSET_H
#define PARE_FRONTEND_TOKENIZER_CHARSET_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace pare::tokenizer {

/// A set of code points as ascending, disjoint, inclusive ranges.
class CharSet {
public:
  struct Range {
    uint32_t first, last;
  };

  CharSet() = default;
  CharSet(uint32_t codePoint) : ranges{{codePoint, codePoint}} {}
  CharSet(uint32_t first, uint32_t last) : ranges{{first, last}} {}

  /// A general category ("Lu", "L"), script ("Han"), or other property that
  /// the `tokenizers` library's regex engine knows by `name`, as that engine
  /// sees it; nothing for a name that is not known here.
  static std::optional<CharSet> property(llvm::StringRef name);
  /// White_Space.
  static CharSet space();
  /// `\w`.
  static CharSet word();
  /// What the Digits pre-tokenizer takes for digits.
  static CharSet numeric();
  /// What the Punctuation pre-tokenizer takes for punctuation.
  static CharSet punctuation();

  llvm::ArrayRef<Range> getRanges() const { return ranges; }
  bool empty() const { return ranges.empty(); }
  bool contains(uint32_t codePoint) const;
  bool intersects(const CharSet &other) const;

  void add(const CharSet &other);
  CharSet inverted() const;
  CharSet intersected(const CharSet &other) const;
  /// With every code point that differs from one here only in case (simple
  /// case folding).
  CharSet caseFolded() const;

private:
  std::vector<Range> ranges;
};

} // namespace pare::tokenizer

#endif
