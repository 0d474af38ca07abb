//===- BlockStorage.cpp - Blocks of bytes, taken apart and put together ---===//
#include "frontend/weights/BlockFormat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <cassert>
#include <cstring>
#include <map>
#include <mutex>

namespace pare {

/// Where part `offset` of a plane is; null where the format has no such plane.
template <typename Plane> static auto *getPart(Plane &plane, uint64_t offset) {
  return plane.empty() ? nullptr : plane.data() + offset;
}

/// The parts of block `index` of `planes`.
template <typename Byte, typename Planes>
static BlockParts<Byte> getParts(const BlockStorage &storage, Planes &planes,
                                 uint64_t index) {
  const BlockFormat &format = storage.format;
  uint64_t scales = index * (storage.elements / format.scaleGroup()) *
                    getScaleBytes(format.scale);
  uint64_t groups = index * (storage.elements / format.group);
  return {format,
          getPart(planes.codes, index * storage.elements),
          getPart(planes.zeros, groups),
          getPart(planes.scales, scales),
          getPart(planes.subScales, groups),
          getPart(planes.minima, scales),
          getPart(planes.subMinima, groups)};
}

void BlockStorage::unpack(llvm::ArrayRef<uint8_t> blocks,
                          BlockPlanes &planes) const {
  assert(blocks.size() % bytes == 0 && "a block that is not whole");
  uint64_t count = blocks.size() / bytes;
  planes.resize(format, count * elements);
  for (uint64_t i = 0; i < count; ++i)
    unpackBlock(blocks.data() + i * bytes, getParts<uint8_t>(*this, planes, i));
}

std::vector<uint8_t> BlockStorage::pack(const BlockPlanes &planes) const {
  assert(planes.codes.size() % elements == 0 && "a block that is not whole");
  uint64_t count = planes.codes.size() / elements;
  std::vector<uint8_t> blocks(count * bytes);
  for (uint64_t i = 0; i < count; ++i)
    packBlock(getParts<const uint8_t>(*this, planes, i),
              blocks.data() + i * bytes);
  return blocks;
}

void BlockStorage::decode(llvm::ArrayRef<uint8_t> blocks,
                          llvm::MutableArrayRef<float> weights) const {
  assert(blocks.size() / bytes * elements == weights.size() &&
         "blocks and weights differ in number");
  constexpr uint64_t blocksAtOnce = 256;
  BlockPlanes planes;
  while (!blocks.empty()) {
    uint64_t count = std::min<uint64_t>(blocksAtOnce, blocks.size() / bytes);
    unpack(blocks.take_front(count * bytes), planes);
    decodeBlocks(format, planes, weights.take_front(count * elements));
    blocks = blocks.drop_front(count * bytes);
    weights = weights.drop_front(count * elements);
  }
}

//===----------------------------------------------------------------------===//
// Plain storage
//===----------------------------------------------------------------------===//

namespace {

/// Plane by plane, what both directions do: `bytes` copies a plane of whole
/// bytes, `numbers` one of `count` numbers of `bits` bits. `stored` and
/// `places` are those of sparse codes.
template <typename Byte, typename Bytes, typename Numbers>
void visitPlanes(BlockParts<Byte> parts, Byte *stored, Byte *places,
                 Bytes bytes, Numbers numbers) {
  const BlockFormat &format = parts.format;
  unsigned groups = format.scaleGroup() / format.group;
  bytes(parts.scales, getScaleBytes(format.scale));
  if (format.hasMinimum())
    bytes(parts.minima, getScaleBytes(format.scale));
  if (format.hasTwoLevels())
    numbers(parts.subScales, format.subBits, groups);
  if (format.hasTwoLevels() && format.hasMinimum())
    numbers(parts.subMinima, format.subBits, groups);
  if (format.zeroBits)
    numbers(parts.zeros, format.zeroBits, groups);
  if (!format.isSparse())
    return numbers(parts.codes, format.bits, format.scaleGroup());
  unsigned count = format.storedCodes(format.scaleGroup());
  numbers(stored, format.bits, count);
  numbers(places, format.placeBits(), count);
}

/// What the codes of a block that are stored need while it is packed.
struct SparseBlock {
  explicit SparseBlock(const BlockFormat &format)
      : stored(format.isSparse() ? format.storedCodes(format.scaleGroup()) : 0),
        places(stored.size()) {}
  llvm::SmallVector<uint8_t, 256> stored, places;
};

void unpackPlain(const uint8_t *in, BlockParts<uint8_t> parts) {
  const BlockFormat &format = parts.format;
  SparseBlock sparse(format);
  visitPlanes(
      parts, sparse.stored.data(), sparse.places.data(),
      [&](uint8_t *plane, unsigned count) {
        std::memcpy(plane, in, count);
        in += count;
      },
      [&](uint8_t *plane, unsigned bits, unsigned count) {
        unsigned read = 0, have = 0; // bits that were read and not taken yet
        for (unsigned i = 0; i < count; ++i) {
          if (have < bits) {
            read |= unsigned(*in++) << have;
            have += 8;
          }
          plane[i] = uint8_t(read & ((1u << bits) - 1));
          read >>= bits;
          have -= bits;
        }
      });
  if (!format.isSparse())
    return;
  std::fill_n(parts.codes, format.scaleGroup(), *format.zeroCode());
  for (auto [i, code] : llvm::enumerate(sparse.stored))
    parts.codes[i / format.keep * format.of + sparse.places[i]] = code;
}

void packPlain(BlockParts<const uint8_t> parts, uint8_t *out) {
  const BlockFormat &format = parts.format;
  SparseBlock sparse(format);
  if (format.isSparse())
    takeSparseCodes(format, {parts.codes, format.scaleGroup()},
                    sparse.stored.data(), sparse.places.data());
  visitPlanes<const uint8_t>(
      parts, sparse.stored.data(), sparse.places.data(),
      [&](const uint8_t *plane, unsigned count) {
        std::memcpy(out, plane, count);
        out += count;
      },
      [&](const uint8_t *plane, unsigned bits, unsigned count) {
        unsigned kept = 0, have = 0; // bits that were not written yet
        for (unsigned i = 0; i < count; ++i) {
          kept |= (plane[i] & ((1u << bits) - 1)) << have;
          have += bits;
          if (have >= 8) {
            *out++ = uint8_t(kept);
            kept >>= 8;
            have -= 8;
          }
        }
        if (have != 0)
          *out++ = uint8_t(kept);
      });
}

unsigned getPlainBytes(const BlockFormat &format) {
  unsigned bytes = 0;
  visitPlanes<const uint8_t>(
      {format, {}, {}, {}, {}, {}, {}}, nullptr, nullptr,
      [&](const uint8_t *, unsigned count) { bytes += count; },
      [&](const uint8_t *, unsigned bits, unsigned count) {
        bytes += llvm::divideCeil(bits * count, 8);
      });
  return bytes;
}

} // namespace

const BlockStorage &getPlainStorage(const BlockFormat &format) {
  static std::mutex mutex;
  static std::map<const BlockFormat *, BlockStorage> storages;
  assert(findBlockFormat(format.name) == &format && "a format of no name");
  std::lock_guard<std::mutex> guard(mutex);
  // Nodes of a map stay where they are.
  return storages
      .try_emplace(&format,
                   BlockStorage{format, format.scaleGroup(),
                                getPlainBytes(format), unpackPlain, packPlain})
      .first->second;
}

} // namespace pare
