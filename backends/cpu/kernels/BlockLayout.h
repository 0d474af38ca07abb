//===- BlockLayout.h - Weights in blocks, packed for kernels ----*- C++ -*-===//
//
// W [N, K], quantized by groups along K, lies in panels of 16 rows (kPanel),
// the rows beyond N zero. A panel is a sequence of runs: as many k as one
// scale covers, 32 at least. A run holds, for all rows of the panel,
//
//   scales        [scales of a run][16]   as the file has them
//   minima        [scales of a run][16]   likewise
//   sub-scales    [groups of a run] bit planes of [16]
//   sub-minima    likewise
//   zero points   likewise
//   codes         [steps of 32 k] bit planes of [8 quads][16][4]; of sparse
//                 formats bit planes of [4 words][16][4], then the places of
//                 these codes, a plane of 2 bits, likewise
//
// A quad is 4 consecutive k: a lane of 32 bits holds those of one row, and a
// vector the same of several rows, so that dot products need no horizontal
// sums. A word holds, instead, the 2 + 2 codes of two quads that a 2:4 sparse
// format stores. Numbers of b bits are cut into planes of 4, 2 or 1 bits (8:
// one plane), the lowest bits first. In a plane of w bits, 8 / w numbers share
// a byte, the first in its lowest bits: consecutive quads of codes; of the
// numbers of groups, those of rows 2 w apart. Packed weights take exactly
// BlockFormat::getBitsPerWeight(). The same bytes serve every target.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_BLOCKLAYOUT_H
#define PARE_BACKENDS_CPU_KERNELS_BLOCKLAYOUT_H

#include "backends/cpu/kernels/MicroKernel.h"
#include "frontend/ir/Codes.h"
#include "frontend/weights/BlockFormat.h"
#include <optional>
#include <string>

namespace pare::cpu {

/// k values that kernels take at a time; activations share a scale over them.
constexpr int64_t kBlockStep = nn::kBlockCodeGroup;
/// Consecutive k in a lane.
constexpr int64_t kQuad = 4;
constexpr int64_t kQuadsPerStep = kBlockStep / kQuad;
/// Words of a step of sparse codes.
constexpr int64_t kWordsPerStep = kQuadsPerStep / 2;

/// Bits [shift, shift + bits) of a number.
struct BitPlane {
  unsigned bits, shift;
  /// Numbers that share a byte.
  unsigned perByte() const { return 8 / bits; }
  unsigned mask() const { return (1u << bits) - 1; }
};
llvm::SmallVector<BitPlane, 3> getBitPlanes(unsigned bits);

/// A codebook that is a sign, exponent and mantissa of few bits, as floats have
/// them, of all codes: code 0 is zero, and a magnitude beyond `largest` counts
/// as that.
struct SmallFloat {
  unsigned mantissaBits, largest;
  float least; ///< the value of code 1, a power of two
};
/// The small float of 8 bits that `format`'s codebook is; nullopt: none.
std::optional<SmallFloat> findSmallFloat(const BlockFormat &format);

/// Whether `format` has a codebook of at most 16 integers of 8 bits.
bool hasByteCodebook(const BlockFormat &format);

/// Why no kernel takes weights of `format` with f32 activations, and none looks
/// up their rows; nullopt: they do.
std::optional<std::string> whyNoBlockKernel(const BlockFormat &format);
/// The same of products with activations in codes, which take less formats.
std::optional<std::string> whyNoIntegerBlockKernel(const BlockFormat &format);

/// Where the parts of a run are. Offsets and sizes are in bytes.
struct BlockLayout {
  explicit BlockLayout(const BlockFormat &format);

  const BlockFormat &format;
  int64_t run; ///< k of a run
  int64_t scalesPerRun, groupsPerRun;
  /// Groups of a step, or 1 where a group is longer.
  int64_t groupsPerStep;
  /// In a run; scales are at 0.
  int64_t minima, subScales, subMinima, zeros, codes;
  /// Of sparse codes, in a step.
  int64_t places;
  int64_t stepBytes, runBytes;

  /// Bytes of a number of each row of a panel.
  static int64_t numberBytes(unsigned bits) { return kPanel * bits / 8; }
  int64_t stepsPerRun() const { return run / kBlockStep; }
  int64_t panelBytes(int64_t k) const { return k / run * runBytes; }
  int64_t packedBytes(int64_t n, int64_t k) const {
    return (n + kPanel - 1) / kPanel * panelBytes(k);
  }
};

/// Packs W [n, k], given as rows of whole blocks, into zeroed memory of
/// packedBytes(n, k). Takes blocks apart panel by panel.
void packBlocks(const BlockStorage &storage, llvm::ArrayRef<uint8_t> blocks,
                int64_t n, int64_t k, llvm::MutableArrayRef<uint8_t> out);

} // namespace pare::cpu

#endif
