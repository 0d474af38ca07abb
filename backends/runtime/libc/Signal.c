//===- Signal.c - Handlers of signals -------------------------------------===//
#include "backends/runtime/libc/Syscall.h"

#include <signal.h>
#include <string.h>

/* As the kernel wants it, on x86-64 and aarch64. */
typedef struct {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
} KernelAction;

enum { RestorerFlag = 0x04000000 };

#if defined(__x86_64__)
/* Where a handler returns to; aarch64's kernel has its own. */
void pareRestore(void);
__asm__(".text\n.type pareRestore, @function\n"
        "pareRestore:\n"
        "  mov $15, %eax\n"
        "  syscall\n");
#endif

int sigaction(int signal, const struct sigaction *restrict action,
              struct sigaction *restrict old) {
  KernelAction next = {0}, last = {0};
  if (action) {
    next.handler = action->sa_handler;
    next.flags = (unsigned long)(unsigned)action->sa_flags;
    memcpy(&next.mask, &action->sa_mask, sizeof(next.mask));
#if defined(__x86_64__)
    next.flags |= RestorerFlag;
    next.restorer = pareRestore;
#endif
  }
  long code = result(call6(SYS_rt_sigaction, signal, action ? (long)&next : 0,
                           old ? (long)&last : 0, sizeof(next.mask), 0, 0));
  if (code == 0 && old) {
    memset(old, 0, sizeof(*old));
    old->sa_handler = last.handler;
    old->sa_flags = (int)(last.flags & ~(unsigned long)RestorerFlag);
    memcpy(&old->sa_mask, &last.mask, sizeof(last.mask));
  }
  return (int)code;
}
