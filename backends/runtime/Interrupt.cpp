#include "backends/runtime/Interrupt.h"

#include <signal.h>

using namespace pare::rt;

static volatile sig_atomic_t interrupted;

static void onInterrupt(int) { interrupted = 1; }

void Interrupt::reset() {
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  action.sa_flags = int(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

Interrupt::~Interrupt() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupt::happened() const { return interrupted != 0; }
