//===- ChatText.cpp - Text as Python sees it ------------------------------===//
#include "backends/runtime/ChatValue.h"

namespace pare::rt::chat {
namespace {

bool isContinuation(char c) { return (uint8_t(c) & 0xc0) == 0x80; }

bool isLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || uint8_t(c) >= 0x80;
}

/// Length of a character of strip's set that `text` begins with, or 0.
unsigned setLength(Str text, Str set) {
  const uint64_t n = max(utf8Length(text), 1u);
  for (uint64_t i = 0; i < set.size;) {
    const uint64_t m = max(utf8Length(set.drop(i)), 1u);
    if (n == m && text.take(n) == set.drop(i).take(m))
      return unsigned(n);
    i += m;
  }
  return 0;
}

template <typename Change> Value map(State &state, Str text, Change change) {
  const uint64_t mark = state.mark();
  state.put(text);
  if (!state.failed)
    for (uint64_t i = 0; i < text.size; ++i) {
      auto &c = reinterpret_cast<char &>(state.text.data[mark + i]);
      c = change(c, i);
    }
  return state.cut(mark);
}

} // namespace

uint64_t countCodePoints(Str text) {
  uint64_t count = 0;
  for (uint64_t i = 0; i < text.size; ++i)
    count += !isContinuation(text.data[i]);
  return count;
}

uint64_t offsetOf(Str text, uint64_t index) {
  uint64_t i = 0;
  for (; i < text.size; ++i)
    if (!isContinuation(text.data[i]) && index-- == 0)
      break;
  return i;
}

Str codePoints(Str text, uint64_t begin, uint64_t end) {
  if (begin >= end)
    return {text.data, 0};
  text = text.drop(offsetOf(text, begin));
  return text.take(offsetOf(text, end - begin));
}

unsigned spaceLength(Str text) {
  if (!text.size)
    return 0;
  auto byte = [&](uint64_t i) {
    return i < text.size ? uint8_t(text.data[i]) : 0;
  };
  const uint8_t c = byte(0);
  if (c < 0x80)
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
  if (c == 0xc2)
    return byte(1) == 0x85 || byte(1) == 0xa0 ? 2 : 0;
  const uint32_t rest = uint32_t(byte(1)) << 8 | byte(2);
  bool space = false;
  if (c == 0xe1)
    space = rest == 0x9a80; // U+1680
  else if (c == 0xe2)       // U+2000 to 200A, 2028, 2029, 202F, 205F
    space = (rest >= 0x8080 && rest <= 0x808a) || rest == 0x80a8 ||
            rest == 0x80a9 || rest == 0x80af || rest == 0x819f;
  else if (c == 0xe3)
    space = rest == 0x8080; // U+3000
  return space ? 3 : 0;
}

Str strip(Str text, unsigned sides, const Str *chars) {
  auto match = [&](Str at) {
    return chars ? setLength(at, *chars) : spaceLength(at);
  };
  if (sides & Left)
    while (text.size) {
      const unsigned n = match(text);
      if (!n)
        break;
      text = text.drop(n);
    }
  if (sides & Right)
    while (text.size) {
      uint64_t last = text.size - 1;
      while (last > 0 && isContinuation(text.data[last]))
        --last;
      if (match(text.drop(last)) != text.size - last)
        break;
      text.size = last;
    }
  return text;
}

uint64_t findText(State &state, Str text, Str needle, uint64_t from) {
  for (uint64_t i = from; i + needle.size <= text.size; ++i)
    if (text.drop(i).startsWith(needle)) {
      state.charge((i - from) / 4);
      return i;
    }
  state.charge(text.size / 4);
  return text.size;
}

char lowerCase(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
char upperCase(char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; }

Value upper(State &state, Str text) {
  return map(state, text, [](char c, uint64_t) { return upperCase(c); });
}

Value lower(State &state, Str text) {
  return map(state, text, [](char c, uint64_t) { return lowerCase(c); });
}

Value capitalize(State &state, Str text) {
  return map(state, text, [](char c, uint64_t i) {
    return i ? lowerCase(c) : upperCase(c);
  });
}

Value title(State &state, Str text, bool jinja) {
  bool first = true;
  return map(state, text, [&](char c, uint64_t i) {
    const bool separates =
        jinja ? spaceLength(text.drop(i)) || Str("-({[<").find(c) < 5
              : !isLetter(c);
    const char changed = first ? upperCase(c) : lowerCase(c);
    first = separates;
    return changed;
  });
}

Value replace(State &state, Str text, Str from, Str to, int64_t limit) {
  const uint64_t mark = state.mark();
  uint64_t at = 0;
  if (from.size) {
    for (; limit != 0 && !state.failed; --limit) {
      const uint64_t found = findText(state, text, from, at);
      if (found == text.size)
        break;
      state.put(text.take(found).drop(at));
      state.put(to);
      at = found + from.size;
    }
  } else {
    for (; limit != 0 && !state.failed; --limit) {
      state.put(to);
      if (at == text.size)
        break;
      const uint64_t n = max(utf8Length(text.drop(at)), 1u);
      state.put(text.drop(at).take(n));
      at += n;
    }
  }
  state.put(text.drop(at));
  return state.cut(mark);
}

} // namespace pare::rt::chat
