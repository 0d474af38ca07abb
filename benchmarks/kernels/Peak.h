//===- Peak.h - What this CPU can do at most --------------------*- C++ -*-===//
#ifndef PARE_BENCHMARKS_KERNELS_PEAK_H
#define PARE_BENCHMARKS_KERNELS_PEAK_H

#include "backends/cpu/kernels/Dot.h"
#include "tests/unit/kernels/Jit.h"
#include <benchmark/benchmark.h>
#include <ctime>

namespace pare::bench {

using namespace cpu;

/// The CPU that kernels are made for.
inline Isa &target() {
  static Isa isa = test::isa("host");
  return isa;
}

/// Reads the command line: --target=NAME, and the benchmark library's own.
/// False, after a message, where it has more.
inline bool initialize(int &argc, char **argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef arg = argv[i];
    if (arg.consume_front("--target="))
      target() = test::isa(arg);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  benchmark::Initialize(&argc, argv);
  return !benchmark::ReportUnrecognizedArguments(argc, argv);
}

/// CPU time of this thread, so that other load does not count.
inline double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Operations per second of the dot instruction alone: as many independent
/// accumulators as the largest register tile has, operands in registers.
inline double measurePeak(MicroKernel::Format format) {
  constexpr int64_t kTurns = 1 << 20;
  test::Kernels kernels(target());
  auto dot =
      format == MicroKernel::F32 ? makeF32Dot(target()) : makeS8Dot(target());
  MicroTile tile = dot->tiles.front();
  unsigned count = tile.rows * (tile.cols / dot->lanes) * dot->parts;
  KernelBuilder b(kernels.module(), "peak", target());
  mlir::Value a = dot->broadcastA(b, b.ptr(0));
  mlir::Value w = dot->loadB(b, b.ptr(1), 0);
  llvm::SmallVector<mlir::Value> acc(count, b.zero(dot->accType(b)));
  acc = b.loop(b.idx(0), b.idx(kTurns), 1, acc,
               [&](mlir::Value,
                   mlir::ValueRange sums) -> llvm::SmallVector<mlir::Value> {
                 llvm::SmallVector<mlir::Value> next(sums);
                 mlir::Value varying = a;
                 for (mlir::Value &sum : next) {
                   varying = b.inOrder(varying)[0];
                   dot->accumulate(b, sum, varying, w);
                 }
                 return next;
               });
  // Different lanes of the store keep every accumulator alive.
  for (auto [i, sum] : llvm::enumerate(acc))
    b.store(sum, b.ptr(2), b.idx(i * 16));
  b.finish();
  kernels.compile();
  std::vector<char> operand(256), out(64 * (count + 1));
  PareKernel kernel = kernels.lookup("peak");
  void *ptrs[] = {operand.data(), operand.data(), out.data()};
  double best = 0;
  for (int i = 0; i < 20; ++i) {
    double start = seconds();
    kernel(ptrs, nullptr, 0, nullptr);
    // Columns of one accumulator times k values of one step.
    double products = double(dot->lanes) / dot->parts * dot->kGroup;
    best = std::max(best, 2 * products * count * kTurns / (seconds() - start));
  }
  return best;
}

inline double peak(MicroKernel::Format format) {
  static double peaks[] = {measurePeak(MicroKernel::F32),
                           measurePeak(MicroKernel::S8)};
  return peaks[format];
}

} // namespace pare::bench

#endif
