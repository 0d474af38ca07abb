//===- SampleRuns.cpp - Parts of a model on all samples -------------------===//
#include "passes/prune/SampleRuns.h"

using namespace mlir;

namespace pare::prune {

Segment wholeEntry(ModuleOp module) {
  Segment segment;
  for (Operation &op : nn::getEntry(module).front().without_terminator())
    if (!isa<nn::ParamOp, nn::ConstantOp>(op))
      segment.ops.push_back(&op);
  return segment;
}

llvm::Error
SampleRuns::run(const Segment &segment, ArrayRef<Value> results,
                const Stream &inputs,
                llvm::function_ref<void(size_t, const NamedTensors &)> show) {
  assert(options.executor && "samples and nothing to run them with");
  // Arguments and what earlier segments made are at hand.
  SmallVector<Value> made;
  for (Value value : results)
    if (value.getDefiningOp() && !llvm::is_contained(segment.inputs, value) &&
        !llvm::is_contained(made, value))
      made.push_back(value);
  SegmentRunner runner(module, weights, *options.executor, options.calibration);
  auto executable = runner.compile(segment, made);
  if (!executable)
    return executable.takeError();
  return runner.forEach(**executable, segment, made, inputs, show);
}

} // namespace pare::prune
