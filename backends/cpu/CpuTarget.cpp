//===- CpuTarget.cpp - A CPU as passes see it -----------------------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/cpu/Select.h"
#include "backends/cpu/kernels/BlockLayout.h"

using namespace mlir;

namespace pare::cpu {

Type CpuTarget::codeType(MLIRContext *context) const {
  switch (isa_.codeStorage()) {
  case CodeStorage::S8:
    return IntegerType::get(context, 8);
  case CodeStorage::U8Plus128:
    return IntegerType::get(context, 8, IntegerType::Unsigned);
  case CodeStorage::S16:
    return IntegerType::get(context, 16);
  }
  llvm_unreachable("unknown code storage");
}

std::optional<std::string> CpuTarget::whyUnsupported(Operation *op) const {
  return whyNoKernel(op, isa_);
}

std::optional<std::string>
CpuTarget::whyNoBlockProduct(const BlockFormat &format) const {
  return whyNoIntegerBlockKernel(format);
}

/// Multiply-adds per cycle of one core, from the width of its registers and the
/// two multipliers that current cores have.
static double multiplyAddsPerCycle(const Isa &isa, StringRef format) {
  double f32 = 2.0 * isa.f32Lanes;
  if (format == "f32")
    return f32;
  switch (isa.dot) {
  case DotInstr::Plain:
    return f32 / 2;
  case DotInstr::AvxMaddwd:
    return f32 * 2;
  case DotInstr::AvxVnni:
  case DotInstr::Avx512Vnni:
  case DotInstr::NeonSdot:
    return f32 * 4;
  }
  llvm_unreachable("unknown dot instruction");
}

std::optional<KernelEstimate>
CpuTarget::estimateMatMul(int64_t m, int64_t k, int64_t n,
                          StringRef format) const {
  if (format != "f32" && format != "int8")
    return std::nullopt;
  constexpr char provider[] = "generated";
  if (auto timing = timings_.estimate("matmul", format, provider, {m, k, n}))
    return KernelEstimate{provider, timing->nanoseconds * 1e-3,
                          timing->measured};
  constexpr double cyclesPerMicrosecond = 3000, bytesPerMicrosecond = 20000;
  double bytesPerWeight = format == "f32" ? 4 : 1;
  double compute = double(m) * k * n /
                   (0.8 * multiplyAddsPerCycle(isa_, format)) /
                   cyclesPerMicrosecond;
  double memory = double(k) * n * bytesPerWeight / bytesPerMicrosecond;
  // Rows are quantized before an int8 product: two passes over them.
  double quantize =
      format == "int8"
          ? double(m) * k / (isa_.f32Lanes / 2.0 * cyclesPerMicrosecond)
          : 0;
  return KernelEstimate{provider, std::max(compute, memory) + quantize,
                        /*measured=*/false};
}

} // namespace pare::cpu
