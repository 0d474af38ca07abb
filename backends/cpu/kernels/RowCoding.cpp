//===- RowCoding.cpp - Codes of a row of activations ----------------------===//
#include "backends/cpu/kernels/RowCoding.h"
#include "backends/cpu/kernels/MicroKernel.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace pare::cpu;

/// Adding 1.5 · 2^23 rounds to nearest even and leaves the integer in the low
/// bits of the sum.
static constexpr float kRound = 12582912.0f;

/// Rows below this count as zero.
static Value isSome(KernelBuilder &b, Value largest) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, largest,
                               b.constF32(0x1p-100f));
}

RowCoding RowCoding::symmetric(KernelBuilder &b, Value largest,
                               CodeStorage storage) {
  Value some = isSome(b, largest), zero = b.constF32(0);
  Value limit = b.constF32(codeLimit(storage));
  Value scale = arith::DivFOp::create(b, largest, limit);
  Value inverse = arith::DivFOp::create(b, limit, largest);
  return {arith::SelectOp::create(b, some, scale, zero),
          arith::SelectOp::create(b, some, inverse, zero), nullptr, storage};
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
          arith::SelectOp::create(b, some, point, zero), b.isa().codeStorage()};
}

void RowCoding::store(KernelBuilder &b, Value row, Value scales,
                      Value zeroPoints) const {
  b.store(scale, scales, row);
  if (!zero)
    return;
  Value stored =
      arith::AddFOp::create(b, zero, b.constF32(codeOffset(storage)));
  b.store(arith::FPToSIOp::create(b, b.getI32Type(), stored), zeroPoints, row);
}

Value RowCoding::encode(KernelBuilder &b, Value x) const {
  unsigned lanes = cast<VectorType>(x.getType()).getNumElements();
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

/// Combines the `k` values at `x`, seen through `map`.
static Value reduceRow(KernelBuilder &b, Value x, Value k, float neutral,
                       llvm::function_ref<Value(Value)> map,
                       Value (*combine)(KernelBuilder &, Value, Value)) {
  return reduceVectors(
      b, k, kPanel, 1, b.constF32(neutral),
      [&](Value acc, Value i, Value count) -> Value {
        auto vector = cast<VectorType>(acc.getType());
        return combine(b, map(b.loadVecPartial(vector, x, i, count)), acc);
      },
      [&](Value u, Value v) { return combine(b, u, v); });
}

Value RowCoding::largest(KernelBuilder &b, Value x, Value k) {
  auto magnitude = [&](Value v) -> Value { return math::AbsFOp::create(b, v); };
  return reduceRow(b, x, k, 0, magnitude, maxFloat);
}

RowCoding RowCoding::ofRow(KernelBuilder &b, Value x, Value k,
                           bool asymmetric) {
  if (!asymmetric)
    return symmetric(b, largest(b, x, k));
  auto same = [](Value v) { return v; };
  Value low = reduceRow(b, x, k, INFINITY, same, minFloat);
  return RowCoding::asymmetric(b, low,
                               reduceRow(b, x, k, -INFINITY, same, maxFloat));
}
