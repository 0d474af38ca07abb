//===- Ops.cpp - Attention, normalization, softmax, elementwise -----------===//
//
// One thread, the shapes of MiniLM (1x128 and 1x32) and ViT-S.
//
//   bench_ops [Google Benchmark options]
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Attention.h"
#include "backends/cpu/kernels/DataMovement.h"
#include "backends/cpu/kernels/Elementwise.h"
#include "backends/cpu/kernels/Norm.h"
#include "backends/cpu/kernels/Softmax.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "tests/unit/kernels/Jit.h"
#include <benchmark/benchmark.h>

using namespace mlir;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

Extent fixed(int64_t n) { return Extent::of(n); }

/// Memory for a kernel: `floats` values in (-1, 1), aligned as in the arena.
class Buffer {
public:
  explicit Buffer(int64_t floats) : values_(floats + 16) {
    for (int64_t i = 0; i < floats; ++i)
      data()[i] = float(i * 7919 % 2003 - 1001) / 1002;
  }
  float *data() {
    auto address = reinterpret_cast<uintptr_t>(values_.data());
    return reinterpret_cast<float *>((address + PARE_ALIGN - 1) / PARE_ALIGN *
                                     PARE_ALIGN);
  }

private:
  std::vector<float> values_;
};

/// Times all tasks of the kernel that `emit` writes.
void run(benchmark::State &state, llvm::ArrayRef<void *> ptrs, int64_t tasks,
         llvm::function_ref<void(KernelBuilder &)> emit,
         void *scratch = nullptr) {
  Kernels kernels;
  KernelBuilder b(kernels.module(), "kernel", kernels.isa());
  emit(b);
  b.finish();
  kernels.compile();
  PareKernel kernel = kernels.lookup("kernel");
  for (auto _ : state)
    for (int64_t task = 0; task < tasks; ++task)
      kernel(ptrs.data(), nullptr, task, scratch);
}

benchmark::Counter perSecond(double count) {
  return benchmark::Counter(count,
                            benchmark::Counter::kIsIterationInvariantRate);
}

/// Arguments: tokens, heads, size of a head.
void attention(benchmark::State &state) {
  int64_t tokens = state.range(0), heads = state.range(1), dim = state.range(2);
  Isa isa = pare::test::isa("host");
  AttentionSpec spec;
  spec.batch = fixed(1);
  spec.queries = spec.keys = fixed(tokens);
  spec.heads = spec.kvHeads = heads;
  spec.headDim = spec.valueDim = dim;
  spec.strideQ = spec.strideK = spec.strideV = fixed(3 * heads * dim);
  spec.strideOut = fixed(heads * dim);
  spec.ptrMask = 4;
  Buffer qkv(3 * tokens * heads * dim), out(tokens * heads * dim), mask(tokens);
  Buffer scratch(attentionScratchBytes(spec, isa) / 4);
  float *q = qkv.data();
  run(
      state, {q, q + heads * dim, q + 2 * heads * dim, out.data(), mask.data()},
      attentionGrid(spec, isa).tasks(),
      [&](KernelBuilder &b) { emitAttention(b, spec); }, scratch.data());
  state.counters["FLOP/s"] = perSecond(4.0 * tokens * tokens * heads * dim);
}
BENCHMARK(attention)
    ->Args({32, 12, 32})
    ->Args({128, 12, 32})
    ->Args({128, 6, 64})
    ->Args({197, 6, 64});

/// Arguments: rows, columns, whether rows are quantized as well.
void layerNorm(benchmark::State &state) {
  int64_t rows = state.range(0), columns = state.range(1);
  NormSpec spec;
  spec.rows = fixed(rows);
  spec.columns = fixed(columns);
  spec.ptrResidual = 1;
  spec.ptrScale = 2;
  spec.ptrBias = 3;
  spec.ptrOut = 4;
  if (state.range(2)) {
    spec.ptrCodes = 5;
    spec.ptrRowScale = 6;
  }
  Buffer x(rows * columns), residual(rows * columns), scale(columns),
      bias(columns), out(rows * columns), codes(rows * columns), rowScale(rows),
      scratch(columns);
  run(
      state,
      {x.data(), residual.data(), scale.data(), bias.data(), out.data(),
       codes.data(), rowScale.data()},
      normGrid(spec).tasks(), [&](KernelBuilder &b) { emitNorm(b, spec); },
      scratch.data());
  state.counters["elements/s"] = perSecond(double(rows) * columns);
}
BENCHMARK(layerNorm)->Args({128, 384, 0})->Args({128, 384, 1});

void softmax(benchmark::State &state) {
  int64_t rows = state.range(0), columns = state.range(1);
  SoftmaxSpec spec;
  spec.shape = {fixed(rows), fixed(columns)};
  spec.axis = 1;
  Buffer x(rows * columns), out(rows * columns);
  run(state, {x.data(), out.data()},
      softmaxGrid(spec, pare::test::isa("host")).tasks(),
      [&](KernelBuilder &b) { emitSoftmax(b, spec); });
  state.counters["elements/s"] = perSecond(double(rows) * columns);
}
BENCHMARK(softmax)->Args({1536, 128});

/// One function over 128 x 1536 elements.
void elementwise(benchmark::State &state,
                 Value (*function)(KernelBuilder &, Value)) {
  ElementwiseSpec spec;
  spec.shape = {fixed(128), fixed(1536)};
  spec.addInput(0, PARE_F32);
  spec.setOutput(1, PARE_F32);
  spec.body = [&](KernelBuilder &b, ArrayRef<Value> values, unsigned) {
    return function(b, values[0]);
  };
  Buffer x(128 * 1536), out(128 * 1536);
  run(state, {x.data(), out.data()}, elementwiseGrid(spec).tasks(),
      [&](KernelBuilder &b) { emitElementwise(b, spec); });
  state.counters["elements/s"] = perSecond(128 * 1536);
}
BENCHMARK_CAPTURE(elementwise, copy,
                  [](KernelBuilder &, Value v) { return v; });
BENCHMARK_CAPTURE(elementwise, gelu, buildGelu);
BENCHMARK_CAPTURE(elementwise, exp, buildExp);
BENCHMARK_CAPTURE(elementwise, tanh, buildTanh);
BENCHMARK_CAPTURE(elementwise, sigmoid, buildSigmoid);

/// Arguments: extents and a permutation of four axes as digits.
void transpose(benchmark::State &state) {
  SmallVector<Extent> shape;
  SmallVector<int64_t> permutation;
  int64_t n = 1;
  for (int i = 0; i < 4; ++i) {
    shape.push_back(fixed(state.range(i)));
    n *= state.range(i);
  }
  for (int64_t digits = state.range(4), unit = 1000; unit; unit /= 10)
    permutation.push_back(digits / unit % 10);
  CopySpec spec = CopySpec::transpose(shape, permutation, 4);
  Buffer x(n), out(n);
  run(state, {x.data(), out.data()}, copyGrid(spec).tasks(),
      [&](KernelBuilder &b) { emitCopy(b, spec); });
  state.counters["bytes/s"] = perSecond(8.0 * n);
}
BENCHMARK(transpose)
    ->Args({1, 128, 12, 32, 213})
    ->Args({1, 96, 48, 80, 231})
    ->Args({1, 3, 224, 224, 231})
    ->Args({1, 224, 224, 3, 312});

} // namespace

BENCHMARK_MAIN();
