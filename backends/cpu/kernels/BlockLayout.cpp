//===- BlockLayout.cpp - Weights in blocks, packed for kernels ------------===//
#include "backends/cpu/kernels/BlockLayout.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include <cmath>
#include <cstring>

using namespace pare;
using namespace pare::cpu;

llvm::SmallVector<BitPlane, 3> pare::cpu::getBitPlanes(unsigned bits) {
  if (bits == 8)
    return {{8, 0}};
  llvm::SmallVector<BitPlane, 3> planes;
  unsigned shift = 0;
  for (unsigned width : {4, 2, 1})
    if (bits & width) {
      planes.push_back({width, shift});
      shift += width;
    }
  return planes;
}

bool pare::cpu::hasByteCodebook(const BlockFormat &format) {
  auto isByte = [](float value) {
    return value == std::nearbyint(value) && value >= -128 && value <= 127;
  };
  return format.codes == CodeKind::Codebook && format.bits <= 4 &&
         llvm::all_of(format.codebook, isByte);
}

std::optional<SmallFloat> pare::cpu::findSmallFloat(const BlockFormat &format) {
  llvm::ArrayRef<float> levels = format.codebook;
  if (format.bits != 8 || levels.size() != 256 ||
      !(levels[1] > 0 && std::isnormal(levels[1])))
    return std::nullopt;
  SmallFloat found{0, 1, levels[1]};
  while (found.largest < 127 &&
         levels[found.largest + 1] > levels[found.largest])
    ++found.largest;
  for (found.mantissaBits = 1; found.mantissaBits < 7; ++found.mantissaBits) {
    auto isLevel = [&](unsigned code) {
      unsigned magnitude = std::min(code & 127, found.largest),
               exponent = magnitude >> found.mantissaBits,
               hidden = 1u << found.mantissaBits;
      float units = float(magnitude % hidden + (exponent ? hidden : 0));
      float level =
          std::ldexp(units * found.least, std::max(int(exponent), 1) - 1);
      return levels[code] == (code & 128 ? -level : level);
    };
    if (llvm::all_of(llvm::seq(256u), isLevel))
      return found;
  }
  return std::nullopt;
}

std::optional<std::string>
pare::cpu::whyNoBlockKernel(const BlockFormat &format) {
  if (format.codes == CodeKind::Codebook && format.bits > 4 &&
      !findSmallFloat(format))
    return "codebooks of more than 16 numbers have no kernel unless they are "
           "floats of 8 bits";
  if (format.codes == CodeKind::Offset && std::abs(format.offset) > 128)
    return "offsets of codes beyond 128 have no kernel";
  if (format.zeroBits &&
      (format.hasMinimum() || format.codes == CodeKind::Codebook))
    return "zero points beside minima or codebooks have no kernel";
  if (format.group != 16 && format.group % kBlockStep != 0)
    return "groups other than 16 or multiples of 32 have no kernel";
  if (format.hasTwoLevels() && format.superGroup % kBlockStep != 0)
    return "super-groups other than multiples of 32 have no kernel";
  if (format.isSparse() && (format.keep != 2 || format.of != 4))
    return "sparse codes other than 2 of 4 have no kernel";
  // A byte of their bit planes would hold codes of two steps.
  if (format.isSparse() && format.bits % 2 != 0)
    return "sparse codes of an odd number of bits have no kernel";
  return std::nullopt;
}

std::optional<std::string>
pare::cpu::whyNoIntegerBlockKernel(const BlockFormat &format) {
  if (std::optional<std::string> why = whyNoBlockKernel(format))
    return why;
  if (format.codes == CodeKind::Codebook && !hasByteCodebook(format))
    return "codebooks other than 16 integers of 8 bits have no integer kernel";
  return std::nullopt;
}

BlockLayout::BlockLayout(const BlockFormat &format)
    : format(format), run(std::max<int64_t>(kBlockStep, format.scaleGroup())),
      scalesPerRun(run / format.scaleGroup()), groupsPerRun(run / format.group),
      groupsPerStep(std::max<int64_t>(1, kBlockStep / format.group)) {
  assert(!whyNoBlockKernel(format) && "a format without kernels");
  int64_t scaleBytes = scalesPerRun * getScaleBytes(format.scale) * kPanel;
  int64_t subBytes = groupsPerRun * numberBytes(format.subBits);
  minima = scaleBytes;
  subScales = minima + (format.hasMinimum() ? scaleBytes : 0);
  subMinima = subScales + subBytes;
  zeros = subMinima + (format.hasMinimum() ? subBytes : 0);
  codes = zeros + groupsPerRun * numberBytes(format.zeroBits);
  int64_t stored = format.storedCodes(kBlockStep) * kPanel;
  places = stored * format.bits / 8;
  stepBytes =
      places + (format.isSparse() ? stored * format.placeBits() / 8 : 0);
  runBytes = codes + stepsPerRun() * stepBytes;
}

/// Puts a number of row `row` of a panel into its bit planes.
static void putNumber(uint8_t *out, llvm::ArrayRef<BitPlane> planes,
                      unsigned number, int64_t row) {
  for (const BitPlane &plane : planes) {
    int64_t width = kPanel / plane.perByte();
    unsigned bits = number >> plane.shift & plane.mask();
    out[row % width] |= uint8_t(bits << row / width * plane.bits);
    out += width;
  }
}

/// Puts `count` codes of a step of row `row` of a panel into their bit planes,
/// a quad or word at a time.
static void putStep(uint8_t *out, llvm::ArrayRef<BitPlane> planes,
                    const uint8_t *codes, int64_t count, int64_t row) {
  constexpr int64_t entry = kPanel * kQuad;
  constexpr uint32_t everyByte = 0x01010101;
  static_assert(kQuad == sizeof(everyByte));
  const int64_t quads = count / kQuad;
  out += row * kQuad;
  for (const BitPlane &plane : planes) {
    int64_t perByte = plane.perByte();
    for (int64_t quad = 0; quad < quads; ++quad) {
      uint32_t word, sum;
      uint8_t *to = out + quad / perByte * entry;
      std::memcpy(&word, codes + quad * kQuad, sizeof(word));
      std::memcpy(&sum, to, sizeof(sum));
      // What crosses into a byte is masked out.
      word = word >> plane.shift & plane.mask() * everyByte;
      sum |= word << quad % perByte * plane.bits;
      std::memcpy(to, &sum, sizeof(sum));
    }
    out += quads / perByte * entry;
  }
}

/// The same of a step of which only some codes are stored.
static void putSparseStep(uint8_t *out, const BlockLayout &layout,
                          llvm::ArrayRef<BitPlane> planes, const uint8_t *codes,
                          int64_t row) {
  constexpr int64_t count = kWordsPerStep * kQuad;
  uint8_t stored[count], places[count];
  takeSparseCodes(layout.format, {codes, size_t(kBlockStep)}, stored, places);
  putStep(out, planes, stored, count, row);
  putStep(out + layout.places, getBitPlanes(layout.format.placeBits()), places,
          count, row);
}

/// Row `row` of a panel, of `k` elements.
static void packRow(const BlockLayout &layout, const BlockPlanes &planes,
                    int64_t from, int64_t row, int64_t k, uint8_t *out) {
  const BlockFormat &format = layout.format;
  const int64_t scaleBytes = getScaleBytes(format.scale);
  const auto codePlanes = getBitPlanes(format.bits);
  auto putScales = [&](llvm::ArrayRef<uint8_t> plane, int64_t element,
                       uint8_t *to) {
    for (int64_t s = 0; s < layout.scalesPerRun; ++s)
      std::memcpy(to + (s * kPanel + row) * scaleBytes,
                  &plane[(element / format.scaleGroup() + s) * scaleBytes],
                  scaleBytes);
  };
  auto putNumbers = [&](llvm::ArrayRef<uint8_t> plane, unsigned bits,
                        int64_t element, uint8_t *to) {
    const auto bitPlanes = getBitPlanes(bits);
    for (int64_t g = 0; g < layout.groupsPerRun; ++g)
      putNumber(to + g * BlockLayout::numberBytes(bits), bitPlanes,
                plane[element / format.group + g], row);
  };
  for (int64_t i = 0; i < k; i += layout.run, out += layout.runBytes) {
    int64_t element = from + i;
    putScales(planes.scales, element, out);
    if (format.hasMinimum())
      putScales(planes.minima, element, out + layout.minima);
    if (format.hasTwoLevels())
      putNumbers(planes.subScales, format.subBits, element,
                 out + layout.subScales);
    if (format.hasTwoLevels() && format.hasMinimum())
      putNumbers(planes.subMinima, format.subBits, element,
                 out + layout.subMinima);
    if (format.zeroBits)
      putNumbers(planes.zeros, format.zeroBits, element, out + layout.zeros);
    for (int64_t step = 0; step < layout.stepsPerRun(); ++step) {
      uint8_t *to = out + layout.codes + step * layout.stepBytes;
      const uint8_t *codes = &planes.codes[element + step * kBlockStep];
      if (format.isSparse())
        putSparseStep(to, layout, codePlanes, codes, row);
      else
        putStep(to, codePlanes, codes, kBlockStep, row);
    }
  }
}

void pare::cpu::packBlocks(const BlockStorage &storage,
                           llvm::ArrayRef<uint8_t> blocks, int64_t n, int64_t k,
                           llvm::MutableArrayRef<uint8_t> out) {
  const BlockLayout layout(storage.format);
  assert(k % layout.run == 0 && "rows are whole runs");
  assert(int64_t(out.size()) == layout.packedBytes(n, k));
  const int64_t rowBytes = k / storage.elements * storage.bytes;
  BlockPlanes planes;
  for (int64_t row = 0; row < n; row += kPanel) {
    int64_t rows = std::min(kPanel, n - row);
    storage.unpack(blocks.slice(row * rowBytes, rows * rowBytes), planes);
    uint8_t *panel = out.data() + row / kPanel * layout.panelBytes(k);
    for (int64_t r = 0; r < rows; ++r)
      packRow(layout, planes, r * k, r, k, panel);
  }
}
