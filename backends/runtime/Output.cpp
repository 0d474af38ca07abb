#include "backends/runtime/Output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace pare::rt;

bool OutputFile::fail(Message &error) {
  error.start()
      .put("cannot write '")
      .put(path)
      .put("': ")
      .put(errnoText(errno));
  return false;
}

bool OutputFile::open(const char *name, Message &error, unsigned mode) {
  path = name;
  struct stat info;
  bool exists = stat(path, &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    return fail(error);
  }
  direct = exists && !S_ISREG(info.st_mode);
  if (direct) {
    fd = ::open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 || fail(error);
  }
  // A run that was killed may have left a file under the first name.
  for (int attempt = 0; attempt < 100; ++attempt) {
    Writer text(-1, temporary, sizeof(temporary));
    text.put(path).put(".tmp-").num(getpid()).put('-').num(attempt);
    if (text.column() >= sizeof(temporary)) {
      errno = ENAMETOOLONG;
      return fail(error);
    }
    fd = ::open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EEXIST)
      break;
  }
  return fd >= 0 || fail(error);
}

bool OutputFile::flush() {
  uint64_t size = held;
  held = 0;
  return writeAll(fd, buffer, size);
}

bool OutputFile::write(const void *data, uint64_t size, Message &error) {
  if (size > sizeof(buffer) - held) {
    if (!flush())
      return fail(error);
    if (size > sizeof(buffer))
      return writeAll(fd, data, size) || fail(error);
  }
  if (size)
    memcpy(buffer + held, data, size);
  held += size;
  return true;
}

bool OutputFile::commit(Message &error) {
  if (!flush())
    return fail(error);
  int closing = fd;
  fd = -1;
  if (close(closing) || (!direct && rename(temporary, path))) {
    fail(error);
    if (!direct)
      unlink(temporary);
    return false;
  }
  return true;
}

OutputFile::~OutputFile() {
  if (fd < 0)
    return;
  close(fd);
  if (!direct)
    unlink(temporary);
}
