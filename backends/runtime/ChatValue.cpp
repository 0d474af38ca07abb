//===- ChatValue.cpp - Values of chat templates ---------------------------===//
#include "backends/runtime/ChatValue.h"
#include "backends/runtime/Decimal.h"

namespace pare::rt::chat {
namespace {

constexpr uint64_t kMaxWork = uint64_t(1) << 26;
constexpr uint64_t kMaxText = uint64_t(1) << 26;
constexpr unsigned kMaxDepth = 200;

/// May `method` be called on values of this kind?
bool hasMethod(Kind kind, uint32_t method) {
  switch (method) {
  case PARE_METHOD_NONE:
    return false;
  case PARE_METHOD_copy:
    return kind == Kind::Dict || kind == Kind::List;
  case PARE_METHOD_get:
  case PARE_METHOD_items:
  case PARE_METHOD_keys:
  case PARE_METHOD_values:
    return kind == Kind::Dict;
  case PARE_METHOD_changed:
  case PARE_METHOD_cycle:
    return kind == Kind::Loop;
  case PARE_METHOD_count:
  case PARE_METHOD_index:
    return kind == Kind::String || kind == Kind::List || kind == Kind::Tuple;
  }
  return kind == Kind::String;
}

uint8_t methodNamed(Str name) {
#define NAME(name) #name,
  static const char *const names[] = {PARE_CHAT_METHODS(NAME)};
#undef NAME
  for (uint8_t i = 1; i < PARE_NUM_METHODS; ++i)
    if (name == names[i - 1])
      return i;
  return PARE_METHOD_NONE;
}

double realOf(const Value &value) {
  return value.is(Kind::Float) ? value.real : double(value.integer);
}

bool isWhole(const Value &value) {
  return value.is(Kind::Int) || value.is(Kind::Bool);
}

/// An attribute of `loop`, but for its methods; null: no such name.
bool loopAttr(const Loop &loop, Str name, Value &value) {
  const int64_t index = int64_t(loop.next) - 1, size = loop.size;
  if (name == "index")
    value = Value::ofInt(index + 1);
  else if (name == "index0")
    value = Value::ofInt(index);
  else if (name == "revindex")
    value = Value::ofInt(size - index);
  else if (name == "revindex0")
    value = Value::ofInt(size - index - 1);
  else if (name == "first")
    value = Value::ofBool(index == 0);
  else if (name == "last")
    value = Value::ofBool(index + 1 == size);
  else if (name == "length")
    value = Value::ofInt(size);
  else if (name == "depth")
    value = Value::ofInt(1);
  else if (name == "depth0")
    value = Value::ofInt(0);
  else if (name == "previtem")
    value = index > 0 ? loop.items[index - 1] : undefined(name);
  else if (name == "nextitem")
    value = index + 1 < size ? loop.items[index + 1] : undefined(name);
  else
    return false;
  return true;
}

Value noOperator(State &state, const char *op, const Value &x, const Value &y) {
  const Value &missing = x.is(Kind::Undefined) ? x : y;
  if (missing.is(Kind::Undefined)) {
    state.fail().put('\'').put(missing.str()).put("' is undefined");
    return Value();
  }
  state.fail()
      .put("'")
      .put(op)
      .put("' of ")
      .put(typeName(x))
      .put(" and ")
      .put(typeName(y));
  return Value();
}

double floorOf(double x) {
  if (!(x > -0x1p52 && x < 0x1p52))
    return x;
  const double whole = double(int64_t(x));
  return whole > x ? whole - 1 : whole;
}

Value repeat(State &state, const Value &x, int64_t times) {
  times = max<int64_t>(times, 0);
  if (x.is(Kind::String)) {
    const uint64_t mark = state.mark();
    for (; times > 0 && x.size && !state.failed; --times)
      state.put(x.str());
    return state.cut(mark);
  }
  if (times > int64_t(kMaxWork) || uint64_t(times) * x.size > kMaxWork) {
    state.charge(kMaxWork);
    return Value();
  }
  Value *items = state.values(uint64_t(times) * x.size);
  for (uint64_t i = 0; items && i < uint64_t(times) * x.size; ++i)
    items[i] = x.items[i % x.size];
  return Value::ofList(items, items ? uint64_t(times) * x.size : 0, x.kind);
}

Value join(State &state, const Value &x, const Value &y) {
  Value *items = state.values(uint64_t(x.size) + y.size);
  if (!items)
    return Value();
  for (uint32_t i = 0; i < x.size; ++i)
    items[i] = x.items[i];
  for (uint32_t i = 0; i < y.size; ++i)
    items[x.size + i] = y.items[i];
  return Value::ofList(items, uint64_t(x.size) + y.size, x.kind);
}

Value wholeArithmetic(State &state, PareChatOp op, int64_t x, int64_t y) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
  case PARE_CHAT_ADD:
    overflow = __builtin_add_overflow(x, y, &result);
    break;
  case PARE_CHAT_SUBTRACT:
    overflow = __builtin_sub_overflow(x, y, &result);
    break;
  case PARE_CHAT_MULTIPLY:
    overflow = __builtin_mul_overflow(x, y, &result);
    break;
  case PARE_CHAT_POWER:
    result = 1;
    for (; y > 0 && !overflow; --y) {
      overflow = __builtin_mul_overflow(result, x, &result);
      state.charge(1);
      if (state.failed)
        break;
    }
    break;
  default: { // division, rounded down; y is not 0
    overflow = y == -1 && x == INT64_MIN;
    if (overflow)
      break;
    const int64_t quotient = x / y, rest = x % y;
    const bool adjust = rest != 0 && (rest < 0) != (y < 0);
    result =
        op == PARE_CHAT_MODULO ? rest + (adjust ? y : 0) : quotient - adjust;
  }
  }
  if (overflow)
    state.fail().put("an integer beyond 64 bits");
  return Value::ofInt(result);
}

} // namespace

Writer &State::fail() {
  if (failed)
    return ignored.start();
  failed = true;
  return error.start().put("chat template, line ").unsignedNum(line).put(": ");
}

void State::charge(uint64_t units) {
  work += units;
  if (work > kMaxWork && !failed)
    fail().put("does not come to an end");
}

void State::put(Str piece) {
  if (failed)
    return;
  charge(1 + piece.size / 8);
  if (piece.size > kMaxText - text.size)
    fail().put("the text is too long");
  else if (!text.append(piece.data, piece.size))
    fail().put("out of memory");
}

Value State::cut(uint64_t mark) {
  if (failed)
    return Value::ofString("");
  const Value value = string(since(mark));
  text.size = mark;
  return value;
}

Value *State::values(uint64_t count) {
  charge(1 + count / 4);
  Value *memory = arena.array<Value>(count);
  if (!memory)
    fail().put("needs too much memory");
  else
    for (uint64_t i = 0; i < count; ++i)
      memory[i] = Value();
  return memory;
}

Value State::string(Str from) {
  charge(1 + from.size / 8);
  char *copy = arena.array<char>(from.size);
  if (!copy) {
    fail().put("needs too much memory");
    return Value::ofString("");
  }
  if (from.size)
    memcpy(copy, from.data, from.size);
  return Value::ofString({copy, from.size});
}

bool State::enter() {
  if (++depth > kMaxDepth)
    fail().put("values are nested too deeply");
  return !failed;
}

Value undefined(Str name) {
  Value value = Value::ofString(name);
  value.kind = Kind::Undefined;
  return value;
}

const Value *Args::get(uint32_t index, Str name) const {
  if (index < count)
    return &values[index];
  for (uint32_t i = 0; i < numNamed; ++i)
    if (named[2 * i].isString(name))
      return &named[2 * i + 1];
  return nullptr;
}

Value Args::get(uint32_t index, Str name, Value otherwise) const {
  const Value *given = get(index, name);
  return given ? *given : otherwise;
}

const char *typeName(const Value &value) {
  static const char *const names[] = {
      "NoneType",    "bool",  "int",      "float",     "str",
      "list",        "dict",  "tuple",    "Undefined", "Namespace",
      "LoopContext", "Macro", "function", "method"};
  return names[unsigned(value.kind)];
}

bool isNumber(const Value &value) {
  return isWhole(value) || value.is(Kind::Float);
}

bool isList(const Value &value) {
  return value.is(Kind::List) || value.is(Kind::Tuple);
}

bool truthy(const Value &value) {
  switch (value.kind) {
  case Kind::None:
  case Kind::Undefined:
    return false;
  case Kind::Bool:
  case Kind::Int:
    return value.integer != 0;
  case Kind::Float:
    return value.real != 0;
  case Kind::String:
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
    return value.size > 0;
  default:
    return true;
  }
}

bool equal(State &state, const Value &x, const Value &y) {
  state.charge(1);
  if (isNumber(x) && isNumber(y))
    return isWhole(x) && isWhole(y) ? x.integer == y.integer
                                    : realOf(x) == realOf(y);
  if (x.kind != y.kind)
    return false;
  switch (x.kind) {
  case Kind::None:
  case Kind::Undefined:
    return true;
  case Kind::String:
    return x.str() == y.str();
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
    break;
  case Kind::Macro:
    return x.size == y.size && x.object == y.object;
  case Kind::Function:
    return x.tag == y.tag;
  default:
    return x.object == y.object;
  }
  bool same = x.size == y.size && state.enter();
  for (uint32_t i = 0; same && i < x.size; ++i) {
    if (!x.is(Kind::Dict)) {
      same = equal(state, x.items[i], y.items[i]);
      continue;
    }
    const DictEntry &entry = x.entries[i];
    uint32_t k = 0;
    while (k < y.size && !equal(state, y.entries[k].key, entry.key))
      ++k;
    same = k < y.size && equal(state, y.entries[k].value, entry.value);
  }
  if (x.size == y.size)
    state.leave();
  return same;
}

int compare(State &state, const Value &x, const Value &y) {
  state.charge(1);
  if (isNumber(x) && isNumber(y)) {
    if (isWhole(x) && isWhole(y))
      return x.integer < y.integer ? -1 : x.integer > y.integer;
    return realOf(x) < realOf(y) ? -1 : realOf(x) > realOf(y);
  }
  if (x.is(Kind::String) && y.is(Kind::String)) {
    const uint32_t n = min(x.size, y.size);
    state.charge(n / 8);
    const int order = n ? memcmp(x.text, y.text, n) : 0;
    return order ? order : x.size < y.size ? -1 : x.size > y.size;
  }
  if (!isList(x) || x.kind != y.kind) {
    noOperator(state, "<", x, y);
    return 0;
  }
  int order = 0;
  if (state.enter())
    for (uint32_t i = 0; i < min(x.size, y.size) && !order; ++i)
      if (!equal(state, x.items[i], y.items[i]))
        order = compare(state, x.items[i], y.items[i]);
  state.leave();
  return order ? order : x.size < y.size ? -1 : x.size > y.size;
}

bool contains(State &state, const Value &container, const Value &item) {
  switch (container.kind) {
  case Kind::Undefined:
    return false;
  case Kind::String:
    if (!item.is(Kind::String))
      break;
    return !item.size ||
           findText(state, container.str(), item.str()) < container.size;
  case Kind::List:
  case Kind::Tuple:
    for (uint32_t i = 0; i < container.size; ++i)
      if (equal(state, container.items[i], item))
        return true;
    return false;
  case Kind::Dict:
    for (uint32_t i = 0; i < container.size; ++i)
      if (equal(state, container.entries[i].key, item))
        return true;
    return false;
  default:
    break;
  }
  noOperator(state, "in", item, container);
  return false;
}

int64_t length(const Value &value) {
  switch (value.kind) {
  case Kind::Undefined:
    return 0;
  case Kind::String:
    return int64_t(countCodePoints(value.str()));
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
    return value.size;
  case Kind::Loop:
    return static_cast<const Loop *>(value.object)->size;
  default:
    return -1;
  }
}

Value getAttr(State &state, const Value &object, Str name, uint8_t method) {
  state.charge(1);
  if (object.is(Kind::Undefined)) {
    state.fail().put('\'').put(object.str()).put("' is undefined");
    return Value();
  }
  if (hasMethod(object.kind, method)) {
    Value *copy = state.values(1);
    if (!copy)
      return Value();
    *copy = object;
    Value bound;
    bound.kind = Kind::Method;
    bound.tag = method;
    bound.object = copy;
    return bound;
  }
  Value value;
  if (const Value *found = object.find(name))
    return *found;
  if (object.is(Kind::Loop) &&
      loopAttr(*static_cast<const Loop *>(object.object), name, value))
    return value;
  if (object.is(Kind::Namespace)) {
    const auto &space = *static_cast<const Namespace *>(object.object);
    if (const Value *found =
            Value::ofDict(space.entries, space.size).find(name))
      return *found;
  }
  return undefined(name);
}

Value getItem(State &state, const Value &object, const Value &key) {
  state.charge(1);
  if (object.is(Kind::Undefined)) {
    state.fail().put('\'').put(object.str()).put("' is undefined");
    return Value();
  }
  const bool text = object.is(Kind::String);
  if ((isList(object) || text) && isWhole(key)) {
    const int64_t size = length(object);
    int64_t index = key.integer;
    if (index < 0)
      index += size;
    if (index < 0 || index >= size)
      return undefined("item");
    if (!text)
      return object.items[index];
    state.charge(object.size / 4);
    return Value::ofString(
        codePoints(object.str(), uint64_t(index), uint64_t(index) + 1));
  }
  if (object.is(Kind::Dict))
    for (uint32_t i = 0; i < object.size; ++i)
      if (equal(state, object.entries[i].key, key))
        return object.entries[i].value;
  if (key.is(Kind::String))
    return getAttr(state, object, key.str(), methodNamed(key.str()));
  return undefined("item");
}

Value slice(State &state, const Value &object, const Value &begin,
            const Value &end, const Value &step) {
  const bool text = object.is(Kind::String);
  auto isBound = [](const Value &v) { return isWhole(v) || v.is(Kind::None); };
  if (!isBound(begin) || !isBound(end) || !isBound(step)) {
    state.fail().put("a slice's bounds are integers");
    return Value();
  }
  const int64_t stride = step.is(Kind::None) ? 1 : step.integer;
  if ((!text && !isList(object)) || stride == 0) {
    state.fail().put("no slice of ").put(typeName(object));
    return Value();
  }
  const int64_t size = length(object);
  const int64_t lowest = stride < 0 ? -1 : 0;
  const int64_t highest = stride < 0 ? size - 1 : size;
  auto clamp = [&](const Value &bound, int64_t otherwise) {
    if (bound.is(Kind::None))
      return otherwise;
    const int64_t i = bound.integer < 0 ? bound.integer + size : bound.integer;
    return max(lowest, min(highest, i));
  };
  const int64_t first = clamp(begin, stride < 0 ? highest : lowest);
  const int64_t last = clamp(end, stride < 0 ? lowest : highest);
  state.charge(object.size / 4);
  if (stride == 1)
    return text ? Value::ofString(codePoints(object.str(), uint64_t(first),
                                             uint64_t(max(first, last))))
                : Value::ofList(object.items + first,
                                uint64_t(max(last - first, int64_t(0))),
                                object.kind);
  const Value all = text ? itemsOf(state, object) : object;
  const uint64_t mark = state.mark();
  Value *picked = state.values(text ? 0 : uint64_t(size));
  uint64_t count = 0;
  for (int64_t i = first;
       picked && !state.failed && (stride < 0 ? i > last : i < last);) {
    if (text)
      state.put(all.items[i].str());
    else
      picked[count++] = all.items[i];
    if (__builtin_add_overflow(i, stride, &i))
      break;
  }
  return text ? state.cut(mark) : Value::ofList(picked, count, object.kind);
}

Value itemsOf(State &state, const Value &value) {
  state.charge(1);
  switch (value.kind) {
  case Kind::Undefined:
    return Value::ofList(nullptr, 0);
  case Kind::List:
  case Kind::Tuple:
    return Value::ofList(value.items, value.size);
  case Kind::Dict: {
    Value *keys = state.values(value.size);
    for (uint32_t i = 0; keys && i < value.size; ++i)
      keys[i] = value.entries[i].key;
    return Value::ofList(keys, keys ? value.size : 0);
  }
  case Kind::String: {
    const uint64_t count = countCodePoints(value.str());
    Value *items = state.values(count);
    Str rest = value.str();
    for (uint64_t i = 0; items && i < count; ++i) {
      const uint64_t n = offsetOf(rest, 1);
      items[i] = Value::ofString(rest.take(n));
      rest = rest.drop(n);
    }
    return Value::ofList(items, items ? count : 0);
  }
  default:
    state.fail().put(typeName(value)).put(" is not iterable");
    return Value::ofList(nullptr, 0);
  }
}

void setEntry(State &state, Namespace &target, const Value &key,
              const Value &value) {
  for (uint32_t i = 0; i < target.size; ++i)
    if (equal(state, target.entries[i].key, key)) {
      target.entries[i].value = value;
      return;
    }
  if (target.size == target.capacity) {
    const uint32_t capacity = max(8u, target.capacity * 2);
    auto *entries = state.arena.array<DictEntry>(capacity);
    if (!entries) {
      state.fail().put("needs too much memory");
      return;
    }
    for (uint32_t i = 0; i < target.size; ++i)
      entries[i] = target.entries[i];
    target.entries = entries;
    target.capacity = capacity;
  }
  target.entries[target.size++] = {key, value};
}

Value concat(State &state, Str x, Str y) {
  if (x.size + y.size > kMaxText) {
    state.fail().put("the text is too long");
    return Value();
  }
  state.charge(1 + y.size / 8);
  char *text = const_cast<char *>(x.data);
  if (!x.size || !state.arena.extend(x.data + x.size, y.size)) {
    state.charge(x.size / 8);
    text = state.arena.array<char>(x.size + y.size);
    if (!text) {
      state.fail().put("needs too much memory");
      return Value();
    }
    if (x.size)
      memcpy(text, x.data, x.size);
  }
  if (y.size)
    memcpy(text + x.size, y.data, y.size);
  return Value::ofString({text, x.size + y.size});
}

Value arithmetic(State &state, PareChatOp op, const Value &x, const Value &y) {
  static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
  const char *name = names[op - PARE_CHAT_ADD];
  if (op == PARE_CHAT_ADD && x.is(Kind::String) && y.is(Kind::String))
    return concat(state, x.str(), y.str());
  if (op == PARE_CHAT_ADD && isList(x) && x.kind == y.kind)
    return join(state, x, y);
  if (op == PARE_CHAT_MULTIPLY && isWhole(y) &&
      (x.is(Kind::String) || isList(x)))
    return repeat(state, x, y.integer);
  if (op == PARE_CHAT_MULTIPLY && isWhole(x) &&
      (y.is(Kind::String) || isList(y)))
    return repeat(state, y, x.integer);
  if (!isNumber(x) || !isNumber(y))
    return noOperator(state, name, x, y);

  const bool divides = op == PARE_CHAT_DIVIDE || op == PARE_CHAT_MODULO ||
                       op == PARE_CHAT_FLOOR_DIVIDE;
  const double a = realOf(x), b = realOf(y);
  if (divides && b == 0) {
    state.fail().put("division by zero");
    return Value();
  }
  const bool whole = isWhole(x) && isWhole(y);
  if (op == PARE_CHAT_POWER && (!whole || y.integer < 0))
    return noOperator(state, name, x, y);
  if (whole && op != PARE_CHAT_DIVIDE)
    return wholeArithmetic(state, op, x.integer, y.integer);
  switch (op) {
  case PARE_CHAT_ADD:
    return Value::ofFloat(a + b);
  case PARE_CHAT_SUBTRACT:
    return Value::ofFloat(a - b);
  case PARE_CHAT_MULTIPLY:
    return Value::ofFloat(a * b);
  case PARE_CHAT_DIVIDE:
    return Value::ofFloat(a / b);
  case PARE_CHAT_FLOOR_DIVIDE:
    return Value::ofFloat(floorOf(a / b));
  default:
    return Value::ofFloat(a - floorOf(a / b) * b);
  }
}

} // namespace pare::rt::chat
