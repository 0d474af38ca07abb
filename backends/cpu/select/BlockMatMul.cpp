//===- BlockMatMul.cpp - Products and rows of weights in blocks -----------===//
#include "backends/cpu/DType.h"
#include "backends/cpu/select/Blocks.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }
static bool isF32(Value value) {
  return getElementTypeOrSelf(value.getType()).isF32();
}

const BlockFormat *getBlockFormat(Value value) {
  nn::WeightOp weight = nn::getWeight(value);
  return weight && weight.getBlocks() ? findBlockFormat(*weight.getBlocks())
                                      : nullptr;
}

/// Whether `matmul` multiplies the rows of a two-dimensional weight in blocks.
static bool isBlockProduct(nn::MatMulOp matmul) {
  return matmul && getBlockFormat(matmul.getRhs()) &&
         matmul.getTransposeRhs() && shapeOf(matmul.getRhs()).size() == 2;
}

nn::DequantizeOp getCodes(Operation *product) {
  auto codes = product->getOperand(0).getDefiningOp<nn::DequantizeOp>();
  if (!codes || codes->getParentOp() != product->getParentOp() ||
      !isa<nn::FusedOp>(codes->getParentOp()))
    return {};
  return codes;
}

/// Why rows of `weight`, in blocks of `format`, are not taken; nullopt: they
/// are.
static std::optional<std::string>
whyNoRows(Value weight, const BlockFormat &format, bool isInteger) {
  if (std::optional<std::string> why = isInteger
                                           ? whyNoIntegerBlockKernel(format)
                                           : whyNoBlockKernel(format))
    return why;
  // Blocks of 16 may leave half a step.
  if (*nn::getConstant(shapeOf(weight).back()) % kBlockStep != 0)
    return "rows of no multiple of 32 elements have no kernel";
  return std::nullopt;
}

std::optional<std::string> whyNoProduct(Operation *op, Operation *product,
                                        const BlockFormat *format) {
  constexpr char known[] =
      "products of blocks take f32 or codes with one scale per 32";
  nn::DequantizeOp codes = getCodes(product);
  if (format)
    if (std::optional<std::string> why =
            whyNoRows(product->getOperand(1), *format, bool(codes)))
      return ("products of " + format->name + ": " + *why).str();
  if (!codes)
    return getGroup(op).front() == product && isF32(product->getOperand(0))
               ? Tail::whyNot(op, product)
               : known;
  std::optional<int64_t> k = nn::getConstant(shapeOf(codes.getCodes()).back()),
                         groups =
                             nn::getConstant(shapeOf(codes.getScale()).back());
  if (!format || codes.getZeroPoint() || !k || !groups ||
      *k != *groups * kBlockStep ||
      !getElementTypeOrSelf(codes.getCodes().getType()).isInteger(8))
    return known;
  return Tail::whyNot(op, product);
}

unsigned addRows(KernelCall &call, Operation *product, Selector &selector) {
  nn::DequantizeOp codes = getCodes(product);
  call.inputs.push_back(selector.operand(
      nn::getOuterValue(codes ? codes.getCodes() : product->getOperand(0))));
  if (codes)
    call.inputs.push_back(
        selector.operand(nn::getOuterValue(codes.getScale())));
  return call.inputs.size() - 1;
}

void addProduct(Operation *op, Operation *product, BlockGemmSpec spec,
                nn::Dim m, KernelCall call, Selector &selector) {
  unsigned firstTailInput = call.inputs.size();
  Tail tail(op, product, selector, call);
  unsigned firstResult = call.inputs.size();
  addOutputs(call, op);
  offerInPlace(call, firstTailInput);
  spec.store = [&](KernelBuilder &b, Value vec, const GemmAt &at) {
    tail.emitAndStore(b, vec, at.row, at.col, at.count, firstResult);
  };
  BlockGemmTiling tiling = blockGemmTiling(spec, selector.isa());
  call.grid = m.ceilDiv(tiling.rowsPerTask) *
              int64_t(llvm::divideCeil(spec.n, tiling.colsPerTask));
  call.scratchBytes = nn::constant(tiling.scratchBytes, op->getContext());
  std::string signature;
  llvm::raw_string_ostream stream(signature);
  stream << "m" << spec.m.str() << " n" << spec.n << " k" << spec.k;
  if (spec.experts)
    stream << " e" << spec.experts->count << " s" << spec.experts->slotsPerRow
           << " t" << spec.plain;
  stream << " " << tail.signature();
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitBlockGemm(b, spec); });
  selector.add(std::move(call));
}

/// Adds the packed weight, from which products and lookups read: one copy.
static Operand packWeight(Value value, Selector &selector) {
  nn::WeightOp weight = nn::getWeight(value);
  TensorData data = *selector.constantData(value);
  int64_t n = data.type.getDimSize(0), k = data.type.getDimSize(1);
  return selector.pack(
      {("blocks:" + weight.getSymName()).str(),
       weight.getSource().value_or(weight.getSymName()).str(),
       uint64_t(BlockLayout(data.storage->format).packedBytes(n, k)),
       [data, n, k](MutableArrayRef<uint8_t> out) {
         packBlocks(*data.storage, data.bytes, n, k, out);
       }});
}

static uint64_t getPackedBytes(const BlockFormat &format, Value weight) {
  nn::Shape shape = shapeOf(weight);
  return BlockLayout(format).packedBytes(*nn::getConstant(shape[0]),
                                         *nn::getConstant(shape[1]));
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotProduct(Operation *op, const Isa &) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  if (!isBlockProduct(matmul))
    return "";
  return whyNoProduct(op, matmul, getBlockFormat(matmul.getRhs()));
}

static llvm::Error buildProduct(Operation *op, Selector &selector) {
  auto matmul = findAnchor<nn::MatMulOp>(op);
  nn::DequantizeOp codes = getCodes(matmul);
  const BlockFormat &format = *getBlockFormat(matmul.getRhs());
  nn::Shape lhs = shapeOf(matmul.getLhs()), weight = shapeOf(matmul.getRhs());
  nn::Dim m = nn::product(ArrayRef(lhs).drop_back(), op->getContext());

  KernelCall call =
      beginCall(op, (" " + format.name + (codes ? " int8" : "")).str());
  BlockGemmSpec spec;
  spec.format = &format;
  spec.isInteger = bool(codes);
  spec.m = selector.extent(call, m);
  spec.n = *nn::getConstant(weight[0]);
  spec.k = *nn::getConstant(weight[1]);
  spec.ptrScales = addRows(call, matmul, selector);
  spec.ptrW = call.inputs.size();
  call.inputs.push_back(packWeight(matmul.getRhs(), selector));
  // The graph counts the weight's elements as f32.
  call.bytes =
      nn::simplify(call.bytes - spec.n * spec.k * int64_t(sizeof(float)) +
                   int64_t(getPackedBytes(format, matmul.getRhs())));
  addProduct(op, matmul, std::move(spec), m, std::move(call), selector);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Codes of activations
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotGroups(Operation *op, const Isa &) {
  auto quantize = dyn_cast<nn::DynamicQuantizeOp>(op);
  if (!quantize || !quantize.getGroup())
    return "";
  if (!isF32(quantize.getX()) || *quantize.getGroup() != kBlockStep ||
      !quantize.getCodes().isInteger(8))
    return "codes with groups are i8 of f32, one scale per 32";
  return std::nullopt;
}

static llvm::Error buildGroups(Operation *op, Selector &selector) {
  auto quantize = cast<nn::DynamicQuantizeOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape shape = shapeOf(quantize.getX());
  nn::Dim rows = nn::product(ArrayRef(shape).drop_back(), op->getContext());
  QuantizeGroupsSpec spec;
  spec.m = selector.extent(call, rows);
  spec.k = *nn::getConstant(shape.back());
  call.inputs.push_back(selector.operand(quantize.getX()));
  addOutputs(call, op);
  call.grid = rows.ceilDiv(quantizeGroupsRowsPerTask(spec));
  call.kernel = selector.kernel(
      "quantize_groups", spec.m.str() + " " + std::to_string(spec.k),
      [&](KernelBuilder &b) { emitQuantizeGroups(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

static std::optional<std::string> whyNotGather(Operation *op, const Isa &) {
  auto gather = dyn_cast<nn::GatherOp>(op);
  const BlockFormat *format =
      gather ? getBlockFormat(gather.getData()) : nullptr;
  if (!format)
    return "";
  if (std::optional<std::string> why =
          whyNoRows(gather.getData(), *format, /*isInteger=*/false))
    return ("rows of " + format->name + ": " + *why).str();
  if (gather.getAxis() != 0 || shapeOf(gather.getData()).size() != 2)
    return "of weights in blocks, whole rows are gathered";
  return std::nullopt;
}

static llvm::Error buildGather(Operation *op, Selector &selector) {
  auto gather = cast<nn::GatherOp>(op);
  const BlockFormat &format = *getBlockFormat(gather.getData());
  MLIRContext *context = op->getContext();
  nn::Shape table = shapeOf(gather.getData());
  nn::Dim count = nn::product(shapeOf(gather.getIndices()), context);
  KernelCall call = beginCall(op, (" " + format.name).str());
  BlockGatherSpec spec;
  spec.format = &format;
  spec.n = *nn::getConstant(table[0]);
  spec.k = *nn::getConstant(table[1]);
  spec.count = selector.extent(call, count);
  spec.indexType =
      *getDType(getElementTypeOrSelf(gather.getIndices().getType()));
  call.bytes = nn::simplify(
      count * (spec.k * int64_t(sizeof(float)) +
               int64_t(getPackedBytes(format, gather.getData())) / spec.n));
  call.inputs.push_back(packWeight(gather.getData(), selector));
  call.inputs.push_back(selector.operand(gather.getIndices()));
  addOutputs(call, op);
  call.grid = count.ceilDiv(blockGatherRowsPerTask(spec));
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.n << " " << spec.k << " " << spec.count.str() << " "
      << spec.indexType;
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitBlockGather(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getBlockEntries() {
  static const KernelEntry entries[] = {
      {"matmul-blocks", "generated", whyNotProduct, buildProduct},
      {"quantize-groups", "generated", whyNotGroups, buildGroups},
      {"gather-blocks", "generated", whyNotGather, buildGather},
  };
  return entries;
}

} // namespace pare::cpu
