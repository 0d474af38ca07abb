//===- Start.c - From the kernel to main ----------------------------------===//
#include "backends/runtime/libc/Syscall.h"

#include <elf.h>
#include <stdlib.h>

int main(int argc, char **argv);

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n.type _start, @function\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call pareStart\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n.type _start, %function\n"
        "_start:\n"
        "  mov x29, #0\n"
        "  mov x30, #0\n"
        "  mov x0, sp\n"
        "  and x1, x0, #-16\n"
        "  mov sp, x1\n"
        "  bl pareStart\n");
#endif

static int errorNumber;
int *__errno_location(void) { return &errorNumber; }

static const Elf64_auxv_t *auxiliary;

unsigned long getauxval(unsigned long type) {
  for (const Elf64_auxv_t *entry = auxiliary; entry->a_type != AT_NULL; ++entry)
    if (entry->a_type == type)
      return entry->a_un.a_val;
  return 0;
}

static char **environment;

char *getenv(const char *name) {
  for (char **entry = environment; *entry; ++entry) {
    size_t n = 0;
    while (name[n] && (*entry)[n] == name[n])
      ++n;
    if (!name[n] && (*entry)[n] == '=')
      return *entry + n + 1;
  }
  return NULL;
}

typedef void (*Initializer)(void);
extern const Initializer __init_array_start[] __attribute__((weak));
extern const Initializer __init_array_end[] __attribute__((weak));

/* The stack holds argc, argv, null, the environment, null, the auxiliary
   vector. */
__attribute__((noreturn, used)) void pareStart(long *stack) {
  int argc = (int)stack[0];
  char **argv = (char **)(stack + 1);
  environment = argv + argc + 1;
  char **end = environment;
  while (*end)
    ++end;
  auxiliary = (const Elf64_auxv_t *)(end + 1);
  for (const Initializer *entry = __init_array_start; entry < __init_array_end;
       ++entry)
    (*entry)();
  int code = main(argc, argv);
  for (;;)
    call3(SYS_exit_group, code, 0, 0);
}
