//===- SegmentRunner.cpp - Segments run on samples ------------------------===//
#include "passes/calibrate/SegmentRunner.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/Parallel.h"

using namespace mlir;

namespace pare {

SegmentRunner::SegmentRunner(ModuleOp module, const WeightStore &weights,
                             Executor &executor, Samples samples)
    : module(module), weights(weights), executor(executor), samples_(samples),
      // Runs of several threads make types, which a context may not allow.
      samplesAtOnce_(module.getContext()->isMultithreadingEnabled()
                         ? llvm::parallel::strategy.compute_thread_count()
                         : 1) {}

llvm::Expected<std::unique_ptr<Executable>>
SegmentRunner::compile(const Segment &segment, ArrayRef<Value> results) {
  return executor.compile(
      extractOps(module, segment.ops, segment.inputs, results), weights);
}

llvm::Expected<std::vector<NamedTensors>>
SegmentRunner::run(Executable &executable, const Segment &segment,
                   ArrayRef<Value> results, const Stream &stream, size_t begin,
                   size_t end) {
  std::vector<NamedTensors> named(end - begin);
  std::vector<std::string> errors(end - begin);
  auto arguments = nn::getEntry(module).getArguments();
  llvm::parallelFor(0, end - begin, [&](size_t i) {
    std::vector<HostTensor> inputs = samples_[begin + i];
    for (Value input : segment.inputs)
      inputs.push_back(stream.find(input)->second[begin + i]);
    auto outputs = executable.run(inputs);
    if (!outputs) {
      errors[i] = llvm::toString(outputs.takeError());
      return;
    }
    for (auto [value, tensor] : llvm::zip(arguments, inputs))
      named[i][value] = tensor;
    for (auto [value, tensor] : llvm::zip(
             segment.inputs, ArrayRef(inputs).drop_front(arguments.size())))
      named[i][value] = tensor;
    for (auto [value, tensor] : llvm::zip(results, *outputs))
      named[i][value] = tensor;
  });
  for (auto [i, error] : llvm::enumerate(errors))
    if (!error.empty())
      return llvm::createStringError("calibration sample " +
                                     Twine(begin + i + 1) + ": " + error);
  return named;
}

llvm::Error SegmentRunner::advance(Executable &executable,
                                   const Segment &segment, Stream &stream) {
  for (size_t begin = 0, count = samples_.size(); begin < count;) {
    size_t end = std::min(count, begin + samplesAtOnce());
    auto named = run(executable, segment, segment.outputs, stream, begin, end);
    if (!named)
      return named.takeError();
    for (NamedTensors &values : *named)
      for (Value output : segment.outputs)
        stream[output].push_back(values[output]);
    begin = end;
  }
  return llvm::Error::success();
}

void forgetUnread(Stream &stream, ArrayRef<Segment> later) {
  llvm::SmallPtrSet<Value, 8> needed;
  for (const Segment &segment : later)
    needed.insert_range(segment.inputs);
  SmallVector<Value> dead;
  for (auto &[value, tensors] : stream)
    if (!needed.contains(value))
      dead.push_back(value);
  for (Value value : dead)
    stream.erase(value);
}

} // namespace pare
