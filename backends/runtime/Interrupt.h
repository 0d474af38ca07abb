//===- Interrupt.h - Ctrl-C ends an answer ----------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_INTERRUPT_H
#define PARE_BACKENDS_RUNTIME_INTERRUPT_H

namespace pare::rt {

/// While one lives, the first Ctrl-C only makes happened() true; a second one
/// ends the program. For commands: signals belong to the whole process.
class Interrupt {
public:
  Interrupt() { reset(); }
  ~Interrupt();
  Interrupt(const Interrupt &) = delete;
  Interrupt &operator=(const Interrupt &) = delete;
  bool happened() const;
  /// As new.
  void reset();
};

} // namespace pare::rt

#endif
