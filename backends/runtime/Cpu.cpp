#include "backends/runtime/Cpu.h"

#include "backends/runtime/Abi.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

using namespace pare::rt;

#if defined(__x86_64__)

/// Register state that the operating system saves.
static uint64_t enabledState() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

uint32_t pare::rt::cpuFeatures() {
  uint32_t a, b, c, d, a7, b7 = 0, c7 = 0, d7, a71 = 0, b71, c71, d71;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
    return 0;
  constexpr uint64_t ymm = 0x6, zmm = 0xe6;
  uint64_t state = enabledState();
  if (__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7) && a7 >= 1)
    __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);

  uint32_t result = 0;
  if ((state & ymm) != ymm)
    return result;
  if ((b7 & bit_AVX2) && (b7 & bit_BMI2) && (c & bit_FMA) && (c & bit_F16C)) {
    result |= PARE_CPU_AVX2;
    if (a71 & 1u << 4)
      result |= PARE_CPU_AVX_VNNI;
  }
  constexpr uint32_t avx512 =
      bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  if ((state & zmm) == zmm && (b7 & avx512) == avx512) {
    result |= PARE_CPU_AVX512;
    if (c7 & bit_AVX512VNNI)
      result |= PARE_CPU_AVX512_VNNI;
    if (a71 & 1u << 5)
      result |= PARE_CPU_AVX512_BF16;
  }
  return result;
}

#elif defined(__aarch64__)

uint32_t pare::rt::cpuFeatures() {
  uint32_t result = 0;
  if (getauxval(AT_HWCAP) & 1u << 20)
    result |= PARE_CPU_NEON_DOTPROD;
  if (getauxval(AT_HWCAP2) & 1u << 13)
    result |= PARE_CPU_NEON_I8MM;
  return result;
}

#else

uint32_t pare::rt::cpuFeatures() { return 0; }

#endif

const char *pare::rt::missingFeature(uint32_t needed, uint32_t present) {
  static const struct {
    uint32_t bit;
    const char *name;
  } names[] = {
      {PARE_CPU_AVX2, "AVX2 with FMA, F16C and BMI2 (x86-64-v3)"},
      {PARE_CPU_AVX512, "AVX-512 F, BW, CD, DQ and VL (x86-64-v4)"},
      {PARE_CPU_AVX512_VNNI, "avx512vnni"},
      {PARE_CPU_AVX512_BF16, "avx512bf16"},
      {PARE_CPU_AVX_VNNI, "avxvnni"},
      {PARE_CPU_NEON_DOTPROD, "dotprod"},
      {PARE_CPU_NEON_I8MM, "i8mm"},
  };
  uint32_t missing = needed & ~present;
  for (auto &entry : names)
    if (missing & entry.bit)
      return entry.name;
  return missing ? "an unknown feature" : nullptr;
}
