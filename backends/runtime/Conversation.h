//===- Conversation.h - Messages and the prompt they make -------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CONVERSATION_H
#define PARE_BACKENDS_RUNTIME_CONVERSATION_H

#include "backends/runtime/Generator.h"

namespace pare::rt {

/// The messages of a chat.
class Conversation {
public:
  /// Each of these returns false where memory is short.
  bool add(const char *role, Str content);

  /// Number of bytes to go back to by cut().
  uint64_t mark() const { return messages.size; }
  void cut(uint64_t mark) { messages.size = mark; }

  /// Appends the tokens of the prompt for the next answer, by the model's chat
  /// template, or ChatML where it has none. False with one line in `error`.
  bool encode(Generator &generator, Bytes &tokens, Message &error) const;

private:
  bool render(const PareDecoderInfo &info, Bytes &prompt, Message &error) const;

  Bytes messages; ///< in JSON: a list without its brackets
};

} // namespace pare::rt

#endif
