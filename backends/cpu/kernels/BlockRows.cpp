//===- BlockRows.cpp - Codes of activations, rows of tables ---------------===//
#include "backends/cpu/kernels/BlockGemm.h"
#include "backends/cpu/kernels/BlockWeights.h"
#include "backends/cpu/kernels/RowCoding.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace pare;
using namespace pare::cpu;

//===----------------------------------------------------------------------===//
// Quantization by groups
//===----------------------------------------------------------------------===//

int64_t pare::cpu::quantizeGroupsRowsPerTask(const QuantizeGroupsSpec &spec) {
  // About 8,192 values, some microseconds.
  return std::clamp<int64_t>(8192 / std::max<int64_t>(spec.k, 1), 1, 64);
}

void pare::cpu::emitQuantizeGroups(KernelBuilder &b,
                                   const QuantizeGroupsSpec &spec) {
  constexpr unsigned size = kBlockStep;
  int64_t rows = quantizeGroupsRowsPerTask(spec), perRow = spec.k / size;
  Value begin = b.mul(b.task(), rows);
  Value end = b.minIdx(b.add(begin, rows), b.extent(spec.m));
  // Groups do not care for rows.
  b.loop(b.mul(begin, perRow), b.mul(end, perRow), 1, [&](Value group) {
    Value at = b.mul(group, size);
    Value x = b.loadVec(b.vecF32(size), b.ptr(spec.ptrX), at);
    Value largest =
        foldLanes(b, math::AbsFOp::create(b, x), 0,
                  [&](Value u, Value v) { return maxFloat(b, u, v); });
    RowCoding coding = RowCoding::symmetric(b, largest, CodeStorage::S8);
    coding.store(b, group, b.ptr(spec.ptrScales), nullptr);
    b.store(coding.encode(b, x), b.ptr(spec.ptrCodes), at);
  });
}

//===----------------------------------------------------------------------===//
// Rows of a table
//===----------------------------------------------------------------------===//

int64_t pare::cpu::blockGatherRowsPerTask(const BlockGatherSpec &spec) {
  return std::clamp<int64_t>(4096 / std::max<int64_t>(spec.k, 1), 1, 64);
}

/// Decodes row `index` of W to `out`.
static void decodeRow(KernelBuilder &b, const BlockGatherSpec &spec,
                      const BlockWeights &weights, Value index, Value out) {
  const BlockLayout &layout = weights.layout();
  const unsigned quads = kQuadsPerStep / layout.groupsPerStep;
  Value panel =
      b.gep(b.getI8Type(), b.ptr(spec.ptrW),
            b.mul(b.divFloor(index, kPanel), layout.panelBytes(spec.k)));
  Value row = b.rem(index, kPanel);
  auto decodeStep = [&](const BlockWeights::Run &run, Value step, Value at) {
    BlockWeights::Group group;
    for (unsigned quad = 0; quad < kQuadsPerStep; ++quad) {
      if (quad % quads == 0)
        group = weights.loadGroup(b, run, step, quad / quads);
      b.store(weights.allWeights(b, weights.quad(b, run, step, quad), group),
              out, b.add(at, quad * kQuad));
    }
  };
  weights.forRuns(
      b, panel, spec.k, {}, [&](Value address, Value firstStep, ValueRange) {
        BlockWeights::Run run = weights.loadRun(b, address, row);
        return weights.forSteps(
            b, {}, [&](Value step, ValueRange) -> SmallVector<Value> {
              decodeStep(run, step, b.mul(b.add(firstStep, step), kBlockStep));
              return {};
            });
      });
}

void pare::cpu::emitBlockGather(KernelBuilder &b, const BlockGatherSpec &spec) {
  BlockWeights weights(*spec.format, /*lanes=*/1, /*isUnsigned=*/false);
  int64_t rows = blockGatherRowsPerTask(spec);
  Value n = b.idx(spec.n), begin = b.mul(b.task(), rows);
  Value end = b.minIdx(b.add(begin, rows), b.extent(spec.count));
  b.loop(begin, end, 1, [&](Value at) {
    Value index = b.toIndex(
        b.load(storageType(b, spec.indexType), b.ptr(spec.ptrIndices), at));
    index = arith::SelectOp::create(b, b.less(index, b.idx(0)), b.add(index, n),
                                    index);
    index = b.maxIdx(b.minIdx(index, b.sub(n, b.idx(1))), b.idx(0));
    decodeRow(b, spec, weights, index,
              b.gep(b.getF32Type(), b.ptr(spec.ptrOut), b.mul(at, spec.k)));
  });
}
