//===- KernelBuilder.cpp - Writing one kernel as MLIR ---------------------===//
#include "backends/cpu/kernels/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace pare::cpu;

std::string Extent::str() const {
  return isFixed() ? std::to_string(fixed) : "d" + std::to_string(dim);
}

void pare::cpu::loadKernelDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, cf::ControlFlowDialect,
                      func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                      scf::SCFDialect, vector::VectorDialect>();
}

KernelBuilder::KernelBuilder(ModuleOp module, StringRef name, const Isa &isa)
    : ImplicitLocOpBuilder(module.getLoc(), module.getContext()), isa_(isa) {
  loadKernelDialects(*getContext());
  setInsertionPointToEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(getContext());
  func_ = func::FuncOp::create(
      *this, name,
      getFunctionType({pointer, pointer, getI64Type(), pointer}, {}));
  setInsertionPointToStart(func_.addEntryBlock());
}

void KernelBuilder::finish() { func::ReturnOp::create(*this); }

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

Value KernelBuilder::atEntry(llvm::function_ref<Value()> make) {
  InsertionGuard guard(*this);
  setInsertionPointToStart(&func_.front());
  return make();
}

/// Inserts the load of element `i` of `array` at the insertion point.
static Value loadArgument(ImplicitLocOpBuilder &b, Type type, Value array,
                          unsigned i) {
  Value address = array;
  if (i != 0)
    address = LLVM::GEPOp::create(b, array.getType(), type, array,
                                  llvm::ArrayRef<LLVM::GEPArg>{int32_t(i)});
  return LLVM::LoadOp::create(b, type, address, /*alignment=*/8,
                              /*isVolatile=*/false, /*isNonTemporal=*/false,
                              /*isInvariant=*/true);
}

Value KernelBuilder::ptr(unsigned i) {
  Value &value = ptrs_[i];
  if (!value)
    value = atEntry([&] {
      return loadArgument(*this, LLVM::LLVMPointerType::get(getContext()),
                          func_.getArgument(0), i);
    });
  return value;
}

Value KernelBuilder::task() {
  if (!task_)
    task_ = atEntry([&] { return toIndex(func_.getArgument(2)); });
  return task_;
}

Value KernelBuilder::scratch() { return func_.getArgument(3); }

Value KernelBuilder::extent(const Extent &e) {
  if (e.isFixed())
    return idx(e.fixed);
  Value &value = dims_[e.dim];
  if (!value)
    value = atEntry([&] {
      return toIndex(
          loadArgument(*this, getI64Type(), func_.getArgument(1), e.dim));
    });
  return value;
}

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

std::optional<int64_t> KernelBuilder::constant(Value v) {
  llvm::APInt value;
  if (v && matchPattern(v, m_ConstantInt(&value)))
    return value.getSExtValue();
  return std::nullopt;
}

Value KernelBuilder::idx(int64_t v) {
  Value &value = indices_[v];
  if (!value)
    value = atEntry(
        [&]() -> Value { return arith::ConstantIndexOp::create(*this, v); });
  return value;
}

Value KernelBuilder::add(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return idx(*x + *y);
  if (x == 0)
    return b;
  if (y == 0)
    return a;
  return arith::AddIOp::create(*this, a, b);
}

Value KernelBuilder::sub(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return idx(*x - *y);
  if (y == 0)
    return a;
  return arith::SubIOp::create(*this, a, b);
}

Value KernelBuilder::mul(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return idx(*x * *y);
  if (x == 0 || y == 0)
    return idx(0);
  if (x == 1)
    return b;
  if (y == 1)
    return a;
  return arith::MulIOp::create(*this, a, b);
}

Value KernelBuilder::divFloor(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (y == 1)
    return a;
  if (x && y && *y != 0)
    return idx(*x / *y);
  return arith::DivUIOp::create(*this, a, b);
}

Value KernelBuilder::divCeil(Value a, int64_t b) {
  return divFloor(add(a, b - 1), b);
}

Value KernelBuilder::rem(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (y == 1)
    return idx(0);
  if (x && y && *y != 0)
    return idx(*x % *y);
  return arith::RemUIOp::create(*this, a, b);
}

Value KernelBuilder::minIdx(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return idx(std::min(*x, *y));
  return arith::MinSIOp::create(*this, a, b);
}

Value KernelBuilder::maxIdx(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return idx(std::max(*x, *y));
  return arith::MaxSIOp::create(*this, a, b);
}

Value KernelBuilder::less(Value a, Value b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return arith::ConstantOp::create(*this, getBoolAttr(*x < *y));
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b);
}

Value KernelBuilder::toI64(Value index) {
  return arith::IndexCastOp::create(*this, getI64Type(), index);
}

Value KernelBuilder::toI32(Value index) {
  return arith::IndexCastOp::create(*this, getI32Type(), index);
}

Value KernelBuilder::toIndex(Value integer) {
  return arith::IndexCastOp::create(*this, getIndexType(), integer);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Alignment of an element in bytes; vectors need no more than that.
static unsigned alignmentOf(Type type) {
  if (isa<LLVM::LLVMPointerType>(type))
    return 8;
  return std::max(1u, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8);
}

Value KernelBuilder::gep(Type elem, Value base, Value offset) {
  if (auto c = constant(offset)) {
    if (*c == 0)
      return base;
    if (llvm::isInt<30>(*c))
      return LLVM::GEPOp::create(*this, base.getType(), elem, base,
                                 llvm::ArrayRef<LLVM::GEPArg>{int32_t(*c)});
  }
  return LLVM::GEPOp::create(*this, base.getType(), elem, base,
                             llvm::ArrayRef<LLVM::GEPArg>{toI64(offset)});
}

Value KernelBuilder::load(Type elem, Value base, Value offset) {
  return LLVM::LoadOp::create(*this, elem, gep(elem, base, offset),
                              alignmentOf(elem));
}

Value KernelBuilder::loadVec(VectorType type, Value base, Value offset) {
  return LLVM::LoadOp::create(
      *this, type, gep(type.getElementType(), base, offset), alignmentOf(type));
}

Value KernelBuilder::laneMask(unsigned lanes, Value count) {
  SmallVector<int32_t> numbers(lanes);
  for (unsigned i = 0; i < lanes; ++i)
    numbers[i] = i;
  Value index = arith::ConstantOp::create(
      *this, DenseElementsAttr::get(vecType(lanes, getI32Type()),
                                    ArrayRef<int32_t>(numbers)));
  // Clamped first: a count may exceed what 32 bits hold.
  Value limit = toI32(minIdx(count, idx(lanes)));
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, index,
                               splat(limit, lanes));
}

Value KernelBuilder::loadVecPartial(VectorType type, Value base, Value offset,
                                    Value count) {
  unsigned lanes = type.getNumElements();
  auto known = constant(count);
  if (!count || (known && *known >= lanes))
    return loadVec(type, base, offset);
  return LLVM::MaskedLoadOp::create(*this, type,
                                    gep(type.getElementType(), base, offset),
                                    laneMask(lanes, count), zero(type),
                                    /*alignment=*/alignmentOf(type));
}

void KernelBuilder::store(Value value, Value base, Value offset) {
  Type elem = getElementTypeOrSelf(value.getType());
  LLVM::StoreOp::create(*this, value, gep(elem, base, offset),
                        alignmentOf(value.getType()));
}

void KernelBuilder::storePartial(Value vector, Value base, Value offset,
                                 Value count) {
  auto type = cast<VectorType>(vector.getType());
  auto known = constant(count);
  if (!count || (known && *known >= type.getNumElements()))
    return store(vector, base, offset);
  LLVM::MaskedStoreOp::create(
      *this, vector, gep(type.getElementType(), base, offset),
      laneMask(type.getNumElements(), count), alignmentOf(type));
}

void KernelBuilder::prefetch(Value base, int64_t bytes) {
  constexpr int64_t line = 64;
  for (int64_t at = 0; at < bytes; at += line)
    LLVM::Prefetch::create(*this, gep(getI8Type(), base, idx(at)),
                           /*rw=*/0, /*hint=*/3, /*cache=*/1);
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

SmallVector<Value> KernelBuilder::loop(Value lb, Value ub, int64_t step,
                                       ValueRange init, LoopBody body) {
  auto op = scf::ForOp::create(*this, lb, ub, idx(step), init);
  InsertionGuard guard(*this);
  // Without carried values the loop was built with its terminator.
  if (init.empty())
    setInsertionPointToStart(op.getBody());
  else
    setInsertionPointToEnd(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  assert(next.size() == init.size() && "a loop yields what it carries");
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return SmallVector<Value>(op.getResults());
}

void KernelBuilder::loop(Value lb, Value ub, int64_t step,
                         llvm::function_ref<void(Value)> body) {
  loop(lb, ub, step, ValueRange{},
       [&](Value iv, ValueRange) -> SmallVector<Value> {
         body(iv);
         return {};
       });
}

void KernelBuilder::ifThen(Value cond, llvm::function_ref<void()> then,
                           llvm::function_ref<void()> otherwise) {
  if (auto known = constant(cond)) {
    if (*known != 0)
      then();
    else if (otherwise)
      otherwise();
    return;
  }
  auto op = scf::IfOp::create(*this, cond, /*withElseRegion=*/bool(otherwise));
  InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  then();
  if (otherwise) {
    setInsertionPointToStart(op.elseBlock());
    otherwise();
  }
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::vecType(unsigned lanes, Type elem) {
  return VectorType::get({int64_t(lanes)}, elem);
}

Value KernelBuilder::splat(Value scalar, unsigned lanes) {
  return vector::BroadcastOp::create(*this, vecType(lanes, scalar.getType()),
                                     scalar);
}

Value KernelBuilder::constF32(float v, unsigned lanes) {
  TypedAttr value = getF32FloatAttr(v);
  if (lanes != 0)
    value = DenseElementsAttr::get(vecF32(lanes), v);
  return arith::ConstantOp::create(*this, value);
}

Value KernelBuilder::constI32(int32_t v, unsigned lanes) {
  TypedAttr value = getI32IntegerAttr(v);
  if (lanes != 0)
    value = DenseElementsAttr::get(vecType(lanes, getI32Type()), v);
  return arith::ConstantOp::create(*this, value);
}

Value KernelBuilder::zero(Type type) {
  return arith::ConstantOp::create(*this, getZeroAttr(type));
}

Value KernelBuilder::fma(Value a, Value b, Value c) {
  if (isa_.hasFma)
    return math::FmaOp::create(*this, a, b, c);
  return arith::AddFOp::create(*this, arith::MulFOp::create(*this, a, b), c);
}

Value KernelBuilder::shuffle(Value a, Value b, ArrayRef<int64_t> lanes) {
  return vector::ShuffleOp::create(*this, a, b, lanes);
}

Value KernelBuilder::slice(Value vector, unsigned first, unsigned count) {
  if (first == 0 &&
      count == cast<VectorType>(vector.getType()).getNumElements())
    return vector;
  SmallVector<int64_t> lanes(count);
  for (unsigned i = 0; i < count; ++i)
    lanes[i] = first + i;
  return shuffle(vector, vector, lanes);
}

Value KernelBuilder::concat(ArrayRef<Value> vectors) {
  assert(llvm::isPowerOf2_64(vectors.size()) && "halves must match");
  if (vectors.size() == 1)
    return vectors[0];
  Value low = concat(vectors.take_front(vectors.size() / 2));
  Value high = concat(vectors.drop_front(vectors.size() / 2));
  unsigned n = cast<VectorType>(low.getType()).getNumElements();
  SmallVector<int64_t> lanes(2 * n);
  for (unsigned i = 0; i < 2 * n; ++i)
    lanes[i] = i;
  return shuffle(low, high, lanes);
}

Value KernelBuilder::intrinsic(StringRef name, Type result,
                               ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(*this, result, getStringAttr(name),
                                       operands)
      .getResult(0);
}

SmallVector<Value> KernelBuilder::inOrder(ArrayRef<Value> vectors) {
  // An empty assembly statement with every vector as operand and result.
  SmallVector<Type> types;
  std::string results, operands;
  for (auto [i, v] : llvm::enumerate(vectors)) {
    types.push_back(v.getType());
    results +=
        std::string(results.empty() ? "=" : ",=") + (isa_.isX86() ? "v" : "w");
    operands += "," + std::to_string(i);
  }
  Type type = types.front();
  if (types.size() > 1)
    type = LLVM::LLVMStructType::getLiteral(getContext(), types);
  Value all = LLVM::InlineAsmOp::create(
                  *this, TypeRange{type}, ValueRange(vectors), "",
                  results + operands, /*has_side_effects=*/false,
                  /*is_align_stack=*/false, LLVM::TailCallKind::None,
                  LLVM::AsmDialectAttr(), ArrayAttr())
                  .getResult(0);
  if (types.size() == 1)
    return {all};
  SmallVector<Value> values;
  for (int64_t i = 0; i < int64_t(types.size()); ++i)
    values.push_back(LLVM::ExtractValueOp::create(*this, all, i));
  return values;
}
