//===- BlockMatmul.cpp - Products by weights in blocks, and their limits --===//
//
// One row against the machine's read bandwidth, on one thread and on two: the
// weight is repeated until no cache holds it. Many rows, on one thread, against
// the peak of the dot instruction alone. Both limits are measured in the same
// run. The shapes are SmolLM2-135M's. Sparse formats and their dense ones take
// turns, so that the ratio of their times is of the same minutes.
//
//   bench_block_matmul [--target=NAME] [Google Benchmark options]
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/BlockDot.h"
#include "backends/cpu/kernels/BlockGemm.h"
#include "benchmarks/kernels/Peak.h"
#include <benchmark/benchmark.h>
#include <chrono>
#include <cmath>
#include <cstring>
#include <sys/mman.h>
#include <thread>

using namespace mlir;
using namespace pare;
using namespace pare::bench;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

constexpr int64_t kMuchMemory = 256 << 20;

/// Bytes of one value in huge pages, where the system has them.
class HugeMemory {
public:
  HugeMemory(size_t size, uint8_t value) {
    constexpr size_t page = 2 << 20;
    data_ = static_cast<uint8_t *>(
        std::aligned_alloc(page, llvm::alignTo(size, page)));
    madvise(data_, size, MADV_HUGEPAGE);
    std::memset(data_, value, size);
  }
  HugeMemory(const HugeMemory &) = delete;
  ~HugeMemory() { std::free(data_); }
  uint8_t *data() { return data_; }

private:
  uint8_t *data_;
};

double wallSeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Runs work(thread) on `threads` threads at once; returns the seconds of the
/// slowest.
double runOn(int threads, llvm::function_ref<void(int)> work) {
  double start = wallSeconds();
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i)
    others.emplace_back([=] { work(i); });
  work(0);
  for (std::thread &thread : others)
    thread.join();
  return wallSeconds() - start;
}

/// Bytes per second that a kernel which only adds vectors reads.
double readBandwidth(int threads) {
  static double known[3] = {};
  if (known[threads] != 0)
    return known[threads];
  Kernels kernels(target());
  KernelBuilder b(kernels.module(), "read", target());
  constexpr int64_t vectors = 16, lanes = 8;
  VectorType type = b.vecType(lanes, b.getI32Type());
  SmallVector<Value> zeros(vectors, b.zero(type));
  SmallVector<Value> sums =
      b.loop(b.idx(0), b.extent(Extent::runtime(0)), vectors * lanes, zeros,
             [&](Value i, ValueRange before) {
               SmallVector<Value> next;
               for (auto [n, sum] : llvm::enumerate(before))
                 next.push_back(arith::AddIOp::create(
                     b, sum, b.loadVec(type, b.ptr(0), b.add(i, n * lanes))));
               return next;
             });
  for (auto [n, sum] : llvm::enumerate(sums))
    b.store(sum, b.ptr(1), b.idx(n * lanes));
  b.finish();
  kernels.compile();
  PareKernel kernel = kernels.lookup("read");
  HugeMemory memory(kMuchMemory, 1);
  int64_t each = kMuchMemory / 4 / threads / 128 * 128;
  double best = 0;
  for (int i = 0; i < 10; ++i) {
    double time = runOn(threads, [&](int thread) {
      int32_t out[vectors * lanes];
      void *ptrs[] = {memory.data() + thread * each * 4, out};
      kernel(ptrs, &each, 0, nullptr);
    });
    best = std::max(best, double(each) * 4 * threads / time);
  }
  return known[threads] = best;
}

/// Operations per second of the dot instruction alone, for small codes.
double dotPeak() {
  static double known = 0;
  if (known != 0)
    return known;
  constexpr int64_t kTurns = 1 << 20;
  constexpr unsigned kSums = 12;
  Kernels kernels(target());
  KernelBuilder b(kernels.module(), "peak", target());
  std::unique_ptr<BlockDot> dot = makeBlockDot(target());
  BlockBytes meaning{false, 1, 0};
  Value codes = dot->broadcast(b, b.ptr(0));
  BlockDot::Quad quad = dot->prepare(b, dot->broadcast(b, b.ptr(1)), meaning);
  auto add = [&](Value sum, Value codes) {
    bool isSmall = getElementTypeOrSelf(sum.getType()).isInteger(16);
    BlockDot::Sums sums{isSmall ? Value() : sum, isSmall ? sum : Value()};
    dot->add(b, sums, quad, codes, meaning);
    return isSmall ? sums.small : sums.wide;
  };
  BlockDot::Sums first;
  dot->add(b, first, quad, codes, meaning);
  SmallVector<Value> sums(kSums, first.small ? first.small : first.wide);
  sums =
      b.loop(b.idx(0), b.idx(kTurns), 1, sums, [&](Value, ValueRange before) {
        SmallVector<Value> next(before);
        Value varying = codes;
        for (Value &sum : next) {
          varying = b.inOrder(varying)[0];
          sum = add(sum, varying);
        }
        return next;
      });
  for (auto [i, sum] : llvm::enumerate(sums))
    b.store(vector::BitCastOp::create(b, b.vecType(dot->lanes, b.getI32Type()),
                                      sum),
            b.ptr(2), b.idx(i * 16));
  b.finish();
  kernels.compile();
  std::vector<char> operand(256), out(64 * (kSums + 1));
  PareKernel kernel = kernels.lookup("peak");
  void *ptrs[] = {operand.data(), operand.data(), out.data()};
  for (int i = 0; i < 20; ++i) {
    double start = seconds();
    kernel(ptrs, nullptr, 0, nullptr);
    double products = double(dot->lanes) * kQuad * kSums * kTurns;
    known = std::max(known, 2 * products / (seconds() - start));
  }
  return known;
}

BlockGemmSpec specOf(const BlockFormat &format, bool isInteger, int64_t n,
                     int64_t k) {
  BlockGemmSpec spec;
  spec.format = &format;
  spec.isInteger = isInteger;
  spec.m = Extent::runtime(0);
  spec.n = n;
  spec.k = k;
  return spec;
}

struct Operands {
  Operands(int64_t m, int64_t k)
      : codes(m * k, 3), x(m * k, 0.5f), scales(m * k / kBlockStep, 0.01f) {}
  std::vector<int8_t> codes;
  std::vector<float> x, scales;
};

/// A kernel, and what it takes but for the weights.
class Product {
public:
  Product(const BlockFormat &format, bool isInteger, int64_t m, int64_t n,
          int64_t k)
      : spec(specOf(format, isInteger, n, k)),
        tiling(blockGemmTiling(spec, target())), m(m),
        tasks(tiling.tasks(m, n)), bytes(packedBytes(spec)), kernels(target()),
        operands(m, k), c(m * n) {
    KernelBuilder b(kernels.module(), "product", target());
    emitBlockGemm(b, spec);
    b.finish();
    kernels.compile();
    kernel = kernels.lookup("product");
  }

  /// Every `stride`-th task from `first` on, by the weights at `w`.
  void run(const uint8_t *w, int64_t first, int64_t stride, char *scratch) {
    const void *ptrs[] = {spec.isInteger
                              ? static_cast<void *>(operands.codes.data())
                              : operands.x.data(),
                          operands.scales.data(), w, c.data()};
    for (int64_t task = first; task < tasks; task += stride)
      kernel(const_cast<void *const *>(ptrs), &m, task, scratch);
  }

  BlockGemmSpec spec;
  BlockGemmTiling tiling;
  int64_t m, tasks, bytes;

private:
  Kernels kernels;
  Operands operands;
  std::vector<float> c;
  PareKernel kernel;
};

/// One row by one copy of the weights after the other.
class Stream {
public:
  Stream(const BlockFormat &format, bool isInteger, int64_t n, int64_t k)
      : product(format, isInteger, 1, n, k),
        copies(llvm::divideCeil(kMuchMemory, product.bytes)),
        weights(copies * product.bytes, 0x11) {}

  /// Seconds of a product.
  double run(int threads) {
    // Threads meet before every product, as steps of a model do.
    std::vector<std::vector<char>> scratch(
        threads, std::vector<char>(product.tiling.scratchBytes));
    std::atomic<int64_t> done = 0;
    double time = runOn(threads, [&](int thread) {
      for (int64_t copy = 0; copy < copies; ++copy) {
        product.run(weights.data() + copy * product.bytes, thread, threads,
                    scratch[thread].data());
        ++done;
        while (done < (copy + 1) * threads)
          std::this_thread::yield();
      }
    });
    return time / double(copies);
  }

  /// Seconds of a product by the CPU time of the slower thread. Threads do not
  /// meet: other load, which would make one wait for the other, does not count.
  double runApart(int threads) {
    std::vector<double> times(threads);
    runOn(threads, [&](int thread) {
      std::vector<char> scratch(product.tiling.scratchBytes);
      double start = seconds();
      for (int64_t copy = 0; copy < copies; ++copy)
        product.run(weights.data() + copy * product.bytes, thread, threads,
                    scratch.data());
      times[thread] = seconds() - start;
    });
    return *llvm::max_element(times) / double(copies);
  }

  Product product;

private:
  int64_t copies;
  HugeMemory weights;
};

void oneRow(benchmark::State &state, const BlockFormat &format, bool isInteger,
            int64_t n, int64_t k, int threads) {
  Stream stream(format, isInteger, n, k);
  double least = INFINITY;
  for (auto _ : state)
    least = std::min(least, stream.run(threads));
  double best = double(stream.product.bytes) / least;
  state.counters["GB/s"] = best * 1e-9;
  state.counters["of_bandwidth"] = best / readBandwidth(threads);
  state.counters["us"] = least * 1e6;
  state.counters["tasks"] = double(stream.product.tasks);
}

/// Many rows by weights that stay in the cache, on one thread.
class Batch {
public:
  Batch(const BlockFormat &format, bool isInteger, int64_t m, int64_t n,
        int64_t k)
      : product(format, isInteger, m, n, k), weights(product.bytes, 0x11),
        scratch(product.tiling.scratchBytes) {}

  /// Seconds of a product.
  double run() {
    double start = seconds();
    product.run(weights.data(), 0, 1, scratch.data());
    return seconds() - start;
  }

  Product product;

private:
  std::vector<uint8_t> weights;
  std::vector<char> scratch;
};

void manyRows(benchmark::State &state, const BlockFormat &format,
              bool isInteger, int64_t m, int64_t n, int64_t k) {
  Batch batch(format, isInteger, m, n, k);
  double least = INFINITY;
  for (auto _ : state)
    least = std::min(least, batch.run());
  double best = 2.0 * m * n * k / least;
  state.counters["GOP/s"] = best * 1e-9;
  state.counters["of_peak"] =
      best / (isInteger ? dotPeak() : peak(MicroKernel::F32));
  state.counters["tasks"] = double(batch.product.tasks);
}

//===----------------------------------------------------------------------===//
// Sparse beside dense
//===----------------------------------------------------------------------===//

/// Times of both in turns: the least of each, and the median of the ratios,
/// which other load disturbs less than a ratio of two times of its own.
struct Turns {
  double dense = INFINITY, sparse = INFINITY;
  std::vector<double> ratios;

  void add(double denseTime, double sparseTime) {
    dense = std::min(dense, denseTime);
    sparse = std::min(sparse, sparseTime);
    ratios.push_back(denseTime / sparseTime);
  }
  void report(benchmark::State &state) {
    auto middle = ratios.begin() + ptrdiff_t(ratios.size() / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    state.counters["dense_us"] = dense * 1e6;
    state.counters["sparse_us"] = sparse * 1e6;
    state.counters["dense/sparse"] = dense / sparse;
    state.counters["median"] = *middle;
  }
};

void sparseRow(benchmark::State &state, const BlockFormat &format, int64_t n,
               int64_t k, int threads) {
  Stream dense(getDenseFormat(format), /*isInteger=*/true, n, k),
      sparse(format, /*isInteger=*/true, n, k);
  Turns turns;
  for (auto _ : state) {
    double denseTime = dense.runApart(threads);
    turns.add(denseTime, sparse.runApart(threads));
  }
  turns.report(state);
  state.counters["dense_GB/s"] =
      double(dense.product.bytes) / turns.dense * 1e-9;
  state.counters["sparse_GB/s"] =
      double(sparse.product.bytes) / turns.sparse * 1e-9;
}

void sparseRows(benchmark::State &state, const BlockFormat &format,
                bool isInteger, int64_t m, int64_t n, int64_t k) {
  Batch dense(getDenseFormat(format), isInteger, m, n, k),
      sparse(format, isInteger, m, n, k);
  Turns turns;
  for (auto _ : state) {
    double denseTime = dense.run();
    turns.add(denseTime, sparse.run());
  }
  turns.report(state);
}

void quantize(benchmark::State &state, int64_t m, int64_t k) {
  Kernels kernels(target());
  QuantizeGroupsSpec spec;
  spec.m = Extent::of(m);
  spec.k = k;
  KernelBuilder b(kernels.module(), "quantize", target());
  emitQuantizeGroups(b, spec);
  b.finish();
  kernels.compile();
  std::vector<float> x(m * k, 0.5f), scales(m * k / kBlockStep);
  std::vector<int8_t> codes(m * k);
  void *ptrs[] = {x.data(), codes.data(), scales.data()};
  PareKernel kernel = kernels.lookup("quantize");
  int64_t rows = quantizeGroupsRowsPerTask(spec), tasks = (m + rows - 1) / rows;
  for (auto _ : state)
    for (int64_t task = 0; task < tasks; ++task)
      kernel(ptrs, nullptr, task, nullptr);
  state.SetItemsProcessed(state.iterations() * m * k);
}

/// Registers a benchmark; `name` outlives nothing.
template <typename... Args>
void add(const std::string &name, void (*run)(benchmark::State &, Args...),
         std::type_identity_t<Args>... args) {
  benchmark::RegisterBenchmark(
      name.c_str(), [=](benchmark::State &state) { run(state, args...); })
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.2);
}

} // namespace

int main(int argc, char **argv) {
  if (!initialize(argc, argv))
    return 1;
  for (int threads : {1, 2})
    benchmark::AddCustomContext("read bandwidth " + std::to_string(threads),
                                std::to_string(readBandwidth(threads) * 1e-9) +
                                    " GB/s");
  benchmark::AddCustomContext("peak int8",
                              std::to_string(dotPeak() * 1e-9) + " GOP/s");
  constexpr std::pair<int64_t, int64_t> shapes[] = {
      {576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
  std::vector<const BlockFormat *> formats;
  for (const BlockFormat &format : getBlockFormats())
    formats.push_back(&format);
  for (const char *name : {"int4_g64", "uint4_g64", "int3_g32_k6x576",
                           "uint2_g16_k4x576", "nf4_g64", "fp8_e4m3_g64"})
    formats.push_back(findBlockFormat(name));
  for (const BlockFormat *one : formats)
    for (bool isInteger : {true, false})
      for (auto [n, k] : shapes) {
        const BlockFormat &format = *one;
        if (isInteger && whyNoIntegerBlockKernel(format))
          continue;
        BlockLayout layout(format);
        int64_t inner = (k + layout.run - 1) / layout.run * layout.run;
        std::string name = format.name.str() + (isInteger ? "/int8/" : "/f32/");
        std::string size =
            "x" + std::to_string(n) + "x" + std::to_string(inner);
        for (int threads : {1, 2})
          add(name + "1" + size + "/threads:" + std::to_string(threads), oneRow,
              format, isInteger, n, inner, threads);
        for (int64_t m : {1, 8, 512})
          if (n != 49152)
            add(name + std::to_string(m) + size, manyRows, format, isInteger, m,
                n, inner);
      }
  for (const char *name :
       {"int8_g32_2of4", "int6_g32_2of4", "int4_g32_2of4", "int2_g32_2of4"}) {
    const BlockFormat &format = *findBlockFormat(name);
    std::string start = format.name.str() + "/int8/";
    for (auto [n, k] : {std::pair(1536, 1536), std::pair(1536, 384)})
      for (int threads : {1, 2})
        add(start + "1x" + std::to_string(n) + "x" + std::to_string(k) +
                "/threads:" + std::to_string(threads),
            sparseRow, format, int64_t(n), int64_t(k), threads);
    for (int64_t m : {1, 2, 4, 8, 16, 32, 128})
      add(start + std::to_string(m) + "x384x1536", sparseRows, format, true, m,
          int64_t(1536), int64_t(384));
    add(format.name.str() + "/f32/128x384x1536", sparseRows, format, false,
        int64_t(128), int64_t(1536), int64_t(384));
  }
  for (int64_t k : {576, 1536})
    add("quantize_groups/512x" + std::to_string(k), quantize, int64_t(512), k);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
