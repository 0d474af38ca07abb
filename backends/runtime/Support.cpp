#include "backends/runtime/Support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

using namespace pare::rt;

bool pare::rt::parseInt(Str text, int64_t &value) {
  bool negative = text.size && text.data[0] == '-';
  if (negative)
    text = text.drop(1);
  if (!text.size)
    return false;
  int64_t result = 0;
  for (uint64_t i = 0; i < text.size; ++i) {
    if (text.data[i] < '0' || text.data[i] > '9' ||
        __builtin_mul_overflow(result, int64_t(10), &result) ||
        __builtin_sub_overflow(result, int64_t(text.data[i] - '0'), &result))
      return false;
  }
  if (!negative && __builtin_sub_overflow(int64_t(0), result, &result))
    return false;
  value = result;
  return true;
}

const char *pare::rt::errnoText(int error) {
  switch (error) {
  case ENOENT:
    return "no such file or folder";
  case EACCES:
  case EPERM:
    return "permission denied";
  case ENOSPC:
  case EDQUOT:
    return "no space left on the device";
  case EISDIR:
    return "is a folder";
  case ENOTDIR:
    return "a part of the path is not a folder";
  case EROFS:
    return "read-only file system";
  case ENOMEM:
    return "out of memory";
  case EMFILE:
  case ENFILE:
    return "too many open files";
  case EPIPE:
    return "the reader has closed the pipe";
  case EFBIG:
    return "file too large";
  case ENAMETOOLONG:
    return "file name too long";
  case EIO:
    return "input/output error";
  default:
    return "input/output failed";
  }
}

bool pare::rt::writeAll(int fd, const void *data, uint64_t size) {
  const char *at = static_cast<const char *>(data);
  while (size) {
    ssize_t n = write(fd, at, min<uint64_t>(size, 1u << 30));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      if (n == 0)
        errno = EIO;
      return false;
    }
    at += n;
    size -= n;
  }
  return true;
}

void *pare::rt::mapPages(uint64_t bytes) {
  void *memory = mmap(nullptr, max<uint64_t>(bytes, 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void pare::rt::unmapPages(void *memory, uint64_t bytes) {
  if (memory)
    munmap(memory, max<uint64_t>(bytes, 1));
}

uint64_t pare::rt::parseMemInfo(Str text) {
  uint64_t total = 0;
  while (text.size) {
    Str line = text.take(text.find('\n'));
    text = text.drop(min(line.size + 1, text.size));
    if (!line.startsWith("MemTotal:") && !line.startsWith("SwapTotal:"))
      continue;
    uint64_t kilobytes = 0;
    for (uint64_t i = 0; i < line.size; ++i)
      if (line.data[i] >= '0' && line.data[i] <= '9')
        kilobytes = kilobytes * 10 + uint64_t(line.data[i] - '0');
    total += kilobytes * 1024;
  }
  return total ? total : UINT64_MAX;
}

bool pare::rt::fitsMemory(uint64_t bytes) {
  constexpr uint64_t alwaysFits = 1 << 28; // spares small models the look
  if (bytes <= alwaysFits)
    return true;
  Bytes text;
  Message ignored;
  return !readFile("/proc/meminfo", text, ignored) ||
         bytes <= parseMemInfo(text.str());
}

bool GuardedBuffer::allocate(uint64_t bytes, uint64_t alignment, bool fills) {
  constexpr uint64_t page = 65536; // the largest page size of the targets
  uint64_t usable = alignUp(max<uint64_t>(alignUp(bytes, alignment), 1), page);
  mapped = usable + 2 * page;
  mapping = mmap(nullptr, mapped, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    mapping = nullptr;
    return false;
  }
  char *begin = static_cast<char *>(mapping) + page;
  if (mprotect(begin, usable, PROT_READ | PROT_WRITE)) {
    release();
    return false;
  }
  data = begin + usable - alignUp(bytes, alignment);
  if (fills)
    memset(data, 0xff, bytes);
  return true;
}

void GuardedBuffer::release() {
  unmapPages(mapping, mapped);
  *this = GuardedBuffer();
}

bool HugeBuffer::allocate(uint64_t bytes) {
  constexpr uint64_t huge = 2u << 20;
  if (__builtin_add_overflow(alignUp(max<uint64_t>(bytes, 1), huge), huge,
                             &mapped))
    return false;
  mapping = mapPages(mapped);
  if (!mapping)
    return false;
  data = reinterpret_cast<void *>(
      alignUp(reinterpret_cast<uintptr_t>(mapping), huge));
  // Where the kernel has none the buffer works as well, slower.
  madvise(data, mapped - huge, MADV_HUGEPAGE);
  return true;
}

void HugeBuffer::release() {
  unmapPages(mapping, mapped);
  *this = HugeBuffer();
}

Bytes::~Bytes() { free(data); }

bool Bytes::reserve(uint64_t bytes) {
  if (bytes <= capacity)
    return true;
  uint64_t next = max(bytes, capacity + capacity / 2);
  void *grown = realloc(data, next);
  if (!grown)
    return false;
  data = static_cast<uint8_t *>(grown);
  capacity = next;
  return true;
}

bool Bytes::resize(uint64_t bytes) {
  if (!reserve(bytes))
    return false;
  size = bytes;
  return true;
}

bool Bytes::append(const void *bytes, uint64_t count) {
  if (!count)
    return true;
  if (count > UINT64_MAX / 4 || !reserve(size + count))
    return false;
  memcpy(data + size, bytes, count);
  size += count;
  return true;
}

bool pare::rt::readFile(const char *path, Bytes &bytes, Message &error) {
  auto fail = [&] {
    error.start()
        .put("cannot read '")
        .put(path)
        .put("': ")
        .put(errnoText(errno));
    return false;
  };
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail();
  struct stat info;
  // One byte more than the size lets the last read see the end.
  uint64_t expected = fstat(fd, &info) == 0 && S_ISREG(info.st_mode)
                          ? uint64_t(info.st_size) + 1
                          : 65536;
  bool good = true;
  while (good) {
    uint64_t room =
        bytes.size + (bytes.size < expected ? expected - bytes.size : 65536);
    if (!bytes.reserve(room)) {
      errno = ENOMEM;
      good = false;
      break;
    }
    ssize_t n = read(fd, bytes.data + bytes.size,
                     min<uint64_t>(bytes.capacity - bytes.size, 1u << 30));
    if (n < 0 && errno == EINTR)
      continue;
    if (n == 0)
      break;
    good = n > 0;
    if (good)
      bytes.size += n;
  }
  int cause = errno;
  close(fd);
  errno = cause;
  return good || fail();
}

uint64_t pare_dtype_bytes(uint32_t dtype) {
  static const uint8_t sizes[] = {4, 2, 2, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1};
  return dtype < sizeof(sizes) ? sizes[dtype] : 0;
}

const char *pare_dtype_name(uint32_t dtype) {
  static const char *const names[] = {
      "float32", "float16", "bfloat16", "float64", "int8",   "uint8", "int16",
      "uint16",  "int32",   "uint32",   "int64",   "uint64", "bool"};
  return dtype < sizeof(names) / sizeof(names[0]) ? names[dtype] : "unknown";
}

bool pare::rt::tensorBytes(uint32_t dtype, const int64_t *dims, uint32_t rank,
                           uint64_t &bytes) {
  uint64_t result = pare_dtype_bytes(dtype);
  bool empty = false;
  for (uint32_t i = 0; i < rank; ++i) {
    if (dims[i] < 0)
      return false;
    empty |= dims[i] == 0;
    if (dims[i] && __builtin_mul_overflow(result, uint64_t(dims[i]), &result))
      return false;
  }
  bytes = empty ? 0 : result;
  return bytes <= uint64_t(INT64_MAX);
}

uint64_t pare::rt::nowNanos() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1000000000u + time.tv_nsec;
}

float pare::rt::bfloatToFloat(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

float pare::rt::halfToFloat(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent == 0) {
    float value = float(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  uint32_t wide = sign |
                  (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) |
                  fraction << 13;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}
