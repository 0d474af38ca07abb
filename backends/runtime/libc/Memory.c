//===- Memory.c - Copying and comparing bytes -----------------------------===//
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint64_t low, high;
} __attribute__((packed, aligned(1), may_alias)) Block;

typedef uint64_t __attribute__((aligned(1), may_alias)) Word;
typedef uint32_t __attribute__((aligned(1), may_alias)) Half;

/* All of a block of at most 32 bytes is read before any of it is written, so
   that it may overlap. */
static void copySmall(char *to, const char *from, size_t n) {
  if (n >= 16) {
    Block first = *(const Block *)from, last = *(const Block *)(from + n - 16);
    *(Block *)to = first;
    *(Block *)(to + n - 16) = last;
  } else if (n >= 8) {
    uint64_t first = *(const Word *)from, last = *(const Word *)(from + n - 8);
    *(Word *)to = first;
    *(Word *)(to + n - 8) = last;
  } else if (n >= 4) {
    uint32_t first = *(const Half *)from, last = *(const Half *)(from + n - 4);
    *(Half *)to = first;
    *(Half *)(to + n - 4) = last;
  } else if (n) {
    char first = from[0], middle = from[n / 2], last = from[n - 1];
    to[0] = first;
    to[n / 2] = middle;
    to[n - 1] = last;
  }
}

static void copyForward(char *to, const char *from, size_t n) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    Block a = *(const Block *)(from + i), b = *(const Block *)(from + i + 16);
    *(Block *)(to + i) = a;
    *(Block *)(to + i + 16) = b;
  }
  copySmall(to + i, from + i, n - i);
}

static void copyBackward(char *to, const char *from, size_t n) {
  for (; n >= 32; n -= 32) {
    Block a = *(const Block *)(from + n - 16),
          b = *(const Block *)(from + n - 32);
    *(Block *)(to + n - 16) = a;
    *(Block *)(to + n - 32) = b;
  }
  copySmall(to, from, n);
}

void *memmove(void *to, const void *from, size_t n) {
  if (n <= 32)
    copySmall(to, from, n);
  else if ((uintptr_t)to - (uintptr_t)from >= n)
    copyForward(to, from, n);
  else
    copyBackward(to, from, n);
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
#if defined(__x86_64__)
  /* Fast string moves, where their start-up is small beside the copy. */
  if (n >= 2048) {
    void *target = to;
    __asm__ volatile("rep movsb"
                     : "+D"(target), "+S"(from), "+c"(n)
                     :
                     : "memory");
    return to;
  }
#endif
  if (n <= 32)
    copySmall(to, from, n);
  else
    copyForward(to, from, n);
  return to;
}

void *memset(void *to, int value, size_t n) {
  char *at = to;
  uint64_t word = 0x0101010101010101u * (uint8_t)value;
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    *(Block *)(at + i) = (Block){word, word};
  for (; i < n; ++i)
    at[i] = (char)value;
  return to;
}

int memcmp(const void *left, const void *right, size_t n) {
  const unsigned char *a = left, *b = right;
  size_t i = 0;
  while (i + 8 <= n && *(const Word *)(a + i) == *(const Word *)(b + i))
    i += 8;
  for (; i < n; ++i)
    if (a[i] != b[i])
      return a[i] - b[i];
  return 0;
}

int bcmp(const void *left, const void *right, size_t n) {
  return memcmp(left, right, n);
}

size_t strlen(const char *text) {
  size_t n = 0;
  while (text[n])
    ++n;
  return n;
}
