//===- ConvTesting.h - Harness of the NHWC kernel tests ---------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_KERNELS_CONVTESTING_H
#define PARE_TESTS_UNIT_KERNELS_CONVTESTING_H

#include "backends/cpu/kernels/ConvCommon.h"
#include "tests/unit/kernels/Jit.h"
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

namespace pare::test {

/// An array that ends where an unreadable page begins, and begins where one
/// ends but for the alignment of the end: an access beyond it is a fault.
template <typename T> class Guarded {
public:
  explicit Guarded(size_t count, T value = T()) : count_(count) {
    size_t page = sysconf(_SC_PAGESIZE);
    size_t room = (count * sizeof(T) + page - 1) / page * page;
    bytes_ = room + 2 * page;
    base_ = static_cast<char *>(
        mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED ||
        (room && mprotect(base_ + page, room, PROT_READ | PROT_WRITE)))
      std::abort();
    data_ = reinterpret_cast<T *>(base_ + page + room - count * sizeof(T));
    std::fill(begin(), end(), value);
  }
  explicit Guarded(const std::vector<T> &values) : Guarded(values.size()) {
    std::copy(values.begin(), values.end(), begin());
  }
  Guarded(const Guarded &) = delete;
  ~Guarded() { munmap(base_, bytes_); }

  T *begin() const { return data_; }
  T *end() const { return data_ + count_; }
  T *data() const { return data_; }
  size_t size() const { return count_; }
  T &operator[](size_t i) const { return data_[i]; }

private:
  size_t count_, bytes_;
  char *base_;
  T *data_;
};

class Random {
public:
  explicit Random(unsigned seed) : engine_(seed) {}
  /// Uniform in [lo, hi].
  int64_t in(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(engine_);
  }
  template <typename T> T of(std::initializer_list<T> choices) {
    return choices.begin()[in(0, choices.size() - 1)];
  }
  std::vector<float> floats(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float &v : values)
      v = normal(engine_);
    return values;
  }
  std::vector<int8_t> codes(size_t count) {
    std::vector<int8_t> values(count);
    for (int8_t &v : values)
      v = in(-127, 127);
    return values;
  }

private:
  std::mt19937 engine_;
};

/// Extents as run-time dims (in the order they are asked for) or fixed.
struct Extents {
  bool runtime;
  std::vector<int64_t> dims;
  cpu::Extent operator()(int64_t value) {
    if (!runtime)
      return cpu::Extent::of(value);
    dims.push_back(value);
    return cpu::Extent::runtime(dims.size() - 1);
  }
};

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Size of a window's output, rounded down.
inline int64_t outputExtent(int64_t in, int64_t pads, int64_t kernel,
                            int64_t stride, int64_t dilation) {
  return (in + pads - dilation * (kernel - 1) - 1) / stride + 1;
}

/// Builds one kernel with `emit` and calls it for tasks [0, tasks) in reverse
/// order, with fresh scratch for each.
inline void runKernel(llvm::function_ref<void(cpu::KernelBuilder &)> emit,
                      llvm::ArrayRef<const void *> ptrs,
                      llvm::ArrayRef<int64_t> dims, int64_t tasks,
                      size_t scratchBytes = 0,
                      llvm::StringRef target = "host") {
  Kernels kernels(isa(target));
  cpu::KernelBuilder kb(kernels.module(), "kernel", kernels.isa());
  emit(kb);
  kb.finish();
  kernels.compile();
  PareKernel kernel = kernels.lookup("kernel");
  for (int64_t task = tasks; task-- > 0;) {
    Guarded<char> scratch((scratchBytes + 63) / 64 * 64, char(0x7f));
    kernel(const_cast<void *const *>(ptrs.data()), dims.data(), task,
           scratch.data());
  }
}

/// Assembly of one kernel for another target.
inline std::string assemble(llvm::function_ref<void(cpu::KernelBuilder &)> emit,
                            llvm::StringRef target) {
  Kernels kernels(isa(target));
  cpu::KernelBuilder kb(kernels.module(), "kernel", kernels.isa());
  emit(kb);
  kb.finish();
  return kernels.assembly();
}

/// Expects |got - want| <= tolerance * max(1, |want|), everywhere.
inline void expectNear(llvm::ArrayRef<float> got, llvm::ArrayRef<double> want,
                       double tolerance, const std::string &what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) // Infinities.
      continue;
    double error = std::fabs(got[i] - want[i]);
    ASSERT_LE(error, tolerance * std::max(1.0, std::fabs(want[i])))
        << what << " element " << i << ": " << got[i] << " for " << want[i];
  }
}

/// out = max(x + bias[channel] + residual[pixel][channel], 0): an epilogue that
/// goes wrong where row, column or width are.
struct TestEpilogue {
  unsigned biasPtr, residualPtr;
  int64_t channels;

  cpu::Epilogue emit() const {
    return [self = *this](cpu::KernelBuilder &kb, mlir::Value vec,
                          const cpu::GemmAt &at) -> mlir::Value {
      EXPECT_FALSE(at.count);
      auto type = mlir::cast<mlir::VectorType>(vec.getType());
      mlir::Value bias = kb.loadVec(type, kb.ptr(self.biasPtr), at.col);
      mlir::Value residual =
          kb.loadVec(type, kb.ptr(self.residualPtr),
                     kb.add(kb.mul(at.row, self.channels), at.col));
      vec = mlir::arith::AddFOp::create(kb, vec, bias);
      vec = mlir::arith::AddFOp::create(kb, vec, residual);
      return mlir::arith::MaximumFOp::create(kb, vec, kb.zero(type));
    };
  }

  void apply(std::vector<double> &out, llvm::ArrayRef<float> bias,
             llvm::ArrayRef<float> residual) const {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = std::max(out[i] + bias[i % channels] + residual[i], 0.0);
  }
};

} // namespace pare::test

#endif
