//===- MemoryFile.h - Bytes under a path ------------------------*- C++ -*-===//
#ifndef PARE_TESTS_FUZZ_MEMORYFILE_H
#define PARE_TESTS_FUZZ_MEMORYFILE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace pare::fuzz {

/// A file that exists in memory only, for readers that take a path.
class MemoryFile {
public:
  MemoryFile(const uint8_t *data, size_t size)
      : fd_(::memfd_create("input", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, data, size) != ssize_t(size)) {
      std::perror("memfd_create");
      std::_Exit(1);
    }
  }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;
  ~MemoryFile() { ::close(fd_); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

private:
  int fd_;
};

} // namespace pare::fuzz

#endif
