//===- Thread.c - Threads that are made once and joined -------------------===//
#include "backends/runtime/libc/Syscall.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { GuardBytes = 65536 };

/* At the upper end of the thread's mapping, above its stack. */
typedef struct {
  void *(*start)(void *);
  void *argument;
  void *mapping;
  size_t mapped;
  int id; /* the kernel clears it and wakes its waiters when the thread ends */
} Thread;

/* Starts a thread on `stack`, which holds the Thread. Returns as clone does. */
long pareClone(unsigned long flags, void *stack, int *id, int *cleared);

#if defined(__x86_64__)
__asm__(".text\n.type pareClone, @function\n"
        "pareClone:\n"
        "  mov %rcx, %r10\n"
        "  mov $56, %eax\n"
        "  syscall\n"
        "  test %rax, %rax\n"
        "  jz 1f\n"
        "  ret\n"
        "1:\n"
        "  xor %ebp, %ebp\n"
        "  pop %rdi\n"
        "  call pareThreadMain\n");
enum { StackTop = 8 }; /* the pop leaves it aligned to 16 */
#elif defined(__aarch64__)
__asm__(".text\n.type pareClone, %function\n"
        "pareClone:\n"
        "  mov x4, x3\n"
        "  mov x3, xzr\n"
        "  mov x8, #220\n"
        "  svc 0\n"
        "  cbz x0, 1f\n"
        "  ret\n"
        "1:\n"
        "  mov x29, #0\n"
        "  ldr x0, [sp], #16\n"
        "  bl pareThreadMain\n");
enum { StackTop = 16 };
#endif

__attribute__((noreturn, used)) void pareThreadMain(Thread *thread) {
  thread->start(thread->argument);
  for (;;)
    call3(SYS_exit, 0, 0, 0);
}

int pthread_attr_init(pthread_attr_t *attributes) {
  *(size_t *)attributes = 2u << 20;
  return 0;
}
int pthread_attr_destroy(pthread_attr_t *attributes) { return 0; }
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes) {
  *(size_t *)attributes = bytes;
  return 0;
}

int pthread_create(pthread_t *restrict out,
                   const pthread_attr_t *restrict attributes,
                   void *(*start)(void *), void *restrict argument) {
  size_t mapped = GuardBytes + *(const size_t *)attributes;
  char *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED)
    return EAGAIN;
  mprotect(mapping, GuardBytes, PROT_NONE);
  char *top = mapping + mapped - 64;
  Thread *thread = (Thread *)top;
  *thread = (Thread){start, argument, mapping, mapped, 0};
  Thread **stack = (Thread **)(top - StackTop);
  *stack = thread;
  long id = pareClone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                          CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
                          CLONE_CHILD_CLEARTID,
                      stack, &thread->id, &thread->id);
  if (id < 0) {
    munmap(mapping, mapped);
    return EAGAIN;
  }
  *out = (pthread_t)thread;
  return 0;
}

int pthread_join(pthread_t handle, void **value) {
  Thread *thread = (Thread *)handle;
  int id;
  while ((id = __atomic_load_n(&thread->id, __ATOMIC_ACQUIRE)) != 0)
    call6(SYS_futex, (long)&thread->id, FUTEX_WAIT, id, 0, 0, 0);
  munmap(thread->mapping, thread->mapped);
  return 0;
}
