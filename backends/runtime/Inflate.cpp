#include "backends/runtime/Inflate.h"

using namespace pare::rt;

namespace {

constexpr unsigned kMaxBits = 15;

/// Bits of the stream, lowest first. Beyond the end it gives zeros and fails.
class BitReader {
public:
  explicit BitReader(Str stream) : stream(stream) {}

  uint32_t bits(unsigned count) {
    while (held < count) {
      if (!stream.size) {
        good = false;
        return 0;
      }
      buffer |= uint64_t(uint8_t(stream.data[0])) << held;
      stream = stream.drop(1);
      held += 8;
    }
    uint32_t value = uint32_t(buffer & ((uint64_t(1) << count) - 1));
    buffer >>= count;
    held -= count;
    return value;
  }
  /// Drops the rest of the current byte.
  void align() {
    buffer >>= held % 8;
    held -= held % 8;
  }
  bool good = true;

private:
  Str stream;
  uint64_t buffer = 0;
  unsigned held = 0;
};

/// A canonical Huffman code: how many codes have each length, and the symbols
/// in order of their codes.
struct Huffman {
  uint16_t count[kMaxBits + 1];
  uint16_t symbol[288];

  /// False if the lengths are over-subscribed.
  bool build(const uint8_t *lengths, unsigned n) {
    memset(count, 0, sizeof(count));
    for (unsigned i = 0; i < n; ++i)
      ++count[lengths[i]];
    int left = 1;
    for (unsigned length = 1; length <= kMaxBits; ++length) {
      left = 2 * left - count[length];
      if (left < 0)
        return false;
    }
    uint16_t offsets[kMaxBits + 1];
    offsets[1] = 0;
    for (unsigned length = 1; length < kMaxBits; ++length)
      offsets[length + 1] = uint16_t(offsets[length] + count[length]);
    for (unsigned i = 0; i < n; ++i)
      if (lengths[i])
        symbol[offsets[lengths[i]]++] = uint16_t(i);
    return true;
  }

  /// The next symbol, or -1.
  int decode(BitReader &in) const {
    int code = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= kMaxBits && in.good; ++length) {
      code |= int(in.bits(1));
      if (code - first < count[length])
        return symbol[index + code - first];
      index += count[length];
      first = (first + count[length]) << 1;
      code <<= 1;
    }
    return -1;
  }
};

constexpr uint16_t kLengthBase[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                    15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                    67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthExtra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[] = {
    1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kDistanceExtra[] = {0, 0, 0,  0,  1,  1,  2,  2,  3,  3,
                                      4, 4, 5,  5,  6,  6,  7,  7,  8,  8,
                                      9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

struct Output {
  uint8_t *data;
  uint64_t size, at = 0;
};

bool inflateCodes(BitReader &in, Output &out, const Huffman &literals,
                  const Huffman &distances) {
  for (;;) {
    int symbol = literals.decode(in);
    if (symbol < 0)
      return false;
    if (symbol == 256)
      return in.good;
    if (symbol < 256) {
      if (out.at == out.size)
        return false;
      out.data[out.at++] = uint8_t(symbol);
      continue;
    }
    symbol -= 257;
    if (symbol >= 29)
      return false;
    uint64_t length = kLengthBase[symbol] + in.bits(kLengthExtra[symbol]);
    int code = distances.decode(in);
    if (code < 0 || code >= 30)
      return false;
    uint64_t distance = kDistanceBase[code] + in.bits(kDistanceExtra[code]);
    if (!in.good || distance > out.at || length > out.size - out.at)
      return false;
    for (; length; --length, ++out.at)
      out.data[out.at] = out.data[out.at - distance];
  }
}

bool inflateStored(BitReader &in, Output &out) {
  in.align();
  uint32_t length = in.bits(16), complement = in.bits(16);
  if (!in.good || length != (complement ^ 0xffff) || length > out.size - out.at)
    return false;
  for (; length; --length)
    out.data[out.at++] = uint8_t(in.bits(8));
  return in.good;
}

bool inflateFixed(BitReader &in, Output &out) {
  uint8_t lengths[288];
  memset(lengths, 8, 144);
  memset(lengths + 144, 9, 112);
  memset(lengths + 256, 7, 24);
  memset(lengths + 280, 8, 8);
  Huffman literals, distances;
  literals.build(lengths, 288);
  memset(lengths, 5, 30);
  distances.build(lengths, 30);
  return inflateCodes(in, out, literals, distances);
}

bool inflateDynamic(BitReader &in, Output &out) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
  unsigned numLiterals = in.bits(5) + 257, numDistances = in.bits(5) + 1;
  unsigned numCodes = in.bits(4) + 4;
  if (numLiterals > 286 || numDistances > 30)
    return false;
  uint8_t lengths[286 + 30 + 19] = {};
  for (unsigned i = 0; i < numCodes; ++i)
    lengths[order[i]] = uint8_t(in.bits(3));
  Huffman codes;
  if (!in.good || !codes.build(lengths, 19))
    return false;
  memset(lengths, 0, sizeof(lengths));
  for (unsigned at = 0; at < numLiterals + numDistances;) {
    int symbol = codes.decode(in);
    if (symbol < 0)
      return false;
    if (symbol < 16) {
      lengths[at++] = uint8_t(symbol);
      continue;
    }
    if (symbol == 16 && at == 0)
      return false;
    uint8_t value = symbol == 16 ? lengths[at - 1] : 0;
    unsigned repeat = symbol == 16   ? 3 + in.bits(2)
                      : symbol == 17 ? 3 + in.bits(3)
                                     : 11 + in.bits(7);
    if (at + repeat > numLiterals + numDistances)
      return false;
    memset(lengths + at, value, repeat);
    at += repeat;
  }
  Huffman literals, distances;
  return in.good && lengths[256] && literals.build(lengths, numLiterals) &&
         distances.build(lengths + numLiterals, numDistances) &&
         inflateCodes(in, out, literals, distances);
}

struct CrcTable {
  uint32_t entry[256];
  constexpr CrcTable() : entry() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit)
        value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
      entry[i] = value;
    }
  }
};
constexpr CrcTable kCrc;

} // namespace

bool pare::rt::inflate(Str stream, uint8_t *data, uint64_t size) {
  BitReader in(stream);
  Output out{data, size};
  bool last = false;
  while (!last) {
    last = in.bits(1);
    uint32_t kind = in.bits(2);
    bool good = in.good && (kind == 0   ? inflateStored(in, out)
                            : kind == 1 ? inflateFixed(in, out)
                            : kind == 2 ? inflateDynamic(in, out)
                                        : false);
    if (!good)
      return false;
  }
  return out.at == size;
}

uint32_t pare::rt::crc32(uint32_t crc, const void *data, uint64_t size) {
  auto *bytes = static_cast<const uint8_t *>(data);
  crc = ~crc;
  for (uint64_t i = 0; i < size; ++i)
    crc = crc >> 8 ^ kCrc.entry[(crc ^ bytes[i]) & 255];
  return ~crc;
}
