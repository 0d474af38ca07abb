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
  Value broadcastA(KernelBuilder &b, Value from) const override {
    return b.splat(b.load(b.getF32Type(), from, b.idx(0)), native_);
  }
  Value loadB(KernelBuilder &b, Value from, unsigned part) const override {
    return b.loadVec(b.vecF32(native_), from, b.idx(part * native_));
  }
  void accumulate(KernelBuilder &b, MutableArrayRef<Value> acc, Value a,
                  ArrayRef<Value> columns) const override {
    for (auto [sum, w] : llvm::zip_equal(acc, columns))
      sum = b.fma(a, w, sum);
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
  Value broadcastA(KernelBuilder &b, Value from) const override {
    Value four = b.load(b.getI32Type(), from, b.idx(0));
    return vector::BitCastOp::create(b, bytes(b), b.splat(four, native_));
  }
  Value loadB(KernelBuilder &b, Value from, unsigned part) const override {
    return b.loadVec(bytes(b), from, b.idx(part * 4 * native_));
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
  void accumulate(KernelBuilder &b, MutableArrayRef<Value> acc, Value a,
                  ArrayRef<Value> columns) const override {
    for (auto [sum, w] : llvm::zip_equal(acc, columns)) {
      Value first = rowsFirst_ ? a : w, second = rowsFirst_ ? w : a;
      sum = b.intrinsic(intrinsic_, sum.getType(), {sum, first, second});
    }
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
    maxUnroll = 2;
    parts = 2 * lanes / native_;
    if (native_ == 16)
      tiles = {{12, 16}, {4, 16}, {2, 32}, {1, 64}};
    else
      tiles = {{6, 8}, {4, 8}, {2, 16}, {1, 32}};
  }
  Type rowElement(OpBuilder &b) const override { return b.getI16Type(); }
  Value broadcastA(KernelBuilder &b, Value from) const override {
    Value four = b.load(b.getI64Type(), from, b.idx(0));
    return vector::BitCastOp::create(b, words(b), b.splat(four, native_ / 2));
  }
  Value loadB(KernelBuilder &b, Value from, unsigned part) const override {
    Value w = b.loadVec(b.vecType(2 * native_, b.getI8Type()), from,
                        b.idx(part * 2 * native_));
    return arith::ExtSIOp::create(b, words(b), w);
  }
  void accumulate(KernelBuilder &b, MutableArrayRef<Value> acc, Value a,
                  ArrayRef<Value> columns) const override {
    StringRef name = native_ == 16 ? "llvm.x86.avx512.pmaddw.d.512"
                                   : "llvm.x86.avx2.pmadd.wd";
    // Two products, then two sums: the order decides which execution ports the
    // instructions get, 7.7 or 8.7 cycles for a step of 6x8 on Zen 3.
    for (size_t i = 0; i < acc.size(); i += 2) {
      SmallVector<Value> products;
      for (Value w : columns.slice(i, std::min<size_t>(2, acc.size() - i)))
        products.push_back(b.intrinsic(name, accType(b), {a, w}));
      for (auto [n, product] : llvm::enumerate(b.inOrder(products)))
        acc[i + n] = arith::AddIOp::create(b, acc[i + n], product);
    }
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
  void accumulate(KernelBuilder &b, MutableArrayRef<Value> acc, Value a,
                  ArrayRef<Value> columns) const override {
    for (auto [sum, w] : llvm::zip_equal(acc, columns))
      for (unsigned k = 0; k < kGroup; ++k) {
        Value products =
            arith::MulIOp::create(b, widen(b, a, k), widen(b, w, k));
        sum = arith::AddIOp::create(
            b, sum, arith::ExtSIOp::create(b, sum.getType(), products));
      }
  }

private:
  /// The k-th byte of each group of `v`, as 16 bits.
  Value widen(KernelBuilder &b, Value v, unsigned k) const {
    SmallVector<int64_t> pick;
    for (unsigned i = 0; i < kPanel; ++i)
      pick.push_back(kGroup * i + k);
    return arith::ExtSIOp::create(b, b.vecType(kPanel, b.getI16Type()),
                                  b.shuffle(v, v, pick));
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
