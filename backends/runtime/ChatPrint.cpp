//===- ChatPrint.cpp - Values as text, as Python and JSON write them ------===//
#include "backends/runtime/ChatValue.h"
#include "backends/runtime/Decimal.h"

namespace pare::rt::chat {
namespace {

void putInt(State &state, int64_t value) {
  char text[24];
  Writer writer(-1, text, sizeof(text));
  writer.num(value);
  state.put(text);
}

void putFloat(State &state, double value) {
  char text[kDecimalBytes];
  state.put(Str(text, decimalText(value, text)));
}

void putHex(State &state, uint32_t value, unsigned digits) {
  while (digits-- > 0)
    state.put("0123456789abcdef"[value >> (4 * digits) & 15]);
}

uint32_t codePointOf(Str character) {
  const auto byte = [&](uint64_t i) { return uint8_t(character.data[i]); };
  if (character.size == 1)
    return byte(0);
  uint32_t c = byte(0) & (0x7fu >> character.size);
  for (uint64_t i = 1; i < character.size; ++i)
    c = c << 6 | (byte(i) & 0x3f);
  return c;
}

/// Does Python's repr() escape it? But for code points without a character.
bool isPrintable(uint32_t c) {
  return !(c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
           (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff ||
           (c >= 0xe000 && c <= 0xf8ff) || c >= 0xe0000);
}

void putQuoted(State &state, Str text) {
  const bool doubles =
      text.find('\'') < text.size && text.find('"') == text.size;
  const char quote = doubles ? '"' : '\'';
  state.put(quote);
  while (text.size && !state.failed) {
    const uint64_t n = max(utf8Length(text), 1u);
    const uint32_t c = codePointOf(text.take(n));
    const uint64_t named = Str("\n\r\t").find(char(c));
    if (c == '\\' || c == uint32_t(quote)) {
      state.put('\\');
      state.put(char(c));
    } else if (c < 0x80 && named < 3) {
      state.put('\\');
      state.put("nrt"[named]);
    } else if (isPrintable(c)) {
      state.put(text.take(n));
    } else {
      const unsigned digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      state.put(digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U");
      putHex(state, c, digits);
    }
    text = text.drop(n);
  }
  state.put(quote);
}

void putJsonString(State &state, Str text, bool ascii) {
  state.put('"');
  Str plain = text.take(0); // what need not change, not yet put
  auto flush = [&] {
    state.put(plain);
    plain = text.take(0);
  };
  while (text.size && !state.failed) {
    const uint64_t n = max(utf8Length(text), 1u);
    const uint32_t c = codePointOf(text.take(n));
    const uint64_t named = Str("\"\\\n\r\t\b\f").find(char(c));
    const bool escapes =
        c < 0x20 || c == '"' || c == '\\' || (ascii && c > 0x7e);
    if (!escapes)
      plain.size += n;
    text = text.drop(n);
    if (!escapes)
      continue;
    flush();
    if (c < 0x80 && named < 7) {
      state.put('\\');
      state.put("\"\\nrtbf"[named]);
    } else if (c == 0x7f) {
      state.put(char(c));
    } else {
      state.put("\\u");
      if (c >= 0x10000) {
        putHex(state, 0xd800 + ((c - 0x10000) >> 10), 4);
        state.put("\\u");
      }
      putHex(state, c < 0x10000 ? c : 0xdc00 + (c & 0x3ff), 4);
    }
    plain = text.take(0);
  }
  flush();
  state.put('"');
}

/// A key of a dict as JSON writes it.
void putJsonKey(State &state, const Value &key, const JsonStyle &style) {
  if (key.is(Kind::String))
    return putJsonString(state, key.str(), style.ascii);
  if (isList(key) || key.is(Kind::Dict)) {
    state.fail().put("a key in JSON is no ").put(typeName(key));
    return;
  }
  state.put('"');
  putJson(state, key, style);
  state.put('"');
}

void putLine(State &state, const JsonStyle &style, unsigned level) {
  if (!style.indents)
    return;
  state.put('\n');
  for (unsigned i = 0; i < level; ++i)
    state.put(style.indent);
}

/// The entries of a dict, sorted by key if `style` says so.
const DictEntry *entriesFor(State &state, const Value &dict,
                            const JsonStyle &style) {
  if (!style.sorts)
    return dict.entries;
  auto *sorted = state.arena.array<DictEntry>(dict.size);
  if (!sorted) {
    state.fail().put("needs too much memory");
    return nullptr;
  }
  for (uint32_t i = 0; i < dict.size; ++i) {
    uint32_t k = i;
    for (; k > 0 && !state.failed &&
           compare(state, dict.entries[i].key, sorted[k - 1].key) < 0;
         --k)
      sorted[k] = sorted[k - 1];
    sorted[k] = dict.entries[i];
  }
  return sorted;
}

} // namespace

void putRepr(State &state, const Value &value) {
  switch (value.kind) {
  case Kind::None:
    return state.put("None");
  case Kind::Bool:
    return state.put(value.integer ? "True" : "False");
  case Kind::Int:
    return putInt(state, value.integer);
  case Kind::Float:
    return putFloat(state, value.real);
  case Kind::String:
    return putQuoted(state, value.str());
  case Kind::Undefined:
    return state.put("Undefined");
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
    break;
  default:
    state.fail().put(typeName(value)).put(" has no text");
    return;
  }
  const bool dict = value.is(Kind::Dict), tuple = value.is(Kind::Tuple);
  if (state.enter()) {
    state.put(dict ? '{' : tuple ? '(' : '[');
    for (uint32_t i = 0; i < value.size && !state.failed; ++i) {
      if (i)
        state.put(", ");
      if (dict) {
        putRepr(state, value.entries[i].key);
        state.put(": ");
      }
      putRepr(state, dict ? value.entries[i].value : value.items[i]);
    }
    if (tuple && value.size == 1)
      state.put(',');
    state.put(dict ? '}' : tuple ? ')' : ']');
  }
  state.leave();
}

void putText(State &state, const Value &value) {
  if (value.is(Kind::String))
    state.put(value.str());
  else if (!value.is(Kind::Undefined))
    putRepr(state, value);
}

Str textOf(State &state, const Value &value) {
  if (value.is(Kind::String))
    return value.str();
  const uint64_t mark = state.mark();
  putText(state, value);
  return state.cut(mark).str();
}

void putJson(State &state, const Value &value, const JsonStyle &style,
             unsigned level) {
  switch (value.kind) {
  case Kind::None:
    return state.put("null");
  case Kind::Bool:
    return state.put(value.integer ? "true" : "false");
  case Kind::Int:
    return putInt(state, value.integer);
  case Kind::Float:
    if (value.real != value.real)
      return state.put("NaN");
    if (__builtin_isinf(value.real))
      return state.put(value.real < 0 ? "-Infinity" : "Infinity");
    return putFloat(state, value.real);
  case Kind::String:
    return putJsonString(state, value.str(), style.ascii);
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
    break;
  default:
    state.fail().put(typeName(value)).put(" has no JSON");
    return;
  }
  const bool dict = value.is(Kind::Dict);
  if (!value.size)
    return state.put(dict ? "{}" : "[]");
  const DictEntry *entries = dict ? entriesFor(state, value, style) : nullptr;
  if (state.enter()) {
    state.put(dict ? '{' : '[');
    for (uint32_t i = 0; i < value.size && !state.failed; ++i) {
      if (i)
        state.put(style.itemSeparator);
      putLine(state, style, level + 1);
      if (dict) {
        putJsonKey(state, entries[i].key, style);
        state.put(style.keySeparator);
      }
      putJson(state, dict ? entries[i].value : value.items[i], style,
              level + 1);
    }
    putLine(state, style, level);
    state.put(dict ? '}' : ']');
  }
  state.leave();
}

} // namespace pare::rt::chat
