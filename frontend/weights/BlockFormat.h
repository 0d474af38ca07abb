//===- BlockFormat.h - What quantized weights are made of -------*- C++ -*-===//
//
// A format says what the codes and scales of a weight mean; kernels, packing
// and quantizers are written over its fields, never over its name. A storage
// says how a file interleaves them. Importing takes blocks apart into planes,
// bit for bit; packing puts the same bytes together again.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_WEIGHTS_BLOCKFORMAT_H
#define PARE_FRONTEND_WEIGHTS_BLOCKFORMAT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MathExtras.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pare {

/// How a scale or a minimum is stored.
enum class ScaleType : uint8_t {
  F32,
  F16,
  BF16,
  /// 2^(byte - 128): the shared exponent of MX formats (OCP MX 1.0), halved
  /// since the codebook holds doubled values, so that these are integers.
  E8M0Half,
  /// Unsigned e4m3, halved likewise; 0x7f counts as 0.
  E4M3Half,
};

unsigned getScaleBytes(ScaleType type);
/// The scale at `bytes`, little-endian.
float decodeScale(ScaleType type, const uint8_t *bytes);

/// What a code stands for.
enum class CodeKind : uint8_t {
  Offset,   ///< code - offset, or - the group's zero point
  Signed,   ///< the code as a two's complement number of `bits` bits
  Codebook, ///< codebook[code]
};

enum class MinimumKind : uint8_t { None, Added, Subtracted };

/// A group-wise format. With `g` the group of an element:
///
///     w = scale(g) · value(code) [± minimum(g)]
///     value(code) = code - offset | code - zeros[g] | … (CodeKind)
///     one level:   scale(g) = scales[g]
///     two levels:  scale(g) = scales[super-group] · (subScales[g] - subOffset)
///
/// and a minimum alike, from `minima` and `subMinima` (which have no offset).
/// Every operation is one of f32. A new format is one entry in
/// FormatNames.cpp.
struct BlockFormat {
  llvm::StringRef name;
  unsigned bits;  ///< of a code, at most 8
  unsigned group; ///< consecutive elements of a row that share a scale
  CodeKind codes = CodeKind::Offset;
  int offset = 0;
  unsigned zeroBits = 0; ///< of zero points, in place of `offset`; 0: none
  llvm::ArrayRef<float> codebook = {};
  ScaleType scale = ScaleType::F16;
  MinimumKind minimum = MinimumKind::None;
  unsigned superGroup = 0; ///< elements below one super-scale; 0: one level
  unsigned subBits = 0;    ///< of a sub-scale and a sub-minimum, at most 8
  int subOffset = 0;
  bool subSigned = false; ///< sub-scales are two's complement
  /// At most `keep` of each `of` codes are not zeroCode(), so that only as many
  /// are stored, each with its place among the `of`, a power of two (N:M
  /// sparsity, Zhou et al. 2021). 0: every code is stored.
  unsigned keep = 0, of = 0;

  bool isSparse() const { return keep != 0; }
  bool hasTwoLevels() const { return superGroup != 0; }
  bool hasMinimum() const { return minimum != MinimumKind::None; }
  /// Elements per entry of `scales`.
  unsigned scaleGroup() const { return superGroup ? superGroup : group; }
  /// value(code), before a zero point; `code` may be any byte, its bits beyond
  /// `bits` are ignored.
  float getValue(uint8_t code) const;
  /// The code of zero; nullopt: weights have minima or zero points, or no code
  /// is zero.
  std::optional<uint8_t> zeroCode() const;
  /// Of so many codes, a multiple of `of`, how many are stored.
  unsigned storedCodes(unsigned codes) const {
    return isSparse() ? codes / of * keep : codes;
  }
  /// Bits of a stored code's place, of sparse formats.
  unsigned placeBits() const { return llvm::Log2_32(of); }
  /// Bits per weight, codes, their places and scales.
  double getBitsPerWeight() const;
};

/// The format of this name, or null. Formats of files (getBlockFormats) have
/// names of their own. Those that pare itself quantizes to are named by what
/// they are made of, with b code bits (2, 3, 4, 5, 6, 8) and groups of g
/// elements (16, 32, 64, 128, 256):
///
///     int<b>_g<g>            symmetric: code - 2^(b-1), for b = 8 the code in
///                            two's complement; one f16 scale per group
///     uint<b>_g<g>           asymmetric: code - zero, a zero point of b bits
///                            and one f16 scale per group
///     int<b>_g<g>_k<s>x<S>   symmetric with scales in two levels: one in f16
///                            per S elements, times s bits (4, 6) per group,
///                            sub-scale - 2^(s-1). S is a multiple of g from
///                            2 g to 8192
///     uint<b>_g<g>_k<s>x<S>  likewise with sub-scales from 0, less a minimum
///                            in two levels of its own
///     nf4_g<g>               4-bit normal float (QLoRA, Dettmers et al. 2023,
///                            appendix E), one f16 scale per group
///     fp8_e4m3_g<g>          floats of 8 bits (Micikevicius et al. 2022),
///     fp8_e5m2_g<g>          divided by 2^8 and 2^15, so that the largest is
///                            1.75 and f16 scales of weights stay normal; codes
///                            of no number count as the largest
///     ternary_g<g>           -1, 0, 1 in 2 bits, one f16 scale per group
///     <name>_2of4            one of these with a code of zero (not uint), of
///                            which at most 2 of each 4 codes of a row are not
///                            zero (Mishra et al. 2021); a place has 2 bits
///
/// So uint4_g32_k6x256 means what q4_k does, int3_g16_k6x256 what q3_k does and
/// int4_g32 what q4_0 does. A name always gives the same pointer, which stays
/// valid. Threads may call this at once.
const BlockFormat *findBlockFormat(llvm::StringRef name);
/// `format` with `keep` of each `of` codes stored; null: there is no such.
const BlockFormat *findSparseFormat(const BlockFormat &format, unsigned keep,
                                    unsigned of);
/// A sparse format with every code stored; any other as it is.
const BlockFormat &getDenseFormat(const BlockFormat &format);
/// The formats that have a name of their own.
llvm::ArrayRef<BlockFormat> getBlockFormats();
/// One line that says which names findBlockFormat takes, for messages.
std::string describeBlockFormats();

/// A run of whole blocks, taken apart. Elements are row-major; groups never
/// cross rows, so rows follow each other without padding.
struct BlockPlanes {
  /// One per element, high bits merged in; of sparse formats too, the codes
  /// that are not stored being zeroCode().
  std::vector<uint8_t> codes;
  std::vector<uint8_t> zeros;     ///< one per group; formats with zeroBits only
  std::vector<uint8_t> scales;    ///< one per scaleGroup(), as the file has it
  std::vector<uint8_t> subScales; ///< one per group, raw; two levels only
  std::vector<uint8_t> minima;    ///< as `scales`; formats with a minimum only
  std::vector<uint8_t> subMinima;

  /// Sizes every plane for `elements` elements, a multiple of scaleGroup().
  void resize(const BlockFormat &format, uint64_t elements);
};

/// The weights that planes stand for, exactly: f32 operations in the order of
/// BlockFormat's definition. `weights` has one element per code.
void decodeBlocks(const BlockFormat &format, const BlockPlanes &planes,
                  llvm::MutableArrayRef<float> weights);

/// Takes the stored codes and their places out of `codes`, those of whole
/// groups of `format.of`, at most `format.keep` of them not zero (asserted).
/// Places ascend; where less codes are not zero, the first zeros count as well.
void takeSparseCodes(const BlockFormat &format, llvm::ArrayRef<uint8_t> codes,
                     uint8_t *stored, uint8_t *places);

/// The parts of planes that belong to one block; null where its format has no
/// such plane.
template <typename Byte> struct BlockParts {
  const BlockFormat &format;
  Byte *codes, *zeros, *scales, *subScales, *minima, *subMinima;
};

/// How a file, or memory, lays out blocks of a format.
struct BlockStorage {
  const BlockFormat &format;
  unsigned elements, bytes; ///< per block
  void (*unpackBlock)(const uint8_t *block, BlockParts<uint8_t> parts);
  void (*packBlock)(BlockParts<const uint8_t> parts, uint8_t *block);

  /// Takes whole blocks apart; `planes` is resized to hold just them.
  void unpack(llvm::ArrayRef<uint8_t> blocks, BlockPlanes &planes) const;
  /// Puts blocks together; the inverse of unpack. Of sparse formats, codes that
  /// are not zero are at most `keep` of each `of` (asserted).
  std::vector<uint8_t> pack(const BlockPlanes &planes) const;
  /// Decodes whole blocks, a bounded number of them at a time.
  void decode(llvm::ArrayRef<uint8_t> blocks,
              llvm::MutableArrayRef<float> weights) const;
};

/// The storage of weights that no file holds: a block is one scale group of
/// `format`, which findBlockFormat gave. Its planes follow each other: scales,
/// minima, sub-scales, sub-minima, zero points, codes that are stored, their
/// places. Any bytes can be unpacked: of two codes in one place the later
/// counts. Numbers of a plane
/// follow each other bit by bit, lowest bits first, and a plane fills whole
/// bytes, so that a block may be a few bits larger than getBitsPerWeight says.
/// One per format: a format always gives the same object.
const BlockStorage &getPlainStorage(const BlockFormat &format);

} // namespace pare

#endif
