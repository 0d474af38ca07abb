//===- RunProgram.h - Runs selected kernels in this process -----*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_SELECT_RUNPROGRAM_H
#define PARE_TESTS_UNIT_SELECT_RUNPROGRAM_H

#include "backends/cpu/Select.h"
#include "passes/reference/HostTensor.h"
#include "tests/unit/kernels/Jit.h"

namespace pare::test {

/// Runs the entry of `module` on `inputs` with the kernels that are selected
/// for `isa`, which must be this machine's; symbols have the given values.
/// `program`, if not null, gets what was selected.
inline std::vector<HostTensor>
runSelected(mlir::ModuleOp module, const WeightStore &weights,
            const cpu::Isa &isa, llvm::ArrayRef<HostTensor> inputs,
            llvm::ArrayRef<int64_t> symbols, cpu::Program *selected = nullptr) {
  cpu::Program program = orFail(cpu::selectKernels(module, weights, isa));
  Kernels kernels(isa, *program.kernels);
  kernels.compile();

  llvm::DenseMap<mlir::Value, HostTensor> values;
  auto entry = nn::getEntry(module);
  for (auto [arg, input] : llvm::zip(entry.getArguments(), inputs))
    values[arg] = input;
  auto getTensor = [&](mlir::Value value) -> HostTensor & {
    HostTensor &tensor = values[value];
    auto type = mlir::cast<mlir::RankedTensorType>(value.getType());
    if (!tensor)
      tensor = HostTensor(mlir::RankedTensorType::get(
          nn::evaluate(nn::getShape(type), symbols), type.getElementType()));
    return tensor;
  };
  std::vector<std::vector<uint8_t>> packed;
  for (const cpu::PackedWeight &weight : program.packed) {
    packed.emplace_back(weight.bytes);
    weight.write(packed.back());
  }
  for (const cpu::KernelCall &call : program.calls) {
    std::vector<const void *> ptrs;
    for (const auto *operands : {&call.inputs, &call.outputs})
      for (const cpu::Operand &operand : *operands)
        ptrs.push_back(operand.packed >= 0
                           ? packed[operand.packed].data()
                           : getTensor(operand.value).bytes().data());
    std::vector<int64_t> dims;
    for (nn::Dim dim : call.dims)
      dims.push_back(nn::evaluate(dim, symbols));
    std::vector<char> scratch(
        call.scratchBytes ? nn::evaluate(call.scratchBytes, symbols) : 0);
    kernels.call(call.kernel, ptrs, dims, nn::evaluate(call.grid, symbols),
                 scratch.data());
  }
  std::vector<HostTensor> results;
  for (mlir::Value value : entry.front().getTerminator()->getOperands())
    results.push_back(getTensor(cpu::getBuffer(value)));
  if (selected)
    *selected = std::move(program);
  return results;
}

} // namespace pare::test

#endif
