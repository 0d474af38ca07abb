//===- SegmentRunner.cpp - Segments run on samples ------------------------===//
#include "passes/calibrate/SegmentRunner.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
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
  OwningOpRef<ModuleOp> part =
      extractOps(module, segment.ops, segment.inputs, results);
  Block &body = nn::getEntry(*part).front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
  return executor.compile(std::move(part), weights);
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

llvm::Error SegmentRunner::forEach(
    Executable &executable, const Segment &segment, ArrayRef<Value> results,
    const Stream &stream,
    llvm::function_ref<void(size_t, const NamedTensors &)> show) {
  for (size_t begin = 0, count = samples_.size(); begin < count;) {
    size_t end = std::min(count, begin + samplesAtOnce());
    auto named = run(executable, segment, results, stream, begin, end);
    if (!named)
      return named.takeError();
    for (size_t i = begin; i < end; ++i)
      show(i, (*named)[i - begin]);
    begin = end;
  }
  return llvm::Error::success();
}

llvm::Error SegmentRunner::advance(Executable &executable,
                                   const Segment &segment, Stream &stream) {
  return forEach(executable, segment, segment.outputs, stream,
                 [&](size_t, const NamedTensors &values) {
                   for (Value output : segment.outputs)
                     stream[output].push_back(values.at(output));
                 });
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
