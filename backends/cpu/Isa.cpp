//===- Isa.cpp - Target names ---------------------------------------------===//
#include "backends/cpu/Isa.h"
#include "backends/runtime/Abi.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;
using namespace pare::cpu;

CodeStorage Isa::codeStorage() const {
  switch (dot) {
  case DotInstr::AvxMaddwd:
    return CodeStorage::S16;
  case DotInstr::AvxVnni:
  case DotInstr::Avx512Vnni:
    return CodeStorage::U8Plus128;
  case DotInstr::Plain:
  case DotInstr::NeonSdot:
    break;
  }
  return CodeStorage::S8;
}

namespace {

constexpr char kX86Triple[] = "x86_64-unknown-linux-gnu";
constexpr char kArmTriple[] = "aarch64-unknown-linux-gnu";

/// A base target: an architecture level without optional features.
struct Level {
  const char *name, *triple, *cpu, *features;
  uint32_t cpuBits;
  unsigned f32Lanes, vectorRegs;
  bool hasFma;
  DotInstr dot;
};

constexpr Level kLevels[] = {
    {"x86-64", kX86Triple, "x86-64", "", 0, 4, 16, false, DotInstr::Plain},
    {"x86-64-v2", kX86Triple, "x86-64-v2", "", 0, 4, 16, false,
     DotInstr::Plain},
    {"x86-64-v3", kX86Triple, "x86-64-v3", "", PARE_CPU_AVX2, 8, 16, true,
     DotInstr::AvxMaddwd},
    {"x86-64-v4", kX86Triple, "x86-64-v4", "", PARE_CPU_AVX2 | PARE_CPU_AVX512,
     16, 32, true, DotInstr::AvxMaddwd},
    {"aarch64", kArmTriple, "generic", "+neon", 0, 4, 32, true,
     DotInstr::Plain},
};

/// An optional feature, and the levels that may have it.
struct Feature {
  const char *name, *llvmName;
  uint32_t cpuBits;
  const char *levels; ///< comma-separated
};

constexpr Feature kFeatures[] = {
    {"avxvnni", "+avxvnni", PARE_CPU_AVX_VNNI, "x86-64-v3,x86-64-v4"},
    {"avx512vnni", "+avx512vnni", PARE_CPU_AVX512_VNNI, "x86-64-v4"},
    {"avx512bf16", "+avx512bf16", PARE_CPU_AVX512_BF16, "x86-64-v4"},
    {"dotprod", "+dotprod", PARE_CPU_NEON_DOTPROD, "aarch64"},
    {"i8mm", "+i8mm", PARE_CPU_NEON_I8MM, "aarch64"},
};

bool allows(const Feature &feature, StringRef level) {
  SmallVector<StringRef, 4> levels;
  StringRef(feature.levels).split(levels, ',');
  return is_contained(levels, level);
}

Error unknown(StringRef what, StringRef in) {
  std::string levels, features;
  for (const Level &l : kLevels)
    levels += (levels.empty() ? "" : ", ") + std::string(l.name);
  for (const Feature &f : kFeatures)
    features += (features.empty() ? "" : ", ") + std::string(f.name);
  return createStringError("target '" + in + "': unknown or unsupported '" +
                           what + "'; targets: host, " + levels +
                           "; features after '+': " + features);
}

/// The name of this machine: the highest level and every known feature it has.
std::string hostName() {
#if defined(__aarch64__)
  std::string name = "aarch64";
  StringRef level = "aarch64";
#else
  std::string name = "x86-64";
#endif
  StringMap<bool> has = sys::getHostCPUFeatures();
  auto all = [&](std::initializer_list<StringRef> features) {
    return llvm::all_of(features, [&](StringRef f) { return has.lookup(f); });
  };
#if !defined(__aarch64__)
  if (all({"cx16", "popcnt", "sse4.2", "ssse3"}))
    name = "x86-64-v2";
  if (all({"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"}))
    name = "x86-64-v3";
  if (name == "x86-64-v3" &&
      all({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}))
    name = "x86-64-v4";
  std::string level = name;
#endif
  for (const Feature &f : kFeatures)
    if (allows(f, level) && has.lookup(StringRef(f.llvmName).drop_front()))
      name += "+" + std::string(f.name);
  return name;
}

} // namespace

Expected<Isa> Isa::parse(StringRef name) {
  std::string resolved = name == "host" ? hostName() : name.str();
  SmallVector<StringRef, 4> parts;
  StringRef(resolved).split(parts, '+');
  const Level *level =
      find_if(kLevels, [&](const Level &l) { return parts[0] == l.name; });
  if (level == std::end(kLevels))
    return unknown(parts[0], name);

  Isa isa;
  isa.triple = level->triple;
  isa.name = resolved;
  isa.cpu = level->cpu;
  isa.features = level->features;
  isa.cpuBits = level->cpuBits;
  isa.f32Lanes = level->f32Lanes;
  isa.vectorRegs = level->vectorRegs;
  isa.hasFma = level->hasFma;
  isa.dot = level->dot;
  for (StringRef part : ArrayRef(parts).drop_front()) {
    const Feature *feature =
        find_if(kFeatures, [&](const Feature &f) { return part == f.name; });
    if (feature == std::end(kFeatures) || !allows(*feature, level->name))
      return unknown(part, name);
    if (!isa.features.empty())
      isa.features += ",";
    isa.features += feature->llvmName;
    isa.cpuBits |= feature->cpuBits;
    if (part == "avx512vnni")
      isa.dot = DotInstr::Avx512Vnni;
    else if (part == "avxvnni" && isa.dot == DotInstr::AvxMaddwd &&
             isa.f32Lanes == 8)
      isa.dot = DotInstr::AvxVnni;
    else if (part == "dotprod")
      isa.dot = DotInstr::NeonSdot;
  }
  return isa;
}
