//===- TokenizerHeap.h - A binary heap in a work buffer ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_TOKENIZERHEAP_H
#define PARE_BACKENDS_RUNTIME_TOKENIZERHEAP_H

#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {

/// Entries are trivially copyable; a.before(b) says which is taken first.
template <typename Entry> class Heap {
public:
  explicit Heap(Buffer &buffer) : buffer(buffer) { buffer.clear(); }

  bool empty() const { return size() == 0; }

  void push(const Entry &entry) {
    buffer.append(reinterpret_cast<const uint8_t *>(&entry), sizeof(Entry));
    if (buffer.failed())
      return;
    Entry *entries = data();
    uint64_t at = size() - 1;
    while (at > 0) {
      const uint64_t parent = (at - 1) / 2;
      if (!entry.before(entries[parent]))
        break;
      entries[at] = entries[parent];
      at = parent;
    }
    entries[at] = entry;
  }

  Entry pop() {
    Entry *entries = data();
    const Entry top = entries[0];
    const Entry last = entries[size() - 1];
    buffer.size -= sizeof(Entry);
    const uint64_t count = size();
    uint64_t at = 0;
    for (uint64_t child = 1; child < count; child = 2 * at + 1) {
      if (child + 1 < count && entries[child + 1].before(entries[child]))
        ++child;
      if (!entries[child].before(last))
        break;
      entries[at] = entries[child];
      at = child;
    }
    if (count > 0)
      entries[at] = last;
    return top;
  }

private:
  uint64_t size() const { return buffer.size / sizeof(Entry); }
  Entry *data() { return reinterpret_cast<Entry *>(buffer.data); }
  Buffer &buffer;
};

} // namespace pare::rt::tok

#endif
