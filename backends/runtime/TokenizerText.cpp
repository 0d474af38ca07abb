//===- TokenizerText.cpp - UTF-8, properties, tries, buffers --------------===//
#include "backends/runtime/TokenizerText.h"

namespace pare::rt::tok {

uint32_t decode(const uint8_t *p, const uint8_t *end, uint32_t &codePoint,
                bool &valid) {
  const uint8_t lead = *p;
  valid = true;
  if (lead < 0x80) {
    codePoint = lead;
    return 1;
  }
  // The second byte's range depends on the first (no overlong forms, no
  // surrogates, nothing beyond U+10FFFF).
  uint32_t length, low = 0x80, high = 0xbf, c;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    c = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    c = lead & 0x0f;
    low = lead == 0xe0 ? 0xa0 : 0x80;
    high = lead == 0xed ? 0x9f : 0xbf;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    c = lead & 0x07;
    low = lead == 0xf0 ? 0x90 : 0x80;
    high = lead == 0xf4 ? 0x8f : 0xbf;
  } else {
    length = 1;
    c = 0;
  }
  uint32_t i = 1;
  for (; i < length && p + i < end && p[i] >= low && p[i] <= high; ++i) {
    c = (c << 6) | (p[i] & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  valid = length > 1 && i == length;
  codePoint = valid ? c : 0xfffd;
  return i;
}

bool Buffer::grow(uint64_t n) {
  if (outOfMemory || n > (UINT64_MAX >> 2) - capacity) {
    outOfMemory = true;
    return false;
  }
  uint64_t wanted = 2 * capacity + n + 256;
  uint8_t *grown = static_cast<uint8_t *>(realloc(data, wanted));
  if (!grown) {
    outOfMemory = true;
    return false;
  }
  data = grown;
  capacity = wanted;
  return true;
}

void Buffer::pushCodePoint(uint32_t c) {
  uint8_t bytes[4];
  uint32_t n;
  if (c < 0x80) {
    bytes[0] = uint8_t(c);
    n = 1;
  } else if (c < 0x800) {
    bytes[0] = uint8_t(0xc0 | c >> 6);
    n = 2;
  } else if (c < 0x10000) {
    bytes[0] = uint8_t(0xe0 | c >> 12);
    n = 3;
  } else {
    bytes[0] = uint8_t(0xf0 | (c >> 18 & 7));
    n = 4;
  }
  for (uint32_t i = n; --i > 0; c >>= 6)
    bytes[i] = uint8_t(0x80 | (c & 0x3f));
  append(bytes, n);
}

bool Runs::check(const uint8_t *section, uint64_t bytes) {
  if (bytes < sizeof(PareTokenizerRuns))
    return false;
  const auto &runs = *reinterpret_cast<const PareTokenizerRuns *>(section);
  if (runs.num_runs == 0 || bytes != sizeof(runs) + uint64_t(runs.num_runs) * 4)
    return false;
  for (uint32_t i = 0; i <= 256; ++i)
    if (runs.page[i] >= runs.num_runs ||
        (i > 0 && runs.page[i] < runs.page[i - 1]))
      return false;
  return true;
}

uint8_t Runs::wide(uint32_t c) const {
  const auto *runs = reinterpret_cast<const uint32_t *>(header + 1);
  uint32_t low = header->page[c < 0x10000 ? c >> 8 : 256];
  uint32_t high =
      c < 0x10000 ? header->page[(c >> 8) + 1] : header->num_runs - 1;
  while (low < high) {
    const uint32_t middle = low + (high - low + 1) / 2;
    if ((runs[middle] >> 8) <= c)
      low = middle;
    else
      high = middle - 1;
  }
  return uint8_t(runs[low]);
}

constexpr uint64_t byteOnes = 0x0101010101010101u;

/// The number of set bits in each byte.
static uint64_t countBytes(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}

static uint32_t countBits(uint64_t x) {
  return uint32_t((countBytes(x) * byteOnes) >> 56);
}

static uint64_t bitsBelow(uint32_t position) {
  return (uint64_t(1) << position) - 1;
}

/// Position of the k-th set bit, 64 if `x` has no more than k (Vigna,
/// "Broadword implementation of rank/select queries", 2008).
static uint32_t selectBit(uint64_t x, uint32_t k) {
  const uint64_t upTo = countBytes(x) * byteOnes; // bits in bytes 0 … i
  if (k >= upTo >> 56)
    return 64;
  // Byte i of the difference keeps its top bit where upTo[i] <= k.
  const uint64_t notAfter =
      ((k * byteOnes | 0x80 * byteOnes) - upTo) & 0x80 * byteOnes;
  const uint32_t position = countBits(notAfter) * 8;
  k -= uint32_t((upTo << 8) >> position) & 0xff;
  uint32_t byte = uint32_t(x >> position) & 0xff;
  for (; k > 0; --k)
    byte &= byte - 1;
  return position + uint32_t(__builtin_ctz(byte));
}

bool Trie::check(const uint8_t *section, uint64_t bytes) {
  if (bytes < sizeof(PareTokenizerTrie))
    return false;
  const auto &header = *reinterpret_cast<const PareTokenizerTrie *>(section);
  if (header.num_nodes == 0 || header.num_samples == 0 ||
      header.num_blocks != (uint64_t(header.num_nodes) + 63) / 64 ||
      (header.value_bytes != 2 && header.value_bytes != 4))
    return false;
  const uint64_t wanted =
      sizeof(header) +
      uint64_t(header.num_blocks) * sizeof(PareTokenizerTrieBlock) +
      align8(header.num_nodes) + align8(uint64_t(header.num_samples) * 4) +
      align8(uint64_t(header.num_values) * header.value_bytes);
  return wanted == bytes;
}

Trie::Trie(const uint8_t *section) {
  const auto &header = *reinterpret_cast<const PareTokenizerTrie *>(section);
  numNodes = header.num_nodes;
  numBlocks = header.num_blocks;
  numSamples = header.num_samples;
  numValues = header.num_values;
  valueBytes = header.value_bytes;
  blocks = reinterpret_cast<const PareTokenizerTrieBlock *>(section +
                                                            sizeof(header));
  labels = reinterpret_cast<const uint8_t *>(blocks + numBlocks);
  samples = reinterpret_cast<const uint32_t *>(labels + align8(numNodes));
  values = reinterpret_cast<const uint8_t *>(samples) +
           align8(uint64_t(numSamples) * 4);
}

bool Trie::children(uint32_t node, uint32_t &begin, uint32_t &end) const {
  const PareTokenizerTrieBlock &own = blocks[node / 64];
  const uint32_t bit = node % 64;
  if (!(own.inner >> bit & 1))
    return false;
  const uint64_t group =
      uint64_t(own.inner_before) + countBits(own.inner & bitsBelow(bit)) + 1;
  if (group / 64 >= numSamples)
    return false;
  uint64_t block = samples[group / 64];
  if (block >= numBlocks)
    return false;
  while (block + 1 < numBlocks && blocks[block + 1].groups_before <= group)
    ++block;
  const uint64_t rank = group - blocks[block].groups_before;
  if (rank >= 64)
    return false;
  const uint32_t position = selectBit(blocks[block].first, uint32_t(rank));
  if (position == 64)
    return false;
  begin = uint32_t(block * 64 + position);

  uint64_t next = position == 63
                      ? 0
                      : blocks[block].first >> (position + 1) << (position + 1);
  while (next == 0 && ++block < numBlocks)
    next = blocks[block].first;
  end =
      next ? uint32_t(block * 64 + uint64_t(__builtin_ctzll(next))) : numNodes;
  return begin < end && end <= numNodes;
}

uint32_t Trie::child(uint32_t node, uint8_t label) const {
  uint32_t low, end;
  if (!children(node, low, end))
    return none;
  for (uint32_t high = end; low < high;) {
    const uint32_t middle = low + (high - low) / 2;
    if (labels[middle] < label)
      low = middle + 1;
    else
      high = middle;
  }
  return low < end && labels[low] == label ? low : none;
}

uint32_t Trie::value(uint32_t node) const {
  if (!isFinal(node))
    return none;
  const PareTokenizerTrieBlock &block = blocks[node / 64];
  const uint32_t bit = node % 64;
  const uint64_t index =
      uint64_t(block.final_before) + countBits(block.final & bitsBelow(bit));
  if (index >= numValues)
    return none;
  if (valueBytes == 2)
    return reinterpret_cast<const uint16_t *>(values)[index];
  return reinterpret_cast<const uint32_t *>(values)[index];
}

void Trie::children(uint32_t node, uint32_t out[256]) const {
  memset(out, 0xff, 256 * sizeof(uint32_t));
  uint32_t begin, end;
  if (children(node, begin, end))
    for (uint32_t i = begin; i < end; ++i)
      out[labels[i]] = i;
}

} // namespace pare::rt::tok
