//===- MicroKernel.cpp - Register tiles of inner products -----------------===//
#include "backends/cpu/kernels/MicroKernel.h"
#include "backends/cpu/kernels/Dot.h"

using namespace mlir;
using namespace pare::cpu;

MicroKernel::MicroKernel(const Isa &isa, Format format)
    : format_(format), dot_(format == F32 ? makeF32Dot(isa) : makeS8Dot(isa)),
      needsCompensation_(format == S8 &&
                         isa.codeStorage() == CodeStorage::U8Plus128) {}

MicroKernel::~MicroKernel() = default;
MicroKernel::MicroKernel(MicroKernel &&) = default;

unsigned MicroKernel::kGroup() const { return dot_->kGroup; }
unsigned MicroKernel::lanes() const { return dot_->lanes; }
ArrayRef<MicroTile> MicroKernel::tiles() const { return dot_->tiles; }

Type MicroKernel::rowElement(OpBuilder &b) const { return dot_->rowElement(b); }
Type MicroKernel::groupElement(OpBuilder &b) const {
  return dot_->groupElement(b);
}

unsigned MicroKernel::groups(MicroTile tile) const {
  return tile.cols / dot_->lanes;
}

Value MicroKernel::groupPtr(KernelBuilder &b, Value packed, Value steps,
                            Value group) const {
  Type elem = groupElement(b);
  unsigned perPanel = kPanel / lanes();
  Value panel = b.divFloor(group, perPanel);
  Value within = b.rem(group, perPanel);
  Value offset = b.add(b.mul(b.mul(panel, steps), kPanel * kGroup()),
                       b.mul(within, lanes() * kGroup()));
  return b.gep(elem, packed, offset);
}

SmallVector<Value>
MicroKernel::start(KernelBuilder &b, MicroTile tile,
                   llvm::function_ref<Value(unsigned)> init) const {
  SmallVector<Value> acc;
  for (unsigned g = 0; g < groups(tile); ++g) {
    Value columns = init ? init(g) : Value();
    for (unsigned p = 0; p < dot_->parts; ++p)
      acc.push_back(columns ? dot_->start(b, columns, p)
                            : b.zero(dot_->accType(b)));
  }
  SmallVector<Value> all;
  for (unsigned r = 0; r < tile.rows; ++r)
    all.append(acc);
  return all;
}

void MicroKernel::step(KernelBuilder &b, MicroTile tile,
                       MutableArrayRef<Value> acc, Value first, unsigned turn,
                       const MicroOperands &operands) const {
  // Packed: the turn of an unrolled loop is a constant displacement.
  auto address = [&](Value base, Type elem, Value stride, int64_t packed) {
    if (stride)
      return b.gep(elem, base, b.mul(b.add(first, turn), stride));
    return b.gep(elem, b.gep(elem, base, b.mul(first, packed)),
                 b.idx(turn * packed));
  };
  Type elemA = rowElement(b), elemB = groupElement(b);
  SmallVector<Value> columns;
  for (unsigned g = 0; g < groups(tile); ++g)
    for (unsigned p = 0; p < dot_->parts; ++p)
      columns.push_back(
          dot_->loadB(b,
                      address(operands.groups[g], elemB, operands.groupStep,
                              kPanel * kGroup()),
                      p));
  for (unsigned r = 0; r < tile.rows; ++r) {
    Value a = dot_->broadcastA(
        b, address(operands.rows[r], elemA, operands.rowStep, kGroup()));
    dot_->accumulate(b, acc.slice(r * columns.size(), columns.size()), a,
                     columns);
  }
}

SmallVector<Value> MicroKernel::accumulate(KernelBuilder &b, MicroTile tile,
                                           ValueRange acc, Value steps,
                                           MicroOperands operands) const {
  assert(operands.rows.size() == tile.rows &&
         operands.groups.size() == groups(tile) && "operands match the tile");
  // About 48 dot instructions per turn hide the loop's own.
  constexpr unsigned kPerTurn = 48;
  unsigned unroll = std::clamp<unsigned>(
      llvm::bit_floor(kPerTurn / unsigned(acc.size())), 1, dot_->maxUnroll);
  auto run = [&](Value from, Value to, unsigned count, ValueRange start) {
    if (KernelBuilder::constant(to) == 0)
      return SmallVector<Value>(start);
    return b.loop(from, to, count, start,
                  [&](Value k, ValueRange sums) -> SmallVector<Value> {
                    SmallVector<Value> next(sums);
                    for (unsigned u = 0; u < count; ++u)
                      step(b, tile, next, k, u, operands);
                    return next;
                  });
  };
  Value whole = b.mul(b.divFloor(steps, unroll), unroll);
  SmallVector<Value> sums = run(b.idx(0), whole, unroll, acc);
  if (auto known = KernelBuilder::constant(steps)) {
    for (int64_t k = *known / unroll * unroll; k < *known; ++k)
      step(b, tile, sums, b.idx(k), 0, operands);
    return sums;
  }
  return unroll == 1 ? sums : run(whole, steps, 1, sums);
}

SmallVector<Value> MicroKernel::finish(KernelBuilder &b, MicroTile tile,
                                       ValueRange acc) const {
  SmallVector<Value> results;
  unsigned parts = dot_->parts;
  for (unsigned i = 0; i < acc.size(); i += parts)
    results.push_back(dot_->finish(b, SmallVector<Value>(acc.slice(i, parts))));
  return results;
}
