//===- Select.h - Choosing a kernel for every op ----------------*- C++ -*-===//
//
// The selection table: one entry per (kernel family × provider). Adding a
// kernel costs one entry in a file of select/ and one line in Select.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_SELECT_H
#define PARE_BACKENDS_CPU_SELECT_H

#include "backends/cpu/Isa.h"
#include "backends/cpu/Program.h"
#include "backends/cpu/kernels/KernelBuilder.h"
#include "backends/cpu/timing/TimingTable.h"
#include "frontend/weights/WeightStore.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace pare::cpu {

/// What an entry builds a call with.
class Selector {
public:
  Selector(const Isa &isa, const WeightStore &weights, Program &program)
      : isa_(isa), weights_(weights), program_(program) {}

  const Isa &isa() const { return isa_; }
  const WeightStore &weights() const { return weights_; }

  /// A dimension as a kernel extent: a number, or a run-time dim of `call`.
  Extent extent(KernelCall &call, nn::Dim dim);

  /// The value as a call sees it: its buffer, or, for params and constants, its
  /// bytes unchanged in the weights segment. Views (reshape, slices that no
  /// kernel materializes) resolve to their base.
  Operand operand(mlir::Value value);

  /// A buffer of its own, from the first call that writes it to the last that
  /// reads it.
  mlir::Value temporary(mlir::RankedTensorType type) {
    return program_.temporaries->addArgument(
        type, mlir::UnknownLoc::get(type.getContext()));
  }

  /// Adds `packed` unless its key is there; returns it as an operand.
  Operand pack(PackedWeight packed);

  /// The name of the kernel with this signature, emitted on first use. The
  /// signature holds everything that the kernel's code depends on but the ISA.
  std::string kernel(llvm::StringRef label, const std::string &signature,
                     llvm::function_ref<void(KernelBuilder &)> emit);

  void add(KernelCall call) { program_.calls.push_back(std::move(call)); }

  /// The bytes behind a param or constant; valid as long as the
  /// weights and the program are.
  std::optional<TensorData> constantData(mlir::Value value);

private:
  const Isa &isa_;
  const WeightStore &weights_;
  Program &program_;
  llvm::StringMap<unsigned> packedByKey_;
  llvm::StringMap<std::string> kernelBySignature_;
};

/// A row of the table.
struct KernelEntry {
  llvm::StringLiteral name;
  llvm::StringLiteral provider;
  /// nullopt: this entry computes `op`. Otherwise why it does not, or "" where
  /// the op is none of its business.
  std::optional<std::string> (*whyNot)(mlir::Operation *op, const Isa &isa);
  /// Null: the row is there to say why not.
  llvm::Error (*build)(mlir::Operation *op, Selector &selector);
};

/// `--kernels`: whose kernels are used where several providers have one.
enum class Providers {
  Generated, ///< pare's own: artifacts need nothing beside them
  OneDnn,    ///< oneDNN's wherever it has one
  Auto,      ///< the faster one by the timing table; pare's own without rows
             ///< and where the other is less than 10% faster
};

struct SelectOptions {
  Providers providers = Providers::Generated;
  const TimingTable *timings = nullptr; ///< may be null
};

/// All rows; the first of a provider that takes an op builds it.
llvm::ArrayRef<KernelEntry> getKernelTable();

/// Whether an op takes no kernel because it only renames bytes: params,
/// constants, reshapes, and slices that every user reads in place.
bool isView(mlir::Operation *op);

/// The value whose buffer holds `value`: itself, seen through reshapes.
mlir::Value getBuffer(mlir::Value value);

/// Why no kernel computes `op`; nullopt: one does, or it needs none.
std::optional<std::string> whyNoKernel(mlir::Operation *op, const Isa &isa);

/// Selects kernels for the whole entry. Fails with one line that lists every op
/// without a kernel.
llvm::Expected<Program> selectKernels(mlir::ModuleOp module,
                                      const WeightStore &weights,
                                      const Isa &isa,
                                      const SelectOptions &options = {});

} // namespace pare::cpu

#endif
