//===- MatMul.cpp - Matrix products of weights and of activations
//----------===//
#include "backends/cpu/kernels/Gemm.h"
#include "backends/cpu/kernels/Pack.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }
static Type elementOf(Value value) {
  return getElementTypeOrSelf(value.getType());
}

KernelCall beginCall(Operation *op, StringRef suffix) {
  KernelCall call;
  call.source = op;
  auto fused = dyn_cast<nn::FusedOp>(op);
  call.op = (fused ? fused.getLabel() : op->getName().stripDialect()).str() +
            suffix.str();
  if (auto cost = dyn_cast<nn::CostInterface>(op))
    call.flops = cost.getFlops();
  call.bytes = nn::operandAndResultBytes(op);
  return call;
}

void addOutputs(KernelCall &call, Operation *op) {
  for (Value result : op->getResults()) {
    Operand output;
    output.value = result;
    call.outputs.push_back(output);
  }
}

void offerInPlace(KernelCall &call, unsigned firstInput) {
  for (unsigned out = 0; out < call.outputs.size(); ++out)
    for (unsigned in = firstInput; in < call.inputs.size(); ++in)
      if (call.inputs[in].value &&
          call.inputs[in].value.getType() == call.outputs[out].value.getType())
        call.inPlace.push_back({out, in});
}

/// The rows of a packed-weight product: all axes of the left side but the last.
static nn::Dim rowsOf(Value lhs) {
  nn::Shape shape = shapeOf(lhs);
  return nn::product(ArrayRef(shape).drop_back(), lhs.getContext());
}

/// Activation codes as this target stores them: unsigned ones are offset by
/// 128, which is part of their storage and not a zero point to compute with.
bool hasPlainCodes(nn::DequantizeOp op) {
  if (!op.getZeroPoint())
    return true;
  return getElementTypeOrSelf(op.getCodes().getType()).isUnsignedInteger(8) &&
         getLiteral(nn::getOuterValue(op.getZeroPoint())) == 128;
}

/// i32 zero points, one per row, of stored codes of 8 bits.
static bool hasRowZeroPoints(nn::DequantizeOp op) {
  Value zero = op.getZeroPoint();
  return zero && elementOf(zero).isInteger(32) &&
         elementOf(op.getCodes()).getIntOrFloatBitWidth() == 8 &&
         zero.getType() ==
             nn::getTensorType(shapeOf(op.getScale()), elementOf(zero));
}

bool isConstant(Value value) {
  Operation *def = nn::getOuterValue(value).getDefiningOp();
  return isa_and_nonnull<nn::ParamOp, nn::ConstantOp>(def);
}

namespace {
/// K, N and the strides of a two-dimensional right side.
struct WeightShape {
  int64_t k, n, strideK, strideN;
  explicit WeightShape(nn::MatMulOp op) {
    nn::Shape shape = shapeOf(op.getRhs());
    int64_t rows = *nn::getConstant(shape[0]),
            cols = *nn::getConstant(shape[1]);
    bool transposed = op.getTransposeRhs();
    k = transposed ? cols : rows;
    n = transposed ? rows : cols;
    strideK = transposed ? 1 : cols;
    strideN = transposed ? cols : 1;
  }
};

/// Binds a tail to the epilogue of a GEMM whose batch entries have `m` rows.
void bindTail(GemmSpec &spec, const Tail &tail, unsigned firstResult,
              const KernelCall &call) {
  Extent m = spec.m;
  bool batched = !(spec.batch.isFixed() && spec.batch.fixed == 1);
  spec.store = [&tail, firstResult, m, batched](KernelBuilder &b, Value vec,
                                                const GemmAt &at) {
    Value row = batched ? b.add(b.mul(at.batch, b.extent(m)), at.row) : at.row;
    tail.emitAndStore(b, vec, row, at.col, at.count, firstResult);
  };
}

std::string specText(const GemmSpec &spec) {
  std::string text;
  llvm::raw_string_ostream(text)
      << (spec.format == MicroKernel::S8 ? "s8" : "f32") << " m" << spec.m.str()
      << " n" << spec.n.str() << " k" << spec.k.str() << " b"
      << spec.batch.str() << " lda" << spec.lda.str() << " ldb"
      << spec.ldb.str() << " ldc" << spec.ldc.str()
      << (spec.packedB ? " packed" : "") << (spec.transB ? " transB" : "")
      << (spec.ptrRowZero ? " zeros" : "") << " ";
  return text;
}

/// The extents of a product as expressions.
struct ProductDims {
  nn::Dim batch, m, n, k;
};

ProductDims dimsOf(const WeightShape &weight, nn::Dim rows) {
  MLIRContext *context = rows.getContext();
  return {nn::constant(1, context), rows, nn::constant(weight.n, context),
          nn::constant(weight.k, context)};
}

/// Completes a call whose inputs so far are those of `spec`: the group's tail,
/// its results, the tasks and the kernel. `signature` is what the code depends
/// on beyond spec and tail.
llvm::Error addGemm(nn::MatMulOp matmul, GemmSpec spec, const ProductDims &dims,
                    StringRef signature, Operation *op, KernelCall call,
                    Selector &selector) {
  unsigned firstTailInput = call.inputs.size();
  Tail tail(op, matmul, selector, call);
  unsigned firstResult = call.inputs.size();
  addOutputs(call, op);
  offerInPlace(call, firstTailInput);
  bindTail(spec, tail, firstResult, call);

  GemmTiling tiling = gemmTiling(spec, selector.isa());
  call.grid = dims.batch * dims.n.ceilDiv(tiling.colsPerTask) *
              dims.m.ceilDiv(tiling.rowsPerTask);
  call.scratchBytes = dims.k * tiling.scratchBytesPerK;
  call.kernel = selector.kernel(
      call.op, specText(spec) + signature.str() + tail.signature(),
      [&](KernelBuilder &b) { emitGemm(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

} // namespace

//===----------------------------------------------------------------------===//
// f32 by a weight
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotFloat(Operation *op, const Isa &) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  if (!matmul)
    return "";
  if (getGroup(op).front() != matmul.getOperation())
    return "";
  if (!elementOf(matmul.getLhs()).isF32())
    return "matrix products of this element type have no kernel";
  if (!isConstant(matmul.getRhs()) || shapeOf(matmul.getRhs()).size() != 2)
    return "";
  return Tail::whyNot(op, matmul);
}

static llvm::Error buildFloat(Operation *op, Selector &selector) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  KernelCall call = beginCall(op);
  WeightShape weight(matmul);
  nn::WeightOp symbol = nn::getWeight(matmul.getRhs());
  TensorData data = *selector.constantData(matmul.getRhs());

  GemmSpec spec;
  nn::Dim m = rowsOf(matmul.getLhs());
  spec.m = selector.extent(call, m);
  spec.n = spec.ldc = Extent::of(weight.n);
  spec.k = spec.lda = Extent::of(weight.k);
  call.inputs.push_back(selector.operand(matmul.getLhs()));
  std::string name = symbol ? symbol.getSymName().str() : "";
  call.inputs.push_back(selector.pack(
      {(symbol ? "f32:" + name
               : "f32:" + std::string(data.bytes.begin(), data.bytes.end())) +
           (matmul.getTransposeRhs() ? ":t" : ""),
       name, uint64_t(packedSizeF32(weight.k, weight.n)) * 4,
       [data, weight](MutableArrayRef<uint8_t> out) {
         packF32(data.toF32().data(), weight.k, weight.n, weight.strideK,
                 weight.strideN, reinterpret_cast<float *>(out.data()));
       }}));
  spec.ptrA = 0;
  spec.ptrB = 1;
  return addGemm(matmul, spec, dimsOf(weight, m), "", op, std::move(call),
                 selector);
}

//===----------------------------------------------------------------------===//
// int8 by a weight
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotInt8(Operation *op, const Isa &) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  if (!matmul)
    return "";
  auto lhs = matmul.getLhs().getDefiningOp<nn::DequantizeOp>(),
       rhs = matmul.getRhs().getDefiningOp<nn::DequantizeOp>();
  if (!lhs || !rhs || lhs->getParentOp() != op || rhs->getParentOp() != op)
    return "";
  if (!isConstant(rhs.getCodes()) || !isConstant(rhs.getScale()) ||
      shapeOf(rhs.getCodes()).size() != 2)
    return "";
  if (rhs.getZeroPoint())
    return "int8 weights with zero points have no kernel";
  if (!hasPlainCodes(lhs) && !hasRowZeroPoints(lhs))
    return "int8 products with these zero points have no kernel";
  if (!nn::isConstant(shapeOf(lhs.getScale()).back(), 1))
    return "int8 products need one activation scale per row";
  return Tail::whyNot(op, matmul);
}

static llvm::Error buildInt8(Operation *op, Selector &selector) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  auto lhs = matmul.getLhs().getDefiningOp<nn::DequantizeOp>(),
       rhs = matmul.getRhs().getDefiningOp<nn::DequantizeOp>();
  KernelCall call = beginCall(op, " int8");
  WeightShape weight(matmul);
  nn::WeightOp codesSymbol = nn::getWeight(rhs.getCodes()),
               scalesSymbol = nn::getWeight(rhs.getScale());
  TensorData codes = *selector.constantData(rhs.getCodes()),
             scales = *selector.constantData(rhs.getScale());
  auto codesAt = [](const TensorData &data) {
    return reinterpret_cast<const int8_t *>(data.bytes.data());
  };
  std::string name = codesSymbol.getSymName().str();
  std::string source =
      codesSymbol.getSource().value_or(codesSymbol.getSymName()).str();
  std::string orientation = matmul.getTransposeRhs() ? ":t" : "";

  GemmSpec spec;
  spec.format = MicroKernel::S8;
  nn::Dim m = rowsOf(matmul.getLhs());
  spec.m = selector.extent(call, m);
  spec.n = spec.ldc = Extent::of(weight.n);
  spec.k = Extent::of(weight.k);
  spec.lda = Extent::of(paddedCodes(weight.k));
  call.inputs.push_back(selector.operand(nn::getOuterValue(lhs.getCodes())));
  call.inputs.push_back(selector.pack(
      {"s8:" + name + orientation, source,
       uint64_t(packedSizeS8(weight.k, weight.n)),
       [=](MutableArrayRef<uint8_t> out) {
         packS8(codesAt(codes), weight.k, weight.n, weight.strideK,
                weight.strideN, reinterpret_cast<int8_t *>(out.data()));
       }}));
  call.inputs.push_back(selector.operand(nn::getOuterValue(lhs.getScale())));
  call.inputs.push_back(
      selector.pack({"scales:" + scalesSymbol.getSymName().str(), source,
                     uint64_t(packedColumns(weight.n)) * 4,
                     [=](MutableArrayRef<uint8_t> out) {
                       std::vector<float> values = scales.toF32();
                       for (int64_t i = 0; i < weight.n; ++i)
                         reinterpret_cast<float *>(out.data())[i] =
                             values[values.size() == 1 ? 0 : i];
                     }}));
  spec.ptrA = 0;
  spec.ptrB = 1;
  spec.ptrRowScale = 2;
  spec.ptrColScale = 3;
  spec.ptrCompensation = 3;
  auto addColumnSums = [&](StringRef what, int32_t factor) {
    call.inputs.push_back(
        selector.pack({(what + ":" + name + orientation).str(), source,
                       uint64_t(packedColumns(weight.n)) * 4,
                       [=](MutableArrayRef<uint8_t> out) {
                         sumColumnsS8(codesAt(codes), weight.k, weight.n,
                                      weight.strideK, weight.strideN, factor,
                                      reinterpret_cast<int32_t *>(out.data()));
                       }}));
    return unsigned(call.inputs.size() - 1);
  };
  if (hasRowZeroPoints(lhs)) {
    spec.ptrColumnSums = addColumnSums("column-sums", 1);
    spec.ptrRowZero = call.inputs.size();
    call.inputs.push_back(
        selector.operand(nn::getOuterValue(lhs.getZeroPoint())));
  } else if (selector.isa().codeStorage() == CodeStorage::U8Plus128) {
    spec.ptrCompensation = addColumnSums("compensation", -128);
  }
  return addGemm(matmul, spec, dimsOf(weight, m), "", op, std::move(call),
                 selector);
}

//===----------------------------------------------------------------------===//
// Of two activations, batched
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotBatched(Operation *op, const Isa &) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  if (!matmul || getGroup(op).front() != matmul.getOperation())
    return "";
  if (!elementOf(matmul.getLhs()).isF32())
    return "matrix products of this element type have no kernel";
  return Tail::whyNot(op, matmul);
}

/// Element offset of an operand's matrix from the batch number of the result,
/// where leading axes of size 1 repeat.
static GemmSpec::OffsetFn batchOffset(Selector &selector, KernelCall &call,
                                      Value operand, Value result,
                                      std::string &signature) {
  nn::Shape own = shapeOf(operand), space = shapeOf(result);
  size_t leading = space.size() - 2, skip = leading - (own.size() - 2);
  nn::Dim matrix = own[own.size() - 2] * own.back();
  bool whole = true;
  SmallVector<std::pair<Extent, bool>> axes;
  for (size_t i = 0; i < leading; ++i) {
    bool varies = i >= skip && !nn::isConstant(own[i - skip], 1);
    whole &= varies || nn::isConstant(space[i], 1);
    axes.push_back({selector.extent(call, space[i]), varies});
  }
  Extent size = selector.extent(call, matrix);
  signature += " x" + size.str();
  for (auto &[extent, varies] : axes)
    signature += "," + extent.str() + (varies ? "v" : "r");
  return [=](KernelBuilder &b, Value batch) {
    if (whole)
      return b.mul(batch, b.extent(size));
    Value index = b.idx(0), stride = b.idx(1), rest = batch;
    for (auto &[extent, varies] : llvm::reverse(axes)) {
      Value n = b.extent(extent);
      if (varies) {
        index = b.add(index, b.mul(b.rem(rest, n), stride));
        stride = b.mul(stride, n);
      }
      rest = b.divFloor(rest, n);
    }
    return b.mul(index, b.extent(size));
  };
}

static llvm::Error buildBatched(Operation *op, Selector &selector) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape a = shapeOf(matmul.getLhs()), c = shapeOf(matmul.getResult());
  nn::Dim batch = nn::product(ArrayRef(c).drop_back(2), op->getContext());
  nn::Dim m = c[c.size() - 2], n = c.back(), k = a.back();

  GemmSpec spec;
  spec.m = selector.extent(call, m);
  spec.n = spec.ldc = selector.extent(call, n);
  spec.k = spec.lda = selector.extent(call, k);
  spec.batch = selector.extent(call, batch);
  spec.packedB = false;
  spec.transB = matmul.getTransposeRhs();
  spec.ldb = spec.transB ? spec.k : spec.n;
  call.inputs.push_back(selector.operand(matmul.getLhs()));
  call.inputs.push_back(selector.operand(matmul.getRhs()));
  std::string offsets;
  spec.offsetA =
      batchOffset(selector, call, matmul.getLhs(), matmul.getResult(), offsets);
  spec.offsetB =
      batchOffset(selector, call, matmul.getRhs(), matmul.getResult(), offsets);
  return addGemm(matmul, spec, {batch, m, n, k}, offsets, op, std::move(call),
                 selector);
}

llvm::ArrayRef<KernelEntry> getMatMulEntries() {
  static const KernelEntry entries[] = {
      {"matmul-int8", "generated", whyNotInt8, buildInt8},
      {"matmul-f32", "generated", whyNotFloat, buildFloat},
      {"matmul-batched", "generated", whyNotBatched, buildBatched},
  };
  return entries;
}

} // namespace pare::cpu
