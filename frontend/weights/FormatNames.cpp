//===- FormatNames.cpp - Which formats there are --------------------------===//
#include "frontend/weights/BlockFormat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>

namespace pare {

//===----------------------------------------------------------------------===//
// Codebooks
//===----------------------------------------------------------------------===//

/// Non-linear 4-bit levels of ggml's IQ4 types.
static constexpr float iq4Levels[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/// e2m1, doubled.
static constexpr float fp4Levels[] = {0, 1,  2,  3,  4,  6,  8,  12,
                                      0, -1, -2, -3, -4, -6, -8, -12};

/// Levels of the 4-bit normal float: quantiles of a normal distribution, zero
/// among them, scaled to [-1, 1].
static constexpr float nf4Levels[] = {-1.0f,
                                      -0.6961928009986877f,
                                      -0.5250730514526367f,
                                      -0.39491748809814453f,
                                      -0.28444138169288635f,
                                      -0.18477343022823334f,
                                      -0.09105003625154495f,
                                      0.0f,
                                      0.07958029955625534f,
                                      0.16093020141124725f,
                                      0.24611230194568634f,
                                      0.33791524171829224f,
                                      0.44070982933044434f,
                                      0.5626170039176941f,
                                      0.7229568362236023f,
                                      1.0f};

/// Floats of a sign, 7 - `mantissaBits` exponent bits and a mantissa, in units
/// of the least, `least`; magnitudes beyond `largest` count as that.
static constexpr std::array<float, 256>
makeSmallFloats(unsigned mantissaBits, unsigned largest, float least) {
  std::array<float, 256> levels{};
  for (unsigned code = 0; code < 256; ++code) {
    unsigned magnitude = std::min(code & 127, largest);
    unsigned exponent = magnitude >> mantissaBits, hidden = 1u << mantissaBits;
    uint64_t units = magnitude % hidden;
    if (exponent != 0)
      units = (units + hidden) << (exponent - 1);
    float level = float(units) * least;
    levels[code] = code & 128 ? -level : level;
  }
  return levels;
}

static constexpr std::array<float, 256> e4m3Levels =
                                            makeSmallFloats(3, 0x7e, 0x1p-17f),
                                        e5m2Levels =
                                            makeSmallFloats(2, 0x7b, 0x1p-31f);

//===----------------------------------------------------------------------===//
// Names of their own
//===----------------------------------------------------------------------===//

static constexpr BlockFormat formats[] = {
    {.name = "q4_0", .bits = 4, .group = 32, .offset = 8},
    {.name = "q4_1", .bits = 4, .group = 32, .minimum = MinimumKind::Added},
    {.name = "q5_0", .bits = 5, .group = 32, .offset = 16},
    {.name = "q5_1", .bits = 5, .group = 32, .minimum = MinimumKind::Added},
    {.name = "q8_0", .bits = 8, .group = 32, .codes = CodeKind::Signed},
    {.name = "q2_k",
     .bits = 2,
     .group = 16,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 4},
    {.name = "q3_k",
     .bits = 3,
     .group = 16,
     .offset = 4,
     .superGroup = 256,
     .subBits = 6,
     .subOffset = 32},
    {.name = "q4_k",
     .bits = 4,
     .group = 32,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 6},
    {.name = "q5_k",
     .bits = 5,
     .group = 32,
     .minimum = MinimumKind::Subtracted,
     .superGroup = 256,
     .subBits = 6},
    {.name = "q6_k",
     .bits = 6,
     .group = 16,
     .offset = 32,
     .superGroup = 256,
     .subBits = 8,
     .subSigned = true},
    {.name = "iq4_nl",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = iq4Levels},
    {.name = "iq4_xs",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = iq4Levels,
     .superGroup = 256,
     .subBits = 6,
     .subOffset = 32},
    {.name = "mxfp4",
     .bits = 4,
     .group = 32,
     .codes = CodeKind::Codebook,
     .codebook = fp4Levels,
     .scale = ScaleType::E8M0Half},
    {.name = "nvfp4",
     .bits = 4,
     .group = 16,
     .codes = CodeKind::Codebook,
     .codebook = fp4Levels,
     .scale = ScaleType::E4M3Half},
    {.name = "ternary", .bits = 2, .group = 256, .offset = 1},
};

llvm::ArrayRef<BlockFormat> getBlockFormats() { return formats; }

//===----------------------------------------------------------------------===//
// Names by a grammar
//===----------------------------------------------------------------------===//

static constexpr unsigned codeBits[] = {2, 3, 4, 5, 6, 8},
                          groups[] = {16, 32, 64, 128, 256}, subBits[] = {4, 6};
static constexpr unsigned maxSuperGroup = 8192;
/// What names of sparse formats end in.
static constexpr llvm::StringLiteral sparseEnding = "_2of4";
static constexpr unsigned sparseKeep = 2, sparseOf = 4;

/// Takes `prefix` and a decimal number off `text`.
static std::optional<unsigned> takeNumber(llvm::StringRef &text,
                                          llvm::StringRef prefix) {
  unsigned number;
  if (!text.consume_front(prefix) || text.starts_with("0") ||
      text.consumeInteger(10, number))
    return std::nullopt;
  return number;
}

static bool takeOneOf(llvm::StringRef &text, llvm::StringRef prefix,
                      llvm::ArrayRef<unsigned> allowed, unsigned &number) {
  std::optional<unsigned> taken = takeNumber(text, prefix);
  number = taken.value_or(0);
  return taken && llvm::is_contained(allowed, *taken);
}

/// The format that `name` spells, without its name.
static std::optional<BlockFormat> parseFormat(llvm::StringRef name) {
  BlockFormat format{.name = {}, .bits = 4, .group = 0};
  if (name.consume_back(sparseEnding)) {
    format.keep = sparseKeep;
    format.of = sparseOf;
  }
  auto setCodebook = [&](unsigned bits, llvm::ArrayRef<float> levels) {
    format.bits = bits;
    format.codes = CodeKind::Codebook;
    format.codebook = levels;
  };
  bool isUnsigned = name.consume_front("u"),
       isInteger = name.starts_with("int");
  if (isInteger) {
    if (!takeOneOf(name, "int", codeBits, format.bits))
      return std::nullopt;
    if (format.bits == 8 && !isUnsigned)
      format.codes = CodeKind::Signed;
    else if (!isUnsigned)
      format.offset = 1 << (format.bits - 1);
  } else if (isUnsigned) {
    return std::nullopt;
  } else if (name.consume_front("nf4")) {
    setCodebook(4, nf4Levels);
  } else if (name.consume_front("fp8_e4m3")) {
    setCodebook(8, e4m3Levels);
  } else if (name.consume_front("fp8_e5m2")) {
    setCodebook(8, e5m2Levels);
  } else if (name.consume_front("ternary")) {
    format.bits = 2;
    format.offset = 1;
  } else {
    return std::nullopt;
  }
  if (!takeOneOf(name, "_g", groups, format.group))
    return std::nullopt;
  if (isInteger && !name.empty()) {
    if (!takeOneOf(name, "_k", subBits, format.subBits))
      return std::nullopt;
    format.superGroup = takeNumber(name, "x").value_or(0);
    if (format.superGroup % format.group != 0 ||
        format.superGroup < 2 * format.group ||
        format.superGroup > maxSuperGroup)
      return std::nullopt;
    // The sign of a scale says on which side the odd level is.
    if (isUnsigned)
      format.minimum = MinimumKind::Subtracted;
    else
      format.subOffset = 1 << (format.subBits - 1);
  } else if (isUnsigned) {
    format.zeroBits = format.bits;
  }
  if (!name.empty() || (format.isSparse() && !format.zeroCode()))
    return std::nullopt;
  return format;
}

const BlockFormat *findBlockFormat(llvm::StringRef name) {
  for (const BlockFormat &format : formats)
    if (format.name == name)
      return &format;
  std::optional<BlockFormat> format = parseFormat(name);
  if (!format)
    return nullptr;
  static std::mutex mutex;
  static std::map<std::string, BlockFormat> known;
  std::lock_guard<std::mutex> guard(mutex);
  // Nodes of a map stay where they are, and so does the name.
  auto [it, isNew] = known.try_emplace(name.str(), *format);
  if (isNew)
    it->second.name = it->first;
  return &it->second;
}

const BlockFormat *findSparseFormat(const BlockFormat &format, unsigned keep,
                                    unsigned of) {
  if (format.isSparse() || keep != sparseKeep || of != sparseOf)
    return nullptr;
  return findBlockFormat((format.name + sparseEnding).str());
}

const BlockFormat &getDenseFormat(const BlockFormat &format) {
  llvm::StringRef name = format.name;
  name.consume_back(sparseEnding);
  return format.isSparse() ? *findBlockFormat(name) : format;
}

std::string describeBlockFormats() {
  auto list = [](llvm::ArrayRef<unsigned> numbers) {
    return llvm::join(
        llvm::map_range(numbers,
                        [](unsigned number) { return std::to_string(number); }),
        "|");
  };
  std::string group = "_g<" + list(groups) + ">";
  std::string text = "[u]int<" + list(codeBits) + ">" + group + "[_k<" +
                     list(subBits) + ">x<elements per f16 scale>]";
  for (const char *family : {"nf4", "fp8_e4m3", "fp8_e5m2", "ternary"})
    text += std::string(", ") + family + "_g<...>";
  text += ", any of these but uint with ";
  text += sparseEnding;
  text += " behind it (--prune 2:4)";
  for (const BlockFormat &format : formats)
    text += ", " + format.name.str();
  return text;
}

} // namespace pare
