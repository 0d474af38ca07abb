//===- Attention.cpp - Fused attention
//-----------------------------------------===//
#include "backends/cpu/kernels/Attention.h"
#include "backends/cpu/select/Entries.h"

using namespace mlir;

namespace pare::cpu {

/// A slice of whole rows: all axes but the last complete, the last contiguous.
static bool cutsRows(nn::SliceOp slice) {
  nn::Shape from = nn::getShape(slice.getX().getType()),
            to = nn::getShape(slice.getResult().getType());
  ArrayRef<AffineExpr> starts = slice.getStarts().getResults();
  for (size_t i = 0; i + 1 < from.size(); ++i)
    if (from[i] != to[i] || !nn::isConstant(starts[i], 0))
      return false;
  return llvm::all_of(slice.getSteps(),
                      [](int64_t step) { return step == 1; }) &&
         nn::getConstant(starts.back()) && nn::getConstant(to.back());
}

/// Whether [B, S, H, D] `value` splits rows of `rows`, which is [B, S, H * D].
static bool splitsHeads(Value value, Value rows) {
  nn::Shape heads = nn::getShape(value.getType()),
            row = nn::getShape(rows.getType());
  return heads.size() == 4 && row.size() == 3 && heads[0] == row[0] &&
         heads[1] == row[1];
}

bool isReadInPlace(nn::SliceOp slice) {
  if (!cutsRows(slice) || slice.getResult().use_empty())
    return false;
  for (Operation *user : slice.getResult().getUsers()) {
    auto reshape = dyn_cast<nn::ReshapeOp>(user);
    if (!reshape || !splitsHeads(reshape.getResult(), slice.getResult()))
      return false;
    for (OpOperand &use : reshape.getResult().getUses())
      if (!isa<nn::AttentionOp>(use.getOwner()) || use.getOperandNumber() > 2)
        return false;
  }
  return true;
}

namespace {
/// Query, key or value as the kernel reads it.
struct Rows {
  Operand operand;
  nn::Dim stride; ///< elements from one token to the next
};
} // namespace

static Rows getRows(Value value, Selector &selector) {
  nn::Shape shape = nn::getShape(value.getType());
  auto reshape = value.getDefiningOp<nn::ReshapeOp>();
  auto slice =
      reshape ? reshape.getX().getDefiningOp<nn::SliceOp>() : nn::SliceOp();
  if (!slice || !isReadInPlace(slice))
    return {selector.operand(value), nn::simplify(shape[2] * shape[3])};
  Rows rows{selector.operand(slice.getX()),
            nn::getShape(slice.getX().getType()).back()};
  rows.operand.byteOffset =
      slice.getStarts().getResults().back() * int64_t(sizeof(float));
  return rows;
}

static std::optional<std::string> whyNot(Operation *op, const Isa &) {
  auto attention = dyn_cast<nn::AttentionOp>(op);
  if (!attention)
    return "";
  if (!getElementTypeOrSelf(attention.getQuery().getType()).isF32())
    return "only f32 attention has a kernel";
  if (!nn::getConstant(nn::getShape(attention.getQuery().getType()).back()) ||
      !nn::getConstant(nn::getShape(attention.getValue().getType()).back()))
    return "the size of attention heads must be known";
  return std::nullopt;
}

static llvm::Error build(Operation *op, Selector &selector) {
  auto attention = cast<nn::AttentionOp>(op);
  KernelCall call = beginCall(op);
  MLIRContext *context = op->getContext();
  nn::Shape q = nn::getShape(attention.getQuery().getType()),
            k = nn::getShape(attention.getKey().getType()),
            v = nn::getShape(attention.getValue().getType());
  AttentionSpec spec;
  spec.batch = selector.extent(call, q[0]);
  spec.queries = selector.extent(call, q[1]);
  spec.keys = selector.extent(call, k[1]);
  spec.heads = *nn::getConstant(q[2]);
  spec.kvHeads = *nn::getConstant(k[2]);
  spec.headDim = *nn::getConstant(q[3]);
  spec.valueDim = *nn::getConstant(v[3]);
  spec.scale = attention.getScale().convertToFloat();
  spec.causal = attention.getCausal();
  Rows rows[] = {getRows(attention.getQuery(), selector),
                 getRows(attention.getKey(), selector),
                 getRows(attention.getValue(), selector)};
  spec.strideQ = selector.extent(call, rows[0].stride);
  spec.strideK = selector.extent(call, rows[1].stride);
  spec.strideV = selector.extent(call, rows[2].stride);
  spec.strideOut = Extent::of(spec.heads * spec.valueDim);
  for (Rows &r : rows)
    call.inputs.push_back(r.operand);
  std::string maskText = "nomask";
  if (Value mask = attention.getMask()) {
    // Axes of the mask aligned to [B, H, Sq, Sk].
    nn::Shape shape = nn::getShape(mask.getType());
    shape.insert(shape.begin(), 4 - shape.size(), nn::constant(1, context));
    maskText = "mask";
    Product stride = 1;
    if (nn::isConstant(shape[3], 1) && !nn::isConstant(k[1], 1))
      spec.maskPerKey = false;
    else
      stride = stride * Product(spec.keys);
    for (int axis = 2; axis >= 0; --axis) {
      if (nn::isConstant(shape[axis], 1))
        continue;
      spec.maskStrides[axis] = stride;
      stride = stride * Product(selector.extent(call, shape[axis]));
      maskText += std::to_string(axis);
    }
    maskText += spec.maskPerKey ? "k" : "";
    spec.ptrMask = call.inputs.size();
    call.inputs.push_back(selector.operand(mask));
  }
  spec.ptrOut = call.inputs.size();
  addOutputs(call, op);
  call.grid = toDim(attentionGrid(spec, selector.isa()), call, context);
  call.scratchBytes =
      nn::constant(attentionScratchBytes(spec, selector.isa()), context);
  std::string signature;
  llvm::raw_string_ostream(signature)
      << spec.batch.str() << "," << spec.queries.str() << "," << spec.keys.str()
      << "," << spec.heads << "," << spec.kvHeads << "," << spec.headDim << ","
      << spec.valueDim << "," << llvm::format("%a", double(spec.scale)) << ","
      << spec.causal << "," << spec.strideQ.str() << "," << spec.strideK.str()
      << "," << spec.strideV.str() << "," << maskText;
  call.kernel = selector.kernel(
      call.op, signature, [&](KernelBuilder &b) { emitAttention(b, spec); });
  selector.add(std::move(call));
  return llvm::Error::success();
}

llvm::ArrayRef<KernelEntry> getAttentionEntries() {
  static const KernelEntry entries[] = {
      {"attention", "generated", whyNot, build}};
  return entries;
}

} // namespace pare::cpu
