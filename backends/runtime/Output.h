//===- Output.h - Files that appear whole or not at all ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_OUTPUT_H
#define PARE_BACKENDS_RUNTIME_OUTPUT_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// A file under a temporary name in its folder until commit(). A device or
/// pipe is written directly.
class OutputFile {
public:
  OutputFile() = default;
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;
  ~OutputFile(); ///< removes what was not committed

  /// Each of these returns false with one line in `error` on failure.
  bool open(const char *path, Message &error, unsigned mode = 0666);
  bool write(const void *data, uint64_t size, Message &error);
  bool commit(Message &error);

private:
  bool fail(Message &error);
  bool flush();

  const char *path = nullptr;
  char temporary[4096];
  int fd = -1;
  bool direct = false;
  uint64_t held = 0;
  uint8_t buffer[16384];
};

} // namespace pare::rt

#endif
