//===- ChatFilters.cpp - Filters of templates -----------------------------===//
#include "backends/runtime/ChatValue.h"
#include "backends/runtime/Decimal.h"

namespace pare::rt::chat {
namespace {

uint32_t findName(const char *const *names, uint32_t count, Str name) {
  for (uint32_t i = 1; i < count; ++i)
    if (name == names[i - 1])
      return i;
  return 0;
}

#define NAME(name) #name,
uint32_t filterNamed(Str name) {
  static const char *const names[] = {PARE_CHAT_FILTERS(NAME)};
  return findName(names, PARE_NUM_FILTERS, name);
}

uint32_t testNamed(Str name) {
  static const char *const names[] = {PARE_CHAT_TESTS(NAME)};
  static const struct {
    const char *sign;
    uint32_t test;
  } signs[] = {{"==", PARE_TEST_eq}, {"!=", PARE_TEST_ne},
               {"<", PARE_TEST_lt},  {"<=", PARE_TEST_le},
               {">", PARE_TEST_gt},  {">=", PARE_TEST_ge}};
  for (const auto &[sign, test] : signs)
    if (name == sign)
      return test;
  return findName(names, PARE_NUM_TESTS, name);
}
#undef NAME

/// The value at a path of keys and indices: "function.name", "0". With
/// `otherwise`, that takes the place of what is undefined on the way.
Value attribute(State &state, Value value, const Value &path,
                const Value *otherwise = nullptr) {
  Str rest = path.is(Kind::String) ? path.str() : "";
  for (;;) {
    const Str part = rest.take(rest.find('.'));
    int64_t index;
    const bool isIndex =
        part.size && part.data[0] != '-' && parseInt(part, index);
    const Value key = !path.is(Kind::String) ? path
                      : isIndex              ? Value::ofInt(index)
                                             : Value::ofString(part);
    value = getItem(state, value, key);
    if (otherwise && value.is(Kind::Undefined))
      value = *otherwise;
    if (state.failed || part.size == rest.size)
      return value;
    rest = rest.drop(part.size + 1);
  }
}

/// What sort, unique, min and max compare: an attribute, in lower case.
struct Order {
  Order(State &state, const Args &args, uint32_t caseIndex,
        uint32_t attributeIndex)
      : state(state), path(args.get(attributeIndex, "attribute")),
        cased(truthy(args.get(caseIndex, "case_sensitive", Value()))) {
    if (path && path->is(Kind::None))
      path = nullptr;
  }
  Value key(const Value &item) const {
    const Value value = path ? attribute(state, item, *path) : item;
    return value.is(Kind::String) && !cased ? lower(state, value.str()) : value;
  }

  State &state;
  const Value *path;
  bool cased;
};

struct Keyed {
  Value key, item;
};

/// A stable merge sort, from what goes first to what goes last.
void sortKeyed(State &state, Keyed *items, Keyed *spare, uint64_t count,
               bool reverse) {
  if (count < 2 || state.failed)
    return;
  const uint64_t half = count / 2;
  sortKeyed(state, items, spare, half, reverse);
  sortKeyed(state, items + half, spare, count - half, reverse);
  for (uint64_t i = 0; i < half; ++i)
    spare[i] = items[i];
  uint64_t left = 0, right = half, out = 0;
  while (left < half && right < count) {
    const int order = compare(state, items[right].key, spare[left].key);
    const bool takesRight = reverse ? order > 0 : order < 0;
    items[out++] = takesRight ? items[right++] : spare[left++];
  }
  while (left < half)
    items[out++] = spare[left++];
}

/// The items of `list` sorted by keyOf(item).
template <typename KeyOf>
Value sorted(State &state, const Value &list, bool reverse, KeyOf keyOf) {
  auto *keyed = state.arena.array<Keyed>(uint64_t(list.size) * 2);
  Value *items = state.values(list.size);
  if (!keyed || !items) {
    state.fail().put("needs too much memory");
    return Value::ofList(nullptr, 0);
  }
  for (uint32_t i = 0; i < list.size; ++i)
    keyed[i] = {keyOf(list.items[i]), list.items[i]};
  sortKeyed(state, keyed, keyed + list.size, list.size, reverse);
  for (uint32_t i = 0; i < list.size; ++i)
    items[i] = keyed[i].item;
  return Value::ofList(items, list.size);
}

Value dictSort(State &state, const Value &dict, const Args &args) {
  if (!dict.is(Kind::Dict)) {
    state.fail().put("dictsort of ").put(typeName(dict));
    return Value();
  }
  const bool byValue =
      args.get(1, "by", Value::ofString("key")).isString("value");
  const Order order(state, args, 0, UINT32_MAX);
  return sorted(
      state, pairsOf(state, dict), truthy(args.get(2, "reverse", Value())),
      [&](const Value &pair) { return order.key(pair.items[byValue]); });
}

Value extreme(State &state, const Value &list, const Args &args, bool largest) {
  const Order order(state, args, 0, 1);
  Value best = undefined("item"), bestKey;
  for (uint32_t i = 0; i < list.size && !state.failed; ++i) {
    const Value key = order.key(list.items[i]);
    const int sign = i ? compare(state, key, bestKey) : 0;
    if (i && (largest ? sign <= 0 : sign >= 0))
      continue;
    best = list.items[i];
    bestKey = key;
  }
  return best;
}

Value unique(State &state, const Value &list, const Args &args) {
  const Order order(state, args, 0, 1);
  Value *items = state.values(list.size), *keys = state.values(list.size);
  uint64_t count = 0;
  for (uint32_t i = 0; items && keys && i < list.size && !state.failed; ++i) {
    const Value key = order.key(list.items[i]);
    uint64_t k = 0;
    while (k < count && !equal(state, keys[k], key))
      ++k;
    if (k < count)
      continue;
    items[count] = list.items[i];
    keys[count++] = key;
  }
  return Value::ofList(items, count);
}

Value mapItems(State &state, const Value &list, const Args &args) {
  Value *items = state.values(list.size);
  const Value *path = args.get(UINT32_MAX, "attribute");
  const Value *otherwise = args.get(UINT32_MAX, "default");
  if (otherwise && otherwise->is(Kind::None))
    otherwise = nullptr;
  uint32_t filter = 0;
  if (!path) {
    const Value name = args.get(0, "", Value());
    filter = name.is(Kind::String) ? filterNamed(name.str()) : 0;
    if (!filter)
      state.fail().put("map() names no filter");
  }
  for (uint32_t i = 0; items && i < list.size && !state.failed; ++i)
    items[i] =
        path ? attribute(state, list.items[i], *path, otherwise)
             : callFilter(state, filter, list.items[i], args.dropFirst(1));
  return Value::ofList(items, items ? list.size : 0);
}

/// select, reject, selectattr and rejectattr.
Value selectItems(State &state, const Value &list, Args args, bool byAttribute,
                  bool keeps) {
  Value *items = state.values(list.size);
  uint64_t count = 0;
  const Value path = args.get(0, "", Value());
  if (byAttribute) {
    if (!args.count)
      state.fail().put("which attribute is missing");
    args = args.dropFirst(1);
  }
  uint32_t test = 0;
  if (args.count) {
    test =
        args.values[0].is(Kind::String) ? testNamed(args.values[0].str()) : 0;
    if (!test)
      state.fail().put("select() and its kin name no test");
    args = args.dropFirst(1);
  }
  for (uint32_t i = 0; items && i < list.size && !state.failed; ++i) {
    const Value value =
        byAttribute ? attribute(state, list.items[i], path) : list.items[i];
    if ((test ? callTest(state, test, value, args) : truthy(value)) == keeps)
      items[count++] = list.items[i];
  }
  return Value::ofList(items, count);
}

Value joinItems(State &state, const Value &list, const Args &args) {
  const Str separator = textOf(state, args.get(0, "d", Value::ofString("")));
  const Value *path = args.get(1, "attribute");
  const uint64_t mark = state.mark();
  for (uint32_t i = 0; i < list.size && !state.failed; ++i) {
    if (i)
      state.put(separator);
    putText(state,
            path ? attribute(state, list.items[i], *path) : list.items[i]);
  }
  return state.cut(mark);
}

Value indent(State &state, Str text, const Args &args) {
  const Value width = args.get(0, "width", Value::ofInt(4));
  const bool first = truthy(args.get(1, "first", Value()));
  const bool blank = truthy(args.get(2, "blank", Value()));
  const Str indention =
      width.is(Kind::String)
          ? width.str()
          : arithmetic(state, PARE_CHAT_MULTIPLY, Value::ofString(" "), width)
                .str();
  const uint64_t mark = state.mark();
  bool begins = true;
  // An end of the last line is a line of its own.
  Str line, rest = concat(state, text, "\n").str();
  while (!state.failed && takeLine(rest, line)) {
    if (!begins)
      state.put('\n');
    if (begins ? first : blank || line.size)
      state.put(indention);
    state.put(line);
    begins = false;
  }
  return state.cut(mark);
}

Value toJson(State &state, const Value &value, const Args &args) {
  JsonStyle style;
  style.ascii = truthy(args.get(0, "ensure_ascii", Value()));
  style.sorts = truthy(args.get(3, "sort_keys", Value()));
  const Value width = args.get(1, "indent", Value());
  style.indents = !width.is(Kind::None);
  if (style.indents) {
    style.itemSeparator = ",";
    style.indent =
        width.is(Kind::String)
            ? width.str()
            : arithmetic(state, PARE_CHAT_MULTIPLY, Value::ofString(" "), width)
                  .str();
  }
  const Value separators = args.get(2, "separators", Value());
  if (isList(separators) && separators.size == 2) {
    style.itemSeparator = textOf(state, separators.items[0]);
    style.keySeparator = textOf(state, separators.items[1]);
  } else if (!separators.is(Kind::None)) {
    state.fail().put("separators are two strings");
  }
  const uint64_t mark = state.mark();
  if (!state.failed)
    putJson(state, value, style);
  return state.cut(mark);
}

/// Python's int() and float() of a string; false: it is no number.
bool parseNumber(Str text, bool whole, Value &value) {
  text = strip(text, Both);
  if (text.startsWith("+"))
    text = text.drop(1);
  int64_t integer;
  double real;
  if (whole && parseInt(text, integer))
    value = Value::ofInt(integer);
  else if (parseDecimal(text, real))
    value = Value::ofFloat(real);
  else
    return false;
  return true;
}

Value toNumber(const Value &value, const Args &args, bool whole) {
  Value number = value;
  const Value otherwise =
      args.get(0, "default", whole ? Value::ofInt(0) : Value::ofFloat(0));
  if (!isNumber(value) &&
      (!value.is(Kind::String) || !parseNumber(value.str(), whole, number)))
    return otherwise;
  if (!number.is(Kind::Float))
    return whole ? Value::ofInt(number.integer)
                 : Value::ofFloat(double(number.integer));
  if (!whole)
    return number;
  if (!(number.real > -0x1p63 && number.real < 0x1p63))
    return otherwise;
  return Value::ofInt(int64_t(number.real));
}

Value total(State &state, const Value &list, const Args &args) {
  const Value *path = args.get(0, "attribute");
  Value sum = args.get(1, "start", Value::ofInt(0));
  for (uint32_t i = 0; i < list.size && !state.failed; ++i)
    sum = arithmetic(state, PARE_CHAT_ADD, sum,
                     path && !path->is(Kind::None)
                         ? attribute(state, list.items[i], *path)
                         : list.items[i]);
  return sum;
}

Value reversed(State &state, const Value &value) {
  Value step = Value::ofInt(-1);
  if (value.is(Kind::String))
    return slice(state, value, Value(), Value(), step);
  return slice(state, itemsOf(state, value), Value(), Value(), step);
}

/// Filters of text.
Value textFilter(State &state, uint32_t filter, Str text, const Args &args) {
  switch (filter) {
  case PARE_FILTER_upper:
    return upper(state, text);
  case PARE_FILTER_lower:
    return lower(state, text);
  case PARE_FILTER_capitalize:
    return capitalize(state, text);
  case PARE_FILTER_title:
    return title(state, text, /*jinja=*/true);
  case PARE_FILTER_trim: {
    const Value chars = args.get(0, "chars", Value());
    const Str set = chars.is(Kind::String) ? chars.str() : "";
    state.charge(text.size * (1 + set.size) / 8);
    if (state.failed)
      return Value();
    return Value::ofString(
        strip(text, Both, chars.is(Kind::String) ? &set : nullptr));
  }
  case PARE_FILTER_replace: {
    const Value count = args.get(2, "count", Value());
    if (!args.get(0, "old") || !args.get(1, "new"))
      state.fail().put("replace takes two arguments");
    const Str from = textOf(state, args.get(0, "old", Value()));
    const Str to = textOf(state, args.get(1, "new", Value()));
    return replace(state, text, from, to,
                   count.is(Kind::Int) ? count.integer : -1);
  }
  case PARE_FILTER_indent:
    return indent(state, text, args);
  default: // string, safe
    return Value::ofString(text);
  }
}

/// Filters of what can be iterated over.
Value listFilter(State &state, uint32_t filter, const Value &list,
                 const Args &args) {
  switch (filter) {
  case PARE_FILTER_first:
    return list.size ? list.items[0] : undefined("item");
  case PARE_FILTER_last:
    return list.size ? list.items[list.size - 1] : undefined("item");
  case PARE_FILTER_join:
    return joinItems(state, list, args);
  case PARE_FILTER_map:
    return mapItems(state, list, args);
  case PARE_FILTER_max:
  case PARE_FILTER_min:
    return extreme(state, list, args, filter == PARE_FILTER_max);
  case PARE_FILTER_select:
  case PARE_FILTER_reject:
    return selectItems(state, list, args, /*byAttribute=*/false,
                       filter == PARE_FILTER_select);
  case PARE_FILTER_selectattr:
  case PARE_FILTER_rejectattr:
    return selectItems(state, list, args, /*byAttribute=*/true,
                       filter == PARE_FILTER_selectattr);
  case PARE_FILTER_sort: {
    const Order order(state, args, 1, 2);
    return sorted(state, list, truthy(args.get(0, "reverse", Value())),
                  [&](const Value &item) { return order.key(item); });
  }
  case PARE_FILTER_sum:
    return total(state, list, args);
  case PARE_FILTER_unique:
    return unique(state, list, args);
  default: // list
    return list;
  }
}

} // namespace

Value callFilter(State &state, uint32_t filter, const Value &value,
                 const Args &args) {
  switch (filter) {
  case PARE_FILTER_d:
  case PARE_FILTER_default: {
    const bool replaces =
        value.is(Kind::Undefined) ||
        (!truthy(value) && truthy(args.get(1, "boolean", Value())));
    return replaces ? args.get(0, "default_value", Value::ofString("")) : value;
  }
  case PARE_FILTER_tojson:
    return toJson(state, value, args);
  case PARE_FILTER_count:
  case PARE_FILTER_length: {
    const int64_t n = length(value);
    if (n < 0)
      state.fail().put(typeName(value)).put(" has no length");
    return Value::ofInt(n);
  }
  case PARE_FILTER_dictsort:
    return dictSort(state, value, args);
  case PARE_FILTER_items:
    if (value.is(Kind::Dict))
      return pairsOf(state, value);
    if (value.is(Kind::Undefined))
      return Value::ofList(nullptr, 0);
    state.fail().put("items of ").put(typeName(value));
    return Value();
  case PARE_FILTER_int:
  case PARE_FILTER_float:
    return toNumber(value, args, filter == PARE_FILTER_int);
  case PARE_FILTER_abs:
    if (value.is(Kind::Float))
      return Value::ofFloat(value.real < 0 ? -value.real : value.real);
    if (isNumber(value))
      return arithmetic(state, PARE_CHAT_MULTIPLY, value,
                        Value::ofInt(value.integer < 0 ? -1 : 1));
    state.fail().put("abs of ").put(typeName(value));
    return Value();
  case PARE_FILTER_reverse:
    return reversed(state, value);
  case PARE_FILTER_upper:
  case PARE_FILTER_lower:
  case PARE_FILTER_capitalize:
  case PARE_FILTER_title:
  case PARE_FILTER_trim:
  case PARE_FILTER_replace:
  case PARE_FILTER_indent:
  case PARE_FILTER_string:
  case PARE_FILTER_safe:
    return textFilter(state, filter, textOf(state, value), args);
  }
  const bool lazy = filter == PARE_FILTER_map || filter == PARE_FILTER_select ||
                    filter == PARE_FILTER_reject ||
                    filter == PARE_FILTER_selectattr ||
                    filter == PARE_FILTER_rejectattr;
  if (lazy && !truthy(value)) // Jinja does not look at it
    return Value::ofList(nullptr, 0);
  return listFilter(state, filter, itemsOf(state, value), args);
}

} // namespace pare::rt::chat
