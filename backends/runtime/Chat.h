//===- Chat.h - Conversations to prompts, by a template ---------*- C++ -*-===//
//
// Executes the table of frontend/chat/Format.h where it lies. The text is the
// one that apply_chat_template of the `transformers` library gives for the
// same template, but for two things: letters beyond ASCII keep their case, and
// integers end at 64 bits. No global state: one table serves any number of
// threads.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_CHAT_H
#define PARE_BACKENDS_RUNTIME_CHAT_H

#include "backends/runtime/Support.h"
#include "frontend/chat/Format.h"

namespace pare::rt {

/// What a template is rendered with.
struct ChatInput {
  Str messages;  ///< JSON: [{"role": "user", "content": "Hi"}, ...]
  Str tools;     ///< JSON: a list of tools, or empty: none
  Str variables; ///< JSON: {"enable_thinking": false, ...}, or empty
  bool addGenerationPrompt = false;
  /// Texts of the tokens; with null data, the template sees no such variable.
  Str bosToken, eosToken;
  int64_t now = 0; ///< seconds since 1970, local time: for strftime_now
};

class ChatTemplate {
public:
  /// Opens the `bytes` bytes at `table`, which must be 8-byte aligned and
  /// outlive this. False for a table that is cut, damaged or of a kind that
  /// this runtime does not know. Damage that keeps the structure intact gives
  /// other text, never a wild access.
  bool open(const uint8_t *table, uint64_t bytes);

  /// Appends the prompt to `out`. False with one line in `error`: `input` is
  /// not JSON, the template refuses the conversation (raise_exception), fails,
  /// or does not come to an end. It may take some 0.2 seconds, 64 MiB of text
  /// and 256 MiB of memory.
  bool render(const ChatInput &input, Bytes &out, Message &error) const;

  const PareChatHeader *header = nullptr;
  const PareChatConstant *constants = nullptr;
  const PareChatFunction *functions = nullptr;
  const PareChatInstruction *instructions = nullptr;
  const char *text = nullptr;

private:
  bool checkInstruction(const PareChatInstruction &instruction) const;
  bool checkStrings(uint64_t first, uint64_t count) const;
};

} // namespace pare::rt

#endif
