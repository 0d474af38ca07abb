//===- Dot.cpp - The multiply-add instruction of a micro-kernel -----------===//
#include "backends/cpu/kernels/Dot.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace pare::cpu;

Value Dot::start(KernelBuilder &b, Value init, unsigned part) const {
  unsigned n = lanes / parts;
  return b.slice(init, part * n, n);
}

Value Dot::finish(KernelBuilder &b, ArrayRef<Value> parts) const {
  return b.concat(parts);
}

namespace {

/// f32: one fused multiply-add per native vector.
class F32Dot : public Dot {
public:
  explicit F32Dot(const Isa &isa) : native_(isa.f32Lanes) {
    parts = lanes / native_;
    if (native_ == 16)
      tiles = {{12, 32}, {4, 32}, {2, 64}, {1, 64}};
    else if (isa.vectorRegs == 32 || native_ == 8)
      tiles = {{6, 16}, {4, 16}, {2, 32}, {1, 64}};
    else
      tiles = {{2, 16}, {1, 16}};
  }
  VectorType accType(KernelBuilder &b) const override {
    return b.vecF32(native_);
  }
  Type rowElement(OpBuilder &b) const override { return b.getF32Type(); }
  Type groupElement(OpBuilder &b) const override { return b.getF32Type(); }
  Value broadcastA(KernelBuilder &b, Value base, Value offset) const override {
    return b.splat(b.load(b.getF32Type(), base, offset), native_);
  }
  Value loadB(KernelBuilder &b, Value base, Value offset,
              unsigned part) const override {
    // The part is a constant displacement of one address.
    return b.loadVec(b.vecF32(native_), b.gep(b.getF32Type(), base, offset),
                     b.idx(part * native_));
  }
  Value accumulate(KernelBuilder &b, Value acc, Value a,
                   Value w) const override {
    return b.fma(a, w, acc);
  }

private:
  unsigned native_;
};

/// What int8 dots share: groups of 4 values of k and accumulators of i32.
class S8Dot : public Dot {
public:
  explicit S8Dot(unsigned native) : native_(native) { kGroup = 4; }
  VectorType accType(KernelBuilder &b) const override {
    return b.vecType(native_, b.getI32Type());
  }
  Type rowElement(OpBuilder &b) const override { return b.getI8Type(); }
  Type groupElement(OpBuilder &b) const override { return b.getI8Type(); }
  /// Four bytes, repeated.
  Value broadcastA(KernelBuilder &b, Value base, Value offset) const override {
    Value four =
        b.load(b.getI32Type(), b.gep(b.getI8Type(), base, offset), b.idx(0));
    return vector::BitCastOp::create(b, bytes(b), b.splat(four, native_));
  }
  Value loadB(KernelBuilder &b, Value base, Value offset,
              unsigned part) const override {
    return b.loadVec(bytes(b), b.gep(b.getI8Type(), base, offset),
                     b.idx(part * 4 * native_));
  }

protected:
  VectorType bytes(KernelBuilder &b) const {
    return b.vecType(4 * native_, b.getI8Type());
  }

  unsigned native_; ///< i32 lanes of an accumulator
};

/// vpdpbusd and sdot: one instruction, four products per lane.
class NativeS8Dot : public S8Dot {
public:
  NativeS8Dot(unsigned native, StringRef intrinsic, bool rowsFirst)
      : S8Dot(native), intrinsic_(intrinsic), rowsFirst_(rowsFirst) {
    parts = lanes / native_;
    if (native_ == 16)
      tiles = {{12, 32}, {4, 32}, {2, 64}, {1, 64}};
    else
      tiles = {{6, 16}, {4, 16}, {2, 32}, {1, 64}};
  }
  Value accumulate(KernelBuilder &b, Value acc, Value a,
                   Value w) const override {
    if (!rowsFirst_)
      std::swap(a, w);
    return b.intrinsic(intrinsic_, acc.getType(), {acc, a, w});
  }

private:
  StringRef intrinsic_;
  bool rowsFirst_; ///< the unsigned operand is the first one
};

/// vpmaddwd on widened codes: exact where AVX2's vpmaddubsw would saturate. An
/// accumulator holds two partial sums per column, k pairs (0, 1) and (2, 3).
class MaddwdS8Dot : public S8Dot {
public:
  explicit MaddwdS8Dot(const Isa &isa) : S8Dot(isa.f32Lanes) {
    lanes = 8;
    parts = 2 * lanes / native_;
    if (native_ == 16)
      tiles = {{12, 16}, {4, 16}, {2, 32}, {1, 64}};
    else
      tiles = {{6, 8}, {4, 8}, {2, 16}, {1, 32}};
  }
  Type rowElement(OpBuilder &b) const override { return b.getI16Type(); }
  Value broadcastA(KernelBuilder &b, Value base, Value offset) const override {
    Value four =
        b.load(b.getI64Type(), b.gep(b.getI16Type(), base, offset), b.idx(0));
    return vector::BitCastOp::create(b, words(b), b.splat(four, native_ / 2));
  }
  Value loadB(KernelBuilder &b, Value base, Value offset,
              unsigned part) const override {
    Value w = b.loadVec(b.vecType(2 * native_, b.getI8Type()),
                        b.gep(b.getI8Type(), base, offset),
                        b.idx(part * 2 * native_));
    return arith::ExtSIOp::create(b, words(b), w);
  }
  Value accumulate(KernelBuilder &b, Value acc, Value a,
                   Value w) const override {
    StringRef name = native_ == 16 ? "llvm.x86.avx512.pmaddw.d.512"
                                   : "llvm.x86.avx2.pmadd.wd";
    Value products = b.intrinsic(name, acc.getType(), {a, w});
    return arith::AddIOp::create(b, acc, products);
  }
  Value start(KernelBuilder &b, Value init, unsigned part) const override {
    unsigned n = lanes / parts;
    SmallVector<int64_t> interleave;
    for (unsigned i = 0; i < n; ++i) {
      interleave.push_back(part * n + i);
      interleave.push_back(lanes);
    }
    return b.shuffle(init, b.zero(init.getType()), interleave);
  }
  Value finish(KernelBuilder &b, ArrayRef<Value> accs) const override {
    Value all = b.concat(accs);
    SmallVector<int64_t> even, odd;
    for (unsigned i = 0; i < lanes; ++i) {
      even.push_back(2 * i);
      odd.push_back(2 * i + 1);
    }
    return arith::AddIOp::create(b, b.shuffle(all, all, even),
                                 b.shuffle(all, all, odd));
  }

private:
  VectorType words(KernelBuilder &b) const {
    return b.vecType(2 * native_, b.getI16Type());
  }
};

/// Widening multiplies that any CPU has.
class PlainS8Dot : public S8Dot {
public:
  PlainS8Dot() : S8Dot(kPanel) { tiles = {{2, 16}, {1, 16}}; }
  Value accumulate(KernelBuilder &b, Value acc, Value a,
                   Value w) const override {
    VectorType wide = b.vecType(kPanel, b.getI16Type());
    for (unsigned k = 0; k < kGroup; ++k) {
      SmallVector<int64_t> pick;
      for (unsigned i = 0; i < kPanel; ++i)
        pick.push_back(kGroup * i + k);
      auto widen = [&](Value v) -> Value {
        return arith::ExtSIOp::create(b, wide, b.shuffle(v, v, pick));
      };
      Value products = arith::MulIOp::create(b, widen(a), widen(w));
      acc = arith::AddIOp::create(
          b, acc, arith::ExtSIOp::create(b, acc.getType(), products));
    }
    return acc;
  }
};

} // namespace

std::unique_ptr<Dot> pare::cpu::makeF32Dot(const Isa &isa) {
  return std::make_unique<F32Dot>(isa);
}

std::unique_ptr<Dot> pare::cpu::makeS8Dot(const Isa &isa) {
  switch (isa.dot) {
  case DotInstr::Avx512Vnni:
    return std::make_unique<NativeS8Dot>(16, "llvm.x86.avx512.vpdpbusd.512",
                                         /*rowsFirst=*/true);
  case DotInstr::AvxVnni:
    return std::make_unique<NativeS8Dot>(8, "llvm.x86.avx512.vpdpbusd.256",
                                         /*rowsFirst=*/true);
  case DotInstr::NeonSdot:
    return std::make_unique<NativeS8Dot>(
        4, "llvm.aarch64.neon.sdot.v4i32.v16i8", /*rowsFirst=*/false);
  case DotInstr::AvxMaddwd:
    return std::make_unique<MaddwdS8Dot>(isa);
  case DotInstr::Plain:
    break;
  }
  return std::make_unique<PlainS8Dot>();
}
