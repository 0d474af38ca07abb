//===- BlockCost.cpp - What products of blocks cost -----------------------===//
#include "backends/cpu/kernels/BlockCost.h"
#include "backends/cpu/kernels/BlockDot.h"
#include "backends/cpu/kernels/PanelGemm.h"
#include "llvm/Support/MathExtras.h"

using namespace pare;
using namespace pare::cpu;

/// To scale a group's sums and add them: a conversion, a product of scales, a
/// multiply-add.
static constexpr double kPerGroup = 3;
/// To make a quad of a word: places and codes moved, compared and selected, two
/// of each; the places are taken from a byte.
static constexpr double kPerExpansion = 10;
/// The numbers of four words (BlockWeights::picks).
static constexpr double kPerPicks = 7;

/// To decode a vector of codes to bytes.
static double getDecoding(const BlockWeights &weights) {
  const BlockFormat &format = weights.format();
  double count = 0;
  auto planes = getBitPlanes(format.bits);
  if (format.bits != 8) // shifts, masks; planes are joined
    count += 3.0 * double(planes.size()) - 1;
  const int bias = weights.bytes().bias;
  bool isChanged =
      format.codes == CodeKind::Codebook ||
      (format.codes == CodeKind::Offset ? bias != format.offset
                                        : format.bits != 8 || bias != 0);
  return count + (isChanged ? 1 : 0);
}

double pare::cpu::countInstructions(const BlockFormat &format, const Isa &isa,
                                    int64_t m, int64_t n, int64_t k) {
  std::unique_ptr<BlockDot> dot = makeBlockDot(isa);
  const BlockWeights weights(format, dot->lanes, dot->isUnsigned);
  const BlockBytes &meaning = weights.bytes();
  const double decoding = getDecoding(weights),
               multiplying = dot->multiplying(meaning),
               groups = double(weights.layout().groupsPerStep);
  // By words one row, or tiles where no bias has to be summed beside.
  const bool byWords =
      format.isSparse() && dot->canPick() &&
      (m == 1 || (meaning.bias == 0 && !dot->sparseTiles().empty()));
  const unsigned tile =
      (byWords ? dot->sparseTiles() : dot->tiles(meaning)).front();
  const double preparing =
      dot->preparing(meaning) / double(std::clamp<int64_t>(m, 1, tile));

  // Of a step of as many rows of weights as a vector has: for all rows of
  // activations of a task, and for each.
  double once = kQuadsPerStep * decoding,
         each = kQuadsPerStep * (preparing + multiplying);
  if (byWords) {
    once = kWordsPerStep * decoding + kPerPicks;
    each = kWordsPerStep *
           (preparing + 1 + multiplying * (meaning.bias == 0 ? 1 : 2));
  } else if (format.isSparse()) {
    once += kQuadsPerStep * kPerExpansion;
  }
  each += groups * kPerGroup;
  double vectors = double(llvm::divideCeil(n, kPanel)) *
                   (double(kPanel) / dot->lanes) * double(k) / kBlockStep;
  return vectors *
         (double(llvm::divideCeil(m, kRowsPerTask)) * once + double(m) * each);
}
