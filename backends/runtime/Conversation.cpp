#include "backends/runtime/Conversation.h"

using namespace pare::rt;

static bool append(Bytes &to, Str text) {
  return to.append(text.data, text.size);
}

bool Conversation::add(const char *role, Str content) {
  uint64_t before = mark();
  if (append(messages, "<|im_start|>") && append(messages, role) &&
      append(messages, "\n") && append(messages, content) &&
      append(messages, "<|im_end|>\n"))
    return true;
  cut(before);
  return false;
}

bool Conversation::encode(Generator &generator, Bytes &tokens,
                          Message &error) const {
  Bytes prompt;
  if (append(prompt, messages.str()) &&
      append(prompt, "<|im_start|>assistant\n"))
    return generator.encode(prompt.str(), /*special=*/false, tokens);
  error.start().put("out of memory");
  return false;
}
