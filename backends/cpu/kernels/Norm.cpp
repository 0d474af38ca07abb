//===- Norm.cpp - Layer and RMS normalization -----------------------------===//
#include "backends/cpu/kernels/Norm.h"
#include "backends/cpu/kernels/RowCoding.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace pare::cpu;

static int64_t rowsPerTask(const NormSpec &spec) {
  return spec.columns.isFixed()
             ? std::clamp<int64_t>(
                   8192 / std::max<int64_t>(spec.columns.fixed, 1), 1, 64)
             : 8;
}

Grid pare::cpu::normGrid(const NormSpec &spec) {
  return {{{spec.rows, rowsPerTask(spec)}}};
}

Product pare::cpu::normScratchBytes(const NormSpec &spec) {
  return Product(4) * spec.columns;
}

namespace {

/// Emits one row.
class NormRow {
public:
  NormRow(KernelBuilder &b, const NormSpec &spec, Value row)
      : b(b), spec(spec), row(row), columns(b.extent(spec.columns)),
        first(b.mul(row, columns)), lanes(b.isa().f32Lanes) {}

  void emit() {
    Value n = arith::SIToFPOp::create(b, b.getF32Type(), b.toI32(columns));
    Value sum = sumPass();
    Value mean = spec.rms ? Value() : div(sum, n);
    Value squares = spec.rms ? sum : squaresPass(mean);
    Value variance =
        arith::AddFOp::create(b, div(squares, n), b.constF32(spec.epsilon));
    Value inverse = div(b.constF32(1), math::SqrtOp::create(b, variance));
    Value largest = outputPass(mean, inverse);
    if (spec.ptrCodes)
      quantizePass(largest);
  }

private:
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value load(unsigned ptr, Value at, unsigned width, Value count) {
    return b.loadVecPartial(b.vecF32(width), b.ptr(ptr), at, count);
  }
  unsigned widthOf(Value acc) {
    return cast<VectorType>(acc.getType()).getNumElements();
  }

  /// x + residual; what the first pass has summed is read back.
  Value input(Value i, unsigned width, Value count) {
    if (!spec.ptrResidual)
      return load(spec.ptrX, b.add(first, i), width, count);
    return b.loadVecPartial(b.vecF32(width), b.scratch(), i, count);
  }

  /// Sum of the row, or of its squares (RMS). Leaves x + residual in scratch.
  Value sumPass() {
    auto step = [&](Value acc, Value i, Value count) {
      unsigned width = widthOf(acc);
      Value x = load(spec.ptrX, b.add(first, i), width, count);
      if (spec.ptrResidual) {
        x = add(x, load(*spec.ptrResidual, b.add(first, i), width, count));
        b.storePartial(x, b.scratch(), i, count);
        if (spec.ptrSum)
          b.storePartial(x, b.ptr(*spec.ptrSum), b.add(first, i), count);
      }
      return spec.rms ? b.fma(x, x, acc) : add(acc, x);
    };
    return reduceVectors(b, columns, lanes, 4, b.constF32(0), step,
                         [this](Value x, Value y) { return add(x, y); });
  }

  Value squaresPass(Value mean) {
    auto step = [&](Value acc, Value i, Value count) -> Value {
      unsigned width = widthOf(acc);
      Value d = arith::SubFOp::create(b, input(i, width, count),
                                      b.splat(mean, width));
      return b.fma(d, d, acc);
    };
    return reduceVectors(b, columns, lanes, 4, b.constF32(0), step,
                         [this](Value x, Value y) { return add(x, y); });
  }

  /// Stores the result, in scratch where it is quantized next; returns the
  /// largest magnitude where codes are symmetric.
  Value outputPass(Value mean, Value inverse) {
    auto result = [&](Value i, unsigned width, Value count) -> Value {
      Value x = input(i, width, count);
      if (mean)
        x = arith::SubFOp::create(b, x, b.splat(mean, width));
      x = mul(x, b.splat(inverse, width));
      Value scale =
          spec.ptrScale ? load(*spec.ptrScale, i, width, count) : Value();
      Value bias =
          spec.ptrBias ? load(*spec.ptrBias, i, width, count) : Value();
      if (scale)
        x = bias ? b.fma(x, scale, bias) : mul(x, scale);
      else if (bias)
        x = add(x, bias);
      if (spec.epilogue)
        x = spec.epilogue(b, x, row, i, count);
      if (spec.ptrOut)
        b.storePartial(x, b.ptr(*spec.ptrOut), b.add(first, i), count);
      if (spec.ptrCodes)
        b.storePartial(x, b.scratch(), i, count);
      return x;
    };
    if (!spec.ptrCodes || spec.ptrRowZero) {
      forVectors(b, columns, lanes, 2,
                 [&](Value i, unsigned width, Value count) {
                   result(i, width, count);
                 });
      return {};
    }
    auto step = [&](Value acc, Value i, Value count) -> Value {
      Value x = result(i, widthOf(acc), count);
      return maxFloat(b, math::AbsFOp::create(b, x), acc);
    };
    return reduceVectors(
        b, columns, lanes, 2, b.constF32(0), step,
        [this](Value x, Value y) { return maxFloat(b, x, y); });
  }

  /// Codes of the row in scratch; `largest` is null if they are asymmetric.
  void quantizePass(Value largest) {
    RowCoding coding = largest ? RowCoding::symmetric(b, largest)
                               : RowCoding::ofRow(b, b.scratch(), columns,
                                                  /*asymmetric=*/true);
    coding.store(b, row, b.ptr(*spec.ptrRowScale),
                 spec.ptrRowZero ? b.ptr(*spec.ptrRowZero) : Value());
    Type code = b.getIntegerType(8 * codeBytes(b.isa().codeStorage()));
    Value padded = b.mul(b.divCeil(columns, 4), 4);
    Value codes = b.gep(code, b.ptr(*spec.ptrCodes), b.mul(row, padded));
    forVectors(b, padded, 16, 2, [&](Value i, unsigned width, Value count) {
      // Whole vectors may reach into the padding as well.
      auto known = KernelBuilder::constant(columns);
      Value readable = known && *known % 4 == 0 ? count : b.sub(columns, i);
      Value x = b.loadVecPartial(b.vecF32(width), b.scratch(), i, readable);
      b.storePartial(coding.encode(b, x), codes, i, count);
    });
  }

  KernelBuilder &b;
  const NormSpec &spec;
  Value row, columns, first;
  unsigned lanes;
};

} // namespace

void pare::cpu::emitNorm(KernelBuilder &b, const NormSpec &spec) {
  int64_t perTask = rowsPerTask(spec);
  Value begin = b.mul(b.task(), perTask);
  Value end = b.minIdx(b.add(begin, perTask), b.extent(spec.rows));
  b.loop(begin, end, 1, [&](Value row) { NormRow(b, spec, row).emit(); });
}
