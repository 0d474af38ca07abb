//===- CpuTarget.cpp - A CPU as passes see it -----------------------------===//
#include "backends/cpu/CpuTarget.h"
#include "backends/cpu/Select.h"
#include "backends/cpu/kernels/BlockCost.h"
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

constexpr double cyclesPerMicrosecond = 3000, bytesPerMicrosecond = 20000;

/// Rows are quantized before a product of codes: two passes over them.
static double estimateQuantization(const Isa &isa, int64_t m, int64_t k) {
  return double(m) * k / (isa.f32Lanes / 2.0 * cyclesPerMicrosecond);
}

/// Microseconds of a product by blocks, with codes of activations.
static double estimateBlocks(const Isa &isa, const BlockFormat &format,
                             int64_t m, int64_t k, int64_t n) {
  // Zen 3, 128 rows of 384 by 1536 outputs: 2.7 with int8_g32, 2.9 sparse.
  constexpr double instructionsPerCycle = 3;
  double compute = countInstructions(format, isa, m, n, k) /
                   (instructionsPerCycle * cyclesPerMicrosecond);
  double memory = double(n) * double(k) * format.getBitsPerWeight() / 8 /
                  bytesPerMicrosecond;
  return std::max(compute, memory) + estimateQuantization(isa, m, k);
}

std::optional<KernelEstimate>
CpuTarget::estimateMatMul(int64_t m, int64_t k, int64_t n,
                          StringRef format) const {
  const bool isPlain = format == "f32" || format == "int8";
  const BlockFormat *blocks = isPlain ? nullptr : findBlockFormat(format);
  if (!isPlain &&
      (!blocks || whyNoIntegerBlockKernel(*blocks) || k % kBlockStep != 0))
    return std::nullopt;
  constexpr char provider[] = "generated";
  if (auto timing = timings_.estimate("matmul", format, provider, {m, k, n}))
    return KernelEstimate{provider, timing->nanoseconds * 1e-3,
                          timing->measured};
  if (blocks)
    return KernelEstimate{provider, estimateBlocks(isa_, *blocks, m, k, n),
                          /*measured=*/false};
  double bytesPerWeight = format == "f32" ? 4 : 1;
  double compute = double(m) * k * n /
                   (0.8 * multiplyAddsPerCycle(isa_, format)) /
                   cyclesPerMicrosecond;
  double memory = double(k) * n * bytesPerWeight / bytesPerMicrosecond;
  double quantize = format == "int8" ? estimateQuantization(isa_, m, k) : 0;
  return KernelEstimate{provider, std::max(compute, memory) + quantize,
                        /*measured=*/false};
}

} // namespace pare::cpu
