//===- GemmQuantize.cpp - Int8 codes of rows of activations ---------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/RowCoding.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace pare::cpu;

int64_t pare::cpu::quantizeRowsPerTask(const QuantizeRowsSpec &spec) {
  // About 8,192 values, some microseconds.
  if (!spec.k.isFixed())
    return 8;
  return std::clamp<int64_t>(8192 / std::max<int64_t>(spec.k.fixed, 1), 1, 64);
}

//===----------------------------------------------------------------------===//
// One row
//===----------------------------------------------------------------------===//

/// Adding 1.5 · 2^23 rounds to nearest even and leaves the integer in the low
/// bits of the sum.
static constexpr float kRound = 12582912.0f;

static float codeOffset(CodeStorage storage) {
  return storage == CodeStorage::U8Plus128 ? 128.0f : 0.0f;
}

/// Rows below this count as zero.
static Value isSome(KernelBuilder &b, Value largest) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, largest,
                               b.constF32(0x1p-100f));
}

RowCoding RowCoding::symmetric(KernelBuilder &b, Value largest) {
  Value some = isSome(b, largest), zero = b.constF32(0);
  Value limit = b.constF32(codeLimit(b.isa().codeStorage()));
  Value scale = arith::DivFOp::create(b, largest, limit);
  Value inverse = arith::DivFOp::create(b, limit, largest);
  return {arith::SelectOp::create(b, some, scale, zero),
          arith::SelectOp::create(b, some, inverse, zero), nullptr};
}

RowCoding RowCoding::asymmetric(KernelBuilder &b, Value low, Value high) {
  Value largest = maxFloat(b, arith::NegFOp::create(b, low), high);
  Value some = isSome(b, largest), zero = b.constF32(0);
  Value range = arith::SubFOp::create(b, high, low);
  Value scale =
      maxFloat(b, arith::DivFOp::create(b, range, b.constF32(253)),
               arith::MulFOp::create(b, largest, b.constF32(1.0f / 512)));
  Value inverse = arith::DivFOp::create(b, b.constF32(1), scale);
  Value point = arith::SubFOp::create(b, b.constF32(-126.5f),
                                      arith::MulFOp::create(b, low, inverse));
  Value magic = b.constF32(kRound);
  point =
      arith::SubFOp::create(b, arith::AddFOp::create(b, point, magic), magic);
  return {arith::SelectOp::create(b, some, scale, zero),
          arith::SelectOp::create(b, some, inverse, zero),
          arith::SelectOp::create(b, some, point, zero)};
}

void RowCoding::store(KernelBuilder &b, Value row, Value scales,
                      Value zeroPoints) const {
  b.store(scale, scales, row);
  if (!zero)
    return;
  Value stored = arith::AddFOp::create(
      b, zero, b.constF32(codeOffset(b.isa().codeStorage())));
  b.store(arith::FPToSIOp::create(b, b.getI32Type(), stored), zeroPoints, row);
}

Value RowCoding::encode(KernelBuilder &b, Value x) const {
  unsigned lanes = cast<VectorType>(x.getType()).getNumElements();
  CodeStorage storage = b.isa().codeStorage();
  // The offset of unsigned codes and the zero point come along for free.
  Value magic = b.constF32(kRound + codeOffset(storage));
  if (zero)
    magic = arith::AddFOp::create(b, magic, zero);
  Value scaled = arith::MulFOp::create(b, x, b.splat(inverse, lanes));
  Value rounded = arith::AddFOp::create(b, scaled, b.splat(magic, lanes));
  Value bits =
      arith::BitcastOp::create(b, b.vecType(lanes, b.getI32Type()), rounded);
  Type code = b.getIntegerType(8 * codeBytes(storage));
  return arith::TruncIOp::create(b, b.vecType(lanes, code), bits);
}

RowCoding RowCoding::ofRow(KernelBuilder &b, Value x, Value k,
                           bool asymmetric) {
  auto reduce = [&](float neutral, auto map, auto combine) {
    return reduceVectors(
        b, k, kPanel, 1, b.constF32(neutral),
        [&](Value acc, Value i, Value count) -> Value {
          auto vector = cast<VectorType>(acc.getType());
          return combine(b, map(b.loadVecPartial(vector, x, i, count)), acc);
        },
        [&](Value u, Value v) { return combine(b, u, v); });
  };
  auto same = [](Value v) { return v; };
  if (asymmetric)
    return RowCoding::asymmetric(b, reduce(INFINITY, same, minFloat),
                                 reduce(-INFINITY, same, maxFloat));
  auto magnitude = [&](Value v) -> Value { return math::AbsFOp::create(b, v); };
  return symmetric(b, reduce(0, magnitude, maxFloat));
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

void pare::cpu::emitQuantizeRows(KernelBuilder &b,
                                 const QuantizeRowsSpec &spec) {
  Type code = b.getIntegerType(8 * codeBytes(b.isa().codeStorage()));
  unsigned lanes = kPanel;
  Value k = b.extent(spec.k), ldx = b.extent(spec.ldx);
  Value padded = b.mul(b.divCeil(k, 4), 4);

  int64_t rows = quantizeRowsPerTask(spec);
  Value begin = b.mul(b.task(), rows);
  Value end = b.minIdx(b.add(begin, rows), b.extent(spec.m));
  b.loop(begin, end, 1, [&](Value row) {
    Value x = b.gep(b.getF32Type(), b.ptr(spec.ptrX), b.mul(row, ldx));
    Value codes = b.gep(code, b.ptr(spec.ptrCodes), b.mul(row, padded));
    RowCoding coding = RowCoding::ofRow(b, x, k, spec.ptrZero.has_value());
    coding.store(b, row, b.ptr(spec.ptrScale),
                 spec.ptrZero ? b.ptr(*spec.ptrZero) : Value());
    auto convert = [&](Value at, Value readable, Value writable) {
      Value v = b.loadVecPartial(b.vecF32(lanes), x, at, readable);
      b.storePartial(coding.encode(b, v), codes, at, writable);
    };
    Value whole = b.mul(b.divFloor(k, lanes), lanes);
    b.loop(b.idx(0), whole, lanes,
           [&](Value at) { convert(at, nullptr, nullptr); });
    if (KernelBuilder::constant(b.sub(k, whole)) != 0)
      convert(whole, b.sub(k, whole), b.sub(padded, whole));
  });
}
