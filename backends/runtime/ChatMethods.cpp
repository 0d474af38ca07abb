//===- ChatMethods.cpp - Methods, tests and functions of templates --------===//
#include "backends/runtime/ChatValue.h"

namespace pare::rt::chat {
namespace {

/// Argument `index` of a method, a string.
Str textArgument(State &state, const Args &args, uint32_t index, Str name) {
  const Value *value = args.get(index, name);
  if (value && value->is(Kind::String))
    return value->str();
  state.fail().put("argument ").unsignedNum(index + 1).put(" is no string");
  return "";
}

int64_t intArgument(State &state, const Args &args, uint32_t index, Str name,
                    int64_t otherwise) {
  const Value *value = args.get(index, name);
  if (!value || value->is(Kind::None))
    return otherwise;
  if (!value->is(Kind::Int) && !value->is(Kind::Bool))
    state.fail().put("argument ").unsignedNum(index + 1).put(" is no integer");
  return value->integer;
}

/// Strings that are collected on the way to a list: counted first.
class Pieces {
public:
  explicit Pieces(State &state, uint64_t capacity)
      : items(state.values(capacity)), capacity(capacity) {}
  void push(Str piece) {
    if (items && count < capacity)
      items[count++] = Value::ofString(piece);
  }
  Value list(Kind kind = Kind::List) const {
    return Value::ofList(items, items ? count : 0, kind);
  }
  void reverse() {
    for (uint64_t i = 0; items && i < count / 2; ++i) {
      const Value other = items[i];
      items[i] = items[count - 1 - i];
      items[count - 1 - i] = other;
    }
  }

private:
  Value *items;
  uint64_t capacity, count = 0;
};

Value splitAtSpace(State &state, Str text, int64_t limit, bool right) {
  Pieces pieces(state, text.size / 2 + 1);
  state.charge(text.size);
  const unsigned near = right ? Right : Left;
  for (text = strip(text, near); text.size; --limit) {
    if (limit == 0) {
      pieces.push(strip(text, right ? Left : Right));
      break;
    }
    // The word at the near side.
    uint64_t n = 0;
    if (right) {
      n = text.size;
      while (n > 0) {
        uint64_t last = n - 1;
        while (last > 0 && (uint8_t(text.data[last]) & 0xc0) == 0x80)
          --last;
        if (spaceLength(text.drop(last)))
          break;
        n = last;
      }
      pieces.push(text.drop(n));
      text = strip(text.take(n), Right);
    } else {
      while (n < text.size && !spaceLength(text.drop(n)))
        ++n;
      pieces.push(text.take(n));
      text = strip(text.drop(n), Left);
    }
  }
  if (right)
    pieces.reverse();
  return pieces.list();
}

/// Index of the last `needle`, or text.size.
uint64_t findLast(State &state, Str text, Str needle) {
  state.charge(text.size / 4);
  for (uint64_t i = text.size; i + 1 > 0; --i)
    if (text.drop(i).startsWith(needle))
      return i + needle.size <= text.size && needle.size ? i : text.size;
  return text.size;
}

Value split(State &state, Str text, const Args &args, bool right) {
  const int64_t limit = intArgument(state, args, 1, "maxsplit", -1);
  const Value *separator = args.get(0, "sep");
  if (!separator || separator->is(Kind::None))
    return splitAtSpace(state, text, limit, right);
  const Str sep = textArgument(state, args, 0, "sep");
  if (!sep.size) {
    state.fail().put("an empty separator");
    return Value();
  }
  Pieces pieces(state, text.size / sep.size + 1);
  for (int64_t left = limit; left != 0 && !state.failed; --left) {
    const uint64_t at =
        right ? findLast(state, text, sep) : findText(state, text, sep);
    if (at == text.size)
      break;
    pieces.push(right ? text.drop(at + sep.size) : text.take(at));
    text = right ? text.take(at) : text.drop(at + sep.size);
  }
  pieces.push(text);
  if (right)
    pieces.reverse();
  return pieces.list();
}

Value partition(State &state, Str text, const Args &args, bool right) {
  const Str sep = textArgument(state, args, 0, "sep");
  const uint64_t at =
      right ? findLast(state, text, sep) : findText(state, text, sep);
  Pieces pieces(state, 3);
  if (at == text.size) {
    pieces.push(right ? "" : text);
    pieces.push("");
    pieces.push(right ? text : "");
  } else {
    pieces.push(text.take(at));
    pieces.push(sep);
    pieces.push(text.drop(at + sep.size));
  }
  return pieces.list(Kind::Tuple);
}

/// str.find and its kin; -1: absent.
int64_t findMethod(State &state, Str text, const Args &args, bool right) {
  const Str needle = textArgument(state, args, 0, "sub");
  if (args.count > 1)
    state.fail().put("a search takes one argument here");
  if (!needle.size)
    return right ? int64_t(countCodePoints(text)) : 0;
  const uint64_t at =
      right ? findLast(state, text, needle) : findText(state, text, needle);
  return at == text.size ? -1 : int64_t(countCodePoints(text.take(at)));
}

int64_t countText(State &state, Str text, Str needle) {
  if (!needle.size)
    return int64_t(countCodePoints(text)) + 1;
  int64_t count = 0;
  for (uint64_t at = 0; !state.failed; at += needle.size, ++count) {
    at = findText(state, text, needle, at);
    if (at == text.size)
      break;
  }
  return count;
}

bool touches(State &state, Str text, const Args &args, bool end) {
  const Value *affix = args.get(0, "prefix");
  if (args.count > 1)
    state.fail().put("startswith and endswith take one argument here");
  Args each = args;
  const uint32_t count = affix && affix->is(Kind::Tuple) ? affix->size : 1;
  for (uint32_t i = 0; i < count && !state.failed; ++i) {
    if (affix && affix->is(Kind::Tuple))
      each = {affix->items + i, 1, nullptr, 0};
    const Str piece = textArgument(state, each, 0, "prefix");
    if (end ? text.endsWith(piece) : text.startsWith(piece))
      return true;
  }
  return false;
}

/// Is there a cased letter, and are all of them in that case?
bool isCase(Str text, char (*change)(char)) {
  bool any = false;
  for (uint64_t i = 0; i < text.size; ++i) {
    const char c = text.data[i];
    if (change(c) != c)
      return false;
    any |= lowerCase(c) != upperCase(c);
  }
  return any;
}

/// str.isdigit and its kin; letters beyond ASCII are letters.
bool isAll(Str text, uint32_t method) {
  for (uint64_t i = 0; i < text.size; ++i) {
    const char c = text.data[i];
    const bool digit = c >= '0' && c <= '9';
    const bool letter = lowerCase(c) != upperCase(c) || uint8_t(c) >= 0x80;
    const bool fits = method == PARE_METHOD_isdigit   ? digit
                      : method == PARE_METHOD_isalpha ? letter
                                                      : letter || digit;
    if (!fits)
      return false;
  }
  return text.size > 0;
}

Value splitLines(State &state, Str text, bool keeps) {
  Pieces pieces(state, text.size + 1);
  while (text.size) {
    Str line, rest = text;
    takeLine(rest, line);
    pieces.push(keeps ? text.take(text.size - rest.size) : line);
    text = rest;
  }
  return pieces.list();
}

Value stringMethod(State &state, uint32_t method, Str text, const Args &args) {
  const Value *chars = args.get(0, "chars");
  const bool right = method == PARE_METHOD_rsplit ||
                     method == PARE_METHOD_rpartition ||
                     method == PARE_METHOD_rfind;
  state.charge(1 + text.size / 8);
  switch (method) {
  case PARE_METHOD_strip:
  case PARE_METHOD_lstrip:
  case PARE_METHOD_rstrip: {
    const unsigned sides = method == PARE_METHOD_strip    ? Both
                           : method == PARE_METHOD_lstrip ? Left
                                                          : Right;
    if (!chars || chars->is(Kind::None))
      return Value::ofString(strip(text, sides));
    const Str set = textArgument(state, args, 0, "chars");
    state.charge(text.size * set.size / 8);
    return Value::ofString(state.failed ? text : strip(text, sides, &set));
  }
  case PARE_METHOD_split:
  case PARE_METHOD_rsplit:
    return split(state, text, args, right);
  case PARE_METHOD_splitlines: {
    const Value *keeps = args.get(0, "keepends");
    return splitLines(state, text, keeps && truthy(*keeps));
  }
  case PARE_METHOD_partition:
  case PARE_METHOD_rpartition:
    return partition(state, text, args, right);
  case PARE_METHOD_find:
  case PARE_METHOD_rfind:
    return Value::ofInt(findMethod(state, text, args, right));
  case PARE_METHOD_index: {
    const int64_t at = findMethod(state, text, args, false);
    if (at < 0)
      state.fail().put("substring not found");
    return Value::ofInt(at);
  }
  case PARE_METHOD_count:
    return Value::ofInt(
        countText(state, text, textArgument(state, args, 0, "sub")));
  case PARE_METHOD_startswith:
  case PARE_METHOD_endswith:
    return Value::ofBool(
        touches(state, text, args, method == PARE_METHOD_endswith));
  case PARE_METHOD_removeprefix:
  case PARE_METHOD_removesuffix: {
    const Str affix = textArgument(state, args, 0, "prefix");
    const bool end = method == PARE_METHOD_removesuffix;
    if (!(end ? text.endsWith(affix) : text.startsWith(affix)))
      return Value::ofString(text);
    return Value::ofString(end ? text.take(text.size - affix.size)
                               : text.drop(affix.size));
  }
  case PARE_METHOD_replace: {
    const Str from = textArgument(state, args, 0, "old");
    const Str to = textArgument(state, args, 1, "new");
    return replace(state, text, from, to,
                   intArgument(state, args, 2, "count", -1));
  }
  case PARE_METHOD_join: {
    const Value *given = args.get(0, "iterable");
    const Value items = itemsOf(state, given ? *given : Value());
    const uint64_t mark = state.mark();
    for (uint32_t i = 0; i < items.size && !state.failed; ++i) {
      if (i)
        state.put(text);
      if (items.items[i].is(Kind::String))
        state.put(items.items[i].str());
      else
        state.fail().put("join() of ").put(typeName(items.items[i]));
    }
    return state.cut(mark);
  }
  case PARE_METHOD_upper:
    return upper(state, text);
  case PARE_METHOD_lower:
    return lower(state, text);
  case PARE_METHOD_title:
    return title(state, text, /*jinja=*/false);
  case PARE_METHOD_capitalize:
    return capitalize(state, text);
  case PARE_METHOD_islower:
    return Value::ofBool(isCase(text, lowerCase));
  case PARE_METHOD_isupper:
    return Value::ofBool(isCase(text, upperCase));
  case PARE_METHOD_isspace:
    return Value::ofBool(text.size && !strip(text, Left).size);
  default:
    return Value::ofBool(isAll(text, method));
  }
}

Value listMethod(State &state, uint32_t method, const Value &list,
                 const Args &args) {
  if (method == PARE_METHOD_copy)
    return list;
  const Value item = args.get(0, "value", Value());
  int64_t count = 0;
  for (uint32_t i = 0; i < list.size && !state.failed; ++i)
    if (equal(state, list.items[i], item)) {
      if (method == PARE_METHOD_index)
        return Value::ofInt(i);
      ++count;
    }
  if (method == PARE_METHOD_index)
    state.fail().put("index() of what is not in the list");
  return Value::ofInt(count);
}

Value dictMethod(State &state, uint32_t method, const Value &dict,
                 const Args &args) {
  switch (method) {
  case PARE_METHOD_items:
    return pairsOf(state, dict);
  case PARE_METHOD_keys:
    return itemsOf(state, dict);
  case PARE_METHOD_values: {
    Value *values = state.values(dict.size);
    for (uint32_t i = 0; values && i < dict.size; ++i)
      values[i] = dict.entries[i].value;
    return Value::ofList(values, values ? dict.size : 0);
  }
  case PARE_METHOD_get: {
    const Value key = args.get(0, "key", Value());
    for (uint32_t i = 0; i < dict.size; ++i)
      if (equal(state, dict.entries[i].key, key))
        return dict.entries[i].value;
    return args.get(1, "default", Value());
  }
  default:
    return dict; // copy(): dicts do not change
  }
}

Value loopMethod(State &state, uint32_t method, Loop &loop, const Args &args) {
  if (method == PARE_METHOD_cycle) {
    if (args.count)
      return args.values[(loop.next - 1) % args.count];
    state.fail().put("cycle() without items");
    return Value();
  }
  Value *seen = state.values(args.count);
  for (uint32_t i = 0; seen && i < args.count; ++i)
    seen[i] = args.values[i];
  const Value now = Value::ofList(seen, seen ? args.count : 0, Kind::Tuple);
  const bool changed = !equal(state, now, loop.changed);
  loop.changed = now;
  return Value::ofBool(changed);
}

Value makeRange(State &state, const Args &args) {
  int64_t bounds[3] = {0, 0, 1};
  const uint32_t first = args.count == 1 ? 1 : 0;
  for (uint32_t i = 0; i < args.count && first + i < 3; ++i)
    bounds[first + i] = intArgument(state, args, i, "", 0);
  const auto [begin, end, step] = bounds;
  const bool good = args.count > 0 && args.count < 4 && step != 0;
  uint64_t count = 0;
  if (good && (step > 0 ? begin < end : begin > end))
    count = (step > 0 ? (uint64_t(end) - uint64_t(begin) - 1) / uint64_t(step)
                      : (uint64_t(begin) - uint64_t(end) - 1) /
                            (0 - uint64_t(step))) +
            1;
  if (!good || count > 100000) { // Jinja's own limit
    state.fail().put("a range of this size");
    return Value();
  }
  Value *items = state.values(count);
  for (uint64_t i = 0; items && i < count; ++i)
    items[i] = Value::ofInt(int64_t(uint64_t(begin) + i * uint64_t(step)));
  return Value::ofList(items, items ? count : 0);
}

/// namespace(...) and dict(...): a dict, then names.
Value makeNamespace(State &state, const Args &args, bool dict) {
  auto *space = state.arena.array<Namespace>(1);
  if (!space) {
    state.fail().put("needs too much memory");
    return Value();
  }
  *space = {nullptr, 0, 0};
  const Value *from = args.count ? &args.values[0] : nullptr;
  if (from && !from->is(Kind::Dict))
    state.fail().put("expected a dict, not ").put(typeName(*from));
  for (uint32_t i = 0; from && !state.failed && i < from->size; ++i)
    setEntry(state, *space, from->entries[i].key, from->entries[i].value);
  for (uint32_t i = 0; i < args.numNamed; ++i)
    setEntry(state, *space, args.named[2 * i], args.named[2 * i + 1]);
  if (dict)
    return Value::ofDict(space->entries, space->size);
  Value value;
  value.kind = Kind::Namespace;
  value.object = space;
  return value;
}

/// datetime.strftime in the C locale.
Value formatTime(State &state, Str format) {
  static const char months[] = "January   February  March     April     "
                               "May       June      July      August    "
                               "September October   November  December  ";
  static const char days[] = "Sunday    Monday    Tuesday   Wednesday "
                             "Thursday  Friday    Saturday  ";
  int64_t day = state.now / 86400, second = state.now % 86400;
  if (second < 0) {
    second += 86400;
    --day;
  }
  // Days to a civil date, by 400-year eras that begin in March.
  const int64_t shifted = day + 719468;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t ofEra = shifted - era * 146097;
  const int64_t yearOfEra =
      (ofEra - ofEra / 1460 + ofEra / 36524 - ofEra / 146096) / 365;
  const int64_t ofYear =
      ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const int64_t fromMarch = (5 * ofYear + 2) / 153;
  const int64_t date = ofYear - (153 * fromMarch + 2) / 5 + 1;
  const int64_t month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const int64_t year = yearOfEra + era * 400 + (month <= 2);
  const int64_t weekday = ((day + 4) % 7 + 7) % 7;
  static const int16_t before[] = {0,   31,  59,  90,  120, 151,
                                   181, 212, 243, 273, 304, 334};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

  const uint64_t mark = state.mark();
  auto number = [&](int64_t value, unsigned digits, bool pad) {
    char text[24];
    unsigned n = 0;
    do
      text[n++] = char('0' + value % 10);
    while ((value /= 10) > 0);
    while (pad && n < digits)
      text[n++] = '0';
    while (n > 0)
      state.put(text[--n]);
  };
  auto name = [&](const char *names, int64_t index, bool whole) {
    const Str full(names + 10 * index, 10);
    state.put(full.take(whole ? full.find(' ') : 3));
  };
  for (uint64_t i = 0; i < format.size && !state.failed; ++i) {
    if (format.data[i] != '%' || i + 1 == format.size) {
      state.put(format.data[i]);
      continue;
    }
    const bool pad = format.data[++i] != '-';
    if (!pad && i + 1 < format.size)
      ++i;
    const int64_t hour = second / 3600;
    switch (format.data[i]) {
    case 'Y':
      number(year, 4, false);
      break;
    case 'y':
      number(year % 100, 2, pad);
      break;
    case 'm':
      number(month, 2, pad);
      break;
    case 'd':
      number(date, 2, pad);
      break;
    case 'j':
      number(before[month - 1] + date + (leap && month > 2), 3, pad);
      break;
    case 'H':
      number(hour, 2, pad);
      break;
    case 'I':
      number((hour + 11) % 12 + 1, 2, pad);
      break;
    case 'M':
      number(second / 60 % 60, 2, pad);
      break;
    case 'S':
      number(second % 60, 2, pad);
      break;
    case 'p':
      state.put(hour < 12 ? "AM" : "PM");
      break;
    case 'B':
    case 'b':
      name(months, month - 1, format.data[i] == 'B');
      break;
    case 'A':
    case 'a':
      name(days, weekday, format.data[i] == 'A');
      break;
    case '%':
      state.put('%');
      break;
    default:
      state.fail().put("strftime_now: no format %").put(format.data[i]);
    }
  }
  return state.cut(mark);
}

} // namespace

bool takeLine(Str &rest, Str &line) {
  if (!rest.size)
    return false;
  for (uint64_t i = 0; i < rest.size; ++i) {
    const Str from = rest.drop(i);
    const char c = from.data[0];
    uint64_t n = (c >= 10 && c <= 13) || (c >= 28 && c <= 30);
    if (from.startsWith("\r\n") || from.startsWith("\xc2\x85"))
      n = 2;
    else if (from.startsWith("\xe2\x80\xa8") || from.startsWith("\xe2\x80\xa9"))
      n = 3;
    if (n) {
      line = rest.take(i);
      rest = rest.drop(i + n);
      return true;
    }
  }
  line = rest;
  rest = rest.drop(rest.size);
  return true;
}

Value pairsOf(State &state, const Value &dict) {
  Value *pairs = state.values(dict.size);
  Value *parts = state.values(uint64_t(dict.size) * 2);
  if (!pairs || !parts)
    return Value::ofList(nullptr, 0);
  for (uint32_t i = 0; i < dict.size; ++i) {
    parts[2 * i] = dict.entries[i].key;
    parts[2 * i + 1] = dict.entries[i].value;
    pairs[i] = Value::ofList(parts + 2 * i, 2, Kind::Tuple);
  }
  return Value::ofList(pairs, dict.size);
}

Value callMethod(State &state, uint32_t method, const Value &object,
                 const Args &args) {
  switch (object.kind) {
  case Kind::String:
    return stringMethod(state, method, object.str(), args);
  case Kind::Dict:
    return dictMethod(state, method, object, args);
  case Kind::Loop:
    return loopMethod(state, method, *static_cast<Loop *>(object.object), args);
  default:
    return listMethod(state, method, object, args);
  }
}

Value callFunction(State &state, uint32_t function, const Args &args) {
  switch (function) {
  case PARE_FUNCTION_range:
    return makeRange(state, args);
  case PARE_FUNCTION_strftime_now:
    return formatTime(state, textArgument(state, args, 0, "format"));
  case PARE_FUNCTION_raise_exception: {
    const Str text = textOf(state, args.get(0, "message", Value::ofString("")));
    Writer &message = state.fail();
    for (uint64_t i = 0; i < text.size; ++i)
      message.put(uint8_t(text.data[i]) < 0x20 ? ' ' : text.data[i]);
    return Value();
  }
  default:
    return makeNamespace(state, args, function == PARE_FUNCTION_dict);
  }
}

bool callTest(State &state, uint32_t test, const Value &value,
              const Args &args) {
  const bool whole = value.is(Kind::Int) || value.is(Kind::Bool);
  const Value other = args.get(0, "other", Value());
  switch (test) {
  case PARE_TEST_defined:
    return !value.is(Kind::Undefined);
  case PARE_TEST_undefined:
    return value.is(Kind::Undefined);
  case PARE_TEST_none:
    return value.is(Kind::None);
  case PARE_TEST_boolean:
    return value.is(Kind::Bool);
  case PARE_TEST_true:
  case PARE_TEST_false:
    return value.is(Kind::Bool) && value.integer == (test == PARE_TEST_true);
  case PARE_TEST_string:
    return value.is(Kind::String);
  case PARE_TEST_number:
    return isNumber(value);
  case PARE_TEST_integer:
    return value.is(Kind::Int);
  case PARE_TEST_float:
    return value.is(Kind::Float);
  case PARE_TEST_mapping:
    return value.is(Kind::Dict);
  case PARE_TEST_iterable:
    return length(value) >= 0;
  case PARE_TEST_sequence:
    return length(value) >= 0 && !value.is(Kind::Loop);
  case PARE_TEST_callable:
    return value.kind >= Kind::Macro || value.is(Kind::Undefined);
  case PARE_TEST_eq:
  case PARE_TEST_equalto:
    return equal(state, value, other);
  case PARE_TEST_ne:
    return !equal(state, value, other);
  case PARE_TEST_sameas:
    return value.kind == other.kind && equal(state, value, other);
  case PARE_TEST_lt:
  case PARE_TEST_lessthan:
    return compare(state, value, other) < 0;
  case PARE_TEST_le:
    return compare(state, value, other) <= 0;
  case PARE_TEST_gt:
  case PARE_TEST_greaterthan:
    return compare(state, value, other) > 0;
  case PARE_TEST_ge:
    return compare(state, value, other) >= 0;
  case PARE_TEST_in:
    return contains(state, other, value);
  case PARE_TEST_lower:
    return isCase(textOf(state, value), lowerCase);
  case PARE_TEST_upper:
    return isCase(textOf(state, value), upperCase);
  case PARE_TEST_divisibleby:
  case PARE_TEST_even:
  case PARE_TEST_odd: {
    const int64_t by = test == PARE_TEST_divisibleby
                           ? intArgument(state, args, 0, "num", 0)
                           : 2;
    if (!whole || by == 0) {
      state.fail().put("no division of ").put(typeName(value));
      return false;
    }
    return (by != -1 && value.integer % by != 0) == (test == PARE_TEST_odd);
  }
  default:
    return false;
  }
}

} // namespace pare::rt::chat
