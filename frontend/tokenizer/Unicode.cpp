//===- Unicode.cpp --------------------------------------------------------===//
#include "frontend/tokenizer/Unicode.h"

#include "frontend/tokenizer/Utf8.h"

#include "llvm/ADT/ArrayRef.h"

#include <algorithm>

using namespace llvm;

namespace pare::tokenizer {

#include "frontend/tokenizer/UnicodeData.inc"

template <typename T> static std::vector<uint8_t> bytesOf(ArrayRef<T> values) {
  const auto *begin = reinterpret_cast<const uint8_t *>(values.data());
  return {begin, begin + values.size() * sizeof(T)};
}

std::vector<uint8_t> makeRuns(ArrayRef<uint32_t> source, uint32_t mask) {
  std::vector<uint32_t> runs;
  for (uint32_t run : source) {
    run &= ~uint32_t(0xff) | mask;
    if (runs.empty() || (runs.back() & 0xff) != (run & 0xff))
      runs.push_back(run);
  }
  auto runOf = [&](uint32_t codePoint) {
    auto next =
        std::upper_bound(runs.begin(), runs.end(), (codePoint << 8) | 0xff);
    return uint32_t(next - runs.begin()) - 1;
  };
  PareTokenizerRuns header = {};
  header.num_runs = uint32_t(runs.size());
  for (uint32_t c = 0; c < 128; ++c)
    header.ascii[c] = uint8_t(runs[runOf(c)]);
  for (uint32_t page = 0; page <= 256; ++page)
    header.page[page] = uint16_t(runOf(page << 8));
  std::vector<uint8_t> out = bytesOf(ArrayRef(header));
  std::vector<uint8_t> tail = bytesOf(ArrayRef(runs));
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

ArrayRef<uint32_t> getClassRuns() { return classRuns; }
ArrayRef<uint32_t> getCategoryRuns() { return categoryRuns; }
ArrayRef<uint32_t> getScriptRuns() { return scriptRuns; }
ArrayRef<uint32_t> getFlagRuns() { return flagRuns; }

/// Reads flat (code point, length, code points …) entries.
static Replacements readReplacements(ArrayRef<uint32_t> flat) {
  Replacements out;
  while (!flat.empty()) {
    std::string from, to;
    appendUtf8(flat[0], from);
    for (uint32_t c : flat.slice(2, flat[1]))
      appendUtf8(c, to);
    out.push_back({std::move(from), std::move(to)});
    flat = flat.drop_front(2 + flat[1]);
  }
  return out;
}

Replacements compatibilityMappings() {
  return readReplacements(compatibilityMap);
}
Replacements nmtMappings() { return readReplacements(nmtMap); }

std::vector<uint8_t> characterClasses(uint32_t mask) {
  return makeRuns(classRuns, mask);
}

std::vector<uint8_t> graphemeBreaks() {
  std::vector<uint32_t> runs(std::begin(flagRuns), std::end(flagRuns));
  for (uint32_t &run : runs)
    run = (run & ~uint32_t(0xff)) | ((run & 0xff) >> 2);
  return makeRuns(runs, 255);
}

std::vector<uint8_t> combiningClasses() { return makeRuns(combiningRuns, 255); }

std::vector<uint8_t> lowercaseRuns() { return bytesOf(ArrayRef(caseRuns)); }

std::vector<uint8_t> decompositions(bool wide) {
  std::vector<uint8_t> out;
  ArrayRef<uint32_t> rest(decompositionTriples);
  for (; !rest.empty(); rest = rest.drop_front(3)) {
    ArrayRef<uint32_t> triple = rest.take_front(3);
    if (wide != (*std::max_element(triple.begin(), triple.end()) > 0xffff))
      continue;
    const uint16_t narrow[] = {uint16_t(triple[0]), uint16_t(triple[1]),
                               uint16_t(triple[2])};
    std::vector<uint8_t> bytes =
        wide ? bytesOf(triple) : bytesOf(ArrayRef(narrow));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

std::vector<uint8_t> compositions() {
  return bytesOf(ArrayRef<uint32_t>(compositionTriples));
}

} // namespace pare::tokenizer
