//===- Isa.h - What a CPU offers to kernel generators -----------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_ISA_H
#define PARE_BACKENDS_CPU_ISA_H

#include "frontend/ir/Codes.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>

namespace pare::cpu {

/// The instruction that multiplies int8 pairs and accumulates in int32; the
/// parameter of the one integer kernel generator.
enum class DotInstr {
  Plain,      ///< widening multiplies, any CPU
  AvxMaddwd,  ///< AVX2 or AVX-512BW vpmaddwd on 16-bit codes (exact)
  AvxVnni,    ///< AVX-VNNI vpdpbusd, 256 bit
  Avx512Vnni, ///< AVX-512 vpdpbusd, 512 bit
  NeonSdot,   ///< Armv8.2 sdot
};

/// How activation codes are stored for a dot instruction.
enum class CodeStorage {
  S8,        ///< the code itself
  U8Plus128, ///< code + 128, for instructions with one unsigned side
  S16,       ///< the code in 16 bits
};

/// The largest magnitude of a code.
constexpr int codeLimit(CodeStorage storage) {
  return storage == CodeStorage::S16 ? nn::kWordCodeLimit : nn::kByteCodeLimit;
}

/// What is added to a code where it is stored.
constexpr int codeOffset(CodeStorage storage) {
  return storage == CodeStorage::U8Plus128 ? nn::kUnsignedCodeOffset : 0;
}

/// Bytes of one stored code: 1 or 2.
constexpr unsigned codeBytes(CodeStorage storage) {
  return storage == CodeStorage::S16 ? 2 : 1;
}

/// A compilation target as kernel generators see it.
struct Isa {
  std::string triple;    ///< "x86_64-unknown-linux-gnu",
                         ///< "aarch64-unknown-linux-gnu"
  std::string name;      ///< as the user spells it: "x86-64-v4+avx512vnni";
                         ///< `host` is resolved to such a name
  std::string cpu;       ///< LLVM CPU name: "x86-64-v3"
  std::string features;  ///< LLVM feature string: "+avx512vnni"
  uint32_t cpuBits = 0;  ///< PARE_CPU_* that the artifact must check for
  unsigned f32Lanes = 4; ///< per native vector register
  unsigned vectorRegs = 16;
  bool hasFma = false; ///< fused multiply-add is one instruction
  DotInstr dot = DotInstr::Plain;

  CodeStorage codeStorage() const;
  bool isX86() const { return llvm::StringRef(triple).starts_with("x86_64"); }

  /// Parses `host`, `x86-64-v3`, `x86-64-v4+avx512vnni`, `aarch64`,
  /// `aarch64+dotprod`, … Fails with the list of known targets and features.
  static llvm::Expected<Isa> parse(llvm::StringRef name);
};

} // namespace pare::cpu

#endif
