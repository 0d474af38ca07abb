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

/// ChatML: what a model without a template of its own most likely knows.
static bool renderChatMl(Str json, Bytes &prompt, Message &error) {
  Arena arena;
  Value messages;
  bool good = arena.reserve(16 * json.size + (1 << 16));
  if (good && !parseJson(json, arena, messages, error))
    return false;
  for (uint32_t i = 0; good && i < messages.size; ++i) {
    const Value &message = messages.items[i];
    good = append(prompt, "<|im_start|>") &&
           append(prompt, message.find("role")->str()) &&
           append(prompt, "\n") &&
           append(prompt, message.find("content")->str()) &&
           append(prompt, "<|im_end|>\n");
  }
  if (good && append(prompt, "<|im_start|>assistant\n"))
    return true;
  error.start().put("out of memory");
  return false;
}

bool Conversation::render(const PareDecoderInfo &info, Bytes &prompt,
                          Message &error) const {
  Bytes json;
  if (!append(json, "[") || !append(json, messages.str()) ||
      !append(json, "]")) {
    error.start().put("out of memory");
    return false;
  }
  if (!info.chat_template_bytes)
    return renderChatMl(json.str(), prompt, error);
  ChatTemplate chat;
  if (!chat.open(info.chat_template, info.chat_template_bytes)) {
    error.start().put("the model's chat template is damaged");
    return false;
  }
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  ChatInput input;
  input.messages = json.str();
  input.addGenerationPrompt = true;
  input.now = now.tv_sec;
  return chat.render(input, prompt, error);
}

bool Conversation::encode(Generator &generator, Bytes &tokens,
                          Message &error) const {
  Bytes prompt;
  return render(generator.decoder(), prompt, error) &&
         generator.encode(prompt.str(), /*special=*/false, tokens);
}
