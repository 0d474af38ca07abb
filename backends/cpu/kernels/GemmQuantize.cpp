//===- GemmQuantize.cpp - Codes of rows of activations --------------------===//
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/RowCoding.h"

using namespace mlir;
using namespace pare::cpu;

int64_t pare::cpu::quantizeRowsPerTask(const QuantizeRowsSpec &spec) {
  // About 8,192 values, some microseconds.
  if (!spec.k.isFixed())
    return 8;
  return std::clamp<int64_t>(8192 / std::max<int64_t>(spec.k.fixed, 1), 1, 64);
}

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
