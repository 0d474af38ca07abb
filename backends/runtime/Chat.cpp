//===- Chat.cpp - Conversations to prompts, by a template -----------------===//
#include "backends/runtime/ChatMachine.h"

using namespace pare::rt;
using namespace pare::rt::chat;

bool ChatTemplate::checkStrings(uint64_t first, uint64_t count) const {
  if (first > header->num_constants || count > header->num_constants - first)
    return false;
  for (uint64_t i = first; i < first + count; ++i)
    if (constants[i].kind != PARE_CHAT_STRING)
      return false;
  return true;
}

bool ChatTemplate::checkInstruction(const PareChatInstruction &i) const {
  switch (i.op) {
  case PARE_CHAT_CONST:
    return i.b < header->num_constants;
  case PARE_CHAT_TEXT:
  case PARE_CHAT_GLOBAL:
  case PARE_CHAT_ATTR:
  case PARE_CHAT_SET_ATTR:
    return checkStrings(i.b, 1) && i.a < PARE_NUM_METHODS;
  case PARE_CHAT_MACRO:
    return i.b < header->num_functions;
  case PARE_CHAT_JUMP:
  case PARE_CHAT_JUMP_IF_NOT:
  case PARE_CHAT_AND:
  case PARE_CHAT_OR:
  case PARE_CHAT_NEXT:
  case PARE_CHAT_END_FOR:
  case PARE_CHAT_PARAMETER:
    return i.b < header->num_instructions;
  case PARE_CHAT_FILTER:
    return (i.b & 0xffff) - 1 < PARE_NUM_FILTERS - 1;
  case PARE_CHAT_TEST:
    return (i.b & 0xffff) - 1 < PARE_NUM_TESTS - 1;
  }
  return i.op > 0 && i.op < PARE_CHAT_NUM_OPS;
}

bool ChatTemplate::open(const uint8_t *table, uint64_t bytes) {
  if (bytes < sizeof(PareChatHeader) ||
      reinterpret_cast<uintptr_t>(table) % 8 != 0)
    return false;
  header = reinterpret_cast<const PareChatHeader *>(table);
  if (header->magic != PARE_CHAT_MAGIC ||
      header->version != PARE_CHAT_VERSION || header->bytes != bytes)
    return false;
  uint64_t at = sizeof(PareChatHeader);
  auto take = [&](uint64_t count, uint64_t size) {
    const uint8_t *section = table + min(at, bytes);
    at = alignUp(at + count * size, 8); // counts have 32 bits: no overflow
    return section;
  };
  constants = reinterpret_cast<const PareChatConstant *>(
      take(header->num_constants, sizeof(*constants)));
  functions = reinterpret_cast<const PareChatFunction *>(
      take(header->num_functions, sizeof(*functions)));
  instructions = reinterpret_cast<const PareChatInstruction *>(
      take(header->num_instructions, sizeof(*instructions)));
  text = reinterpret_cast<const char *>(take(header->text_bytes, 1));
  if (at != bytes || !header->num_functions || !header->num_instructions)
    return false;

  for (uint32_t i = 0; i < header->num_constants; ++i) {
    const PareChatConstant &c = constants[i];
    if (c.kind == PARE_CHAT_STRING &&
        (c.value.offset > header->text_bytes ||
         c.bytes > header->text_bytes - c.value.offset))
      return false;
  }
  for (uint32_t i = 0; i < header->num_functions; ++i) {
    const PareChatFunction &f = functions[i];
    if (f.entry >= header->num_instructions || f.num_parameters > 64 ||
        f.num_parameters > f.num_slots || f.num_positional > f.num_parameters ||
        !checkStrings(f.parameters, f.num_parameters) ||
        !checkStrings(f.name, 1))
      return false;
  }
  for (uint32_t i = 0; i < header->num_instructions; ++i)
    if (!checkInstruction(instructions[i]))
      return false;
  return instructions[header->num_instructions - 1].op == PARE_CHAT_RETURN;
}

namespace {

bool parse(State &state, const char *what, Str text, Value &value) {
  if (parseJson(text, state.arena, value, state.error))
    return true;
  Message cause;
  cause.start().put(state.error.c_str());
  state.error.start().put(what).put(": ").put(cause.c_str());
  return false;
}

/// Reasoning goes by the names that templates read, as the library has it.
bool aliasReasoning(State &state, const Value &messages) {
  static const char *const names[] = {"reasoning_content", "thinking",
                                      "reasoning"};
  auto *list = const_cast<Value *>(messages.items);
  for (uint32_t i = 0; i < messages.size; ++i) {
    const Value *reasoning = nullptr;
    for (const char *name : names) {
      const Value *found = reasoning ? nullptr : list[i].find(name);
      if (found && !found->is(Kind::None))
        reasoning = found;
    }
    if (!reasoning)
      continue;
    Namespace message = {nullptr, 0, 0};
    setEntry(state, message, Value::ofString("thinking"), *reasoning);
    for (uint32_t k = 0; k < list[i].size; ++k)
      setEntry(state, message, list[i].entries[k].key,
               list[i].entries[k].value);
    setEntry(state, message, Value::ofString("reasoning_content"), *reasoning);
    list[i] = Value::ofDict(message.entries, message.size);
  }
  return !state.failed;
}

/// The variables that the template sees, as a dict.
bool makeGlobals(State &state, const ChatInput &input, Value &globals) {
  Value messages, tools, variables = Value::ofDict(nullptr, 0);
  if (!parse(state, "messages", input.messages, messages) ||
      (input.tools.size && !parse(state, "tools", input.tools, tools)) ||
      (input.variables.size &&
       !parse(state, "template variables", input.variables, variables)))
    return false;
  bool good = messages.is(Kind::List);
  for (uint32_t i = 0; good && i < messages.size; ++i)
    good = messages.items[i].is(Kind::Dict);
  if (!good) {
    state.error.start().put("messages are not a list of objects");
    return false;
  }
  if (!tools.is(Kind::None) && !tools.is(Kind::List)) {
    state.error.start().put("tools are not a list");
    return false;
  }
  if (!variables.is(Kind::Dict)) {
    state.error.start().put("template variables are not an object");
    return false;
  }
  Namespace all = {nullptr, 0, 0};
  auto set = [&](const char *name, const Value &value) {
    setEntry(state, all, Value::ofString(name), value);
  };
  set("documents", Value());
  if (input.bosToken.data)
    set("bos_token", Value::ofString(input.bosToken));
  if (input.eosToken.data)
    set("eos_token", Value::ofString(input.eosToken));
  for (uint32_t i = 0; i < variables.size; ++i)
    setEntry(state, all, variables.entries[i].key, variables.entries[i].value);
  set("messages", messages);
  set("tools", tools);
  set("add_generation_prompt", Value::ofBool(input.addGenerationPrompt));
  globals = Value::ofDict(all.entries, all.size);
  return aliasReasoning(state, messages);
}

} // namespace

bool ChatTemplate::render(const ChatInput &input, Bytes &out,
                          Message &error) const {
  State state(error);
  state.now = input.now;
  if (!state.arena.reserve(uint64_t(256) << 20)) {
    error.start().put("no memory for a chat template");
    return false;
  }
  Value globals;
  if (!makeGlobals(state, input, globals))
    return false;
  Machine(*this, state, globals).run();
  if (!state.failed && !out.append(state.text.data, state.text.size))
    state.fail().put("out of memory");
  return !state.failed;
}
