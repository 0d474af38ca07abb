//===- Conversation.cpp - Messages and the prompt they make ---------------===//
#include "backends/runtime/Conversation.h"

#include "backends/runtime/Chat.h"
#include "backends/runtime/DecoderOptions.h"
#include "backends/runtime/Json.h"

#include <time.h>

using namespace pare::rt;

static bool append(Bytes &to, Str text) {
  return to.append(text.data, text.size);
}

bool Conversation::add(const char *role, Str content) {
  uint64_t before = mark();
  if (append(messages, before ? ",{\"role\":" : "{\"role\":") &&
      appendJson(messages, role) && append(messages, ",\"content\":") &&
      appendJson(messages, content) && append(messages, "}"))
    return true;
  cut(before);
  return false;
}

bool TemplateOptions::parse(const Args &args, Message &error) {
  if (const char *path = args.get("--tools"))
    if (!readFile(path, toolList, error))
      return false;
  auto fail = [&](const char *text, const char *why) {
    error.start().put("--var is '").put(text).put("', expected ").put(why);
    return false;
  };
  bool good = true;
  for (uint32_t i = 0; i < args.count; ++i) {
    if (!args.items[i].option || !(Str("--var") == args.items[i].option->name))
      continue;
    const char *given = args.items[i].value;
    Str text = given;
    uint64_t equals = text.find('=');
    if (equals == 0 || equals == text.size)
      return fail(given, "NAME=JSON");
    Str value = text.drop(equals + 1);
    Arena arena;
    Value parsed;
    good = good && arena.reserve(16 * value.size + (1 << 16));
    if (good && !parseJson(value, arena, parsed, error))
      return fail(given, "JSON behind the = (texts with their quotes)");
    good = good && append(variableDict, variableDict.size ? "," : "{") &&
           appendJson(variableDict, text.take(equals)) &&
           append(variableDict, ":") && append(variableDict, value);
  }
  if (good && (!variableDict.size || append(variableDict, "}")))
    return true;
  error.start().put("out of memory");
  return false;
}

/// ChatML: what a model without a template of its own most likely knows.
static bool renderChatMl(Str json, Bytes &prompt, Message &error) {
  Arena arena;
  Value messages;
  bool good = arena.reserve(16 * json.size + (1 << 16));
  if (good && !parseJson(json, arena, messages, error))
    return false;
  if (good && !messages.is(Kind::List)) {
    error.start().put("the messages are not a list");
    return false;
  }
  for (uint32_t i = 0; good && i < messages.size; ++i) {
    const Value *role = messages.items[i].find("role"),
                *content = messages.items[i].find("content");
    if (!role || !content || !role->is(Kind::String) ||
        !content->is(Kind::String)) {
      error.start()
          .put("message ")
          .unsignedNum(i)
          .put(" needs a role and a content, both texts");
      return false;
    }
    good = append(prompt, "<|im_start|>") && append(prompt, role->str()) &&
           append(prompt, "\n") && append(prompt, content->str()) &&
           append(prompt, "<|im_end|>\n");
  }
  if (good && append(prompt, "<|im_start|>assistant\n"))
    return true;
  error.start().put("out of memory");
  return false;
}

static bool renderChat(const PareDecoderInfo &info, Str messages, Str tools,
                       Str variables, Bytes &prompt, Message &error) {
  if (!info.chat_template_bytes) {
    if (!tools.size && !variables.size)
      return renderChatMl(messages, prompt, error);
    error.start().put(
        "the model has no chat template that takes tools or variables");
    return false;
  }
  ChatTemplate chat;
  if (!chat.open(info.chat_template, info.chat_template_bytes)) {
    error.start().put("the model's chat template is damaged");
    return false;
  }
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  ChatInput input;
  input.messages = messages;
  input.tools = tools;
  input.variables = variables;
  input.addGenerationPrompt = true;
  input.now = now.tv_sec;
  return chat.render(input, prompt, error);
}

bool pare::rt::encodeChat(Generator &generator, Str messages, Str tools,
                          Str variables, Bytes &tokens, Message &error) {
  Bytes prompt;
  return renderChat(generator.decoder(), messages, tools, variables, prompt,
                    error) &&
         generator.encode(prompt.str(), /*special=*/false, tokens);
}

bool Conversation::encode(Generator &generator, const TemplateOptions &options,
                          Bytes &tokens, Message &error) const {
  Bytes json;
  if (append(json, "[") && append(json, messages.str()) && append(json, "]"))
    return encodeChat(generator, json.str(), options.tools(),
                      options.variables(), tokens, error);
  error.start().put("out of memory");
  return false;
}
