//===- Utf8.cpp -----------------------------------------------------------===//
#include "frontend/tokenizer/Utf8.h"

#include <array>

using namespace llvm;

namespace pare::tokenizer {

void appendUtf8(uint32_t c, std::string &out) {
  if (c < 0x80) {
    out.push_back(char(c));
    return;
  }
  if (c < 0x800) {
    out.push_back(char(0xc0 | c >> 6));
  } else if (c < 0x10000) {
    out.push_back(char(0xe0 | c >> 12));
    out.push_back(char(0x80 | (c >> 6 & 0x3f)));
  } else {
    out.push_back(char(0xf0 | c >> 18));
    out.push_back(char(0x80 | (c >> 12 & 0x3f)));
    out.push_back(char(0x80 | (c >> 6 & 0x3f)));
  }
  out.push_back(char(0x80 | (c & 0x3f)));
}

uint32_t takeCodePoint(StringRef &text) {
  const uint8_t lead = uint8_t(text.front());
  const size_t length = lead < 0x80    ? 1
                        : lead >= 0xf0 ? 4
                        : lead >= 0xe0 ? 3
                        : lead >= 0xc2 ? 2
                                       : 0;
  uint32_t c = length == 1 ? lead : lead & (0x7fu >> length);
  bool valid = length > 0 && length <= text.size();
  for (size_t i = 1; valid && i < length; ++i) {
    valid = (uint8_t(text[i]) & 0xc0) == 0x80;
    c = c << 6 | (uint8_t(text[i]) & 0x3f);
  }
  constexpr uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  valid = valid && c >= smallest[length] && c <= 0x10ffff &&
          (c < 0xd800 || c > 0xdfff);
  text = text.drop_front(valid ? length : 1);
  return valid ? c : 0xfffd;
}

/// Printable bytes of Latin-1 stand for themselves, the others in ascending
/// order for U+0100 and on.
static std::array<uint32_t, 256> makeAlphabet() {
  std::array<uint32_t, 256> out;
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    bool prints = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
    out[b] = prints ? b : next++;
  }
  return out;
}

static const std::array<uint32_t, 256> &alphabet() {
  static const std::array<uint32_t, 256> table = makeAlphabet();
  return table;
}

uint32_t alphabetOf(uint8_t byte) { return alphabet()[byte]; }

std::optional<std::string> fromAlphabet(StringRef text) {
  static const auto bytes = [] {
    std::array<int16_t, 0x144> out;
    out.fill(-1);
    for (uint32_t b = 0; b < 256; ++b)
      out[alphabet()[b]] = int16_t(b);
    return out;
  }();
  std::string out;
  while (!text.empty()) {
    uint32_t c = takeCodePoint(text);
    if (c >= bytes.size() || bytes[c] < 0)
      return std::nullopt;
    out.push_back(char(bytes[c]));
  }
  return out;
}

} // namespace pare::tokenizer
