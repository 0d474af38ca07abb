//===- ChatMachine.h - Executes the instructions of a template --*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_CHATMACHINE_H
#define PARE_BACKENDS_RUNTIME_CHATMACHINE_H

#include "backends/runtime/Chat.h"
#include "backends/runtime/ChatValue.h"

namespace pare::rt::chat {

class Machine {
public:
  /// `globals` is a dict. `code` is open.
  Machine(const ChatTemplate &code, State &state, const Value &globals)
      : code(code), state(state), globals(globals) {}

  /// Runs the template; its text is in the state.
  void run();

private:
  struct Frame;
  void step(const PareChatInstruction &instruction);
  void compute(const PareChatInstruction &instruction);
  void iterate(const PareChatInstruction &instruction);
  void call(const PareChatInstruction &instruction);
  void spread(Args &args);
  void callMacro(const Value &macro, const Args &args, uint32_t base);
  void enter(uint32_t function, Frame *outer, uint32_t base);
  void leave();
  void damaged() { state.fail().put("the template's table is damaged"); }

  void push(const Value &value);
  Value pop();
  /// The `count` values on top, which stay there until the next push.
  const Value *popMany(uint64_t count);
  Loop *topLoop();
  Value global(Str name) const;
  Value constant(uint32_t index) const;
  Str name(uint32_t index) const;

  static constexpr uint32_t kMaxStack = 8192, kMaxCalls = 200,
                            kMaxCaptures = 256;
  const ChatTemplate &code;
  State &state;
  Value globals;
  Value *stack = nullptr;
  uint32_t top = 0, calls = 0, captures = 0;
  uint64_t marks[kMaxCaptures]; ///< where captured text begins
  uint64_t pc = 0;
  Frame *frame = nullptr; ///< null: the template is done
};

} // namespace pare::rt::chat

#endif
