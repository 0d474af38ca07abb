//===- TokenizerPattern.h - Reader of PareTokenizerPattern ------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZERPATTERN_H
#define PARE_BACKENDS_RUNTIME_TOKENIZERPATTERN_H

#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {

class Pattern {
public:
  /// Are there `index + 1` patterns, and is that one sound?
  static bool check(const PareTokenizer &t, uint32_t index);

  Pattern(const PareTokenizer &t, uint32_t index, bool readsBytes);

  /// The end of the match that starts at text.begin; null: no match. One that
  /// ends at text.begin is empty.
  const uint8_t *match(Text text) const;

  /// Bytes of the unit (a byte, or a character) at `p`.
  uint32_t unit(const uint8_t *p, const uint8_t *end) const {
    uint32_t c;
    return readsBytes || *p < 0x80 ? 1 : decode(p, end, c);
  }

private:
  const PareTokenizerPattern *header;
  const uint16_t *next;
  Runs classes;
  bool readsBytes;
};

/// The string at an offset of PARE_TOK_STRINGS; empty where there is none.
Text stringAt(const PareTokenizer &t, uint32_t offset);

} // namespace pare::rt::tok

#endif
