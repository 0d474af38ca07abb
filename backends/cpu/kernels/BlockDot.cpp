//===- BlockDot.cpp - Integer sums of codes in blocks ---------------------===//
#include "backends/cpu/kernels/BlockDot.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace pare::cpu;

BlockDot::Quad BlockDot::prepare(KernelBuilder &, Value bytes,
                                 const BlockBytes &) const {
  return {bytes, nullptr};
}

Value BlockDot::finish(KernelBuilder &b, const Sums &sums) const {
  return sums.wide ? sums.wide : b.zero(wideType(b));
}

Value BlockDot::broadcast(KernelBuilder &b, Value from) const {
  Value four = b.load(b.getI32Type(), from, b.idx(0));
  return vector::BitCastOp::create(b, b.vecType(kQuad * lanes, b.getI8Type()),
                                   b.splat(four, lanes));
}

Value BlockDot::broadcastPair(KernelBuilder &b, Value from) const {
  Value eight = b.load(b.getI64Type(), from, b.idx(0));
  return vector::BitCastOp::create(b, b.vecType(kQuad * lanes, b.getI8Type()),
                                   b.splat(eight, lanes / 2));
}

Value BlockDot::pick(KernelBuilder &b, Value codes, Value numbers) const {
  StringRef shuffle = !b.isa().isX86() ? "llvm.aarch64.neon.tbl1.v16i8"
                      : lanes == 16    ? "llvm.x86.avx512.pshuf.b.512"
                                       : "llvm.x86.avx2.pshuf.b";
  return b.intrinsic(shuffle, codes.getType(), {codes, numbers});
}

namespace {

/// vpdpbusd and sdot: four products per lane and instruction.
class NativeBlockDot : public BlockDot {
public:
  NativeBlockDot(unsigned native, StringRef intrinsic, bool wantsUnsigned)
      : intrinsic_(intrinsic) {
    lanes = native;
    isUnsigned = wantsUnsigned;
    registers = native == 8 ? 16 : 32;
  }
  SmallVector<unsigned, 4> tiles(const BlockBytes &) const override {
    if (lanes == 16)
      return {12, 4, 1};
    return lanes == 8 ? SmallVector<unsigned, 4>{6, 2, 1}
                      : SmallVector<unsigned, 4>{4, 2, 1};
  }
  void add(KernelBuilder &b, Sums &sums, const Quad &quad, Value codes,
           const BlockBytes &) const override {
    Value before = sums.wide ? sums.wide : b.zero(wideType(b));
    sums.wide =
        b.intrinsic(intrinsic_, before.getType(), {before, quad.bytes, codes});
  }

private:
  StringRef intrinsic_;
};

/// AVX2's vpmaddubsw: pairs of products of unsigned by signed bytes in 16 bits,
/// as many of them as are sure not to overflow, then vpmaddwd by ones. Signed
/// weights are multiplied as magnitudes, with their signs on the codes.
class MaddubsBlockDot : public BlockDot {
public:
  MaddubsBlockDot() { addsLate = true; }
  SmallVector<unsigned, 4> tiles(const BlockBytes &meaning) const override {
    // Two registers are left for a quad of codes and its products; signed
    // weights take two more.
    return meaning.isSigned ? SmallVector<unsigned, 4>{4, 2, 1}
                            : SmallVector<unsigned, 4>{5, 3, 1};
  }

  SmallVector<unsigned, 4> sparseTiles() const override { return {4, 2, 1}; }
  double preparing(const BlockBytes &meaning) const override {
    return meaning.isSigned ? 1 : 0;
  }
  double multiplying(const BlockBytes &meaning) const override {
    unsigned room = getRoom(meaning);
    return (meaning.isSigned ? 2 : 1) + (room > 1 ? 1 : 0) + 2.0 / room;
  }

  Quad prepare(KernelBuilder &b, Value bytes,
               const BlockBytes &meaning) const override {
    if (!meaning.isSigned)
      return {bytes, bytes};
    return {bytes, math::AbsIOp::create(b, bytes)};
  }
  void add(KernelBuilder &b, Sums &sums, const Quad &quad, Value codes,
           const BlockBytes &meaning) const override {
    if (meaning.isSigned)
      codes = b.intrinsic("llvm.x86.avx2.psign.b", codes.getType(),
                          {codes, quad.bytes});
    Value pairs = b.intrinsic("llvm.x86.avx2.pmadd.ub.sw", smallType(b),
                              {quad.magnitude, codes});
    sums.small =
        sums.small ? arith::AddIOp::create(b, sums.small, pairs) : Value(pairs);
    if (++sums.quads < getRoom(meaning))
      return;
    sums.wide = finish(b, sums);
    sums.small = nullptr;
    sums.quads = 0;
  }
  Value finish(KernelBuilder &b, const Sums &sums) const override {
    if (!sums.small)
      return BlockDot::finish(b, sums);
    Value ones = arith::ConstantOp::create(
        b, DenseElementsAttr::get(smallType(b), b.getI16IntegerAttr(1)));
    Value wide =
        b.intrinsic("llvm.x86.avx2.pmadd.wd", wideType(b), {sums.small, ones});
    return sums.wide ? arith::AddIOp::create(b, sums.wide, wide) : wide;
  }

private:
  /// Quads whose sums are sure to fit 16 bits.
  static unsigned getRoom(const BlockBytes &meaning) {
    return INT16_MAX / (2 * pare::nn::kByteCodeLimit * meaning.limit);
  }
  VectorType smallType(KernelBuilder &b) const {
    return b.vecType(2 * lanes, b.getIntegerType(16));
  }
};

/// Widening multiplies that any CPU has.
class PlainBlockDot : public BlockDot {
public:
  PlainBlockDot() { lanes = 4; }
  bool canPick() const override { return false; }
  double multiplying(const BlockBytes &) const override {
    // Of each of 4 k: two bytes are taken and widened, multiplied and added.
    return 4 * 6;
  }
  SmallVector<unsigned, 4> tiles(const BlockBytes &) const override {
    return {2, 1};
  }
  void add(KernelBuilder &b, Sums &sums, const Quad &quad, Value codes,
           const BlockBytes &meaning) const override {
    Value sum = BlockDot::finish(b, sums);
    for (unsigned k = 0; k < kQuad; ++k) {
      Value weights = pick(b, quad.bytes, k, meaning.isSigned);
      Value products = arith::MulIOp::create(
          b, weights, pick(b, codes, k, /*isSigned=*/true));
      sum = arith::AddIOp::create(b, sum, products);
    }
    sums.wide = sum;
  }

private:
  /// The k-th byte of each quad, as 32 bits.
  Value pick(KernelBuilder &b, Value bytes, unsigned k, bool isSigned) const {
    SmallVector<int64_t> from;
    for (unsigned i = 0; i < lanes; ++i)
      from.push_back(kQuad * i + k);
    Value some = b.shuffle(bytes, bytes, from);
    if (isSigned)
      return arith::ExtSIOp::create(b, wideType(b), some);
    return arith::ExtUIOp::create(b, wideType(b), some);
  }
};

} // namespace

std::unique_ptr<BlockDot> pare::cpu::makeBlockDot(const Isa &isa) {
  switch (isa.dot) {
  case DotInstr::Avx512Vnni:
    return std::make_unique<NativeBlockDot>(16, "llvm.x86.avx512.vpdpbusd.512",
                                            /*wantsUnsigned=*/true);
  case DotInstr::AvxVnni:
    return std::make_unique<NativeBlockDot>(8, "llvm.x86.avx512.vpdpbusd.256",
                                            /*wantsUnsigned=*/true);
  case DotInstr::NeonSdot:
    return std::make_unique<NativeBlockDot>(
        4, "llvm.aarch64.neon.sdot.v4i32.v16i8", /*wantsUnsigned=*/false);
  case DotInstr::AvxMaddwd:
    return std::make_unique<MaddubsBlockDot>();
  case DotInstr::Plain:
    break;
  }
  return std::make_unique<PlainBlockDot>();
}
