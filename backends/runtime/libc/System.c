//===- System.c - Files, memory and time by system calls ------------------===//
#include "backends/runtime/libc/Syscall.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
  va_end(rest);
  return (int)result(
      call6(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0));
}

int close(int fd) { return (int)result(call3(SYS_close, fd, 0, 0)); }

ssize_t read(int fd, void *data, size_t n) {
  return result(call3(SYS_read, fd, (long)data, (long)n));
}

ssize_t write(int fd, const void *data, size_t n) {
  return result(call3(SYS_write, fd, (long)data, (long)n));
}

int fstat(int fd, struct stat *info) {
  return (int)result(call3(SYS_fstat, fd, (long)info, 0));
}

int stat(const char *restrict path, struct stat *restrict info) {
  return (int)result(
      call6(SYS_newfstatat, AT_FDCWD, (long)path, (long)info, 0, 0, 0));
}

int access(const char *path, int mode) {
  return (int)result(call3(SYS_faccessat, AT_FDCWD, (long)path, mode));
}

int rename(const char *from, const char *to) {
  return (int)result(
      call6(SYS_renameat, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0, 0));
}

int unlink(const char *path) {
  return (int)result(call3(SYS_unlinkat, AT_FDCWD, (long)path, 0));
}

int poll(struct pollfd *fds, nfds_t count, int milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  return (int)result(call6(SYS_ppoll, (long)fds, (long)count,
                           milliseconds < 0 ? 0 : (long)&time, 0, 0, 0));
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd,
           off_t offset) {
  return (void *)result(call6(SYS_mmap, (long)address, (long)bytes, protection,
                              flags, fd, offset));
}

int munmap(void *address, size_t bytes) {
  return (int)result(call3(SYS_munmap, (long)address, (long)bytes, 0));
}

int mprotect(void *address, size_t bytes, int protection) {
  return (int)result(
      call3(SYS_mprotect, (long)address, (long)bytes, protection));
}

int madvise(void *address, size_t bytes, int advice) {
  return (int)result(call3(SYS_madvise, (long)address, (long)bytes, advice));
}

void *mremap(void *address, size_t from, size_t to, int flags, ...) {
  return (void *)result(
      call6(SYS_mremap, (long)address, (long)from, (long)to, flags, 0, 0));
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  long argument = va_arg(rest, long);
  va_end(rest);
  return (int)result(call3(SYS_ioctl, fd, (long)request, argument));
}

pid_t getpid(void) { return (pid_t)call3(SYS_getpid, 0, 0, 0); }

int getrusage(__rusage_who_t who, struct rusage *usage) {
  return (int)result(call3(SYS_getrusage, who, (long)usage, 0));
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  return (int)result(call3(SYS_clock_gettime, clock, (long)time, 0));
}

int sched_yield(void) { return (int)call3(SYS_sched_yield, 0, 0, 0); }

int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *cpus) {
  long filled =
      result(call3(SYS_sched_getaffinity, thread, (long)bytes, (long)cpus));
  if (filled < 0)
    return -1;
  memset((char *)cpus + filled, 0, bytes - (size_t)filled);
  return 0;
}

int __sched_cpucount(size_t bytes, const cpu_set_t *cpus) {
  const unsigned long *words = (const unsigned long *)cpus;
  int count = 0;
  for (size_t i = 0; i < bytes / sizeof(long); ++i)
    for (unsigned long word = words[i]; word; word &= word - 1)
      ++count;
  return count;
}

/* Called from all threads, so it leaves errno alone: -errno on failure. */
long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; ++i)
    a[i] = va_arg(rest, long);
  va_end(rest);
  return call6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
