//===- Utf8.cpp -----------------------------------------------------------===//
#include "frontend/tokenizer/Utf8.h"

#include "llvm/Support/ConvertUTF.h"

#include <array>

using namespace llvm;

namespace pare::tokenizer {

void appendUtf8(uint32_t c, std::string &out) {
  char bytes[UNI_MAX_UTF8_BYTES_PER_CODE_POINT];
  char *end = bytes;
  ConvertCodePointToUTF8(c, end);
  out.append(bytes, end);
}

uint32_t takeCodePoint(StringRef &text) {
  const UTF8 *end = text.bytes_begin();
  UTF32 c;
  if (convertUTF8Sequence(&end, text.bytes_end(), &c, strictConversion) !=
      conversionOK) {
    text = text.drop_front();
    return UNI_REPLACEMENT_CHAR;
  }
  text = text.drop_front(size_t(end - text.bytes_begin()));
  return c;
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
