#include "backends/runtime/Profile.h"

#include "backends/runtime/Context.h"
#include "backends/runtime/Heap.h"

#include <stdlib.h>

using namespace pare::rt;

void pare::rt::putColumn(Writer &text, double value, unsigned decimals,
                         uint64_t width) {
  char digits[40];
  Writer number(-1, digits, sizeof(digits));
  number.fixed(value, decimals);
  uint64_t from = text.column();
  text.pad(from, width - min(width, number.column())).put(digits);
}

void pare::rt::putProfile(Writer &text, const PareContext &context,
                          const uint64_t *stepNanos, uint64_t runs) {
  const PareModel &model = *context.model;
  auto *order = static_cast<uint32_t *>(calloc(model.num_steps + 1, 4));
  if (!order)
    return;
  uint64_t sum = 0;
  for (uint32_t s = 0; s < model.num_steps; ++s) {
    order[s] = s;
    sum += stepNanos[s];
  }
  // Steps with equal times stay in order.
  sort(order, model.num_steps, [&](uint32_t a, uint32_t b) {
    return stepNanos[a] != stepNanos[b] ? stepNanos[a] > stepNanos[b] : a < b;
  });
  text.put("        us      %   GFLOP/s     GB/s  provider   op, value\n");
  for (uint32_t i = 0; i < model.num_steps; ++i) {
    const PareStep &step = model.steps[order[i]];
    uint64_t time = stepNanos[order[i]];
    // In units of 10^9.
    auto rate = [&](uint32_t slot) {
      return time ? double(context.slots[slot]) * double(runs) / double(time)
                  : 0;
    };
    putColumn(text, double(time) * 1e-3 / double(runs), 1, 10);
    putColumn(text, 100 * double(time) / double(max<uint64_t>(sum, 1)), 1, 7);
    putColumn(text, rate(step.flops_slot), 1, 10);
    putColumn(text, rate(step.bytes_slot), 1, 9);
    uint64_t from = text.put("  ").column();
    text.put(step.provider).put(' ').pad(from, 11);
    text.put(step.op).put(", ").put(step.name).put('\n');
  }
  free(order);
}

void pare::rt::putProfileJson(Writer &text, const PareContext &context,
                              const uint64_t *stepNanos, uint64_t runs) {
  const PareModel &model = *context.model;
  text.put('[');
  for (uint32_t s = 0; s < model.num_steps; ++s) {
    const PareStep &step = model.steps[s];
    text.put(s ? "," : "").put("{\"name\":").json(step.name);
    text.put(",\"op\":").json(step.op);
    text.put(",\"provider\":").json(step.provider);
    text.put(",\"us\":").fixed(double(stepNanos[s]) * 1e-3 / double(runs), 3);
    text.put(",\"flops\":").num(context.slots[step.flops_slot]);
    text.put(",\"bytes\":").num(context.slots[step.bytes_slot]);
    text.put(",\"tasks\":").num(context.slots[step.grid_slot]).put('}');
  }
  text.put(']');
}

uint64_t pare::rt::peakBytes() {
  Bytes bytes;
  Message ignored;
  if (!readFile("/proc/self/status", bytes, ignored))
    return 0;
  for (Str text = bytes.str(); text.size;) {
    Str line = text.take(text.find('\n'));
    text = text.drop(min(line.size + 1, text.size));
    if (!line.startsWith("VmHWM:"))
      continue;
    uint64_t kilobytes = 0;
    for (uint64_t i = 0; i < line.size; ++i)
      if (line.data[i] >= '0' && line.data[i] <= '9')
        kilobytes = kilobytes * 10 + uint64_t(line.data[i] - '0');
    return kilobytes * 1024;
  }
  return 0;
}

namespace {

/// Two vectors of 16 bytes are loaded at once on every target.
typedef uint64_t Vector __attribute__((vector_size(16)));
constexpr uint64_t kPart = 1u << 20;

struct Reading {
  const char *data;
  uint64_t sums[kMaxThreads];
};

/// Four streams, as the rows of a matrix are read.
void readPart(void *state, int64_t part, uint32_t worker) {
  auto *reading = static_cast<Reading *>(state);
  constexpr uint64_t kStreams = 4, kLength = kPart / kStreams / sizeof(Vector);
  auto *at =
      reinterpret_cast<const Vector *>(reading->data + uint64_t(part) * kPart);
  Vector sums[kStreams] = {};
  for (uint64_t i = 0; i < kLength; i += 4)
    for (uint64_t s = 0; s < kStreams; ++s)
      for (uint64_t j = 0; j < 4; ++j)
        sums[s] += at[s * kLength + i + j];
  Vector sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  reading->sums[worker] += sum[0] + sum[1];
}

} // namespace

double pare::rt::readBandwidth(uint32_t threads) {
  constexpr uint64_t kBytes = 256u << 20;
  constexpr int kPasses = 6;
  HugeBuffer buffer;
  auto *reading = static_cast<Reading *>(calloc(1, sizeof(Reading)));
  ThreadPool *pool = ThreadPool::create(threads);
  double best = 0;
  if (reading && pool && fitsMemory(kBytes) && buffer.allocate(kBytes)) {
    // Pages of zeros would all be one.
    memset(buffer.data, 1, kBytes);
    reading->data = static_cast<const char *>(buffer.data);
    pool->begin();
    for (int i = 0; i < kPasses; ++i) {
      uint64_t begin = nowNanos();
      pool->parallelFor(kBytes / kPart, readPart, reading);
      best = max(best, double(kBytes) * 1e9 /
                           double(max<uint64_t>(nowNanos() - begin, 1)));
    }
    pool->end();
    // The sums are used, so that the reads stay.
    volatile uint64_t used = 0;
    for (uint64_t sum : reading->sums)
      used = used + sum;
  }
  if (pool)
    pool->destroy();
  buffer.release();
  free(reading);
  return best;
}
