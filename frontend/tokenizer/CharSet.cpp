//===- CharSet.cpp --------------------------------------------------------===//
#include "frontend/tokenizer/CharSet.h"
#include "frontend/tokenizer/Unicode.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Unicode.h"

#include <algorithm>
#include <map>

using namespace llvm;

namespace pare::tokenizer {

static constexpr uint32_t lastCodePoint = 0x10ffff;

bool CharSet::contains(uint32_t codePoint) const {
  auto it = llvm::partition_point(
      ranges, [&](const Range &range) { return range.last < codePoint; });
  return it != ranges.end() && it->first <= codePoint;
}

bool CharSet::intersects(const CharSet &other) const {
  return !intersected(other).empty();
}

void CharSet::add(const CharSet &other) {
  std::vector<Range> all(ranges);
  llvm::append_range(all, other.ranges);
  llvm::sort(all,
             [](const Range &a, const Range &b) { return a.first < b.first; });
  ranges.clear();
  for (const Range &range : all) {
    if (!ranges.empty() && range.first <= ranges.back().last + 1)
      ranges.back().last = std::max(ranges.back().last, range.last);
    else
      ranges.push_back(range);
  }
}

CharSet CharSet::inverted() const {
  CharSet out;
  uint32_t next = 0;
  for (const Range &range : ranges) {
    if (next < range.first)
      out.ranges.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= lastCodePoint)
    out.ranges.push_back({next, lastCodePoint});
  return out;
}

CharSet CharSet::intersected(const CharSet &other) const {
  CharSet out = inverted();
  out.add(other.inverted());
  return out.inverted();
}

/// The code points of each simple case folding that more than one has.
static const std::map<uint32_t, std::vector<uint32_t>> &caseOrbits() {
  static const auto orbits = [] {
    std::map<uint32_t, std::vector<uint32_t>> out;
    for (uint32_t c = 0; c <= lastCodePoint; ++c) {
      uint32_t folded = uint32_t(sys::unicode::foldCharSimple(int(c)));
      if (folded == c)
        continue;
      std::vector<uint32_t> &orbit = out[folded];
      if (orbit.empty())
        orbit.push_back(folded);
      orbit.push_back(c);
    }
    return out;
  }();
  return orbits;
}

CharSet CharSet::caseFolded() const {
  CharSet out = *this;
  for (const auto &[folded, orbit] : caseOrbits())
    if (llvm::any_of(orbit, [&](uint32_t c) { return contains(c); }))
      for (uint32_t c : orbit)
        if (!contains(c))
          out.add(c);
  return out;
}

/// Code points whose value in `runs` (first << 8 | value) satisfies `wanted`.
template <typename Predicate>
static CharSet select(ArrayRef<uint32_t> runs, Predicate wanted) {
  CharSet out;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!wanted(uint8_t(runs[i])))
      continue;
    uint32_t end = i + 1 < runs.size() ? runs[i + 1] >> 8 : lastCodePoint + 1;
    out.add({runs[i] >> 8, end - 1});
  }
  return out;
}

CharSet CharSet::space() {
  return select(getClassRuns(), [](uint8_t v) { return v & PARE_CHAR_SPACE; });
}
CharSet CharSet::punctuation() {
  return select(getClassRuns(), [](uint8_t v) { return v & PARE_CHAR_PUNCT; });
}
CharSet CharSet::word() {
  return select(getFlagRuns(), [](uint8_t v) { return v & 1; });
}
CharSet CharSet::numeric() {
  return select(getFlagRuns(), [](uint8_t v) { return v & 2; });
}

std::optional<CharSet> CharSet::property(StringRef name) {
  static const char *const categories[] = {
      "Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu",
      "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe", "Pf",
      "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"};
  static const char *const scripts[] = {
      "",         "Arabic",   "Armenian",  "Bengali",  "Cyrillic", "Devanagari",
      "Ethiopic", "Georgian", "Greek",     "Gujarati", "Gurmukhi", "Han",
      "Hangul",   "Hebrew",   "Hiragana",  "Kannada",  "Katakana", "Khmer",
      "Lao",      "Latin",    "Malayalam", "Myanmar",  "Oriya",    "Sinhala",
      "Tamil",    "Telugu",   "Thai",      "Tibetan"};
  name.consume_front("Script=");
  name.consume_front("sc=");
  if (name.size() == 1 && StringRef("LMNPSZC").contains(name))
    return select(getCategoryRuns(),
                  [&](uint8_t v) { return categories[v][0] == name[0]; });
  if (name == "White_Space" || name == "Space" || name == "space")
    return space();
  for (size_t i = 0; i < std::size(categories); ++i)
    if (name == categories[i])
      return select(getCategoryRuns(), [&](uint8_t v) { return v == i; });
  for (size_t i = 1; i < std::size(scripts); ++i)
    if (name == scripts[i])
      return select(getScriptRuns(), [&](uint8_t v) { return v == i; });
  return std::nullopt;
}

} // namespace pare::tokenizer
