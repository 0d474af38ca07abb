//===- ChatMachine.cpp - Executes the instructions of a template ----------===//
#include "backends/runtime/ChatMachine.h"

namespace pare::rt::chat {

/// A function that runs, or that macros defined in it refer to.
struct Machine::Frame {
  const PareChatFunction *function;
  Frame *outer; ///< of the function around it
  Frame *caller;
  uint64_t returnTo;
  uint64_t mark; ///< where its text begins
  uint32_t base; ///< of its operands
  uint32_t captures;
  uint64_t given; ///< a bit for each parameter that the caller gave
  Value *slots;
};

void Machine::push(const Value &value) {
  if (top < kMaxStack)
    stack[top++] = value;
  else
    state.fail().put("an expression is too deep");
}

Value Machine::pop() {
  if (top > frame->base)
    return stack[--top];
  damaged();
  return Value();
}

const Value *Machine::popMany(uint64_t count) {
  if (count > top - frame->base) {
    damaged();
    return nullptr;
  }
  top -= uint32_t(count);
  return stack + top;
}

Loop *Machine::topLoop() {
  if (top > frame->base && stack[top - 1].is(Kind::Loop))
    return static_cast<Loop *>(stack[top - 1].object);
  damaged();
  return nullptr;
}

Str Machine::name(uint32_t index) const {
  const PareChatConstant &c = code.constants[index];
  return {code.text + c.value.offset, c.bytes};
}

Value Machine::constant(uint32_t index) const {
  const PareChatConstant &c = code.constants[index];
  switch (c.kind) {
  case PARE_CHAT_BOOL:
    return Value::ofBool(c.value.integer);
  case PARE_CHAT_INT:
    return Value::ofInt(c.value.integer);
  case PARE_CHAT_FLOAT:
    return Value::ofFloat(c.value.real);
  case PARE_CHAT_STRING:
    return Value::ofString(name(index));
  }
  return Value();
}

Value Machine::global(Str name) const {
  if (const Value *value = globals.find(name))
    return *value;
#define NAME(name) #name,
  static const char *const names[] = {PARE_CHAT_FUNCTIONS(NAME)};
#undef NAME
  for (uint32_t i = 1; i < PARE_NUM_FUNCTIONS; ++i)
    if (name == names[i - 1]) {
      Value function;
      function.kind = Kind::Function;
      function.tag = uint8_t(i);
      return function;
    }
  return undefined(name);
}

/// The new frame's operands begin at `base`.
void Machine::enter(uint32_t function, Frame *outer, uint32_t base) {
  const PareChatFunction &f = code.functions[function];
  auto *next = state.arena.array<Frame>(1);
  Value *slots = state.values(f.num_slots);
  if (++calls > kMaxCalls)
    state.fail().put("macros call each other too deeply");
  if (!next || !slots || state.failed) {
    state.fail().put("needs too much memory");
    return;
  }
  *next = {&f, outer, frame, pc, state.mark(), base, captures, 0, slots};
  frame = next;
  pc = f.entry;
}

void Machine::leave() {
  top = frame->base;
  captures = frame->captures;
  pc = frame->returnTo;
  const uint64_t mark = frame->mark;
  frame = frame->caller;
  --calls;
  if (frame)
    push(state.cut(mark));
}

void Machine::run() {
  stack = state.arena.array<Value>(kMaxStack);
  if (!stack)
    state.fail().put("needs too much memory");
  else
    enter(0, nullptr, 0);
  while (frame && !state.failed) {
    const PareChatInstruction &instruction = code.instructions[pc++];
    state.line = instruction.line;
    state.charge(8);
    step(instruction);
  }
}

void Machine::step(const PareChatInstruction &i) {
  switch (i.op) {
  case PARE_CHAT_TEXT:
    return state.put(name(i.b));
  case PARE_CHAT_PRINT:
    return putText(state, pop());
  case PARE_CHAT_CONST:
    return push(constant(i.b));
  case PARE_CHAT_GLOBAL:
    return push(global(name(i.b)));
  case PARE_CHAT_LOAD: {
    const Frame *from = frame;
    for (uint32_t k = 0; k < i.a && from; ++k)
      from = from->outer;
    if (!from || i.b >= from->function->num_slots)
      return damaged();
    return push(from->slots[i.b]);
  }
  case PARE_CHAT_STORE:
    if (i.b >= frame->function->num_slots)
      return damaged();
    frame->slots[i.b] = pop();
    return;
  case PARE_CHAT_JUMP:
    pc = i.b;
    return;
  case PARE_CHAT_JUMP_IF_NOT:
    if (!truthy(pop()))
      pc = i.b;
    return;
  case PARE_CHAT_AND:
  case PARE_CHAT_OR: {
    const Value value = pop();
    if (truthy(value) == (i.op == PARE_CHAT_AND))
      return;
    push(value);
    pc = i.b;
    return;
  }
  case PARE_CHAT_CAPTURE:
    if (captures == kMaxCaptures) {
      state.fail().put("blocks are nested too deeply");
      return;
    }
    marks[captures++] = state.mark();
    return;
  case PARE_CHAT_CAPTURED:
    if (captures == frame->captures)
      return damaged();
    return push(state.cut(marks[--captures]));
  case PARE_CHAT_MACRO: {
    Value macro;
    macro.kind = Kind::Macro;
    macro.size = i.b;
    macro.object = frame;
    return push(macro);
  }
  case PARE_CHAT_PARAMETER:
    if (i.a < 64 && (frame->given >> i.a & 1))
      pc = i.b;
    return;
  case PARE_CHAT_RETURN:
    return leave();
  case PARE_CHAT_CALL:
  case PARE_CHAT_FILTER:
  case PARE_CHAT_TEST:
    return call(i);
  case PARE_CHAT_FOR:
  case PARE_CHAT_NEXT:
  case PARE_CHAT_KEEP:
  case PARE_CHAT_KEPT:
  case PARE_CHAT_LOOP:
  case PARE_CHAT_END_FOR:
    return iterate(i);
  default:
    return compute(i);
  }
}

/// Instructions that take values and give values.
void Machine::compute(const PareChatInstruction &i) {
  switch (i.op) {
  case PARE_CHAT_ATTR:
    return push(getAttr(state, pop(), name(i.b), i.a));
  case PARE_CHAT_SET_ATTR: {
    const Value space = pop(), value = pop();
    if (space.is(Kind::Namespace))
      return setEntry(state, *static_cast<Namespace *>(space.object),
                      constant(i.b), value);
    state.fail().put("only a namespace's attributes can be set");
    return;
  }
  case PARE_CHAT_ITEM: {
    const Value key = pop(), object = pop();
    return push(getItem(state, object, key));
  }
  case PARE_CHAT_SLICE: {
    const Value step = pop(), end = pop(), begin = pop();
    return push(slice(state, pop(), begin, end, step));
  }
  case PARE_CHAT_LIST:
  case PARE_CHAT_TUPLE: {
    const Value *from = popMany(i.b);
    Value *items = from ? state.values(i.b) : nullptr;
    for (uint32_t k = 0; items && k < i.b; ++k)
      items[k] = from[k];
    return push(
        Value::ofList(items, items ? i.b : 0,
                      i.op == PARE_CHAT_LIST ? Kind::List : Kind::Tuple));
  }
  case PARE_CHAT_DICT: {
    Namespace dict = {nullptr, 0, 0};
    const Value *from = popMany(uint64_t(i.b) * 2);
    for (uint32_t k = 0; from && k < i.b && !state.failed; ++k)
      setEntry(state, dict, from[2 * k], from[2 * k + 1]);
    return push(Value::ofDict(dict.entries, dict.size));
  }
  case PARE_CHAT_UNPACK: {
    const Value items = itemsOf(state, pop());
    if (items.size != i.b)
      state.fail()
          .put("expected ")
          .unsignedNum(i.b)
          .put(" values to unpack, not ")
          .unsignedNum(items.size);
    for (uint32_t k = i.b; k-- > 0 && !state.failed;)
      push(items.items[k]);
    return;
  }
  case PARE_CHAT_NOT:
    return push(Value::ofBool(!truthy(pop())));
  case PARE_CHAT_NEGATE:
  case PARE_CHAT_PLUS: {
    const Value value = pop();
    if (value.is(Kind::Float))
      return push(
          Value::ofFloat(i.op == PARE_CHAT_PLUS ? value.real : -value.real));
    const Value zero = Value::ofInt(0);
    return push(arithmetic(
        state, i.op == PARE_CHAT_PLUS ? PARE_CHAT_ADD : PARE_CHAT_SUBTRACT,
        zero, value));
  }
  case PARE_CHAT_CONCAT: {
    const Value *parts = popMany(i.b);
    Value result = Value::ofString("");
    for (uint32_t k = 0; parts && k < i.b && !state.failed; ++k) {
      const Str piece = textOf(state, parts[k]);
      result = k ? concat(state, result.str(), piece) : Value::ofString(piece);
    }
    return push(result);
  }
  case PARE_CHAT_COMPARE: {
    const Value y = pop(), x = pop();
    bool holds = false;
    switch (i.b) {
    case PARE_CHAT_EQ:
    case PARE_CHAT_NE:
      holds = equal(state, x, y) == (i.b == PARE_CHAT_EQ);
      break;
    case PARE_CHAT_LT:
      holds = compare(state, x, y) < 0;
      break;
    case PARE_CHAT_LE:
      holds = compare(state, x, y) <= 0;
      break;
    case PARE_CHAT_GT:
      holds = compare(state, x, y) > 0;
      break;
    case PARE_CHAT_GE:
      holds = compare(state, x, y) >= 0;
      break;
    default:
      holds = contains(state, y, x) == (i.b == PARE_CHAT_IN);
    }
    if (i.a)
      push(y);
    return push(Value::ofBool(holds));
  }
  case PARE_CHAT_NIP: {
    const Value value = pop();
    pop();
    return push(value);
  }
  default: {
    const Value y = pop(), x = pop();
    return push(arithmetic(state, PareChatOp(i.op), x, y));
  }
  }
}

void Machine::iterate(const PareChatInstruction &i) {
  if (i.op == PARE_CHAT_FOR) {
    const Value list = itemsOf(state, pop());
    auto *loop = state.arena.array<Loop>(1);
    // The filter moves what it keeps forward.
    Value *items =
        i.a ? state.values(list.size) : const_cast<Value *>(list.items);
    if (!loop || state.failed) {
      state.fail().put("needs too much memory");
      return;
    }
    for (uint32_t k = 0; i.a && k < list.size; ++k)
      items[k] = list.items[k];
    *loop = {items, list.size, 0, 0, Value()};
    Value value;
    value.kind = Kind::Loop;
    value.object = loop;
    return push(value);
  }
  Loop *loop = topLoop();
  if (!loop)
    return;
  switch (i.op) {
  case PARE_CHAT_NEXT:
    if (loop->next == loop->size)
      pc = i.b;
    else
      push(loop->items[loop->next++]);
    return;
  case PARE_CHAT_KEEP:
    if (loop->kept >= loop->next)
      return damaged();
    loop->items[loop->kept++] = loop->items[loop->next - 1];
    return;
  case PARE_CHAT_KEPT:
    loop->size = loop->kept;
    loop->next = 0;
    return;
  case PARE_CHAT_LOOP:
    return push(stack[top - 1]);
  default:
    pop();
    if (loop->next > 0)
      pc = i.b;
    return;
  }
}

/// Replaces the last positional argument, a list, by its items.
void Machine::spread(Args &args) {
  if (!args.count)
    return damaged();
  const uint32_t before = args.count - 1;
  const Value list = itemsOf(state, args.values[before]);
  Value *values = state.values(uint64_t(before) + list.size);
  for (uint32_t i = 0; values && i < before + list.size; ++i)
    values[i] = i < before ? args.values[i] : list.items[i - before];
  args.values = values;
  args.count = values ? before + list.size : 0;
}

void Machine::call(const PareChatInstruction &i) {
  const uint32_t numNamed = i.b >> 16;
  const Value *named = popMany(uint64_t(numNamed) * 2);
  const Value *values = popMany(i.a);
  const Value callee = pop();
  if (state.failed)
    return;
  const uint32_t base = top;
  Args args = {values, i.a, named, numNamed};
  const uint32_t id = i.b & 0xffff;
  if (i.op == PARE_CHAT_FILTER)
    return push(callFilter(state, id, callee, args));
  if (i.op == PARE_CHAT_TEST)
    return push(Value::ofBool(callTest(state, id, callee, args)));
  if (id == PARE_CHAT_CALL_SPREADS)
    spread(args);
  if (state.failed)
    return;
  switch (callee.kind) {
  case Kind::Macro:
    return callMacro(callee, args, base);
  case Kind::Function:
    return push(callFunction(state, callee.tag, args));
  case Kind::Method:
    return push(callMethod(state, callee.tag,
                           *static_cast<const Value *>(callee.object), args));
  case Kind::Undefined:
    state.fail().put('\'').put(callee.str()).put("' is undefined");
    return;
  default:
    state.fail().put(typeName(callee)).put(" cannot be called");
  }
}

void Machine::callMacro(const Value &macro, const Args &args, uint32_t base) {
  enter(macro.size, static_cast<Frame *>(macro.object), base);
  if (state.failed)
    return;
  const PareChatFunction &f = *frame->function;
  if (args.count > f.num_positional)
    state.fail().put(name(f.name)).put("() takes fewer arguments");
  for (uint32_t i = 0; i < f.num_parameters && !state.failed; ++i) {
    const Str parameter = name(f.parameters + i);
    const Value *value =
        args.get(i < f.num_positional ? i : UINT32_MAX, parameter);
    frame->slots[i] = value ? *value : undefined(parameter);
    frame->given |= uint64_t(value != nullptr) << i;
  }
  for (uint32_t k = 0; k < args.numNamed && !state.failed; ++k) {
    bool known = false;
    for (uint32_t i = 0; i < f.num_parameters; ++i)
      known |=
          args.named[2 * k].isString(name(f.parameters + i)) && i >= args.count;
    if (!known)
      state.fail()
          .put(name(f.name))
          .put("() takes no argument ")
          .put(textOf(state, args.named[2 * k]));
  }
}

} // namespace pare::rt::chat
