//===- Experts.cpp - Routing rows to experts ------------------------------===//
#include "backends/cpu/kernels/Experts.h"
#include "backends/cpu/kernels/VectorMath.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <limits>

using namespace mlir;
using namespace pare::cpu;

constexpr float kLowest = -std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// Route
//===----------------------------------------------------------------------===//

static int64_t rowsPerTask(const RouteSpec &spec) {
  // Some microseconds.
  return std::clamp<int64_t>(4096 / (spec.experts * spec.used), 1, 64);
}

Grid pare::cpu::routeGrid(const RouteSpec &spec) {
  return {{{spec.rows, rowsPerTask(spec)}}};
}

int64_t pare::cpu::routeScratchBytes(const RouteSpec &spec) {
  return spec.experts * int64_t(sizeof(float));
}

namespace {
/// One row of logits, whose results begin at `first` of the outputs.
class RouteEmitter {
public:
  RouteEmitter(KernelBuilder &b, const RouteSpec &spec, Value row)
      : b(b), spec(spec), f32(b.getF32Type()),
        logits(b.gep(f32, b.ptr(spec.ptrLogits), b.mul(row, spec.experts))),
        shares(b.gep(f32, b.ptr(spec.ptrShares), b.mul(row, spec.used))),
        experts(b.gep(b.getI32Type(), b.ptr(spec.ptrExperts),
                      b.mul(row, spec.used))) {}

  void emit() {
    choose();
    Value largest = b.load(f32, shares, b.idx(0));
    Value total = spec.normalize
                      ? sumExp(shares, spec.used, 1, largest)
                      : sumExp(logits, spec.experts, b.isa().f32Lanes, largest);
    b.loop(b.idx(0), b.idx(spec.used), 1, [&](Value i) {
      Value e = exp(b.load(f32, shares, i), largest);
      b.store(arith::DivFOp::create(b, e, total), shares, i);
    });
  }

private:
  Value exp(Value x, Value largest) {
    return buildExpFlush(b, arith::SubFOp::create(b, x, largest));
  }

  /// Puts the largest logits into `shares`, their numbers into `experts`.
  void choose() {
    Value rest = b.scratch();
    forVectors(b, b.idx(spec.experts), b.isa().f32Lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 b.storePartial(
                     b.loadVecPartial(b.vecF32(width), logits, i, count), rest,
                     i, count);
               });
    b.loop(b.idx(0), b.idx(spec.used), 1, [&](Value i) {
      SmallVector<Value> best = b.loop(
          b.idx(0), b.idx(spec.experts), 1,
          ValueRange{b.constF32(kLowest), b.idx(0)},
          [&](Value expert, ValueRange before) -> SmallVector<Value> {
            Value x = b.load(f32, rest, expert);
            Value isMore = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT,
                                                 x, before[0]);
            return {arith::SelectOp::create(b, isMore, x, before[0]),
                    arith::SelectOp::create(b, isMore, expert, before[1])};
          });
      b.store(best[0], shares, i);
      b.store(b.toI32(best[1]), experts, i);
      b.store(b.constF32(kLowest), rest, best[1]);
    });
  }

  Value sumExp(Value from, int64_t count, unsigned lanes, Value largest) {
    return reduceVectors(
        b, b.idx(count), lanes, 1, b.constF32(0),
        [&](Value sum, Value i, Value some) -> Value {
          auto type = dyn_cast<VectorType>(sum.getType());
          unsigned width = type ? unsigned(type.getNumElements()) : 1;
          Value x = b.loadVecPartial(b.vecF32(width), from, i, some);
          return arith::AddFOp::create(b, sum, exp(x, b.splat(largest, width)));
        },
        [&](Value x, Value y) -> Value {
          return arith::AddFOp::create(b, x, y);
        });
  }

  KernelBuilder &b;
  const RouteSpec &spec;
  Type f32;
  Value logits, shares, experts;
};
} // namespace

void pare::cpu::emitRoute(KernelBuilder &b, const RouteSpec &spec) {
  Value first = b.mul(b.task(), rowsPerTask(spec));
  Value last = b.minIdx(b.add(first, rowsPerTask(spec)), b.extent(spec.rows));
  b.loop(first, last, 1, [&](Value row) { RouteEmitter(b, spec, row).emit(); });
}

//===----------------------------------------------------------------------===//
// Group
//===----------------------------------------------------------------------===//

int64_t pare::cpu::groupByExpertScratchBytes(const GroupByExpertSpec &spec) {
  return spec.experts * int64_t(sizeof(int32_t));
}

void pare::cpu::emitGroupByExpert(KernelBuilder &b,
                                  const GroupByExpertSpec &spec) {
  Type i32 = b.getI32Type();
  Value slots = b.extent(spec.slots), experts = b.idx(spec.experts),
        zero = b.idx(0), starts = b.ptr(spec.ptrStarts);
  auto expertOf = [&](Value slot) {
    Value expert = b.toIndex(b.load(i32, b.ptr(spec.ptrExperts), slot));
    return b.maxIdx(b.minIdx(expert, b.idx(spec.experts - 1)), zero);
  };
  auto number = [&](Value array, Value i) {
    return b.toIndex(b.load(i32, array, i));
  };
  b.loop(zero, b.idx(spec.experts + 1), 1,
         [&](Value i) { b.store(b.constI32(0), starts, i); });
  b.loop(zero, slots, 1, [&](Value slot) {
    Value next = b.add(expertOf(slot), 1);
    b.store(b.toI32(b.add(number(starts, next), 1)), starts, next);
  });
  // Where the next slot of each expert goes.
  Value cursors = b.scratch();
  b.loop(zero, experts, 1, [&](Value e) {
    Value start = number(starts, e), next = b.add(e, 1);
    b.store(b.toI32(start), cursors, e);
    b.store(b.toI32(b.add(number(starts, next), start)), starts, next);
  });
  b.loop(zero, slots, 1, [&](Value slot) {
    Value expert = expertOf(slot), to = number(cursors, expert);
    b.store(b.toI32(slot), b.ptr(spec.ptrOrder), to);
    b.store(b.toI32(b.add(to, 1)), cursors, expert);
  });
}
