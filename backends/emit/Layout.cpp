//===- Layout.cpp - A program's slots, buffers and references
//--------------===//
#include "backends/emit/Layout.h"
#include "backends/cpu/Select.h"
#include "passes/lower/MemoryPlan.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace pare::emit {

unsigned Layout::slot(nn::Dim expression) {
  expression = nn::simplify(expression);
  auto [it, inserted] = slotOf_.try_emplace(expression, slots.size());
  if (inserted)
    slots.push_back({Slot::Expression, expression, {}});
  return it->second;
}

/// Bytes of a buffer. Rows of integer codes are read four at a time by dot
/// instructions, so their last axis is rounded up.
static nn::Dim bufferBytes(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  nn::Shape shape = nn::getShape(type);
  if (!shape.empty() && (type.getElementType().isInteger(8) ||
                         type.getElementType().isInteger(16)))
    shape.back() = shape.back().ceilDiv(4) * 4;
  return nn::simplify(nn::product(shape, type.getContext()) *
                      int64_t(nn::getElementBytes(type.getElementType())));
}

namespace {
/// The life of one tensor, from the call that makes it to its last reader.
struct Life {
  unsigned first, last;
  int64_t output = -1; ///< the model output that it is
};

class Planner {
public:
  Planner(cpu::Program &program, func::FuncOp entry,
          ArrayRef<uint64_t> weightOffsets, Layout &layout)
      : program(program), entry(entry), weightOffsets(weightOffsets),
        layout(layout) {}

  llvm::Error run();

private:
  void findLives();
  void shareInPlace();
  void placeBuffers();
  bool isTemporary(Value value) const {
    return value.getParentBlock() == program.temporaries.get();
  }
  PareRef refer(const cpu::Operand &operand);
  void probe(Value value, unsigned step);

  cpu::Program &program;
  func::FuncOp entry;
  ArrayRef<uint64_t> weightOffsets;
  Layout &layout;
  llvm::MapVector<Value, Life> lives;
  DenseMap<Value, Value>
      sharedWith; ///< a value that took over another's buffer
  DenseMap<Value, unsigned> offsetSlot;
  DenseMap<Value, unsigned> probes; ///< indices of layout.values
};
} // namespace

void Planner::findLives() {
  for (auto [step, call] : llvm::enumerate(program.calls)) {
    for (cpu::Operand &output : call.outputs)
      lives.try_emplace(output.value, Life{unsigned(step), unsigned(step)});
    for (cpu::Operand &input : call.inputs)
      if (auto *it = lives.find(input.value); input.value && it != lives.end())
        it->second.last = step;
  }
  Operation *ret = entry.getBody().front().getTerminator();
  for (auto [index, value] : llvm::enumerate(ret->getOperands()))
    if (auto *it = lives.find(cpu::getBuffer(value)); it != lives.end())
      it->second.output = index;
}

void Planner::shareInPlace() {
  for (auto [step, call] : llvm::enumerate(program.calls)) {
    for (auto [out, in] : call.inPlace) {
      Value from = call.inputs[in].value, to = call.outputs[out].value;
      auto *source = lives.find(from);
      auto *target = lives.find(to);
      if (!from || source == lives.end() || target == lives.end() ||
          source->second.last != step || source->second.output >= 0 ||
          target->second.output >= 0 || sharedWith.count(to) ||
          call.inputs[in].byteOffset)
        continue;
      // Another input of this call that reads the same buffer at other
      // positions would see the result.
      unsigned readers = llvm::count_if(
          call.inputs, [&](cpu::Operand &o) { return o.value == from; });
      if (readers != 1 || bufferBytes(from) != bufferBytes(to))
        continue;
      Value root = from;
      while (Value next = sharedWith.lookup(root))
        root = next;
      sharedWith[to] = root;
      lives.find(root)->second.last =
          std::max(lives.find(root)->second.last, target->second.last);
      // The source itself is dead from here on; its buffer lives on as the
      // target.
    }
  }
}

void Planner::placeBuffers() {
  SmallVector<lower::Buffer> buffers;
  SmallVector<Value> owners;
  for (auto &[value, life] : lives) {
    if (life.output >= 0 || sharedWith.count(value))
      continue;
    buffers.push_back({bufferBytes(value), life.first, life.last});
    owners.push_back(value);
  }
  SmallVector<int64_t> maxima;
  if (auto bounds = entry->getAttrOfType<DenseI64ArrayAttr>(nn::kDimMaxAttr))
    maxima.assign(bounds.asArrayRef().begin(), bounds.asArrayRef().end());
  lower::MemoryPlan plan = lower::planMemory(buffers, maxima);

  MLIRContext *context = entry.getContext();
  if (plan.isStatic) {
    for (auto [index, owner] : llvm::enumerate(owners))
      offsetSlot[owner] =
          layout.slot(nn::constant(plan.offsets[index], context));
    layout.arenaSlot = layout.slot(nn::constant(plan.arenaBytes, context));
    return;
  }
  // Regions lie one behind the other: offset of the next = offset + size.
  SmallVector<unsigned> regionSlot;
  unsigned offset = layout.slot(nn::constant(0, context));
  for (lower::Region &region : plan.regions) {
    regionSlot.push_back(offset);
    std::vector<unsigned> sizes;
    for (nn::Dim size : region.sizes)
      sizes.push_back(layout.slot(size.ceilDiv(lower::MemoryPlan::alignment) *
                                  lower::MemoryPlan::alignment));
    unsigned size = sizes.front();
    if (sizes.size() > 1) {
      size = layout.slots.size();
      layout.slots.push_back({Slot::Max, {}, std::move(sizes)});
    }
    layout.slots.push_back({Slot::Sum, {}, {offset, size}});
    offset = layout.slots.size() - 1;
  }
  for (auto [index, owner] : llvm::enumerate(owners))
    offsetSlot[owner] = regionSlot[plan.regionOf[index]];
  layout.arenaSlot = offset;
}

PareRef Planner::refer(const cpu::Operand &operand) {
  PareRef ref{};
  if (operand.byteOffset)
    ref.offset_slot = layout.slot(operand.byteOffset) + 1;
  if (operand.packed >= 0) {
    ref.space = PARE_SPACE_WEIGHTS;
    ref.index = weightOffsets[operand.packed];
    return ref;
  }
  if (operand.isCaches) {
    ref.space = PARE_SPACE_CACHES;
    return ref;
  }
  Value value = operand.value;
  auto arg = dyn_cast<BlockArgument>(value);
  if (arg && !isTemporary(value)) {
    ref.space = PARE_SPACE_INPUT;
    ref.index = arg.getArgNumber();
    return ref;
  }
  auto *life = lives.find(value);
  assert(life != lives.end() && "a value that no call makes");
  if (life->second.output >= 0) {
    ref.space = PARE_SPACE_OUTPUT;
    ref.index = life->second.output;
    return ref;
  }
  while (Value root = sharedWith.lookup(value))
    value = root;
  ref.space = PARE_SPACE_ARENA;
  ref.index = offsetSlot.lookup(value);
  return ref;
}

/// Lists a named value that `step` writes, whole or, as in a concatenation, a
/// part of: it is complete after the last step that does.
void Planner::probe(Value value, unsigned step) {
  if (isTemporary(value) || nn::getValueName(value).empty())
    return;
  auto [it, inserted] = probes.try_emplace(value, layout.values.size());
  if (inserted)
    layout.values.push_back({value, step, refer({value, -1, false, {}})});
  layout.values[it->second].step = step;
}

llvm::Error Planner::run() {
  findLives();
  shareInPlace();
  placeBuffers();

  MLIRContext *context = entry.getContext();
  std::vector<unsigned> scratch;
  for (auto [index, call] : llvm::enumerate(program.calls)) {
    StepLayout step;
    for (const cpu::Operand &operand : call.inputs)
      step.ptrs.push_back(refer(operand));
    for (const cpu::Operand &operand : call.outputs) {
      step.ptrs.push_back(refer(operand));
      probe(operand.value, index);
    }
    for (nn::Dim dim : call.dims)
      step.dims.push_back(layout.slot(dim));
    nn::Dim zero = nn::constant(0, context);
    step.grid = layout.slot(call.grid);
    step.flops = layout.slot(call.flops ? call.flops : zero);
    step.bytes = layout.slot(call.bytes ? call.bytes : zero);
    if (call.scratchBytes)
      scratch.push_back(layout.slot(call.scratchBytes));
    layout.steps.push_back(std::move(step));
  }
  llvm::sort(scratch);
  scratch.erase(llvm::unique(scratch), scratch.end());
  if (scratch.empty())
    scratch.push_back(layout.slot(nn::constant(0, context)));
  layout.scratchSlot = layout.slots.size();
  layout.slots.push_back({Slot::Max, {}, std::move(scratch)});
  return llvm::Error::success();
}

llvm::Expected<Layout> layOut(cpu::Program &program, ModuleOp module,
                              ArrayRef<uint64_t> weightOffsets) {
  Layout layout;
  Planner planner(program, nn::getEntry(module), weightOffsets, layout);
  if (llvm::Error error = planner.run())
    return std::move(error);
  return layout;
}

} // namespace pare::emit
