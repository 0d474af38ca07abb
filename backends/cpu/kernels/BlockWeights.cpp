//===- BlockWeights.cpp - Packed blocks in registers ----------------------===//
#include "backends/cpu/kernels/BlockWeights.h"
#include "backends/cpu/kernels/Vectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <array>
#include <cmath>

using namespace mlir;
using namespace pare;
using namespace pare::cpu;

//===----------------------------------------------------------------------===//
// Vectors of integers
//===----------------------------------------------------------------------===//

static Value splatOf(KernelBuilder &b, Type type, int64_t number) {
  auto vector = cast<VectorType>(type);
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             vector, b.getIntegerAttr(vector.getElementType(), number)));
}

static Value band(KernelBuilder &b, Value v, int64_t mask) {
  return arith::AndIOp::create(b, v, splatOf(b, v.getType(), mask));
}

/// Bits [at, at + plane.bits) of each byte, moved to where `plane` has them.
static Value takePlane(KernelBuilder &b, Value v, const BitPlane &plane,
                       unsigned at) {
  if (plane.bits == 8)
    return v;
  // Whatever crosses into a byte is masked out, so that wide shifts will do.
  int shift = int(at) - int(plane.shift);
  if (shift > 0)
    v = arith::ShRUIOp::create(b, v, splatOf(b, v.getType(), shift));
  else if (shift < 0)
    v = arith::ShLIOp::create(b, v, splatOf(b, v.getType(), -shift));
  return band(b, v, int8_t(plane.mask() << plane.shift));
}

/// table[index] of each byte; indices are below 16.
static Value lookUp(KernelBuilder &b, ArrayRef<int8_t> table, Value index) {
  auto type = cast<VectorType>(index.getType());
  int64_t size = type.getNumElements();
  SmallVector<int8_t> repeated;
  for (int64_t i = 0; i < size; ++i)
    repeated.push_back(table[i % 16]);
  Value values = arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, ArrayRef<int8_t>(repeated)));
  if (b.isa().isX86() && size == 64)
    return b.intrinsic("llvm.x86.avx512.pshuf.b.512", type, {values, index});
  if (b.isa().isX86() && size == 32)
    return b.intrinsic("llvm.x86.avx2.pshuf.b", type, {values, index});
  if (!b.isa().isX86() && size == 16)
    return b.intrinsic("llvm.aarch64.neon.tbl1.v16i8", type, {values, index});
  Value result = splatOf(b, type, table[0]);
  for (int i = 1; i < 16; ++i) {
    Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index,
                                      splatOf(b, type, i));
    result =
        arith::SelectOp::create(b, hit, splatOf(b, type, table[i]), result);
  }
  return result;
}

/// levels[index] of each lane, as f32; indices are below 16.
static Value lookUpFloat(KernelBuilder &b, ArrayRef<float> levels,
                         Value index) {
  auto type = cast<VectorType>(index.getType());
  VectorType f32 = type.clone(b.getF32Type());
  int64_t size = type.getNumElements();
  auto table = [&](int64_t first) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(f32, levels.slice(first, size)));
  };
  if (b.isa().isX86() && size == 16)
    return b.intrinsic("llvm.x86.avx512.permvar.sf.512", f32,
                       {table(0), index});
  if (b.isa().isX86() && size == 8) {
    Value isHigh = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, index,
                                         splatOf(b, type, 7));
    constexpr char permute[] = "llvm.x86.avx2.permps";
    return arith::SelectOp::create(
        b, isHigh, b.intrinsic(permute, f32, {table(8), index}),
        b.intrinsic(permute, f32, {table(0), index}));
  }
  Value result = b.constF32(levels[0], size);
  for (int i = 1; i < 16; ++i) {
    Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index,
                                      splatOf(b, type, i));
    result =
        arith::SelectOp::create(b, hit, b.constF32(levels[i], size), result);
  }
  return result;
}

/// Small floats of 8 bits as f32.
static Value widenFloat(KernelBuilder &b, const SmallFloat &format,
                        Value codes) {
  Type type = codes.getType();
  VectorType f32 = cast<VectorType>(type).clone(b.getF32Type());
  Value magnitude = arith::MinUIOp::create(b, band(b, codes, 127),
                                           splatOf(b, type, format.largest));
  Value sign =
      arith::ShLIOp::create(b, band(b, codes, 128), splatOf(b, type, 24));
  unsigned shift = 23 - format.mantissaBits;
  // The exponent is rebased by a multiplication, which also normalises.
  Value value = arith::MulFOp::create(
      b,
      arith::BitcastOp::create(
          b, f32, arith::ShLIOp::create(b, magnitude, splatOf(b, type, shift))),
      b.constF32(format.least / llvm::bit_cast<float>(1u << shift),
                 f32.getNumElements()));
  return arith::BitcastOp::create(
      b, f32,
      arith::OrIOp::create(b, arith::BitcastOp::create(b, type, value), sign));
}

//===----------------------------------------------------------------------===//
// Scales
//===----------------------------------------------------------------------===//

/// 2^(byte - 128), also below the least normal f32.
static Value fromE8M0Half(KernelBuilder &b, Value wide) {
  Type type = wide.getType();
  Value normal = arith::ShLIOp::create(
      b, arith::SubIOp::create(b, wide, splatOf(b, type, 1)),
      splatOf(b, type, 23));
  Value subnormal =
      arith::ShLIOp::create(b, splatOf(b, type, 0x00200000), band(b, wide, 1));
  Value isNormal = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, wide,
                                         splatOf(b, type, 1));
  return arith::SelectOp::create(b, isNormal, normal, subnormal);
}

/// Unsigned e4m3, halved; 0x7f is 0. As the bits of an f32.
static Value fromE4M3Half(KernelBuilder &b, Value wide, Type f32) {
  Type type = wide.getType();
  Value magnitude = band(b, wide, 0x7f);
  Value normal = arith::AddIOp::create(
      b, arith::ShLIOp::create(b, magnitude, splatOf(b, type, 20)),
      splatOf(b, type, 119 << 23));
  Value small = arith::MulFOp::create(
      b, arith::SIToFPOp::create(b, f32, magnitude),
      b.constF32(0x1p-10f, cast<VectorType>(f32).getNumElements()));
  Value subnormal = arith::BitcastOp::create(b, type, small);
  Value isNormal = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt,
                                         magnitude, splatOf(b, type, 7));
  Value bits = arith::SelectOp::create(b, isNormal, normal, subnormal);
  Value isNan = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, wide,
                                      splatOf(b, type, 0x7f));
  return arith::SelectOp::create(b, isNan, b.zero(type), bits);
}

Value pare::cpu::loadScales(KernelBuilder &b, ScaleType type, Value from,
                            unsigned lanes) {
  Value first = b.idx(0);
  switch (type) {
  case ScaleType::F32:
    return loadAs(b, PARE_F32, from, first, lanes);
  case ScaleType::F16:
    return loadAs(b, PARE_F16, from, first, lanes);
  case ScaleType::BF16:
    return loadAs(b, PARE_BF16, from, first, lanes);
  case ScaleType::E8M0Half:
  case ScaleType::E4M3Half:
    break;
  }
  VectorType f32 = b.vecF32(lanes);
  Value wide = arith::ExtUIOp::create(
      b, b.vecType(lanes, b.getI32Type()),
      b.loadVec(b.vecType(lanes, b.getI8Type()), from, first));
  Value bits = type == ScaleType::E8M0Half ? fromE8M0Half(b, wide)
                                           : fromE4M3Half(b, wide, f32);
  return arith::BitcastOp::create(b, f32, bits);
}

//===----------------------------------------------------------------------===//
// BlockWeights
//===----------------------------------------------------------------------===//

BlockWeights::BlockWeights(const BlockFormat &format, unsigned lanes,
                           bool isUnsigned)
    : layout_(format), lanes_(lanes), codePlanes_(getBitPlanes(format.bits)),
      smallFloat_(findSmallFloat(format)) {
  unsigned codes = 1u << format.bits;
  int top = int(codes / 2);
  switch (format.codes) {
  case CodeKind::Offset:
    bytes_ = {false, codes - 1, format.offset};
    if (format.bits == 8 && !isUnsigned) {
      flip_ = top;
      bytes_ = {true, 128, format.offset - top};
    }
    break;
  case CodeKind::Signed:
    // A flipped sign bit makes a code that counts from the least value.
    bytes_ = {false, codes - 1, top};
    flip_ = top;
    if (format.bits == 8 && !isUnsigned) {
      flip_ = 0;
      bytes_ = {true, 128, 0};
    }
    break;
  case CodeKind::Codebook: {
    bytes_ = {false, codes - 1, 0};
    if (smallFloat_)
      break;
    if (!hasByteCodebook(format)) {
      for (unsigned code = 0; code < 16; ++code)
        levels_.push_back(format.getValue(uint8_t(code)));
      break;
    }
    int bias = isUnsigned ? 128 : 0;
    float largest = 0;
    for (unsigned code = 0; code < 16; ++code) {
      float value = format.getValue(uint8_t(code));
      largest = std::max(largest, std::abs(value));
      table_.push_back(int8_t(uint8_t(int(value) + bias)));
    }
    bytes_ = {!isUnsigned, isUnsigned ? 255 : unsigned(largest), bias};
    break;
  }
  }
  if (format.isSparse() && !isUnsigned && bytes_.bias != 0) {
    less_ = bytes_.bias;
    int most = int(bytes_.limit) - less_;
    bytes_ = {true, unsigned(std::max(less_, most)), 0};
  }
}

SmallVector<Value> BlockWeights::forRuns(KernelBuilder &b, Value packed,
                                         int64_t k, ValueRange init,
                                         RunBody body) const {
  return b.loop(
      b.idx(0), b.idx(k / layout_.run), 1, init,
      [&](Value number, ValueRange values) {
        Value run =
            b.gep(b.getI8Type(), packed, b.mul(number, layout_.runBytes));
        return body(run, b.mul(number, layout_.stepsPerRun()), values);
      });
}

SmallVector<Value> BlockWeights::forSteps(KernelBuilder &b, ValueRange init,
                                          StepBody body) const {
  if (layout_.stepsPerRun() == 1)
    return body(b.idx(0), init);
  return b.loop(b.idx(0), b.idx(layout_.stepsPerRun()), 1, init, body);
}

BlockWeights::Run BlockWeights::loadRun(KernelBuilder &b, Value address,
                                        Value row) const {
  Run run{address, row, {}, {}};
  int64_t bytes = getScaleBytes(format().scale);
  auto load = [&](int64_t plane, int64_t scale) {
    Value at = b.add(b.mul(row, bytes), plane + scale * kPanel * bytes);
    return loadScales(b, format().scale, b.gep(b.getI8Type(), address, at),
                      lanes_);
  };
  for (int64_t i = 0; i < layout_.scalesPerRun; ++i) {
    run.scales.push_back(load(0, i));
    if (!format().hasMinimum())
      continue;
    Value minimum = load(layout_.minima, i);
    if (format().minimum == MinimumKind::Subtracted)
      minimum = arith::NegFOp::create(b, minimum);
    run.minima.push_back(minimum);
  }
  return run;
}

/// The number of a group, as vector<lanes x i32>, from the plane of numbers of
/// `bits` bits at `planes` of the run.
Value BlockWeights::number(KernelBuilder &b, const Run &run, int64_t planes,
                           unsigned bits, Value step, unsigned group) const {
  Value index = layout_.groupsPerRun == 1 ? b.idx(0)
                : format().group > kBlockStep
                    ? b.divFloor(step, format().group / kBlockStep)
                    : b.add(b.mul(step, layout_.groupsPerStep), group);
  Value at = b.gep(b.getI8Type(), run.address,
                   b.add(b.mul(index, BlockLayout::numberBytes(bits)), planes));
  VectorType wide = b.vecType(lanes_, b.getI32Type());
  Value number;
  int64_t from = 0;
  for (const BitPlane &plane : getBitPlanes(bits)) {
    // Byte i holds the numbers of rows i, i + width, …
    int64_t width = kPanel / plane.perByte(),
            read = std::min<int64_t>(width, lanes_);
    Value some = b.loadVec(b.vecType(read, b.getI8Type()), at,
                           b.add(b.rem(run.row, width), from));
    SmallVector<int64_t> bytes;
    SmallVector<int32_t> shifts;
    for (int64_t i = 0; i < int64_t(lanes_); ++i) {
      bytes.push_back(i % width);
      shifts.push_back(int32_t(i / width * plane.bits));
    }
    if (read < int64_t(lanes_))
      some = b.shuffle(some, some, bytes);
    some = arith::ExtUIOp::create(b, wide, some);
    if (plane.bits != 8) {
      Value shift = b.splat(
          b.toI32(b.mul(b.divFloor(run.row, width), plane.bits)), lanes_);
      if (read < int64_t(lanes_))
        shift = arith::AddIOp::create(
            b, shift,
            arith::ConstantOp::create(
                b, DenseElementsAttr::get(wide, ArrayRef<int32_t>(shifts))));
      some = band(b, arith::ShRUIOp::create(b, some, shift), plane.mask());
    }
    if (plane.shift != 0)
      some = arith::ShLIOp::create(b, some, splatOf(b, wide, plane.shift));
    number = number ? arith::OrIOp::create(b, number, some) : some;
    from += width;
  }
  return number;
}

Value BlockWeights::scale(KernelBuilder &b, const Run &run, Value step,
                          unsigned group) const {
  Value scale = run.scales[run.scales.size() > 1 ? group : 0];
  if (!format().hasTwoLevels())
    return scale;
  Value number =
      this->number(b, run, layout_.subScales, format().subBits, step, group);
  Type type = number.getType();
  if (format().subSigned) {
    Value unused = splatOf(b, type, 32 - format().subBits);
    number = arith::ShRSIOp::create(b, arith::ShLIOp::create(b, number, unused),
                                    unused);
  } else if (format().subOffset != 0) {
    number =
        arith::SubIOp::create(b, number, splatOf(b, type, format().subOffset));
  }
  return arith::MulFOp::create(
      b, scale, arith::SIToFPOp::create(b, b.vecF32(lanes_), number));
}

/// The minimum, sign included.
Value BlockWeights::minimum(KernelBuilder &b, const Run &run, Value step,
                            unsigned group) const {
  Value minimum = run.minima[run.minima.size() > 1 ? group : 0];
  if (!format().hasTwoLevels())
    return minimum;
  Value number =
      this->number(b, run, layout_.subMinima, format().subBits, step, group);
  return arith::MulFOp::create(
      b, minimum, arith::SIToFPOp::create(b, b.vecF32(lanes_), number));
}

BlockWeights::Group BlockWeights::loadGroup(KernelBuilder &b, const Run &run,
                                            Value step, unsigned group) const {
  Group loaded{scale(b, run, step, group), nullptr, nullptr};
  if (format().hasMinimum())
    loaded.minimum = minimum(b, run, step, group);
  if (format().zeroBits)
    loaded.zero = number(b, run, layout_.zeros, format().zeroBits, step, group);
  return loaded;
}

Value BlockWeights::shift(KernelBuilder &b, const Run &run, Value step,
                          unsigned group) const {
  Group loaded = loadGroup(b, run, step, group);
  if (loaded.minimum)
    return loaded.minimum;
  Value zero = arith::SIToFPOp::create(b, b.vecF32(lanes_), loaded.zero);
  return arith::MulFOp::create(b, loaded.scale, arith::NegFOp::create(b, zero));
}

Value BlockWeights::storedCodes(KernelBuilder &b, const Run &run, Value step,
                                unsigned quad) const {
  VectorType type = b.vecType(kQuad * lanes_, b.getI8Type());
  constexpr int64_t entry = kPanel * kQuad;
  const int64_t quads = format().isSparse() ? kWordsPerStep : kQuadsPerStep;
  Value codes =
      b.gep(b.getI8Type(), run.address,
            b.add(b.mul(step, layout_.stepBytes), b.mul(run.row, kQuad)));
  int64_t at = layout_.codes;
  Value code;
  for (const BitPlane &plane : codePlanes_) {
    int64_t perByte = plane.perByte();
    Value v = b.loadVec(type, codes, b.idx(at + quad / perByte * entry));
    v = takePlane(b, v, plane, quad % perByte * plane.bits);
    code = code ? arith::OrIOp::create(b, code, v) : v;
    at += quads / perByte * entry;
  }
  return code;
}

//===----------------------------------------------------------------------===//
// Sparse codes
//===----------------------------------------------------------------------===//

/// Places of 2 bits are a plane whose bytes hold those of a step's words.
constexpr BitPlane kPlaces{2, 0};
static_assert(8 / kPlaces.bits == kWordsPerStep);

/// `four` again and again, as `type`.
static Value repeat(KernelBuilder &b, VectorType type,
                    std::array<uint8_t, kQuad> four) {
  SmallVector<int8_t> bytes;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    bytes.push_back(int8_t(four[i % kQuad]));
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, ArrayRef<int8_t>(bytes)));
}

Value BlockWeights::loadPlaces(KernelBuilder &b, const Run &run,
                               Value step) const {
  Value codes =
      b.gep(b.getI8Type(), run.address,
            b.add(b.mul(step, layout_.stepBytes), b.mul(run.row, kQuad)));
  return b.loadVec(b.vecType(kQuad * lanes_, b.getI8Type()), codes,
                   b.idx(layout_.codes + layout_.places));
}

Value BlockWeights::word(KernelBuilder &b, const Run &run, Value step,
                         unsigned word) const {
  return toBytes(b, storedCodes(b, run, step, word));
}

SmallVector<Value, 4> BlockWeights::picks(KernelBuilder &b, const Run &run,
                                          Value step) const {
  Value places = loadPlaces(b, run, step);
  auto type = cast<VectorType>(places.getType());
  SmallVector<Value, 4> picks;
  if (!b.isa().isX86()) {
    for (unsigned word = 0; word < kWordsPerStep; ++word)
      picks.push_back(arith::OrIOp::create(
          b, takePlane(b, places, kPlaces, word * kPlaces.bits),
          repeat(b, type, {0, 0, 4, 4})));
    return picks;
  }
  // Two words at a time: the second one's numbers are in the high halves of
  // bytes, and what wide shifts bring there from the next byte has no bit 7.
  picks.resize(kWordsPerStep);
  VectorType wide = b.vecType(type.getNumElements() / 2, b.getIntegerType(16));
  auto down = [&](Value v, int64_t bits) -> Value {
    v = vector::BitCastOp::create(b, wide, v);
    v = arith::ShRUIOp::create(b, v, splatOf(b, wide, bits));
    return vector::BitCastOp::create(b, type, v);
  };
  for (unsigned first : {0, 1}) {
    Value both = first ? down(places, kPlaces.bits) : places;
    both = arith::OrIOp::create(b, band(b, both, 0x33),
                                repeat(b, type, {0, 0, 0x44, 0x44}));
    picks[first] = both;
    picks[first + 2] = down(both, 4);
  }
  return picks;
}

Value BlockWeights::quad(KernelBuilder &b, const Run &run, Value step,
                         unsigned quad) const {
  if (!format().isSparse())
    return toBytes(b, storedCodes(b, run, step, quad));
  const unsigned number = quad / 2, half = quad % 2;
  Value bytes = word(b, run, step, number),
        places = takePlane(b, loadPlaces(b, run, step), kPlaces,
                           number * kPlaces.bits);
  auto type = cast<VectorType>(bytes.getType());
  bool isCode = smallFloat_ || !levels_.empty();
  Value result =
      splatOf(b, type, int8_t(isCode ? *format().zeroCode() : bytes_.bias));
  Value own = repeat(b, type, {0, 1, 2, 3});
  for (unsigned i = 0; i < 2; ++i) {
    SmallVector<int64_t> from;
    for (int64_t byte = 0; byte < type.getNumElements(); ++byte)
      from.push_back(byte / kQuad * kQuad + half * 2 + i);
    Value isHere = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                         b.shuffle(places, places, from), own);
    result = arith::SelectOp::create(b, isHere, b.shuffle(bytes, bytes, from),
                                     result);
  }
  return result;
}

Value BlockWeights::toBytes(KernelBuilder &b, Value codes) const {
  if (!table_.empty())
    return lookUp(b, table_, codes);
  if (flip_ != 0)
    codes = arith::XOrIOp::create(b, codes,
                                  splatOf(b, codes.getType(), int8_t(flip_)));
  if (less_ != 0)
    codes = arith::SubIOp::create(b, codes,
                                  splatOf(b, codes.getType(), int8_t(less_)));
  return codes;
}

/// The weights of bytes of one group that were widened to i32.
Value BlockWeights::toWeights(KernelBuilder &b, Value numbers,
                              const Group &group) const {
  auto type = cast<VectorType>(numbers.getType());
  VectorType f32 = type.clone(b.getF32Type());
  // Integers are moved by their bias and zero point, which is exact.
  Value bias = group.zero;
  if (bytes_.bias != 0) {
    Value fixed = splatOf(b, type, bytes_.bias);
    bias = bias ? arith::AddIOp::create(b, bias, fixed) : fixed;
  }
  Value value;
  if (smallFloat_)
    value = widenFloat(b, *smallFloat_, numbers);
  else if (!levels_.empty())
    value = lookUpFloat(b, levels_, numbers);
  else
    value = arith::SIToFPOp::create(
        b, f32, bias ? arith::SubIOp::create(b, numbers, bias) : numbers);
  // Two roundings, as blocks are defined.
  value = arith::MulFOp::create(b, value, group.scale);
  if (group.minimum)
    value = arith::AddFOp::create(b, value, group.minimum);
  return value;
}

Value BlockWeights::weights(KernelBuilder &b, Value bytes, unsigned k,
                            const Group &group) const {
  VectorType wide = b.vecType(lanes_, b.getI32Type());
  Value quads = vector::BitCastOp::create(b, wide, bytes);
  if (bytes_.isSigned) {
    Value up = splatOf(b, wide, 24 - 8 * int(k)), down = splatOf(b, wide, 24);
    return toWeights(
        b, arith::ShRSIOp::create(b, arith::ShLIOp::create(b, quads, up), down),
        group);
  }
  Value shift = splatOf(b, wide, 8 * int(k));
  return toWeights(b, band(b, arith::ShRUIOp::create(b, quads, shift), 255),
                   group);
}

Value BlockWeights::allWeights(KernelBuilder &b, Value bytes,
                               const Group &group) const {
  assert(lanes_ == 1 && "all bytes are of one row");
  VectorType wide = b.vecType(kQuad, b.getI32Type());
  auto spread = [&](Value one) {
    return one ? b.splat(vector::ExtractOp::create(b, one, 0), kQuad) : one;
  };
  Value numbers = bytes_.isSigned
                      ? Value(arith::ExtSIOp::create(b, wide, bytes))
                      : Value(arith::ExtUIOp::create(b, wide, bytes));
  return toWeights(
      b, numbers,
      {spread(group.scale), spread(group.minimum), spread(group.zero)});
}
