//===- Cache.cpp - Attention to earlier positions -------------------------===//
//
// One thread, the heads of SmolLM2-135M and of Gemma3-270M, caches that are
// larger than the last-level cache together. Bytes are those of the keys and
// values that rows see, FLOPs those of their products.
//
//   bench_cache [Google Benchmark options]
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Cache.h"
#include "backends/cpu/CacheLayout.h"
#include "tests/unit/kernels/Jit.h"
#include <benchmark/benchmark.h>

using namespace pare::cpu;
using pare::test::Kernels;

namespace {

/// Caches of layers, filled up to some depth, and what their kernels take.
class Layers {
public:
  Layers(CachedAttentionSpec spec, int64_t rows, int64_t depth)
      : spec(spec), depth(depth) {
    int64_t layerBytes = 2 * spec.kvHeads * spec.regionBytes;
    int64_t count = std::max<int64_t>(1, (int64_t(96) << 20) / layerBytes);
    for (int64_t i = 0; i < count; ++i)
      caches.emplace_back(layerBytes + PARE_ALIGN);
    query.resize(rows * spec.heads * spec.headDim, 0.01f);
    out.resize(query.size());
    partials.resize(spec.partialFloats() + 1);
    scratch.resize(cachedAttentionScratchBytes(spec) / sizeof(float) + 16);
    for (int64_t row = 0; row < rows; ++row) {
      positions.push_back(int32_t(depth - rows + row));
      sequences.push_back(0);
    }
    compile();
    fill();
  }

  void attend(size_t layer) {
    setCache(layer);
    void *ptrs[] = {&base,        positions.data(), sequences.data(),
                    query.data(), out.data(),       partials.data()};
    void *mergePtrs[] = {partials.data(), positions.data(), out.data()};
    for (int64_t task = 0; task < cachedAttentionGrid(spec).tasks(); ++task)
      attention(ptrs, nullptr, task, scratch.data());
    if (spec.partialFloats() > 0)
      for (int64_t task = 0; task < attentionMergeGrid(spec).tasks(); ++task)
        merge(mergePtrs, nullptr, task, scratch.data());
  }

  size_t size() const { return caches.size(); }

private:
  void setCache(size_t layer) {
    auto address = reinterpret_cast<uintptr_t>(caches[layer].data());
    base = reinterpret_cast<void *>((address + PARE_ALIGN - 1) / PARE_ALIGN *
                                    PARE_ALIGN);
  }

  void compile() {
    auto emit = [&](const char *name,
                    llvm::function_ref<void(KernelBuilder &)> body) {
      KernelBuilder b(kernels.module(), name, kernels.isa());
      body(b);
      b.finish();
    };
    spec.ptrCaches = 0;
    spec.ptrPositions = 1;
    spec.ptrSequences = 2;
    CacheAppendSpec append;
    static_cast<CacheSpec &>(append) = spec;
    append.rows = Extent::of(depth);
    append.ptrKey = append.ptrValue = 3;
    emit("append", [&](KernelBuilder &b) { emitCacheAppend(b, append); });
    spec.ptrQuery = 3;
    spec.ptrOut = 4;
    spec.ptrPartials = 5;
    emit("attention", [&](KernelBuilder &b) { emitCachedAttention(b, spec); });
    CachedAttentionSpec second = spec;
    second.ptrPartials = 0;
    second.ptrPositions = 1;
    second.ptrOut = 2;
    emit("merge", [&](KernelBuilder &b) { emitAttentionMerge(b, second); });
    kernels.compile();
    attention = kernels.lookup("attention");
    merge = kernels.lookup("merge");
    appendTasks = cacheAppendGrid(append).tasks();
  }

  void fill() {
    std::vector<float> rowsToWrite(depth * spec.kvHeads * spec.headDim);
    for (size_t i = 0; i < rowsToWrite.size(); ++i)
      rowsToWrite[i] = float(i * 7919 % 2003 - 1001) / 1002;
    std::vector<int32_t> all(depth), zeros(depth);
    for (int64_t i = 0; i < depth; ++i)
      all[i] = int32_t(i);
    for (size_t layer = 0; layer < caches.size(); ++layer) {
      setCache(layer);
      kernels.call("append",
                   {&base, all.data(), zeros.data(), rowsToWrite.data()}, {},
                   appendTasks);
    }
  }

  CachedAttentionSpec spec;
  int64_t depth, appendTasks = 0;
  Kernels kernels;
  PareKernel attention = nullptr, merge = nullptr;
  std::vector<std::vector<char>> caches;
  void *base = nullptr;
  std::vector<float> query, out, partials, scratch;
  std::vector<int32_t> positions, sequences;
};

/// Arguments: rows, depth, heads, key heads, head size, window.
void attention(benchmark::State &state, PareDType type) {
  int64_t rows = state.range(0), depth = state.range(1);
  CachedAttentionSpec spec;
  spec.rows = Extent::of(rows);
  spec.heads = state.range(2);
  spec.kvHeads = state.range(3);
  spec.headDim = state.range(4);
  spec.window = state.range(5);
  spec.scale = 0.125f;
  spec.type = type;
  spec.offset = Extent::of(0);
  spec.capacity = (depth + kCacheBlock - 1) / kCacheBlock * kCacheBlock;
  int64_t blockBytes = getCacheBlockBytes(spec.headDim, elementBytes(type));
  spec.regionBytes = spec.capacity / kCacheBlock * blockBytes;
  Layers layers(spec, rows, depth);
  size_t layer = 0;
  for (auto _ : state) {
    layers.attend(layer);
    layer = (layer + 1) % layers.size();
  }
  double seen = 0;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t positions = depth - rows + row + 1;
    seen += double(spec.window ? std::min(spec.window, positions) : positions);
  }
  auto perSecond = [](double count) {
    return benchmark::Counter(count,
                              benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["FLOP/s"] = perSecond(4 * seen * spec.heads * spec.headDim);
  if (rows == 1)
    state.counters["bytes/s"] =
        perSecond(2 * seen * spec.kvHeads * double(blockBytes) / kCacheBlock);
}

void shapes(benchmark::internal::Benchmark *benchmark) {
  for (auto [heads, kvHeads, dim] :
       {std::array<int64_t, 3>{9, 3, 64}, std::array<int64_t, 3>{4, 1, 256},
        std::array<int64_t, 3>{32, 8, 128}})
    for (int64_t depth : {2048, 8192})
      for (int64_t rows : {1, 512})
        benchmark->Args({rows, depth, heads, kvHeads, dim, 0});
}
BENCHMARK_CAPTURE(attention, f32, PARE_F32)->Apply(shapes);
BENCHMARK_CAPTURE(attention, f16, PARE_F16)->Apply(shapes);
BENCHMARK_CAPTURE(attention, i8, PARE_I8)->Apply(shapes);

} // namespace

BENCHMARK_MAIN();
