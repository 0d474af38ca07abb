//===- Conversation.h - Messages and the prompt they make -------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CONVERSATION_H
#define PARE_BACKENDS_RUNTIME_CONVERSATION_H

#include "backends/runtime/Generator.h"

namespace pare::rt {

/// What a chat template may get beside messages, by the options below.
class TemplateOptions {
public:
  /// Reads the options and the file that they name. False with one line in
  /// `error`.
  bool parse(const Args &args, Message &error);

  Str tools() const { return toolList.str(); }         ///< JSON, or empty
  Str variables() const { return variableDict.str(); } ///< JSON, or empty

private:
  Bytes toolList, variableDict;
};

#define PARE_TEMPLATE_OPTIONS                                                  \
  {"--tools", "FILE", "a JSON list of tools, for the chat template"},          \
      {"--var", "NAME=JSON", "a variable of the chat template; repeatable"}

/// Appends the tokens of the prompt that a model's chat template makes of
/// `messages`, a JSON list, and of what may be empty, `tools` and `variables`.
/// A model without a template gets ChatML. False with one line in `error`.
bool encodeChat(Generator &generator, Str messages, Str tools, Str variables,
                Bytes &tokens, Message &error);

/// The messages of a chat.
class Conversation {
public:
  /// Each of these returns false where memory is short.
  bool add(const char *role, Str content);

  /// Number of bytes to go back to by cut().
  uint64_t mark() const { return messages.size; }
  void cut(uint64_t mark) { messages.size = mark; }

  /// Appends the tokens of the prompt for the next answer, as encodeChat does.
  bool encode(Generator &generator, const TemplateOptions &options,
              Bytes &tokens, Message &error) const;

private:
  Bytes messages; ///< in JSON: a list without its brackets
};

} // namespace pare::rt

#endif
