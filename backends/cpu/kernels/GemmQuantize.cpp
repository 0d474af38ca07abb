//===- GemmQuantize.cpp - Int8 codes of rows of activations ---------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace pare::cpu;

int64_t pare::cpu::quantizeRowsPerTask(const QuantizeRowsSpec &spec) {
  // About 8,192 values, some microseconds.
  if (!spec.k.isFixed())
    return 8;
  return std::clamp<int64_t>(8192 / std::max<int64_t>(spec.k.fixed, 1), 1, 64);
}

/// Lane-wise maximum; a NaN in `a` gives b.
static Value maximum(KernelBuilder &b, Value a, Value other) {
  Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, a, other);
  return arith::SelectOp::create(b, greater, a, other);
}

/// max |x| of row `x` of `k` elements.
static Value absMax(KernelBuilder &b, Value x, Value k) {
  unsigned lanes = kPanel;
  VectorType vec = b.vecF32(lanes);
  auto fold = [&](Value offset, Value count, Value best) {
    Value v = b.loadVecPartial(vec, x, offset, count);
    return maximum(b, math::AbsFOp::create(b, v), best);
  };
  Value whole = b.mul(b.divFloor(k, lanes), lanes);
  Value best = b.loop(b.idx(0), whole, lanes, ValueRange{b.zero(vec)},
                      [&](Value i, ValueRange m) -> SmallVector<Value> {
                        return {fold(i, nullptr, m[0])};
                      })[0];
  if (KernelBuilder::constant(b.sub(k, whole)) != 0)
    best = fold(whole, b.sub(k, whole), best);
  for (unsigned n = lanes / 2; n >= 1; n /= 2)
    best = maximum(b, b.slice(best, 0, n), b.slice(best, n, n));
  return vector::ExtractOp::create(b, best, 0);
}

void pare::cpu::emitQuantizeRows(KernelBuilder &b,
                                 const QuantizeRowsSpec &spec) {
  CodeStorage storage = b.isa().codeStorage();
  Type f32 = b.getF32Type(), i32 = b.getI32Type();
  Type code = b.getIntegerType(8 * codeBytes(storage));
  unsigned lanes = kPanel;
  Value k = b.extent(spec.k), ldx = b.extent(spec.ldx);
  Value padded = b.mul(b.divCeil(k, 4), 4);

  // Adding 1.5 · 2^23 rounds to nearest even and leaves the integer in the low
  // bits of the sum; the offset of unsigned codes comes along for free.
  float offset = storage == CodeStorage::U8Plus128 ? 128.0f : 0.0f;
  Value magic = b.constF32(12582912.0f + offset, lanes);

  int64_t rows = quantizeRowsPerTask(spec);
  Value begin = b.mul(b.task(), rows);
  Value end = b.minIdx(b.add(begin, rows), b.extent(spec.m));
  b.loop(begin, end, 1, [&](Value row) {
    Value x = b.gep(f32, b.ptr(spec.ptrX), b.mul(row, ldx));
    Value codes = b.gep(code, b.ptr(spec.ptrCodes), b.mul(row, padded));
    Value best = absMax(b, x, k);
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, best,
                                       b.constF32(0x1p-100f));
    Value zero = b.constF32(0), limit = b.constF32(codeLimit(storage));
    Value scale = arith::SelectOp::create(
        b, some, arith::DivFOp::create(b, best, limit), zero);
    Value inverse = arith::SelectOp::create(
        b, some, arith::DivFOp::create(b, limit, best), zero);
    b.store(scale, b.ptr(spec.ptrScale), row);

    Value factor = b.splat(inverse, lanes);
    auto convert = [&](Value at, Value readable, Value writable) {
      Value v = b.loadVecPartial(b.vecF32(lanes), x, at, readable);
      Value scaled = arith::MulFOp::create(b, v, factor);
      Value rounded = arith::AddFOp::create(b, scaled, magic);
      Value bits = arith::BitcastOp::create(b, b.vecType(lanes, i32), rounded);
      Value narrow = arith::TruncIOp::create(b, b.vecType(lanes, code), bits);
      b.storePartial(narrow, codes, at, writable);
    };
    Value whole = b.mul(b.divFloor(k, lanes), lanes);
    b.loop(b.idx(0), whole, lanes,
           [&](Value at) { convert(at, nullptr, nullptr); });
    if (KernelBuilder::constant(b.sub(k, whole)) != 0)
      convert(whole, b.sub(k, whole), b.sub(padded, whole));
  });
}
