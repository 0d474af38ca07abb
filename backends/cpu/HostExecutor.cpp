//===- HostExecutor.cpp - Graphs run by kernels in this process -----------===//
#include "backends/cpu/HostExecutor.h"
#include "backends/cpu/CacheLayout.h"
#include "backends/cpu/Codegen.h"
#include "backends/cpu/Select.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "passes/reference/Interpreter.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Parallel.h"
#include <cstdlib>
#include <map>
#include <mutex>

using namespace mlir;

namespace pare::cpu {

namespace {

/// Aligned memory, grown on demand and kept.
class Memory {
public:
  Memory() = default;
  Memory(Memory &&other) noexcept { *this = std::move(other); }
  Memory &operator=(Memory &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Memory() { std::free(data_); }

  /// At least `size` bytes, with any contents.
  void *reserve(uint64_t size) {
    if (size > size_) {
      std::free(data_);
      size_ = llvm::alignTo(size, PARE_ALIGN);
      data_ = std::aligned_alloc(PARE_ALIGN, size_);
      if (!data_)
        llvm::report_bad_alloc_error("no memory to run a graph");
    }
    return data_;
  }
  uint64_t size() const { return size_; }
  llvm::MutableArrayRef<uint8_t> bytes() {
    return {static_cast<uint8_t *>(data_), size_};
  }

private:
  void *data_ = nullptr;
  uint64_t size_ = 0;
};

using Kernels = llvm::StringMap<PareKernel>;

/// Memory of a program's values while it runs. Buffers of dead values are used
/// again.
class Buffers {
public:
  Memory take(uint64_t bytes) {
    std::lock_guard lock(mutex);
    auto it = free.lower_bound(bytes);
    Memory memory;
    // A much larger one may be wanted later.
    if (it != free.end() && it->first <= 2 * bytes + 4096) {
      memory = std::move(it->second);
      free.erase(it);
    }
    memory.reserve(bytes);
    return memory;
  }
  void give(Memory memory) {
    std::lock_guard lock(mutex);
    uint64_t size = memory.size();
    free.emplace(size, std::move(memory));
  }

private:
  std::mutex mutex;
  std::multimap<uint64_t, Memory> free;
};

class Compiled : public Executable {
public:
  Compiled(OwningOpRef<ModuleOp> graph, Program program, const Kernels &kernels)
      : graph(std::move(graph)), program(std::move(program)),
        caches(*this->graph) {
    for (const PackedWeight &weight : this->program.packed) {
      Memory memory;
      memory.reserve(std::max<uint64_t>(weight.bytes, 1));
      llvm::fill(memory.bytes(), 0);
      weight.write(memory.bytes().take_front(weight.bytes));
      packed.push_back(std::move(memory));
    }
    for (auto [step, call] : llvm::enumerate(this->program.calls)) {
      code.push_back(kernels.lookup(call.kernel));
      for (const auto *operands : {&call.inputs, &call.outputs})
        for (const Operand &operand : *operands)
          if (operand.value)
            lastUse[operand.value] = step;
    }
    for (Value value : results())
      lastUse.erase(getBuffer(value));
  }

  llvm::Expected<std::vector<HostTensor>>
  run(ArrayRef<HostTensor> inputs) override;

private:
  func::FuncOp entry() { return nn::getEntry(*graph); }
  OperandRange results() {
    return entry().front().getTerminator()->getOperands();
  }
  void call(const KernelCall &call, PareKernel kernel,
            ArrayRef<int64_t> symbols, ArrayRef<void *> ptrs);

  OwningOpRef<ModuleOp> graph;
  Program program;
  CacheLayout caches;
  std::vector<Memory> packed;
  std::vector<PareKernel> code;
  DenseMap<Value, size_t> lastUse; ///< the call after which a value is dead
  Buffers buffers;
};

/// How many sequences the rows of a language model's run are of.
int64_t countSequences(func::FuncOp entry, ArrayRef<HostTensor> inputs) {
  int64_t count = 1;
  for (auto [arg, input] : llvm::zip(entry.getArguments(), inputs))
    if (nn::getValueName(arg) == "sequences" && input.element().isInteger(32))
      for (int32_t sequence : input.values<int32_t>())
        count = std::max<int64_t>(count, sequence + 1);
  return count;
}

void Compiled::call(const KernelCall &call, PareKernel kernel,
                    ArrayRef<int64_t> symbols, ArrayRef<void *> ptrs) {
  SmallVector<int64_t> dims;
  for (nn::Dim dim : call.dims)
    dims.push_back(nn::evaluate(dim, symbols));
  int64_t scratchBytes =
      call.scratchBytes ? nn::evaluate(call.scratchBytes, symbols) : 0;
  llvm::parallelFor(0, nn::evaluate(call.grid, symbols), [&](size_t task) {
    static thread_local Memory scratch;
    kernel(ptrs.data(), dims.data(), task, scratch.reserve(scratchBytes));
  });
}

llvm::Expected<std::vector<HostTensor>>
Compiled::run(ArrayRef<HostTensor> inputs) {
  llvm::Expected<SmallVector<int64_t>> symbols = bindSymbols(entry(), inputs);
  if (!symbols)
    return symbols.takeError();
  DenseMap<Value, void *> addresses;
  DenseMap<Value, Memory> own;
  // Kernels do not write to their inputs.
  for (auto [arg, input] : llvm::zip(entry().getArguments(), inputs))
    addresses[arg] = const_cast<uint8_t *>(input.bytes().data());
  std::vector<HostTensor> outputs;
  for (Value value : results()) {
    auto type = cast<RankedTensorType>(value.getType());
    outputs.emplace_back(RankedTensorType::get(
        nn::evaluate(nn::getShape(type), *symbols), type.getElementType()));
    addresses[getBuffer(value)] = outputs.back().bytes().data();
  }
  std::vector<Memory> cacheMemory(
      caches.bytes() ? countSequences(entry(), inputs) : 0);
  std::vector<void *> cacheBases;
  for (Memory &memory : cacheMemory)
    cacheBases.push_back(memory.reserve(caches.bytes()));

  auto locate = [&](const Operand &operand) -> void * {
    if (operand.isCaches)
      return cacheBases.data();
    if (operand.packed >= 0)
      return packed[operand.packed].bytes().data();
    void *&base = addresses[operand.value];
    if (!base) {
      auto type = cast<RankedTensorType>(operand.value.getType());
      int64_t bytes = nn::getElementBytes(type.getElementType());
      for (int64_t size : nn::evaluate(nn::getShape(type), *symbols))
        bytes *= size;
      Memory memory = buffers.take(std::max<int64_t>(bytes, 1));
      base = memory.bytes().data();
      own[operand.value] = std::move(memory);
    }
    int64_t offset =
        operand.byteOffset ? nn::evaluate(operand.byteOffset, *symbols) : 0;
    return static_cast<uint8_t *>(base) + offset;
  };
  for (auto [step, call] : llvm::enumerate(program.calls)) {
    SmallVector<void *> ptrs;
    for (const auto *operands : {&call.inputs, &call.outputs})
      for (const Operand &operand : *operands)
        ptrs.push_back(locate(operand));
    this->call(call, code[step], *symbols, ptrs);
    for (const auto *operands : {&call.inputs, &call.outputs})
      for (const Operand &operand : *operands)
        if (auto it = lastUse.find(operand.value);
            operand.value && it != lastUse.end() && it->second == step)
          if (auto memory = own.find(operand.value); memory != own.end()) {
            buffers.give(std::move(memory->second));
            own.erase(memory);
          }
  }
  for (auto &[value, memory] : own)
    buffers.give(std::move(memory));
  return outputs;
}

class HostExecutor : public Executor {
public:
  explicit HostExecutor(Isa isa) : isa(std::move(isa)) {}

  llvm::Expected<std::unique_ptr<Executable>>
  compile(OwningOpRef<ModuleOp> graph, const WeightStore &weights) override;

private:
  llvm::Expected<const Kernels *> compileKernels(ModuleOp module);

  Isa isa;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::map<std::string, Kernels> known; ///< by what they are compiled from
};

/// The kernels of `module`, compiled unless equal ones were.
llvm::Expected<const Kernels *> HostExecutor::compileKernels(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  auto [it, isNew] = known.try_emplace(std::move(text));
  if (!isNew)
    return &it->second;
  SmallVector<std::string> names;
  for (auto symbol : module.getOps<SymbolOpInterface>())
    if (llvm::isa<FunctionOpInterface>(symbol.getOperation()))
      names.push_back(symbol.getName().str());
  if (names.empty())
    return &it->second;
  auto object = cpu::compileKernels(module, isa);
  if (!object)
    return object.takeError();
  if (!jit) {
    auto made = llvm::orc::LLJITBuilder().create();
    if (!made)
      return made.takeError();
    jit = std::move(*made);
  }
  auto library = jit->createJITDylib("kernels" + std::to_string(known.size()));
  if (!library)
    return library.takeError();
  if (llvm::Error error = jit->addObjectFile(
          *library, llvm::MemoryBuffer::getMemBufferCopy(
                        StringRef(object->data(), object->size()), "kernels")))
    return std::move(error);
  for (const std::string &name : names) {
    auto address = jit->lookup(*library, name);
    if (!address)
      return address.takeError();
    it->second[name] = address->toPtr<PareKernel>();
  }
  return &it->second;
}

llvm::Expected<std::unique_ptr<Executable>>
HostExecutor::compile(OwningOpRef<ModuleOp> graph, const WeightStore &weights) {
  PassManager passes(graph->getContext());
  passes.addPass(createFusePass());
  if (failed(passes.run(*graph)))
    return llvm::createStringError("a part of the graph cannot be fused");
  llvm::Expected<Program> program = selectKernels(*graph, weights, isa);
  if (!program)
    return program.takeError();
  llvm::Expected<const Kernels *> kernels = compileKernels(*program->kernels);
  if (!kernels)
    return kernels.takeError();
  return std::make_unique<Compiled>(std::move(graph), std::move(*program),
                                    **kernels);
}

} // namespace

llvm::Expected<std::unique_ptr<Executor>> createHostExecutor() {
  llvm::Expected<Isa> isa = Isa::parse("host");
  if (!isa)
    return isa.takeError();
  return std::make_unique<HostExecutor>(std::move(*isa));
}

} // namespace pare::cpu
