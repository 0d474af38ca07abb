//===- Movement.cpp - Data movement
//---------------------------------------------===//
#include "backends/cpu/DType.h"
#include "backends/cpu/kernels/DataMovement.h"
#include "backends/cpu/select/Entries.h"
#include "backends/cpu/select/Tail.h"

using namespace mlir;

namespace pare::cpu {

static nn::Shape shapeOf(Value value) { return nn::getShape(value.getType()); }
static unsigned bytesOf(Value value) {
  return nn::getElementBytes(getElementTypeOrSelf(value.getType()));
}

static SmallVector<Extent> extentsOf(Value value, KernelCall &call,
                                     Selector &selector) {
  SmallVector<Extent> extents;
  for (nn::Dim dim : shapeOf(value))
    extents.push_back(selector.extent(call, dim));
  return extents;
}

/// Row-major strides as expressions.
static nn::Shape stridesOf(Value value) {
  nn::Shape shape = shapeOf(value), strides(shape);
  nn::Dim stride = nn::constant(1, value.getContext());
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride = stride * shape[i];
  }
  return strides;
}

static std::string text(const CopySpec &spec) {
  std::string result = std::to_string(spec.elementBytes);
  auto add = [&](const Product &p) {
    result += "," + std::to_string(p.scale());
    for (unsigned dim : p.dims())
      result += "d" + std::to_string(dim);
  };
  for (const Extent &extent : spec.shape)
    result += " " + extent.str();
  for (const Product &stride : spec.inStrides)
    add(stride);
  for (const Product &stride : spec.outStrides)
    add(stride);
  return result;
}

static void addCopy(KernelCall call, const CopySpec &spec, Selector &selector) {
  call.grid = toDim(copyGrid(spec), call, call.source->getContext());
  call.kernel = selector.kernel("copy", text(spec),
                                [&](KernelBuilder &b) { emitCopy(b, spec); });
  selector.add(std::move(call));
}

static llvm::Error buildTranspose(Operation *op, Selector &selector) {
  auto transpose = cast<nn::TransposeOp>(op);
  KernelCall call = beginCall(op);
  CopySpec spec = CopySpec::transpose(
      extentsOf(transpose.getX(), call, selector), transpose.getPermutation(),
      bytesOf(transpose.getX()));
  call.inputs.push_back(selector.operand(transpose.getX()));
  addOutputs(call, op);
  addCopy(std::move(call), spec, selector);
  return llvm::Error::success();
}

static llvm::Error buildExpand(Operation *op, Selector &selector) {
  auto expand = cast<nn::ExpandOp>(op);
  KernelCall call = beginCall(op);
  nn::Shape from = shapeOf(expand.getX()), to = shapeOf(expand.getResult());
  CopySpec spec;
  spec.shape = extentsOf(expand.getResult(), call, selector);
  spec.elementBytes = bytesOf(expand.getX());
  SmallVector<bool> broadcast(to.size(), true);
  for (size_t i = 0; i < from.size(); ++i)
    broadcast[to.size() - from.size() + i] = nn::isConstant(from[i], 1);
  spec.inStrides = denseStrides(spec.shape, broadcast);
  spec.outStrides = denseStrides(spec.shape);
  call.inputs.push_back(selector.operand(expand.getX()));
  addOutputs(call, op);
  addCopy(std::move(call), spec, selector);
  return llvm::Error::success();
}

static llvm::Error buildSlice(Operation *op, Selector &selector) {
  auto slice = cast<nn::SliceOp>(op);
  KernelCall call = beginCall(op);
  CopySpec spec;
  spec.shape = extentsOf(slice.getResult(), call, selector);
  spec.elementBytes = bytesOf(slice.getX());
  SmallVector<Product> strides =
      denseStrides(extentsOf(slice.getX(), call, selector));
  nn::Shape strideDims = stridesOf(slice.getX());
  nn::Dim offset = nn::constant(0, op->getContext());
  for (auto [axis, step] : llvm::enumerate(slice.getSteps())) {
    spec.inStrides.push_back(strides[axis] * Product(step));
    offset = offset + slice.getStarts().getResult(axis) * strideDims[axis];
  }
  spec.outStrides = denseStrides(spec.shape);
  Operand input = selector.operand(slice.getX());
  input.byteOffset = nn::simplify(offset * int64_t(spec.elementBytes));
  call.inputs.push_back(input);
  addOutputs(call, op);
  addCopy(std::move(call), spec, selector);
  return llvm::Error::success();
}

static llvm::Error buildConcat(Operation *op, Selector &selector) {
  auto concat = cast<nn::ConcatOp>(op);
  int64_t axis = concat.getAxis();
  nn::Shape strideDims = stridesOf(concat.getResult());
  nn::Dim start = nn::constant(0, op->getContext());
  for (Value input : concat.getInputs()) {
    KernelCall call = beginCall(op);
    CopySpec spec;
    spec.shape = extentsOf(input, call, selector);
    spec.elementBytes = bytesOf(input);
    spec.inStrides = denseStrides(spec.shape);
    spec.outStrides =
        denseStrides(extentsOf(concat.getResult(), call, selector));
    call.bytes = nn::simplify(nn::product(shapeOf(input), op->getContext()) *
                              int64_t(2 * spec.elementBytes));
    call.inputs.push_back(selector.operand(input));
    addOutputs(call, op);
    call.outputs.front().byteOffset =
        nn::simplify(start * strideDims[axis] * int64_t(spec.elementBytes));
    addCopy(std::move(call), spec, selector);
    start = start + shapeOf(input)[axis];
  }
  return llvm::Error::success();
}

static llvm::Error buildPad(Operation *op, Selector &selector) {
  auto pad = cast<nn::PadOp>(op);
  KernelCall call = beginCall(op);
  PadSpec spec;
  spec.inShape = extentsOf(pad.getX(), call, selector);
  spec.outShape = extentsOf(pad.getResult(), call, selector);
  spec.low.assign(pad.getLow().begin(), pad.getLow().end());
  spec.high.assign(pad.getHigh().begin(), pad.getHigh().end());
  spec.elementBytes = bytesOf(pad.getX());
  spec.kind = pad.getMode() == nn::PadMode::reflect ? PadKind::Reflect
              : pad.getMode() == nn::PadMode::edge  ? PadKind::Edge
                                                    : PadKind::Constant;
  Type element = getElementTypeOrSelf(pad.getX().getType());
  if (auto type = dyn_cast<FloatType>(element)) {
    APFloat value = pad.getValue();
    bool losesInfo;
    value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    spec.value = value.bitcastToAPInt().getZExtValue();
  } else {
    spec.value = int64_t(pad.getValue().convertToDouble());
  }
  call.inputs.push_back(selector.operand(pad.getX()));
  addOutputs(call, op);
  call.grid = toDim(padGrid(spec), call, op->getContext());
  std::string signature;
  llvm::raw_string_ostream stream(signature);
  stream << int(spec.kind) << ":" << spec.elementBytes << ":" << spec.value;
  for (const Extent &extent : llvm::concat<Extent>(spec.inShape, spec.outShape))
    stream << " " << extent.str();
  for (int64_t amount : llvm::concat<int64_t>(spec.low, spec.high))
    stream << "," << amount;
  call.kernel = selector.kernel("pad", signature,
                                [&](KernelBuilder &b) { emitPad(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

/// The table of a gather, with its scales where it is quantized by rows.
static nn::DequantizeOp dequantizedTable(nn::GatherOp gather) {
  auto table = gather.getData().getDefiningOp<nn::DequantizeOp>();
  return table && table->getParentOp() == gather->getParentOp() &&
                 isa<nn::FusedOp>(table->getParentOp())
             ? table
             : nn::DequantizeOp();
}

static std::optional<std::string> whyNotGather(Operation *op, const Isa &) {
  auto gather = findAnchor<nn::GatherOp>(op);
  if (!gather)
    return "";
  nn::DequantizeOp table = dequantizedTable(gather);
  if (getGroup(op).size() != (table ? 2u : 1u))
    return "a gather's group holds more than its kernel computes";
  if (!table)
    return std::nullopt;
  nn::Shape scale = shapeOf(table.getScale());
  if (gather.getAxis() != 0 || table.getZeroPoint() || scale.size() != 2 ||
      !nn::isConstant(scale[1], 1) || shapeOf(table.getCodes()).size() != 2)
    return "quantized tables need one scale per row";
  return std::nullopt;
}

static llvm::Error buildGather(Operation *op, Selector &selector) {
  auto gather = findAnchor<nn::GatherOp>(op);
  nn::DequantizeOp table = dequantizedTable(gather);
  Value data = table ? table.getCodes() : gather.getData();
  MLIRContext *context = op->getContext();
  KernelCall call = beginCall(op, table ? " int8" : "");
  // Of a table, only the rows in question are read.
  call.bytes =
      nn::simplify(nn::product(shapeOf(gather.getResult()), context) *
                   int64_t(bytesOf(data) + bytesOf(gather.getResult())));
  nn::Shape shape = shapeOf(data);
  int64_t axis = gather.getAxis();
  GatherSpec spec;
  spec.outer = selector.extent(
      call, nn::product(ArrayRef(shape).take_front(axis), context));
  spec.axis = selector.extent(call, shape[axis]);
  spec.count =
      selector.extent(call, nn::product(shapeOf(gather.getIndices()), context));
  spec.inner = selector.extent(
      call, nn::product(ArrayRef(shape).drop_front(axis + 1), context));
  spec.dataType = *getDType(getElementTypeOrSelf(data.getType()));
  spec.outType = *getDType(getElementTypeOrSelf(gather.getType()));
  spec.indexType =
      *getDType(getElementTypeOrSelf(gather.getIndices().getType()));
  call.inputs.push_back(selector.operand(data));
  call.inputs.push_back(selector.operand(gather.getIndices()));
  if (table) {
    spec.ptrRowScale = call.inputs.size();
    call.inputs.push_back(selector.operand(table.getScale()));
  }
  spec.ptrOut = call.inputs.size();
  addOutputs(call, op);
  call.grid = toDim(gatherGrid(spec), call, context);
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.outer.str() << " " << spec.axis.str() << " " << spec.count.str()
      << " " << spec.inner.str() << " " << spec.dataType << " " << spec.outType
      << " " << spec.indexType << (table ? " scaled" : "");
  call.kernel = selector.kernel("gather", signature,
                                [&](KernelBuilder &b) { emitGather(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Shape values
//===----------------------------------------------------------------------===//

static llvm::Error buildDimValues(Operation *op, Selector &selector) {
  auto values = cast<nn::DimValuesOp>(op);
  KernelCall call = beginCall(op);
  SmallVector<Extent> extents;
  std::string signature;
  for (AffineExpr value : values.getValues().getResults()) {
    extents.push_back(selector.extent(call, value));
    signature += extents.back().str() + ",";
  }
  addOutputs(call, op);
  call.grid = nn::constant(1, op->getContext());
  call.kernel = selector.kernel("dim_values", signature, [&](KernelBuilder &b) {
    for (auto [index, extent] : llvm::enumerate(extents))
      b.store(b.toI64(b.extent(extent)), b.ptr(0), b.idx(index));
  });
  selector.add(std::move(call));
  return llvm::Error::success();
}

/// Ops that are one copy whatever they hold.
template <typename Op>
static std::optional<std::string> whyNot(Operation *op, const Isa &) {
  if (!isa<Op>(op))
    return "";
  if (!getDType(getElementTypeOrSelf(op->getResult(0).getType())))
    return "elements of this type have no kernel";
  return std::nullopt;
}

llvm::ArrayRef<KernelEntry> getMovementEntries() {
  static const KernelEntry entries[] = {
      {"transpose", "generated", whyNot<nn::TransposeOp>, buildTranspose},
      {"expand", "generated", whyNot<nn::ExpandOp>, buildExpand},
      {"slice", "generated", whyNot<nn::SliceOp>, buildSlice},
      {"concat", "generated", whyNot<nn::ConcatOp>, buildConcat},
      {"pad", "generated", whyNot<nn::PadOp>, buildPad},
      {"gather", "generated", whyNotGather, buildGather},
      {"dim-values", "generated", whyNot<nn::DimValuesOp>, buildDimValues},
  };
  return entries;
}

} // namespace pare::cpu
