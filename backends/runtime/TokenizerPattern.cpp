//===- TokenizerPattern.cpp -----------------------------------------------===//
#include "backends/runtime/TokenizerPattern.h"

namespace pare::rt::tok {

bool Pattern::check(const PareTokenizer &t, uint32_t index) {
  const auto &section = t.sections[PARE_TOK_PATTERNS];
  if (section.bytes < sizeof(PareTokenizerPatterns))
    return false;
  const auto *counts =
      reinterpret_cast<const PareTokenizerPatterns *>(section.data);
  const uint64_t begin = sizeof(*counts) + uint64_t(counts->num_patterns) *
                                               sizeof(PareTokenizerPattern);
  if (index >= counts->num_patterns || begin > section.bytes)
    return false;
  const PareTokenizerPattern &p =
      reinterpret_cast<const PareTokenizerPattern *>(counts + 1)[index];
  auto inside = [&](uint64_t offset, uint64_t bytes) {
    return offset % 8 == 0 && offset >= begin && offset <= section.bytes &&
           bytes <= section.bytes - offset;
  };
  return p.num_states > 0 && p.num_states < PARE_PATTERN_DEAD &&
         p.num_classes > 0 && p.num_classes <= 256 &&
         inside(p.runs, p.runs_bytes) &&
         Runs::check(section.data + p.runs, p.runs_bytes) &&
         inside(p.next, uint64_t(p.num_states) * p.num_classes * 2);
}

Pattern::Pattern(const PareTokenizer &t, uint32_t index, bool readsBytes)
    : readsBytes(readsBytes) {
  const uint8_t *section = t.sections[PARE_TOK_PATTERNS].data;
  header = reinterpret_cast<const PareTokenizerPattern *>(
               section + sizeof(PareTokenizerPatterns)) +
           index;
  next = reinterpret_cast<const uint16_t *>(section + header->next);
  classes = Runs(section + header->runs);
}

const uint8_t *Pattern::match(Text text) const {
  const uint32_t numStates = header->num_states;
  const uint32_t numClasses = header->num_classes, atEnd = numClasses - 1;
  const uint8_t *found = nullptr;
  const uint8_t *p = text.begin;
  for (uint32_t state = 0;;) {
    uint32_t kind = atEnd, n = 0;
    if (p < text.end) {
      n = 1;
      if (*p < 0x80 || readsBytes) {
        kind = header->bytes[*p];
      } else {
        uint32_t c;
        n = decode(p, text.end, c);
        kind = classes.at(c);
      }
      if (kind > atEnd)
        kind = atEnd;
    }
    const uint32_t entry = next[state * numClasses + kind];
    if (entry & PARE_PATTERN_MATCH)
      found = p;
    state = entry & ~PARE_PATTERN_MATCH;
    if (state >= numStates || n == 0)
      return found;
    p += n;
  }
}

Text stringAt(const PareTokenizer &t, uint32_t offset) {
  const auto &section = t.sections[PARE_TOK_STRINGS];
  if (section.bytes < 2 || offset > section.bytes - 2)
    return {nullptr, nullptr};
  const uint8_t *p = section.data + offset;
  const uint32_t length = p[0] | uint32_t(p[1]) << 8;
  if (length > section.bytes - 2 - offset)
    return {nullptr, nullptr};
  return {p + 2, p + 2 + length};
}

} // namespace pare::rt::tok
