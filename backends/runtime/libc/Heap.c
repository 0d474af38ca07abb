//===- Heap.c - malloc ----------------------------------------------------===//
//
// Small blocks come in powers of two from free lists, large ones each from a
// mapping of its own. One lock: what runs in parallel allocates nothing.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/libc/Syscall.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  HeaderBytes = 16,
  SmallestLog = 5, /* 32 bytes with the header */
  LargestLog = 16, /* 64 KiB; larger ones are mapped */
  RegionLog = 18,  /* mapped at once for small blocks */
};

typedef struct Block {
  size_t bytes; /* with the header */
  struct Block *next;
} Block;
_Static_assert(sizeof(Block) == HeaderBytes, "blocks stay aligned to 16");

static Block *freeBlocks[LargestLog + 1];
static char *region;
static size_t regionLeft;
static int locked;

static void lock(void) {
  while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
    sched_yield();
}
static void unlock(void) { __atomic_store_n(&locked, 0, __ATOMIC_RELEASE); }

static void *map(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static Block *takeSmall(unsigned log) {
  size_t bytes = (size_t)1 << log;
  lock();
  Block *block = freeBlocks[log];
  if (block) {
    freeBlocks[log] = block->next;
  } else {
    /* The rest of a region that is too short is given up. */
    if (regionLeft < bytes) {
      region = map((size_t)1 << RegionLog);
      regionLeft = region ? (size_t)1 << RegionLog : 0;
    }
    if (regionLeft) {
      block = (Block *)region;
      region += bytes;
      regionLeft -= bytes;
      block->bytes = bytes;
    }
  }
  unlock();
  return block;
}

static size_t mappedBytes(size_t n) { return (n + 4095) & ~(size_t)4095; }

void *malloc(size_t n) {
  Block *block = NULL;
  if (n <= SIZE_MAX / 2) {
    size_t bytes = n + HeaderBytes;
    unsigned log = SmallestLog;
    while (log <= LargestLog && (size_t)1 << log < bytes)
      ++log;
    if (log <= LargestLog) {
      block = takeSmall(log);
    } else {
      bytes = mappedBytes(bytes);
      block = map(bytes);
      if (block)
        block->bytes = bytes;
    }
  }
  if (!block) {
    errno = ENOMEM;
    return NULL;
  }
  return (char *)block + HeaderBytes;
}

void free(void *memory) {
  if (!memory)
    return;
  Block *block = (Block *)((char *)memory - HeaderBytes);
  if (block->bytes > (size_t)1 << LargestLog) {
    munmap(block, block->bytes);
    return;
  }
  unsigned log = (unsigned)__builtin_ctzl(block->bytes);
  lock();
  block->next = freeBlocks[log];
  freeBlocks[log] = block;
  unlock();
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  void *memory = malloc(bytes);
  if (memory)
    memset(memory, 0, bytes);
  return memory;
}

void *realloc(void *memory, size_t n) {
  if (!memory)
    return malloc(n);
  Block *block = (Block *)((char *)memory - HeaderBytes);
  if (n <= block->bytes - HeaderBytes)
    return memory;
  if (block->bytes > (size_t)1 << LargestLog && n <= SIZE_MAX / 2) {
    size_t bytes = mappedBytes(n + HeaderBytes);
    Block *moved = mremap(block, block->bytes, bytes, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
      return NULL;
    moved->bytes = bytes;
    return (char *)moved + HeaderBytes;
  }
  void *larger = malloc(n);
  if (!larger)
    return NULL;
  memcpy(larger, memory, block->bytes - HeaderBytes);
  free(memory);
  return larger;
}
