//===- Syscall.h - System calls of Linux ------------------------*- C -*-===//
//
// The C library of single-file artifacts: the few functions of libc that the
// runtime calls, over system calls. Its tiny start-up and no locale, stdio or
// name service make a program of 90 KB where static glibc makes one of 820 KB.
// It has no thread-local storage: only the main thread reads errno.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_LIBC_SYSCALL_H
#define PARE_BACKENDS_RUNTIME_LIBC_SYSCALL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long call6(long n, long a, long b, long c, long d, long e,
                         long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#endif
}

/* The result, or -1 with errno set. */
static inline long result(long value) {
  if (value < 0 && value >= -4095) {
    errno = (int)-value;
    return -1;
  }
  return value;
}

static inline long call3(long n, long a, long b, long c) {
  return call6(n, a, b, c, 0, 0, 0);
}

#endif
