//===- SegmentRunner.h - Segments run on samples ----------------*- C++ -*-===//
#ifndef PARE_PASSES_CALIBRATE_SEGMENTRUNNER_H
#define PARE_PASSES_CALIBRATE_SEGMENTRUNNER_H

#include "passes/Executor.h"
#include "passes/calibrate/Segments.h"

namespace pare {

/// The entry's inputs, one list per sample.
using Samples = llvm::ArrayRef<std::vector<HostTensor>>;
/// Values that segments hand on, per sample: as one state of the weights gives
/// them.
using Stream = llvm::DenseMap<mlir::Value, std::vector<HostTensor>>;
/// Values of one sample.
using NamedTensors = llvm::DenseMap<mlir::Value, HostTensor>;

class SegmentRunner {
public:
  /// All must outlive the runner.
  SegmentRunner(mlir::ModuleOp module, const WeightStore &weights,
                Executor &executor, Samples samples);

  Samples samples() const { return samples_; }
  /// As many as threads can work on.
  size_t samplesAtOnce() const { return samplesAtOnce_; }

  /// A segment with its weights as they are now; what none of `results` needs
  /// is left out.
  llvm::Expected<std::unique_ptr<Executable>>
  compile(const Segment &segment, llvm::ArrayRef<mlir::Value> results);

  /// Runs samples [begin, end), each on a thread of its own, on what `stream`
  /// has for the segment's inputs; `results` are as it was compiled. Results,
  /// inputs and arguments by value, one map per sample.
  llvm::Expected<std::vector<NamedTensors>>
  run(Executable &executable, const Segment &segment,
      llvm::ArrayRef<mlir::Value> results, const Stream &stream, size_t begin,
      size_t end);

  /// Runs all samples and shows what run() gives, in the order of samples.
  llvm::Error
  forEach(Executable &executable, const Segment &segment,
          llvm::ArrayRef<mlir::Value> results, const Stream &stream,
          llvm::function_ref<void(size_t sample, const NamedTensors &)> show);

  /// Runs all samples and appends the segment's outputs to `stream`.
  llvm::Error advance(Executable &executable, const Segment &segment,
                      Stream &stream);

private:
  mlir::ModuleOp module;
  const WeightStore &weights;
  Executor &executor;
  Samples samples_;
  size_t samplesAtOnce_;
};

/// Forgets what no segment of `later` reads.
void forgetUnread(Stream &stream, llvm::ArrayRef<Segment> later);

} // namespace pare

#endif
