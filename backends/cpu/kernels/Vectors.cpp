//===- Vectors.cpp - Typed vectors, loops over rows, reductions -----------===//
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace pare::cpu;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

unsigned pare::cpu::elementBytes(PareDType type) {
  switch (type) {
  case PARE_I8:
  case PARE_U8:
  case PARE_BOOL:
    return 1;
  case PARE_F16:
  case PARE_BF16:
  case PARE_I16:
  case PARE_U16:
    return 2;
  case PARE_F32:
  case PARE_I32:
  case PARE_U32:
    return 4;
  case PARE_F64:
  case PARE_I64:
  case PARE_U64:
    return 8;
  }
  llvm_unreachable("unknown element type");
}

Type pare::cpu::storageType(OpBuilder &b, PareDType type) {
  if (type == PARE_F32)
    return b.getF32Type();
  if (type == PARE_F64)
    return b.getF64Type();
  return b.getIntegerType(8 * elementBytes(type));
}

Type pare::cpu::computeType(OpBuilder &b, PareDType type) {
  if (type == PARE_F16 || type == PARE_BF16)
    return b.getF32Type();
  if (type == PARE_BOOL)
    return b.getI1Type();
  return storageType(b, type);
}

/// `v`'s shape with another element type.
static Type withElement(Value v, Type elem) {
  if (auto vector = dyn_cast<VectorType>(v.getType()))
    return vector.clone(elem);
  return elem;
}

namespace {
/// Integer arithmetic on vectors of i32, for conversions.
struct Bits {
  KernelBuilder &b;
  Type type;
  Value constant(int32_t v) {
    Attribute attr = b.getI32IntegerAttr(v);
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, DenseElementsAttr::get(vector, attr));
    return arith::ConstantOp::create(b, cast<TypedAttr>(attr));
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value band(Value x, int32_t m) {
    return arith::AndIOp::create(b, x, constant(m));
  }
  Value bor(Value x, Value y) { return arith::OrIOp::create(b, x, y); }
  Value shl(Value x, int n) { return arith::ShLIOp::create(b, x, constant(n)); }
  Value shr(Value x, int n) {
    return arith::ShRUIOp::create(b, x, constant(n));
  }
  Value less(Value x, int32_t y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, constant(y));
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, c, x, y);
  }
  Value asFloat(Value x) {
    return arith::BitcastOp::create(b, withElement(x, b.getF32Type()), x);
  }
  Value asInt(Value x) { return arith::BitcastOp::create(b, type, x); }
};
} // namespace

/// f32 of the 16 bits of an f16 in each i32: exact, subnormals included.
static Value fromHalf(Bits o, Value h) {
  Value magnitude = o.shl(o.band(h, 0x7FFF), 13);
  // Rebias the exponent by a multiplication, which normalises subnormals too.
  Value value = arith::MulFOp::create(o.b, o.asFloat(magnitude),
                                      o.asFloat(o.constant(0x77800000)));
  Value infinite = arith::CmpIOp::create(o.b, arith::CmpIPredicate::uge,
                                         magnitude, o.constant(0x0F800000));
  Value bits = o.asInt(value);
  bits = o.select(infinite, o.bor(magnitude, o.constant(0x7F800000)), bits);
  return o.asFloat(o.bor(bits, o.shl(o.band(h, 0x8000), 16)));
}

/// The bits of the nearest f16, ties to even.
static Value toHalf(Bits o, Value x) {
  Value bits = o.asInt(x);
  Value sign = o.shr(o.band(bits, int32_t(0x80000000)), 16);
  Value magnitude = o.band(bits, 0x7FFFFFFF);
  // Normal results: round by adding half an ulp, ties to even.
  Value odd = o.band(o.shr(magnitude, 13), 1);
  Value normal = o.add(o.add(magnitude, o.constant(int32_t(0xC8000FFF))), odd);
  normal = o.shr(normal, 13);
  // Subnormal ones: the f32 addition aligns and rounds.
  Value magic = o.constant(0x3F000000); // 0.5
  Value aligned =
      arith::AddFOp::create(o.b, o.asFloat(magnitude), o.asFloat(magic));
  Value subnormal = o.sub(o.asInt(aligned), magic);
  Value half = o.select(o.less(magnitude, 0x38800000), subnormal, normal);
  Value nan = arith::CmpIOp::create(o.b, arith::CmpIPredicate::ugt, magnitude,
                                    o.constant(0x7F800000));
  Value special = o.select(nan, o.constant(0x7E00), o.constant(0x7C00));
  half = o.select(o.less(magnitude, 0x477FF000), half, special);
  return o.bor(half, sign);
}

/// The bits of the nearest bf16, ties to even.
static Value toBFloat(Bits o, Value x) {
  Value bits = o.asInt(x);
  Value odd = o.band(o.shr(bits, 16), 1);
  Value rounded = o.shr(o.add(o.add(bits, o.constant(0x7FFF)), odd), 16);
  Value quiet = o.bor(o.shr(bits, 16), o.constant(0x40));
  Value nan = arith::CmpFOp::create(o.b, arith::CmpFPredicate::UNO, x, x);
  return o.select(nan, quiet, rounded);
}

static Value fromStorage(KernelBuilder &b, PareDType type, Value v) {
  if (type == PARE_BOOL)
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, v,
                                 b.zero(v.getType()));
  if (type != PARE_F16 && type != PARE_BF16)
    return v;
  // Of AVX2's and all aarch64 CPUs one instruction; elsewhere it would be a
  // call.
  if (type == PARE_F16 && (!b.isa().isX86() || b.isa().f32Lanes >= 8))
    return arith::ExtFOp::create(
        b, withElement(v, b.getF32Type()),
        Value(arith::BitcastOp::create(b, withElement(v, b.getF16Type()), v)));
  Bits o{b, withElement(v, b.getI32Type())};
  Value wide = arith::ExtUIOp::create(b, o.type, v);
  return type == PARE_BF16 ? o.asFloat(o.shl(wide, 16)) : fromHalf(o, wide);
}

static Value toStorage(KernelBuilder &b, PareDType type, Value v) {
  if (type == PARE_BOOL)
    return arith::ExtUIOp::create(b, withElement(v, b.getI8Type()), v);
  if (type != PARE_F16 && type != PARE_BF16)
    return v;
  Bits o{b, withElement(v, b.getI32Type())};
  Value bits = type == PARE_BF16 ? toBFloat(o, v) : toHalf(o, v);
  return arith::TruncIOp::create(b, withElement(v, b.getIntegerType(16)), bits);
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

Value pare::cpu::loadAs(KernelBuilder &b, PareDType type, Value base,
                        Value offset, unsigned lanes, Value count) {
  VectorType vector = b.vecType(lanes, storageType(b, type));
  return fromStorage(b, type, b.loadVecPartial(vector, base, offset, count));
}

Value pare::cpu::loadStrided(KernelBuilder &b, PareDType type, Value base,
                             Value offset, Value stride, unsigned lanes,
                             Value count) {
  Type elem = storageType(b, type);
  Value vector = b.zero(b.vecType(lanes, elem));
  Value last = count ? b.sub(count, b.idx(1)) : Value();
  for (unsigned i = 0; i < lanes; ++i) {
    // Lanes beyond the count repeat the last element: no branch, no stray read.
    Value lane = count ? b.minIdx(b.idx(i), last) : b.idx(i);
    Value scalar = b.load(elem, base, b.add(offset, b.mul(lane, stride)));
    vector = vector::InsertOp::create(b, scalar, vector, int64_t(i));
  }
  return fromStorage(b, type, vector);
}

Value pare::cpu::loadSplat(KernelBuilder &b, PareDType type, Value base,
                           Value offset, unsigned lanes) {
  Value scalar =
      fromStorage(b, type, b.load(storageType(b, type), base, offset));
  return b.splat(scalar, lanes);
}

void pare::cpu::storeAs(KernelBuilder &b, PareDType type, Value vector,
                        Value base, Value offset, Value count) {
  b.storePartial(toStorage(b, type, vector), base, offset, count);
}

void pare::cpu::storeStrided(KernelBuilder &b, PareDType type, Value vector,
                             Value base, Value offset, Value stride,
                             Value count) {
  vector = toStorage(b, type, vector);
  unsigned lanes = cast<VectorType>(vector.getType()).getNumElements();
  for (unsigned i = 0; i < lanes; ++i) {
    auto store = [&] {
      Value scalar = vector::ExtractOp::create(b, vector, int64_t(i));
      b.store(scalar, base, b.add(offset, b.mul(b.idx(i), stride)));
    };
    if (count)
      b.ifThen(b.less(b.idx(i), count), store);
    else
      store();
  }
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// Calls `body` for [from, to) in steps; constant bounds make no loop where one
/// or no turn is left.
static SmallVector<Value> turns(KernelBuilder &b, Value from, Value to,
                                unsigned step, ValueRange init,
                                KernelBuilder::LoopBody body) {
  auto lo = KernelBuilder::constant(from), hi = KernelBuilder::constant(to);
  if (lo && hi && *lo >= *hi)
    return SmallVector<Value>(init);
  if (lo && hi && *lo + step >= *hi)
    return body(from, init);
  return b.loop(from, to, step, init, body);
}

/// n rounded down to a multiple of `step`.
static Value wholeSteps(KernelBuilder &b, Value n, unsigned step) {
  return b.mul(b.divFloor(n, step), step);
}

void pare::cpu::forVectors(
    KernelBuilder &b, Value n, unsigned lanes, unsigned unroll,
    llvm::function_ref<void(Value, unsigned, Value)> body) {
  auto run = [&](Value from, Value to, unsigned width) {
    turns(b, from, to, width, {},
          [&](Value i, ValueRange) -> SmallVector<Value> {
            body(i, width, Value());
            return {};
          });
  };
  Value done = b.idx(0);
  if (unroll > 1) {
    Value wide = wholeSteps(b, n, lanes * unroll);
    run(done, wide, lanes * unroll);
    done = wide;
  }
  Value whole = wholeSteps(b, n, lanes);
  run(done, whole, lanes);
  turns(b, whole, n, lanes, {}, [&](Value i, ValueRange) -> SmallVector<Value> {
    body(i, lanes, b.sub(n, i));
    return {};
  });
}

Value pare::cpu::reduceVectors(
    KernelBuilder &b, Value n, unsigned lanes, unsigned unroll, Value neutral,
    llvm::function_ref<Value(Value, Value, Value)> step, Combine combine) {
  auto run = [&](Value from, Value to, unsigned width, Value acc) {
    return turns(b, from, to, width, acc,
                 [&](Value i, ValueRange carried) -> SmallVector<Value> {
                   return {step(carried[0], i, Value())};
                 })[0];
  };
  Value acc = b.splat(neutral, lanes * unroll);
  Value wide = wholeSteps(b, n, lanes * unroll);
  acc = foldLanes(b, run(b.idx(0), wide, lanes * unroll, acc), lanes, combine);
  Value whole = wholeSteps(b, n, lanes);
  if (unroll > 1)
    acc = run(wide, whole, lanes, acc);
  acc = turns(b, whole, n, lanes, acc,
              [&](Value i, ValueRange carried) -> SmallVector<Value> {
                Value count = b.sub(n, i);
                Value next = step(carried[0], i, count);
                return {arith::SelectOp::create(b, b.laneMask(lanes, count),
                                                next, carried[0])};
              })[0];
  return foldLanes(b, acc, 0, combine);
}

Value pare::cpu::foldLanes(KernelBuilder &b, Value vector, unsigned lanes,
                           Combine combine) {
  unsigned n = cast<VectorType>(vector.getType()).getNumElements();
  assert(llvm::isPowerOf2_32(n) && "halves must match");
  for (; n > std::max(lanes, 1u); n /= 2)
    vector = combine(b.slice(vector, 0, n / 2), b.slice(vector, n / 2, n / 2));
  if (lanes != 0)
    return vector;
  return vector::ExtractOp::create(b, vector, int64_t(0));
}

SmallVector<Value> pare::cpu::transposeInRegisters(KernelBuilder &b,
                                                   ArrayRef<Value> rows) {
  unsigned n = rows.size();
  assert(llvm::isPowerOf2_32(n) && "blocks are halved");
  SmallVector<Value> v(rows);
  // At distance d, exchange the off-diagonal d x d blocks of every 2d x 2d one.
  for (unsigned d = n / 2; d > 0; d /= 2) {
    SmallVector<int64_t> low(n), high(n);
    for (unsigned lane = 0; lane < n; ++lane) {
      bool second = lane & d;
      low[lane] = second ? n + lane - d : lane;
      high[lane] = second ? n + lane : lane + d;
    }
    for (unsigned i = 0; i < n; ++i) {
      if (i & d)
        continue;
      Value a = v[i], c = v[i + d];
      v[i] = b.shuffle(a, c, low);
      v[i + d] = b.shuffle(a, c, high);
    }
  }
  return v;
}

Value pare::cpu::maxFloat(KernelBuilder &b, Value x, Value y) {
  Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return arith::SelectOp::create(b, greater, x, y);
}

Value pare::cpu::minFloat(KernelBuilder &b, Value x, Value y) {
  Value less = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y);
  return arith::SelectOp::create(b, less, x, y);
}
