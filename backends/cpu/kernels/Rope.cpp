//===- Rope.cpp - Rotary position embedding -------------------------------===//
#include "backends/cpu/kernels/Rope.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace pare::cpu;

namespace {

constexpr int64_t kElementsPerTask = 4096;

class RopeHead {
public:
  /// The head at `x`, whose angles are at `angle` of cosines and sines.
  RopeHead(KernelBuilder &b, const RopeSpec &spec, Value head, Value angle)
      : b(b), spec(spec), head(head), angle(angle), lanes(b.isa().f32Lanes) {}

  void emit() {
    forVectors(b, b.idx(spec.half), lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 spec.interleaved ? rotatePairs(i, width, count)
                                  : rotateHalves(i, width, count);
               });
    if (spec.ptrX == spec.ptrOut)
      return;
    forVectors(b, b.idx(spec.size - 2 * spec.half), lanes, 1,
               [&](Value i, unsigned width, Value count) {
                 Value at = b.add(head, b.add(i, 2 * spec.half));
                 store(load(spec.ptrX, at, width, count), at, count);
               });
  }

private:
  Value load(unsigned ptr, Value at, unsigned width, Value count) {
    return b.loadVecPartial(b.vecF32(width), b.ptr(ptr), at, count);
  }
  void store(Value vector, Value at, Value count) {
    b.storePartial(vector, b.ptr(spec.ptrOut), at, count);
  }
  std::pair<Value, Value> rotate(Value x, Value y, Value i, unsigned width,
                                 Value count) {
    Value cos = load(spec.ptrCos, b.add(angle, i), width, count),
          sin = load(spec.ptrSin, b.add(angle, i), width, count);
    auto mul = [&](Value p, Value q) -> Value {
      return arith::MulFOp::create(b, p, q);
    };
    return {arith::SubFOp::create(b, mul(x, cos), mul(y, sin)),
            b.fma(y, cos, mul(x, sin))};
  }

  void rotateHalves(Value i, unsigned width, Value count) {
    Value first = b.add(head, i), second = b.add(first, spec.half);
    auto [x, y] =
        rotate(load(spec.ptrX, first, width, count),
               load(spec.ptrX, second, width, count), i, width, count);
    store(x, first, count);
    store(y, second, count);
  }

  void rotatePairs(Value i, unsigned width, Value count) {
    Value first = b.add(head, b.mul(i, 2));
    Value both = count ? b.mul(count, 2) : Value();
    Value pairs = load(spec.ptrX, first, 2 * width, both);
    SmallVector<int64_t> even, odd, mixed;
    for (int64_t lane = 0; lane < width; ++lane) {
      even.push_back(2 * lane);
      odd.push_back(2 * lane + 1);
      mixed.push_back(lane);
      mixed.push_back(width + lane);
    }
    auto [x, y] = rotate(b.shuffle(pairs, pairs, even),
                         b.shuffle(pairs, pairs, odd), i, width, count);
    store(b.shuffle(x, y, mixed), first, both);
  }

  KernelBuilder &b;
  const RopeSpec &spec;
  Value head, angle;
  unsigned lanes;
};

int64_t rowsPerTask(const RopeSpec &spec) {
  return std::max<int64_t>(1, kElementsPerTask / (spec.heads * spec.size));
}

} // namespace

Grid pare::cpu::ropeGrid(const RopeSpec &spec) {
  return {{{spec.rows, rowsPerTask(spec)}}};
}

void pare::cpu::emitRope(KernelBuilder &b, const RopeSpec &spec) {
  Value first = b.mul(b.task(), rowsPerTask(spec));
  Value last = b.minIdx(b.add(first, rowsPerTask(spec)), b.extent(spec.rows));
  b.loop(first, last, 1, [&](Value row) {
    b.loop(b.idx(0), b.idx(spec.heads), 1, [&](Value head) {
      Value at = b.mul(b.add(b.mul(row, spec.heads), head), spec.size);
      RopeHead(b, spec, at, b.mul(row, spec.half)).emit();
    });
  });
}
