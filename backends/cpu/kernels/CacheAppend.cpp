//===- CacheAppend.cpp - Writes keys and values to caches -----------------===//
#include "backends/cpu/kernels/CacheAccess.h"
#include "backends/cpu/kernels/RowCoding.h"

using namespace mlir;
using namespace pare::cpu;

/// Rows of a task.
static constexpr int64_t kAppendRows = 4;

Grid pare::cpu::cacheAppendGrid(const CacheAppendSpec &spec) {
  return {{{spec.rows, kAppendRows}}};
}

namespace {

class Append {
public:
  Append(KernelBuilder &b, const CacheAppendSpec &spec)
      : b(b), spec(spec), cache(b, spec) {}

  void emit() {
    Value first = b.mul(b.task(), kAppendRows);
    Value last = b.minIdx(b.add(first, kAppendRows), b.extent(spec.rows));
    b.loop(first, last, 1, [&](Value row) {
      Value sequence = cache.sequence(row);
      position = cache.position(row);
      b.loop(b.idx(0), b.idx(spec.kvHeads), 1, [&](Value head) {
        Value from = b.mul(b.add(b.mul(row, spec.kvHeads), head), spec.headDim);
        Value lane = cache.lane(position);
        write(spec.ptrKey, from, cache.keys(sequence, head), lane, kCacheBlock);
        write(spec.ptrValue, from, cache.values(sequence, head),
              b.mul(lane, spec.headDim), 1);
      });
    });
  }

private:
  /// Writes a head's elements from element `from` of a pointer on to the block
  /// of the position: at `place`, `stride` apart.
  void write(unsigned ptr, Value from, Value region, Value place,
             int64_t stride) {
    Value source = b.gep(b.getF32Type(), b.ptr(ptr), from);
    Value block = cache.block(region, position);
    std::optional<RowCoding> coding;
    if (cache.hasScales()) {
      coding = RowCoding::symmetric(
          b, RowCoding::largest(b, source, b.idx(spec.headDim)),
          CodeStorage::S8);
      b.store(coding->scale, cache.scales(block), cache.lane(position));
    }
    forVectors(
        b, b.idx(spec.headDim), b.isa().f32Lanes, 1,
        [&](Value i, unsigned width, Value count) {
          Value vector = b.loadVecPartial(b.vecF32(width), source, i, count);
          if (coding)
            vector = coding->encode(b, vector);
          Value at = b.add(place, b.mul(i, stride));
          if (stride == 1)
            storeAs(b, spec.type, vector, block, at, count);
          else
            storeStrided(b, spec.type, vector, block, at, b.idx(stride), count);
        });
  }

  KernelBuilder &b;
  const CacheAppendSpec &spec;
  CacheAccess cache;
  Value position;
};

} // namespace

void pare::cpu::emitCacheAppend(KernelBuilder &b, const CacheAppendSpec &spec) {
  Append(b, spec).emit();
}
