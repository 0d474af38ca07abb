//===- OpsTesting.h - Buffers and random numbers for kernel tests -*- C++ -*-=//
#ifndef PARE_TESTS_UNIT_KERNELS_OPSTESTING_H
#define PARE_TESTS_UNIT_KERNELS_OPSTESTING_H

#include "backends/cpu/kernels/Strided.h"
#include "tests/unit/kernels/Jit.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

namespace pare::test {

/// Gives memory that ends where a page without access begins, so that a kernel
/// that reads or writes beyond a buffer ends the test.
template <typename T> struct GuardAllocator {
  using value_type = T;
  GuardAllocator() = default;
  template <typename U> GuardAllocator(const GuardAllocator<U> &) {}

  T *allocate(size_t n) {
    size_t used = usedBytes(n), page = sysconf(_SC_PAGESIZE);
    void *base = mmap(nullptr, used + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
      std::abort();
    char *end = static_cast<char *>(base) + used;
    if (mprotect(end, page, PROT_NONE) != 0)
      std::abort();
    return reinterpret_cast<T *>(end - n * sizeof(T));
  }
  void deallocate(T *data, size_t n) {
    char *end = reinterpret_cast<char *>(data + n);
    munmap(end - usedBytes(n), usedBytes(n) + sysconf(_SC_PAGESIZE));
  }
  bool operator==(const GuardAllocator &) const { return true; }

private:
  static size_t usedBytes(size_t n) {
    size_t page = sysconf(_SC_PAGESIZE);
    return (n * sizeof(T) + page - 1) / page * page;
  }
};

template <typename T> using Buffer = std::vector<T, GuardAllocator<T>>;

/// `n` values of [low, high), the same at every run.
inline Buffer<float> randomFloats(size_t n, float low = -2, float high = 2,
                                  unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(low, high);
  Buffer<float> values(n);
  for (float &v : values)
    v = distribution(generator);
  return values;
}

inline llvm::SmallVector<cpu::Extent> extents(llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<cpu::Extent> result;
  for (int64_t n : shape)
    result.push_back(cpu::Extent::of(n));
  return result;
}

/// The shape as run-time dims 0, 1, ….
inline llvm::SmallVector<cpu::Extent> runtimeExtents(unsigned rank) {
  llvm::SmallVector<cpu::Extent> result;
  for (unsigned i = 0; i < rank; ++i)
    result.push_back(cpu::Extent::runtime(i));
  return result;
}

inline int64_t count(llvm::ArrayRef<int64_t> shape) {
  int64_t n = 1;
  for (int64_t extent : shape)
    n *= extent;
  return n;
}

/// Calls `body` with every index of `shape`, in row-major order.
inline void forIndices(llvm::ArrayRef<int64_t> shape,
                       llvm::function_ref<void(llvm::ArrayRef<int64_t>)> body) {
  llvm::SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0, n = count(shape); i < n; ++i) {
    body(index);
    for (unsigned axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis])
        break;
      index[axis] = 0;
    }
  }
}

/// Offset of `index` in a row-major tensor of `shape`, where axes of extent 1
/// are broadcast.
inline int64_t offsetOf(llvm::ArrayRef<int64_t> shape,
                        llvm::ArrayRef<int64_t> index) {
  int64_t offset = 0;
  for (auto [extent, i] : llvm::zip(shape, index))
    offset = offset * extent + (extent == 1 ? 0 : i);
  return offset;
}

/// Largest |a - b| / max(1, |b|).
inline double maxError(llvm::ArrayRef<float> a, llvm::ArrayRef<float> b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (auto [x, y] : llvm::zip(a, b)) {
    double error =
        x == y || (std::isnan(x) && std::isnan(y))
            ? 0
            : std::fabs(double(x) - y) / std::max(1.0, std::fabs(double(y)));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

/// Targets that a kernel must at least generate code for.
inline const char *const otherTargets[] = {"x86-64-v2", "x86-64-v4+avx512vnni",
                                           "aarch64"};

/// Expects that `emit` gives assembly on every target that calls nothing but
/// memset and memcpy.
inline void
expectGenerates(llvm::function_ref<void(cpu::KernelBuilder &)> emit) {
  for (const char *target : otherTargets) {
    Kernels kernels(isa(target));
    cpu::KernelBuilder b(kernels.module(), "kernel", kernels.isa());
    emit(b);
    b.finish();
    std::string text = kernels.assembly();
    EXPECT_NE(text.find("kernel:"), std::string::npos);
    llvm::SmallVector<llvm::StringRef> lines;
    llvm::StringRef(text).split(lines, '\n');
    for (llvm::StringRef line : lines) {
      llvm::StringRef code = line.trim();
      if (code.consume_front("callq") || code.consume_front("bl\t")) {
        llvm::StringRef callee =
            code.trim().take_until([](char c) { return c == '@'; });
        EXPECT_TRUE(callee == "memset" || callee == "memcpy")
            << target << line.str();
      }
    }
  }
}

} // namespace pare::test

#endif
