//===- SampleRuns.cpp - Parts of a model on all samples -------------------===//
#include "passes/prune/SampleRuns.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/Support/Parallel.h"

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
                const NamedSamples &inputs,
                llvm::function_ref<void(size_t, const NamedTensors &)> show) {
  assert(options.executor && "samples and nothing to run them with");
  // Arguments and what earlier segments made are at hand.
  SmallVector<Value> made;
  for (Value value : results)
    if (value.getDefiningOp() && !llvm::is_contained(segment.inputs, value) &&
        !llvm::is_contained(made, value))
      made.push_back(value);
  OwningOpRef<ModuleOp> part =
      extractOps(module, segment.ops, segment.inputs, made);
  // What only the model's own results need is not run.
  Block &body = nn::getEntry(*part).front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
  auto executable = options.executor->compile(std::move(part), weights);
  if (!executable)
    return executable.takeError();
  // Runs on several threads make types, which a context may not allow.
  size_t atOnce = module.getContext()->isMultithreadingEnabled()
                      ? llvm::parallel::strategy.compute_thread_count()
                      : 1;
  auto arguments = nn::getEntry(module).getArguments();
  for (size_t begin = 0, count = options.calibration.size(); begin < count;) {
    size_t end = std::min(count, begin + atOnce);
    std::vector<NamedTensors> named(end - begin);
    std::vector<std::string> errors(end - begin);
    llvm::parallelFor(0, end - begin, [&](size_t i) {
      std::vector<HostTensor> given = options.calibration[begin + i];
      for (Value input : segment.inputs)
        given.push_back(inputs.find(input)->second[begin + i]);
      auto outputs = (*executable)->run(given);
      if (!outputs) {
        errors[i] = llvm::toString(outputs.takeError());
        return;
      }
      for (auto [value, tensor] : llvm::zip(arguments, given))
        named[i][value] = tensor;
      for (auto [value, tensor] : llvm::zip(
               segment.inputs, ArrayRef(given).drop_front(arguments.size())))
        named[i][value] = tensor;
      for (auto [value, tensor] : llvm::zip(made, *outputs))
        named[i][value] = tensor;
    });
    for (size_t i = 0; i < end - begin; ++i) {
      if (!errors[i].empty())
        return llvm::createStringError("calibration sample " +
                                       Twine(begin + i + 1) + ": " + errors[i]);
      show(begin + i, named[i]);
    }
    begin = end;
  }
  return llvm::Error::success();
}

} // namespace pare::prune
