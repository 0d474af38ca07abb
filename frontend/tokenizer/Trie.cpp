//===- Trie.cpp -----------------------------------------------------------===//
#include "frontend/tokenizer/Trie.h"
#include "frontend/tokenizer/Format.h"

#include <algorithm>
#include <cassert>
#include <deque>

using namespace llvm;

namespace pare::tokenizer {

std::vector<uint8_t>
buildTrie(std::vector<std::pair<StringRef, uint32_t>> entries) {
  std::sort(entries.begin(), entries.end());

  // Breadth first over ranges of sorted keys that share `depth` bytes.
  struct Node {
    size_t begin, end, depth;
  };
  std::deque<Node> queue = {{0, entries.size(), 0}};
  std::vector<uint8_t> labels = {0};
  std::vector<PareTokenizerTrieBlock> blocks;
  std::vector<uint32_t> samples, values;
  std::vector<bool> first = {true};
  uint32_t groups = 0, inner = 0;
  for (size_t id = 0; !queue.empty(); ++id, queue.pop_front()) {
    auto [begin, end, depth] = queue.front();
    if (id % 64 == 0)
      blocks.push_back({0, 0, 0, groups, inner, uint32_t(values.size()), 0});
    PareTokenizerTrieBlock &block = blocks.back();
    const uint64_t bit = uint64_t(1) << (id % 64);
    if (first[id]) {
      block.first |= bit;
      if (groups++ % 64 == 0)
        samples.push_back(uint32_t(blocks.size() - 1));
    }
    if (begin < end && entries[begin].first.size() == depth) {
      block.final |= bit;
      values.push_back(entries[begin++].second);
      assert((begin == end || entries[begin].first.size() > depth) &&
             "duplicate key");
    }
    if (begin == end)
      continue;
    block.inner |= bit;
    ++inner;
    bool isFirst = true;
    while (begin < end) {
      uint8_t label = uint8_t(entries[begin].first[depth]);
      size_t next = begin;
      while (next < end && uint8_t(entries[next].first[depth]) == label)
        ++next;
      labels.push_back(label);
      first.push_back(isFirst);
      queue.push_back({begin, next, depth + 1});
      isFirst = false;
      begin = next;
    }
  }

  const bool narrow =
      llvm::all_of(values, [](uint32_t value) { return value <= 0xffff; });
  const PareTokenizerTrie header = {
      uint32_t(labels.size()),  uint32_t(blocks.size()),
      uint32_t(samples.size()), uint32_t(values.size()),
      narrow ? 2u : 4u,         0};
  std::vector<uint8_t> out;
  auto append = [&](const void *data, size_t bytes) {
    const auto *begin = static_cast<const uint8_t *>(data);
    out.insert(out.end(), begin, begin + bytes);
    out.resize((out.size() + 7) & ~size_t(7));
  };
  append(&header, sizeof(header));
  append(blocks.data(), blocks.size() * sizeof(blocks[0]));
  append(labels.data(), labels.size());
  append(samples.data(), samples.size() * sizeof(samples[0]));
  std::vector<uint16_t> narrowValues(values.begin(), values.end());
  if (narrow)
    append(narrowValues.data(), narrowValues.size() * 2);
  else
    append(values.data(), values.size() * 4);
  return out;
}

} // namespace pare::tokenizer
