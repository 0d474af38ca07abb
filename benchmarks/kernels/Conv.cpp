//===- Conv.cpp - Convolution kernels against the machine's peak ----------===//
//
// One thread, shapes of ResNet, MobileNet and of text detectors. `GOP/s` counts
// a multiply-add as two; `of_peak` is the fraction of what the dot instruction
// reaches on registers in the same run. Depthwise windows that are cut off by
// the border count in full.
//
//   bench_conv [--target=NAME] [Google Benchmark options]
//
//===----------------------------------------------------------------------===//
#include "backends/cpu/kernels/Conv.h"
#include "backends/cpu/kernels/ConvDepthwise.h"
#include "benchmarks/kernels/Peak.h"
#include <benchmark/benchmark.h>

using namespace pare::bench;
using namespace pare::cpu;
using pare::test::Kernels;

namespace {

struct Shape {
  int64_t h, w, c, o, kernel, stride;

  std::string str() const {
    auto text = [](int64_t v) { return std::to_string(v); };
    return text(h) + "x" + text(w) + "x" + text(c) + "-" + text(o) + "/k" +
           text(kernel) + "s" + text(stride);
  }
  /// "Same" padding; a transposed kernel as large as its stride has none.
  int64_t outH() const { return (h - 1) / stride + 1; }
  int64_t outW() const { return (w - 1) / stride + 1; }
};

template <typename Spec>
Spec toSpec(const Shape &shape, int64_t oh, int64_t ow) {
  Spec spec;
  spec.n = Extent::of(1);
  spec.h = Extent::of(shape.h);
  spec.w = Extent::of(shape.w);
  spec.oh = Extent::of(oh);
  spec.ow = Extent::of(ow);
  spec.c = shape.c;
  spec.kernelH = spec.kernelW = shape.kernel;
  spec.strideH = spec.strideW = shape.stride;
  return spec;
}

/// Times all tasks of the kernel that `emit` writes, which does `macs`
/// multiply-adds.
void run(benchmark::State &state, MicroKernel::Format format, double macs,
         llvm::ArrayRef<void *> ptrs, int64_t tasks, int64_t scratchBytes,
         llvm::function_ref<void(KernelBuilder &)> emit) {
  Kernels kernels(target());
  KernelBuilder kb(kernels.module(), "kernel", kernels.isa());
  emit(kb);
  kb.finish();
  kernels.compile();
  PareKernel kernel = kernels.lookup("kernel");
  std::vector<char> scratch(scratchBytes + PARE_ALIGN);
  double best = 0;
  for (auto _ : state) {
    double start = seconds();
    for (int64_t task = 0; task < tasks; ++task)
      kernel(ptrs.data(), nullptr, task, scratch.data());
    best = std::max(best, 2 * macs / (seconds() - start));
  }
  state.counters["GOP/s"] = best * 1e-9;
  state.counters["of_peak"] = best / peak(format);
  state.counters["tasks"] = double(tasks);
}

void conv(benchmark::State &state, MicroKernel::Format format, Shape shape) {
  int64_t oh = shape.outH(), ow = shape.outW();
  auto spec = toSpec<ConvSpec>(shape, oh, ow);
  spec.o = shape.o;
  spec.padT = spec.padL = (shape.kernel - 1) / 2;
  spec.int8 = format == MicroKernel::S8;
  ConvTiling tiling = convTiling(spec, target());

  std::vector<float> in(shape.h * shape.w * shape.c, 0.5f);
  std::vector<int16_t> codes(in.size(), 257);
  std::vector<float> weights(packedConvSize(spec), 0.25f);
  std::vector<int8_t> codeWeights(packedConvSize(spec), 3);
  std::vector<float> scales(shape.o, 1), out(oh * ow * shape.o);
  std::vector<int32_t> compensation(packedCompensationSize(spec));
  std::vector<void *> ptrs = {in.data(), weights.data(), out.data(),
                              scales.data(), compensation.data()};
  if (spec.int8) {
    ptrs[spec.in] = codes.data();
    ptrs[spec.weights] = codeWeights.data();
  }
  double macs = double(out.size()) * shape.c * shape.kernel * shape.kernel;
  run(state, format, macs, ptrs, tiling.tasks(1, oh, ow), tiling.scratchBytes,
      [&](KernelBuilder &kb) { emitConv(kb, spec); });
}

void depthwise(benchmark::State &state, Shape shape) {
  int64_t oh = shape.outH(), ow = shape.outW();
  auto spec = toSpec<DepthwiseSpec>(shape, oh, ow);
  spec.padT = spec.padL = shape.kernel / 2;
  std::vector<float> in(shape.h * shape.w * shape.c, 0.5f);
  std::vector<float> weights(shape.kernel * shape.kernel * shape.c, 0.25f);
  std::vector<float> out(oh * ow * shape.c);
  std::vector<void *> ptrs = {in.data(), weights.data(), out.data()};
  double macs = double(out.size()) * shape.kernel * shape.kernel;
  int64_t lines = depthwiseLinesPerTask(spec);
  run(state, MicroKernel::F32, macs, ptrs, (oh + lines - 1) / lines, 0,
      [&](KernelBuilder &kb) { emitDepthwise(kb, spec); });
}

void transposed(benchmark::State &state, Shape shape) {
  int64_t oh = shape.h * shape.stride, ow = shape.w * shape.stride;
  auto spec = toSpec<ConvTransposeSpec>(shape, oh, ow);
  spec.o = shape.o;
  ConvTiling tiling = convTiling(spec, target());
  std::vector<float> in(shape.h * shape.w * shape.c, 0.5f);
  std::vector<float> weights(packedConvSize(spec), 0.25f);
  std::vector<float> out(oh * ow * shape.o);
  std::vector<void *> ptrs = {in.data(), weights.data(), out.data()};
  double macs = double(in.size()) * shape.o * shape.kernel * shape.kernel;
  run(state, MicroKernel::F32, macs, ptrs, tiling.tasks(1, oh, ow),
      tiling.scratchBytes,
      [&](KernelBuilder &kb) { emitConvTranspose(kb, spec); });
}

template <typename... Args> void add(const std::string &name, Args &&...args) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<Args>(args)...)
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.2);
}

} // namespace

int main(int argc, char **argv) {
  if (!initialize(argc, argv))
    return 1;
  for (Shape shape : {Shape{56, 56, 64, 64, 3, 1},
                      {56, 56, 64, 128, 3, 2},
                      {224, 224, 3, 32, 3, 2},
                      {14, 14, 256, 256, 3, 1},
                      {7, 7, 512, 512, 3, 1},
                      {56, 56, 256, 512, 1, 2},
                      {160, 160, 96, 24, 3, 1}})
    for (auto format : {MicroKernel::F32, MicroKernel::S8})
      add((format == MicroKernel::F32 ? "f32/" : "int8/") + shape.str(), conv,
          format, shape);
  for (Shape shape : {Shape{112, 112, 32, 32, 3, 1},
                      {112, 112, 64, 64, 3, 2},
                      {112, 112, 32, 32, 5, 1},
                      {12, 80, 240, 240, 5, 1},
                      {7, 7, 960, 960, 5, 1}})
    add("depthwise/" + shape.str(), depthwise, shape);
  for (Shape shape : {Shape{160, 160, 24, 24, 2, 2}, {320, 320, 24, 1, 2, 2}})
    add("transposed/" + shape.str(), transposed, shape);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
