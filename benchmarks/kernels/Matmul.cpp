//===- Matmul.cpp - GEMM kernels against the machine's peak ---------------===//
//
// One thread, the shapes of MiniLM. `GOP/s` counts a multiply-add as two; the
// peak is measured in the same run by a loop of the same dot instruction on
// registers only, so that `of_peak` holds on whatever CPU this runs on.
//
//   bench_matmul [--target=NAME] [Google Benchmark options]
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Pack.h"
#include "benchmarks/kernels/Peak.h"
#include <benchmark/benchmark.h>

using namespace mlir;
using namespace pare::bench;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

const char *formatName(MicroKernel::Format format) {
  return format == MicroKernel::F32 ? "f32" : "int8";
}

void matmul(benchmark::State &state, MicroKernel::Format format, int64_t m,
            int64_t n, int64_t k) {
  Kernels kernels(target());
  GemmSpec spec;
  spec.format = format;
  spec.m = Extent::of(m);
  spec.n = Extent::of(n);
  spec.k = Extent::of(k);
  spec.lda = spec.k;
  spec.ldc = spec.n;
  spec.ptrRowScale = 3;
  spec.ptrColScale = 4;
  spec.ptrCompensation = 5;
  KernelBuilder b(kernels.module(), "gemm", target());
  emitGemm(b, spec);
  b.finish();
  kernels.compile();

  std::vector<float> a(m * k, 0.5f), c(m * n), rowScale(m, 1), colScale(n, 1);
  std::vector<float> packed(packedSizeF32(k, n), 0.25f);
  std::vector<int8_t> packedCodes(packedSizeS8(k, n), 3);
  std::vector<int16_t> codes(m * k, 257);
  std::vector<int32_t> compensation(n);
  bool isS8 = format == MicroKernel::S8;
  void *ptrs[] = {isS8 ? static_cast<void *>(codes.data()) : a.data(),
                  isS8 ? static_cast<void *>(packedCodes.data())
                       : packed.data(),
                  c.data(),
                  rowScale.data(),
                  colScale.data(),
                  compensation.data()};
  PareKernel kernel = kernels.lookup("gemm");
  int64_t tasks = gemmTiling(spec, target()).tasks(m, n);
  double best = 0;
  for (auto _ : state) {
    double start = seconds();
    for (int64_t task = 0; task < tasks; ++task)
      kernel(ptrs, nullptr, task, nullptr);
    best = std::max(best, 2.0 * m * n * k / (seconds() - start));
  }
  state.counters["GOP/s"] = best * 1e-9;
  state.counters["of_peak"] = best / peak(format);
  state.counters["tasks"] = double(tasks);
}

void quantizeRows(benchmark::State &state, int64_t m, int64_t k) {
  Kernels kernels(target());
  QuantizeRowsSpec spec;
  spec.m = Extent::of(m);
  spec.k = spec.ldx = Extent::of(k);
  KernelBuilder b(kernels.module(), "quantize", target());
  emitQuantizeRows(b, spec);
  b.finish();
  kernels.compile();
  std::vector<float> x(m * k, 0.5f), scale(m);
  std::vector<int16_t> codes(m * paddedCodes(k));
  void *ptrs[] = {x.data(), codes.data(), scale.data()};
  PareKernel kernel = kernels.lookup("quantize");
  int64_t rows = quantizeRowsPerTask(spec), tasks = (m + rows - 1) / rows;
  for (auto _ : state)
    for (int64_t task = 0; task < tasks; ++task)
      kernel(ptrs, nullptr, task, nullptr);
  state.SetItemsProcessed(state.iterations() * m * k);
}

} // namespace

int main(int argc, char **argv) {
  if (!initialize(argc, argv))
    return 1;
  for (auto format : {MicroKernel::F32, MicroKernel::S8}) {
    benchmark::AddCustomContext(std::string("peak ") + formatName(format),
                                std::to_string(peak(format) * 1e-9) + " GOP/s");
    for (int64_t m : {1, 32, 128, 2048})
      for (auto [n, k] :
           {std::pair<int64_t, int64_t>(384, 384), {1536, 384}, {384, 1536}}) {
        std::string name = std::string(formatName(format)) + "/" +
                           std::to_string(m) + "x" + std::to_string(n) + "x" +
                           std::to_string(k);
        benchmark::RegisterBenchmark(name.c_str(), matmul, format, m, n, k)
            ->Unit(benchmark::kMicrosecond)
            ->MinTime(0.2);
      }
  }
  for (int64_t k : {384, 1536})
    benchmark::RegisterBenchmark(
        ("quantize_rows/128x" + std::to_string(k)).c_str(), quantizeRows, 128,
        k)
        ->Unit(benchmark::kMicrosecond)
        ->MinTime(0.2);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
