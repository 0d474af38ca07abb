//===- Heap.h - Partial orders in place -------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_HEAP_H
#define PARE_BACKENDS_RUNTIME_HEAP_H

#include <stdint.h>

namespace pare::rt {

/// Restores the heap of data[0, n), whose largest element by `less` is data[0],
/// after data[root] has become smaller.
template <typename T, typename Less>
void siftDown(T *data, uint64_t root, uint64_t n, Less less) {
  T moved = data[root];
  for (uint64_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && less(data[child], data[child + 1]))
      ++child;
    if (!less(moved, data[child]))
      break;
    data[root] = data[child];
  }
  data[root] = moved;
}

template <typename T, typename Less>
void makeHeap(T *data, uint64_t n, Less less) {
  for (uint64_t i = n / 2; i-- > 0;)
    siftDown(data, i, n, less);
}

/// Moves the heap's largest element to data[n - 1], behind the heap of the
/// others.
template <typename T, typename Less>
void popHeap(T *data, uint64_t n, Less less) {
  T largest = data[0];
  data[0] = data[n - 1];
  siftDown(data, 0, n - 1, less);
  data[n - 1] = largest;
}

/// Sorts so that no element is less than the one before it.
template <typename T, typename Less> void sort(T *data, uint64_t n, Less less) {
  makeHeap(data, n, less);
  for (uint64_t i = n; i > 1; --i)
    popHeap(data, i, less);
}

} // namespace pare::rt

#endif
