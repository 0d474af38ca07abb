//===- Caches.cpp - What the sequences of a language model remember -------===//
//
// A cache is cut into regions; position p is at p % capacity. Only layers with
// a window have regions of fewer positions than the context: rings. One holds
// the window and as many positions more as one run can write.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/Context.h"
#include "backends/runtime/Sha256.h"

#include <stdlib.h>
#include <sys/mman.h>

using namespace pare::rt;

namespace {

/// What pare_cache_save puts before the regions' blocks.
struct Header {
  char magic[8];
  uint8_t model[32];
  uint32_t positions, written;
  uint64_t bytes; ///< of the block, this header included
};
constexpr char kMagic[8] = {'p', 'a', 'r', 'e', ' ', 'k', 'v', 1};

bool fail(PareContext &context, const char *message) {
  context.error.start().put(message);
  return false;
}

bool checkSequence(PareContext &context, uint32_t sequence) {
  if (sequence < context.numSequences)
    return true;
  context.error.start()
      .put("there is no sequence ")
      .unsignedNum(sequence)
      .put(": the context was made for ")
      .unsignedNum(context.numSequences);
  return false;
}

/// Calls use(offset, bytes) with what holds the first `positions`, region by
/// region.
template <typename Use>
void forEachRegion(const PareDecoderInfo &decoder, uint32_t positions,
                   Use use) {
  for (uint32_t i = 0; i < decoder.num_regions; ++i) {
    const PareCacheRegion &region = decoder.regions[i];
    uint64_t held = min(positions, region.capacity);
    uint64_t blocks = (held + region.block_rows - 1) / region.block_rows;
    use(region.offset, blocks * region.block_bytes);
  }
}

/// Rows that a run can write: what rings have beyond their windows.
uint32_t runRows(const PareModel &model) {
  for (uint32_t d = 0; d < model.num_dims; ++d)
    if (model.dims[d].input == model.decoder->tokens)
      return uint32_t(model.dims[d].max);
  return uint32_t(max<int64_t>(model.inputs[model.decoder->tokens].dims[0], 1));
}

/// Tells apart models whose caches do not hold the same.
void fingerprint(const PareModel &model, uint8_t digest[32]) {
  const PareDecoderInfo &decoder = *model.decoder;
  Bytes bytes;
  auto add = [&](uint64_t value) { bytes.append(&value, sizeof(value)); };
  bytes.append(model.weights_sha256, sizeof(model.weights_sha256));
  add(decoder.vocabulary);
  add(decoder.cache_bytes);
  for (uint32_t i = 0; i < decoder.num_regions; ++i) {
    add(decoder.regions[i].offset);
    add(uint64_t(decoder.regions[i].block_bytes) << 32 |
        decoder.regions[i].block_rows);
    add(decoder.regions[i].capacity);
  }
  sha256(bytes.data, bytes.size, digest);
}

bool checkReusable(PareContext &context, uint32_t sequence,
                   uint32_t positions) {
  if (!checkSequence(context, sequence))
    return false;
  if (pare_cache_reusable(&context, sequence, positions) == positions)
    return true;
  context.error.start()
      .put("sequence ")
      .unsignedNum(sequence)
      .put(" does not hold its first ")
      .unsignedNum(positions)
      .put(" positions any more");
  return false;
}

} // namespace

bool pare::rt::createCaches(PareContext &context, uint32_t sequences) {
  const PareDecoderInfo &decoder = *context.model->decoder;
  uint32_t count = max(sequences, 1u);
  context.caches = static_cast<Cache *>(calloc(count, sizeof(Cache)));
  context.cacheBases = static_cast<void **>(calloc(count, sizeof(void *)));
  if (!context.caches || !context.cacheBases)
    return fail(context, "out of memory");
  context.numSequences = count;
  for (uint32_t s = 0; s < count; ++s) {
    if (!context.caches[s].block.allocate(context, decoder.cache_bytes,
                                          /*fills=*/false)) {
      context.error.start()
          .put("out of memory: each of ")
          .unsignedNum(count)
          .put(" sequences needs ")
          .unsignedNum(decoder.cache_bytes)
          .put(" bytes of address space");
      return false;
    }
    context.cacheBases[s] = context.caches[s].block.data;
  }
  return true;
}

void pare::rt::destroyCaches(PareContext &context) {
  for (uint32_t s = 0; s < context.numSequences; ++s)
    context.caches[s].block.release(context);
  free(context.caches);
  free(context.cacheBases);
}

bool pare::rt::checkDecoderInputs(PareContext &context,
                                  const PareTensor *inputs) {
  const PareModel &model = *context.model;
  const PareDecoderInfo &decoder = *model.decoder;
  auto valuesOf = [&](uint32_t input) {
    return static_cast<const int32_t *>(inputs[input].data);
  };
  uint64_t rows = uint64_t(inputs[decoder.tokens].dims[0]);
  auto check = [&](uint32_t input, uint64_t end) {
    const int32_t *values = valuesOf(input);
    for (int64_t i = 0; i < inputs[input].dims[0]; ++i) {
      if (values[i] >= 0 && uint64_t(values[i]) < end)
        continue;
      context.error.start()
          .put("input '")
          .put(model.inputs[input].name)
          .put("': element ")
          .num(i)
          .put(" is ")
          .num(values[i])
          .put(", expected 0 to ")
          .unsignedNum(end - 1);
      return false;
    }
    return true;
  };
  if (!check(decoder.tokens,
             uint64_t(decoder.vocabulary) + decoder.prompt_tokens) ||
      !check(decoder.positions, decoder.context) ||
      !check(decoder.sequences, context.numSequences) ||
      !check(decoder.outputs, rows))
    return false;
  const int32_t *positions = valuesOf(decoder.positions);
  const int32_t *sequences = valuesOf(decoder.sequences);
  for (uint64_t i = 0; i < rows; ++i) {
    uint32_t &written = context.caches[sequences[i]].written;
    written = max(written, uint32_t(positions[i]) + 1);
  }
  return true;
}

uint32_t pare_sequences(const PareContext *context) {
  return context->numSequences;
}

int pare_cache_reset(PareContext *context, uint32_t sequence) {
  if (!checkSequence(*context, sequence))
    return 1;
  Cache &cache = context->caches[sequence];
  cache.written = 0;
  // What the caller's allocator gave stays as it is.
  constexpr uint64_t page = 65536;
  uint64_t begin = alignUp(reinterpret_cast<uintptr_t>(cache.block.data), page);
  uint64_t end =
      (reinterpret_cast<uintptr_t>(cache.block.data) + cache.block.bytes) /
      page * page;
  if (!context->allocator.allocate && begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
  return 0;
}

uint32_t pare_cache_reusable(const PareContext *context, uint32_t sequence,
                             uint32_t positions) {
  if (sequence >= context->numSequences)
    return 0;
  const PareDecoderInfo &decoder = *context->model->decoder;
  uint32_t written = context->caches[sequence].written;
  if (positions > written)
    return 0;
  // A ring holds the positions from written - capacity on, and the window of
  // the next one begins at positions - (capacity - runRows) at the earliest.
  for (uint32_t i = 0; i < decoder.num_regions; ++i)
    if (written > decoder.regions[i].capacity &&
        written - positions > runRows(*context->model))
      return 0;
  return positions;
}

int pare_cache_copy(PareContext *context, uint32_t to, uint32_t from,
                    uint32_t positions) {
  if (!checkSequence(*context, to) || !checkReusable(*context, from, positions))
    return 1;
  if (to == from)
    return 0;
  const char *source = context->caches[from].block.data;
  char *target = context->caches[to].block.data;
  forEachRegion(*context->model->decoder, positions,
                [&](uint64_t offset, uint64_t bytes) {
                  memcpy(target + offset, source + offset, bytes);
                });
  // Rings have rows of later positions too.
  context->caches[to].written = context->caches[from].written;
  return 0;
}

uint64_t pare_cache_bytes(const PareContext *context, uint32_t positions) {
  const PareDecoderInfo *decoder = context->model->decoder;
  if (!decoder || positions > decoder->context)
    return 0;
  uint64_t total = sizeof(Header);
  forEachRegion(*decoder, positions,
                [&](uint64_t, uint64_t bytes) { total += bytes; });
  return total;
}

int pare_cache_save(PareContext *context, uint32_t sequence, uint32_t positions,
                    void *block, uint64_t bytes) {
  if (!checkReusable(*context, sequence, positions))
    return 1;
  Header header = {};
  header.bytes = pare_cache_bytes(context, positions);
  if (bytes < header.bytes)
    return !fail(*context, "too little room for the sequence's cache");
  memcpy(header.magic, kMagic, sizeof(kMagic));
  fingerprint(*context->model, header.model);
  header.positions = positions;
  header.written = context->caches[sequence].written;
  char *out = static_cast<char *>(block);
  memcpy(out, &header, sizeof(header));
  out += sizeof(header);
  const char *source = context->caches[sequence].block.data;
  forEachRegion(*context->model->decoder, positions,
                [&](uint64_t offset, uint64_t size) {
                  memcpy(out, source + offset, size);
                  out += size;
                });
  return 0;
}

int pare_cache_load(PareContext *context, uint32_t sequence, const void *block,
                    uint64_t bytes, uint32_t *positions) {
  if (!checkSequence(*context, sequence))
    return 1;
  Header header;
  if (bytes < sizeof(header))
    return !fail(*context, "not a whole cache of a sequence");
  memcpy(&header, block, sizeof(header));
  if (memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return !fail(*context, "not a cache of a sequence");
  uint8_t digest[32];
  fingerprint(*context->model, digest);
  if (memcmp(header.model, digest, sizeof(digest)) != 0)
    return !fail(*context, "the cache is of another model");
  if (header.bytes != bytes || header.written < header.positions ||
      header.bytes != pare_cache_bytes(context, header.positions))
    return !fail(*context, "not a whole cache of a sequence");
  const char *in = static_cast<const char *>(block) + sizeof(header);
  char *target = context->caches[sequence].block.data;
  forEachRegion(*context->model->decoder, header.positions,
                [&](uint64_t offset, uint64_t size) {
                  memcpy(target + offset, in, size);
                  in += size;
                });
  context->caches[sequence].written = header.written;
  *positions = header.positions;
  return 0;
}
