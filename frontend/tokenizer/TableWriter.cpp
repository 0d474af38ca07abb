//===- TableWriter.cpp - Pieces of the serialized table -------------------===//
#include "frontend/tokenizer/TableWriter.h"
#include "frontend/tokenizer/Unicode.h"
#include "frontend/tokenizer/Utf8.h"

#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace pare::tokenizer {

void Blob::appendNarrow(ArrayRef<uint32_t> values, bool narrow) {
  if (!narrow)
    return append(values);
  std::vector<uint16_t> shorts(values.begin(), values.end());
  append(ArrayRef(shorts));
}

std::vector<uint8_t> TableWriter::finish(PareTokenizerModel model) const {
  PareTokenizerHeader header = {PARE_TOKENIZER_MAGIC, PARE_TOKENIZER_VERSION,
                                uint32_t(model), uint32_t(sections.size()), 0};
  std::vector<PareTokenizerSection> index;
  uint64_t offset =
      sizeof(header) + sections.size() * sizeof(PareTokenizerSection);
  for (const auto &[tag, bytes] : sections) {
    index.push_back({uint32_t(tag), 0, offset, bytes.size()});
    offset += alignTo(bytes.size(), 8);
  }
  header.bytes = offset;
  Blob out;
  out.append(ArrayRef(header));
  out.append(ArrayRef(index));
  for (const auto &[tag, bytes] : sections)
    out.append(ArrayRef(bytes));
  return std::move(out.bytes);
}

uint32_t StringPool::offsetOf(StringRef text) {
  auto [entry, isNew] = offsets.try_emplace(text, uint32_t(bytes.size()));
  if (isNew) {
    bytes.push_back(uint8_t(text.size()));
    bytes.push_back(uint8_t(text.size() >> 8));
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
  return entry->second;
}

Expected<std::vector<PareTokenizerStep>>
StepWriter::write(ArrayRef<Step> steps) {
  std::vector<PareTokenizerStep> out;
  for (const Step &step : steps) {
    PareTokenizerStep entry = {step.op, step.flags, 0, 0};
    if (step.op == PARE_NORM_REPLACE || step.op == PARE_NORM_PREPEND ||
        step.op == PARE_PRE_OP_METASPACE) {
      if (step.text.size() > 0xffff)
        return createStringError(inconvertibleErrorCode(),
                                 "an inserted text of more than 65535 bytes");
      entry.string = strings.offsetOf(step.text);
    }
    if (step.op == PARE_NORM_REPLACE || step.op == PARE_PRE_OP_SPLIT) {
      Expected<Automaton> automaton = compileRegex(step.pattern);
      if (!automaton)
        return createStringError(inconvertibleErrorCode(),
                                 "a pattern that it splits or replaces by: " +
                                     toString(automaton.takeError()));
      const bool readsBytes =
          step.op == PARE_PRE_OP_SPLIT && (step.flags & PARE_SPLIT_BYTES) != 0;
      entry.pattern = uint32_t(automata.size());
      automata.push_back({std::move(*automaton), readsBytes});
    }
    out.push_back(entry);
  }
  return out;
}

std::vector<uint8_t> StepWriter::patterns() const {
  if (automata.empty())
    return {};
  Blob tables;
  std::vector<PareTokenizerPattern> headers;
  const PareTokenizerPatterns counts = {uint32_t(automata.size()), 0};
  const uint64_t begin =
      sizeof(counts) + automata.size() * sizeof(PareTokenizerPattern);
  for (const auto &[automaton, readsBytes] : automata) {
    PareTokenizerPattern header = {};
    header.num_states = automaton.numStates;
    header.num_classes = automaton.numClasses;
    for (uint32_t b = 0; b < 256; ++b)
      header.bytes[b] =
          automaton.classOf(readsBytes ? alphabetOf(uint8_t(b)) : b);
    std::vector<uint8_t> runs = makeRuns(automaton.classRuns, 255);
    header.runs = begin + tables.bytes.size();
    header.runs_bytes = runs.size();
    tables.append(ArrayRef(runs));
    header.next = begin + tables.bytes.size();
    tables.append(ArrayRef(automaton.next));
    headers.push_back(header);
  }
  Blob out;
  out.append(ArrayRef(counts));
  out.append(ArrayRef(headers));
  out.append(ArrayRef(tables.bytes));
  return std::move(out.bytes);
}

std::vector<uint8_t> mergeTable(ArrayRef<Merge> merges) {
  std::vector<uint32_t> left, right, result;
  uint32_t largest = 0;
  for (const Merge &merge : merges) {
    left.push_back(uint32_t(merge.left));
    right.push_back(uint32_t(merge.right));
    result.push_back(uint32_t(merge.result));
    largest = std::max({largest, left.back(), right.back(), result.back()});
  }
  const uint32_t count = uint32_t(merges.size());
  const uint32_t numSlots =
      uint32_t(NextPowerOf2(uint64_t(count) + count / 4 + 1));
  std::vector<uint32_t> slots(numSlots, 0);
  for (uint32_t rank = 0; rank < count; ++rank) {
    uint32_t slot = PARE_MERGE_HASH(left[rank], right[rank]) & (numSlots - 1);
    // A pair that comes again takes the place of the first, as in the library.
    while (slots[slot] != 0 && (left[slots[slot] - 1] != left[rank] ||
                                right[slots[slot] - 1] != right[rank]))
      slot = (slot + 1) & (numSlots - 1);
    slots[slot] = rank + 1;
  }
  const bool narrowIds = largest <= 0xffff, narrowSlots = count < 0xffff;
  const PareTokenizerMerges header = {count, numSlots, narrowIds ? 2u : 4u,
                                      narrowSlots ? 2u : 4u};
  Blob out;
  out.append(ArrayRef(header));
  for (const std::vector<uint32_t> *ids : {&left, &right, &result})
    out.appendNarrow(*ids, narrowIds);
  out.appendNarrow(slots, narrowSlots);
  return std::move(out.bytes);
}

std::vector<uint8_t> textTable(ArrayRef<TokenText> texts) {
  std::vector<uint32_t> offsets;
  std::vector<uint8_t> entries;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (id % PARE_TEXT_BLOCK == 0)
      offsets.push_back(uint32_t(entries.size()));
    const TokenText &text = texts[id];
    const size_t n = text.bytes.size();
    entries.push_back(uint8_t(text.kind << 6 | std::min<size_t>(n, 63)));
    if (n >= 63) {
      entries.push_back(uint8_t(n));
      entries.push_back(uint8_t(n >> 8));
    }
    entries.insert(entries.end(), text.bytes.begin(), text.bytes.end());
  }
  if (texts.size() % PARE_TEXT_BLOCK == 0)
    offsets.push_back(uint32_t(entries.size()));
  const PareTokenizerTexts header = {uint32_t(texts.size()), 0};
  Blob out;
  out.append(ArrayRef(header));
  out.append(ArrayRef(offsets));
  out.append(ArrayRef(entries));
  return std::move(out.bytes);
}

} // namespace pare::tokenizer
