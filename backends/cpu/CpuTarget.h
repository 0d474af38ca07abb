//===- CpuTarget.h - A CPU as passes see it ---------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_CPUTARGET_H
#define PARE_BACKENDS_CPU_CPUTARGET_H

#include "backends/cpu/Isa.h"
#include "backends/cpu/timing/TimingTable.h"
#include "passes/Target.h"

namespace pare::cpu {

class CpuTarget : public Target {
public:
  explicit CpuTarget(Isa isa, TimingTable timings = {})
      : isa_(std::move(isa)), timings_(std::move(timings)) {}

  const Isa &isa() const { return isa_; }
  const TimingTable &timings() const { return timings_; }

  llvm::StringRef name() const override { return isa_.name; }
  mlir::Type codeType(mlir::MLIRContext *context) const override;
  std::optional<std::string> whyUnsupported(mlir::Operation *op) const override;
  /// From the timing table; where it has no row near, from the cost model.
  std::optional<KernelEstimate>
  estimateMatMul(int64_t m, int64_t k, int64_t n,
                 llvm::StringRef format) const override;

  std::optional<std::string>
  whyNoBlockProduct(const BlockFormat &format) const override;

private:
  Isa isa_;
  TimingTable timings_;
};

} // namespace pare::cpu

#endif
