//===- ShapeInference.cpp - Result types and verifiers of nn ops
//-----------===//
#include "frontend/ir/NN.h"

using namespace mlir;

namespace pare::nn {

namespace {
std::string str(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}
} // namespace

static Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}
static int64_t rankOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank();
}

static LogicalResult broadcastResult(std::optional<Location> loc, StringRef op,
                                     Value a, Value b, Shape &result) {
  std::optional<Shape> shape =
      broadcast(getShape(a.getType()), getShape(b.getType()));
  if (!shape)
    return emitOptionalError(loc, "nn.", op, ": shapes ", str(a.getType()),
                             " and ", str(b.getType()), " do not broadcast");
  result = std::move(*shape);
  return success();
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

LogicalResult UnaryOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                        Adaptor op,
                                        SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return success();
}

static bool isComparison(BinaryKind kind) {
  return kind >= BinaryKind::equal && kind <= BinaryKind::greater_equal;
}

LogicalResult BinaryOp::inferReturnTypes(MLIRContext *context,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  Shape shape;
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(
        loc, "nn.binary: element types differ: ", str(op.getLhs().getType()),
        " and ", str(op.getRhs().getType()));
  if (failed(broadcastResult(loc, "binary", op.getLhs(), op.getRhs(), shape)))
    return failure();
  Type element = isComparison(op.getKind()) ? IntegerType::get(context, 1)
                                            : elementOf(op.getLhs());
  types.push_back(getTensorType(shape, element));
  return success();
}

LogicalResult SelectOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  Shape branches;
  if (!elementOf(op.getCondition()).isInteger(1))
    return emitOptionalError(loc,
                             "nn.select: the condition must be boolean, not ",
                             str(op.getCondition().getType()));
  if (elementOf(op.getOnTrue()) != elementOf(op.getOnFalse()))
    return emitOptionalError(
        loc, "nn.select: branch types differ: ", str(op.getOnTrue().getType()),
        " and ", str(op.getOnFalse().getType()));
  if (failed(broadcastResult(loc, "select", op.getOnTrue(), op.getOnFalse(),
                             branches)))
    return failure();
  std::optional<Shape> shape =
      broadcast(branches, getShape(op.getCondition().getType()));
  if (!shape)
    return emitOptionalError(loc, "nn.select: condition ",
                             str(op.getCondition().getType()),
                             " does not broadcast with its branches");
  types.push_back(getTensorType(*shape, elementOf(op.getOnTrue())));
  return success();
}

LogicalResult CastOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                       Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  types.push_back(getTensorType(getShape(op.getX().getType()), op.getTo()));
  return success();
}

//===----------------------------------------------------------------------===//
// Linear algebra
//===----------------------------------------------------------------------===//

LogicalResult MatMulOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  Shape a = getShape(op.getLhs().getType()),
        b = getShape(op.getRhs().getType());
  if (a.size() < 2 || b.size() < 2)
    return emitOptionalError(
        loc, "nn.matmul: operands need at least two axes, got ",
        str(op.getLhs().getType()), " and ", str(op.getRhs().getType()));
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(
        loc, "nn.matmul: element types differ: ", str(op.getLhs().getType()),
        " and ", str(op.getRhs().getType()));
  Dim m = a[a.size() - 2], ka = a.back();
  Dim kb = b[b.size() - (op.getTransposeRhs() ? 1 : 2)],
      n = b[b.size() - (op.getTransposeRhs() ? 2 : 1)];
  std::optional<int64_t> ca = getConstant(ka), cb = getConstant(kb);
  if (ca && cb && *ca != *cb)
    return emitOptionalError(
        loc, "nn.matmul: inner dimensions differ: ", str(op.getLhs().getType()),
        " and ", str(op.getRhs().getType()));
  std::optional<Shape> shape =
      broadcast(ArrayRef(a).drop_back(2), ArrayRef(b).drop_back(2));
  if (!shape)
    return emitOptionalError(loc, "nn.matmul: leading axes of ",
                             str(op.getLhs().getType()), " and ",
                             str(op.getRhs().getType()), " do not broadcast");
  shape->push_back(m);
  shape->push_back(n);
  types.push_back(getTensorType(*shape, elementOf(op.getLhs())));
  return success();
}

/// Checks what convolutions and pooling share.
static LogicalResult checkWindow(std::optional<Location> loc, StringRef op,
                                 Value x, size_t spatial,
                                 ArrayRef<int64_t> strides,
                                 ArrayRef<int64_t> pads,
                                 ArrayRef<int64_t> dilations) {
  if (rankOf(x) != int64_t(spatial) + 2 || strides.size() != spatial ||
      dilations.size() != spatial || pads.size() != 2 * spatial)
    return emitOptionalError(
        loc, "nn.", op, ": strides, dilations, pads and kernel do not fit the ",
        int64_t(spatial), " spatial axes of ", str(x.getType()));
  for (size_t i = 0; i < spatial; ++i)
    if (strides[i] < 1 || dilations[i] < 1)
      return emitOptionalError(loc, "nn.", op,
                               ": strides and dilations must be positive");
  return success();
}

/// Output size of a sliding window: floor or ceil of (x + pads - span) /
/// stride, + 1.
static Dim windowSize(Dim x, int64_t kernel, int64_t stride, int64_t padLow,
                      int64_t padHigh, int64_t dilation, bool ceil) {
  Dim span = x + (padLow + padHigh - dilation * (kernel - 1) - 1);
  return (ceil ? span.ceilDiv(stride) : span.floorDiv(stride)) + 1;
}

LogicalResult ConvOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> loc, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()),
        f = getShape(op.getFilter().getType());
  size_t spatial = op.getStrides().size();
  if (f.size() != spatial + 2 ||
      failed(checkWindow(loc, "conv", op.getX(), spatial, op.getStrides(),
                         op.getPads(), op.getDilations())))
    return f.size() != spatial + 2
               ? emitOptionalError(
                     loc, "nn.conv: filter ", str(op.getFilter().getType()),
                     " does not fit input ", str(op.getX().getType()))
               : failure();
  std::optional<int64_t> channels = getConstant(x.back()),
                         perGroup = getConstant(f.back()),
                         outputs = getConstant(f.front());
  int64_t groups = op.getGroups();
  if (!perGroup || !outputs || groups < 1 ||
      (channels &&
       (*channels % groups != 0 || *channels / groups != *perGroup)) ||
      *outputs % groups != 0)
    return emitOptionalError(
        loc, "nn.conv: filter ", str(op.getFilter().getType()), " with ",
        groups, " groups does not fit input ", str(op.getX().getType()));
  Shape shape{x.front()};
  for (size_t i = 0; i < spatial; ++i) {
    std::optional<int64_t> kernel = getConstant(f[1 + i]);
    if (!kernel)
      return emitOptionalError(loc, "nn.conv: kernel sizes must be known");
    Dim size = simplify(windowSize(x[1 + i], *kernel, op.getStrides()[i],
                                   op.getPads()[i], op.getPads()[spatial + i],
                                   op.getDilations()[i], false));
    if (getConstant(size).value_or(1) < 1)
      return emitOptionalError(
          loc, "nn.conv: the kernel is larger than the padded input ",
          str(op.getX().getType()));
    shape.push_back(size);
  }
  shape.push_back(f.front());
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

LogicalResult ConvTransposeOp::inferReturnTypes(MLIRContext *,
                                                std::optional<Location> loc,
                                                Adaptor op,
                                                SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()),
        f = getShape(op.getFilter().getType());
  size_t spatial = op.getStrides().size();
  if (f.size() != spatial + 2 || op.getOutputPads().size() != spatial)
    return emitOptionalError(loc, "nn.conv_transpose: filter ",
                             str(op.getFilter().getType()),
                             " does not fit input ", str(op.getX().getType()));
  if (failed(checkWindow(loc, "conv_transpose", op.getX(), spatial,
                         op.getStrides(), op.getPads(), op.getDilations())))
    return failure();
  std::optional<int64_t> channels = getConstant(x.back()),
                         perGroup = getConstant(f.back());
  int64_t groups = op.getGroups();
  if (!perGroup || groups < 1 ||
      (channels &&
       (*channels % groups != 0 || *channels / groups != *perGroup)))
    return emitOptionalError(loc, "nn.conv_transpose: filter ",
                             str(op.getFilter().getType()), " with ", groups,
                             " groups does not fit input ",
                             str(op.getX().getType()));
  Shape shape{x.front()};
  for (size_t i = 0; i < spatial; ++i) {
    std::optional<int64_t> kernel = getConstant(f[1 + i]);
    if (!kernel)
      return emitOptionalError(loc,
                               "nn.conv_transpose: kernel sizes must be known");
    shape.push_back((x[1 + i] - 1) * op.getStrides()[i] +
                    (op.getDilations()[i] * (*kernel - 1) + 1 +
                     op.getOutputPads()[i] - op.getPads()[i] -
                     op.getPads()[spatial + i]));
  }
  shape.push_back(f.front());
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

//===----------------------------------------------------------------------===//
// Pooling, reductions, normalizations
//===----------------------------------------------------------------------===//

LogicalResult PoolOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> loc, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType());
  size_t spatial = op.getKernel().size();
  if (failed(checkWindow(loc, "pool", op.getX(), spatial, op.getStrides(),
                         op.getPads(), op.getDilations())))
    return failure();
  Shape shape{x.front()};
  for (size_t i = 0; i < spatial; ++i) {
    Dim size = simplify(windowSize(
        x[1 + i], op.getKernel()[i], op.getStrides()[i], op.getPads()[i],
        op.getPads()[spatial + i], op.getDilations()[i], op.getCeilMode()));
    // With ceil_mode a last window that starts beyond the input and its begin
    // padding is dropped.
    std::optional<int64_t> out = getConstant(size), in = getConstant(x[1 + i]);
    if (op.getCeilMode() && out && in &&
        (*out - 1) * op.getStrides()[i] >= *in + op.getPads()[i])
      size = size - 1;
    if (getConstant(size).value_or(1) < 1)
      return emitOptionalError(
          loc, "nn.pool: the window is larger than the padded input ",
          str(op.getX().getType()));
    shape.push_back(size);
  }
  shape.push_back(x.back());
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

LogicalResult ReduceOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()), shape;
  MLIRContext *context = op.getX().getContext();
  for (int64_t axis : op.getAxes())
    if (axis < 0 || axis >= int64_t(x.size()))
      return emitOptionalError(loc, "nn.reduce: axis ", axis,
                               " is not an axis of ", str(op.getX().getType()));
  for (size_t i = 0; i < x.size(); ++i) {
    if (!llvm::is_contained(op.getAxes(), int64_t(i)))
      shape.push_back(x[i]);
    else if (op.getKeepDims())
      shape.push_back(constant(1, context));
  }
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

LogicalResult SoftmaxOp::inferReturnTypes(MLIRContext *,
                                          std::optional<Location> loc,
                                          Adaptor op,
                                          SmallVectorImpl<Type> &types) {
  if (int64_t axis = op.getAxis(); axis < 0 || axis >= rankOf(op.getX()))
    return emitOptionalError(loc, "nn.softmax: axis ", axis,
                             " is not an axis of ", str(op.getX().getType()));
  types.push_back(op.getX().getType());
  return success();
}

static LogicalResult checkPerChannel(std::optional<Location> loc, StringRef op,
                                     Value x, ValueRange parameters) {
  if (rankOf(x) < 1)
    return emitOptionalError(loc, "nn.", op,
                             ": the input needs at least one axis");
  Dim channels = getShape(x.getType()).back();
  for (Value parameter : parameters) {
    if (!parameter)
      continue;
    Shape shape = getShape(parameter.getType());
    if (shape.size() != 1 || !broadcast(shape[0], channels))
      return emitOptionalError(
          loc, "nn.", op, ": parameter ", str(parameter.getType()),
          " does not fit the last axis of ", str(x.getType()));
  }
  return success();
}

LogicalResult LayerNormOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return checkPerChannel(loc, "layer_norm", op.getX(),
                         {op.getScale(), op.getBias()});
}

LogicalResult RmsNormOp::inferReturnTypes(MLIRContext *,
                                          std::optional<Location> loc,
                                          Adaptor op,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return checkPerChannel(loc, "rms_norm", op.getX(), {op.getScale()});
}

LogicalResult BatchNormOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return checkPerChannel(
      loc, "batch_norm", op.getX(),
      {op.getScale(), op.getBias(), op.getMean(), op.getVariance()});
}

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  if (rankOf(op.getQuery()) != 4 || rankOf(op.getKey()) != 4 ||
      rankOf(op.getValue()) != 4)
    return emitOptionalError(loc,
                             "nn.attention: query, key and value must have the "
                             "axes [batch, sequence, heads, size]");
  Shape q = getShape(op.getQuery().getType()),
        k = getShape(op.getKey().getType()),
        v = getShape(op.getValue().getType());
  std::optional<int64_t> heads = getConstant(q[2]), kvHeads = getConstant(k[2]);
  if (!heads || !kvHeads || *kvHeads < 1 || *heads % *kvHeads != 0 ||
      k[2] != v[2] || q[3] != k[3] || k[1] != v[1] || q[0] != k[0] ||
      k[0] != v[0])
    return emitOptionalError(
        loc, "nn.attention: query ", str(op.getQuery().getType()), ", key ",
        str(op.getKey().getType()), " and value ", str(op.getValue().getType()),
        " do not fit together");
  if (Value mask = op.getMask())
    if (!broadcast(getShape(mask.getType()), {q[0], q[2], q[1], k[1]}))
      return emitOptionalError(loc, "nn.attention: mask ", str(mask.getType()),
                               " does not broadcast to the scores");
  types.push_back(
      getTensorType({q[0], q[1], q[2], v[3]}, elementOf(op.getQuery())));
  return success();
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

LogicalResult RopeOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> loc, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()),
        cos = getShape(op.getCos().getType());
  std::optional<int64_t> size =
      x.size() == 3 ? getConstant(x[2]) : std::nullopt;
  std::optional<int64_t> half =
      cos.size() == 2 ? getConstant(cos[1]) : std::nullopt;
  if (!size || !half || cos[0] != x[0] || *half > *size / 2 ||
      op.getCos().getType() != op.getSin().getType())
    return emitOptionalError(loc, "nn.rope: ", str(op.getX().getType()),
                             " must be [T, H, D], cosines ",
                             str(op.getCos().getType()), " and sines ",
                             str(op.getSin().getType()), " [T, d / 2], d <= D");
  types.push_back(op.getX().getType());
  return success();
}

/// Whether positions and sequences are i32, one per row.
static bool isOnePerRow(ArrayRef<Value> numbers, Dim rows) {
  return llvm::all_of(numbers, [&](Value value) {
    return elementOf(value).isInteger(32) && rankOf(value) == 1 &&
           getShape(value.getType())[0] == rows;
  });
}

LogicalResult
CachedAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc,
                                    Adaptor op, SmallVectorImpl<Type> &types) {
  Shape q = getShape(op.getQuery().getType());
  if (q.size() != 3 || !getConstant(q[1]) || !getConstant(q[2]) ||
      !isOnePerRow({op.getPositions(), op.getSequences()}, q[0]))
    return emitOptionalError(loc, "nn.cached_attention: the query ",
                             str(op.getQuery().getType()),
                             " must be [T, H, D], positions and sequences i32 "
                             "[T]");
  types.push_back(op.getQuery().getType());
  return success();
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location> loc, Adaptor op,
                                        SmallVectorImpl<Type> &types) {
  Shape shape = getShape(op.getLogits().getType());
  std::optional<int64_t> experts =
      shape.size() == 2 ? getConstant(shape[1]) : std::nullopt;
  int64_t used = op.getUsed();
  if (!experts || !elementOf(op.getLogits()).isF32())
    return emitOptionalError(loc,
                             "nn.route: logits must be f32 [T, experts], not ",
                             str(op.getLogits().getType()));
  if (used < 1 || used > *experts)
    return emitOptionalError(loc, "nn.route: a row cannot use ", used, " of ",
                             *experts, " experts");
  shape[1] = constant(used, context);
  types.push_back(getTensorType(shape, Float32Type::get(context)));
  types.push_back(getTensorType(shape, IntegerType::get(context, 32)));
  return success();
}

LogicalResult GroupByExpertOp::inferReturnTypes(MLIRContext *context,
                                                std::optional<Location> loc,
                                                Adaptor op,
                                                SmallVectorImpl<Type> &types) {
  Type type = op.getExperts().getType();
  Shape shape = getShape(type);
  if (shape.size() != 2 || !getConstant(shape[1]) ||
      !elementOf(op.getExperts()).isInteger(32))
    return emitOptionalError(
        loc, "nn.group_by_expert: experts must be i32 [T, used], not ",
        str(type));
  int64_t count = op.getCount();
  if (count < 1)
    return emitOptionalError(
        loc, "nn.group_by_expert: there must be at least one expert");
  types.push_back(type);
  types.push_back(getTensorType({constant(count + 1, context)},
                                elementOf(op.getExperts())));
  return success();
}

LogicalResult ExpertMatMulOp::inferReturnTypes(MLIRContext *context,
                                               std::optional<Location> loc,
                                               Adaptor op,
                                               SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()),
        weights = getShape(op.getWeights().getType()),
        order = getShape(op.getOrder().getType()),
        starts = getShape(op.getStarts().getType());
  bool fits = weights.size() == 3 && order.size() == 2 && starts.size() == 1 &&
              (x.size() == 2 || x.size() == 3) && x[0] == order[0] &&
              x.back() == weights[2] && starts[0] == simplify(weights[0] + 1);
  if (fits && x.size() == 3)
    fits = x[1] == order[1];
  if (!fits)
    return emitOptionalError(
        loc, "nn.expert_matmul: rows ", str(op.getX().getType()), ", weights ",
        str(op.getWeights().getType()), ", order ",
        str(op.getOrder().getType()), " and starts ",
        str(op.getStarts().getType()), " do not fit together");
  if (!elementOf(op.getX()).isF32() ||
      !isa<FloatType>(elementOf(op.getWeights())) ||
      !elementOf(op.getOrder()).isInteger(32) ||
      !elementOf(op.getStarts()).isInteger(32))
    return emitOptionalError(
        loc, "nn.expert_matmul: rows must be f32, weights floats, order and "
             "starts i32");
  types.push_back(getTensorType({order[0], order[1], weights[1]},
                                Float32Type::get(context)));
  return success();
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

LogicalResult GatherOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  Shape data = getShape(op.getData().getType()),
        indices = getShape(op.getIndices().getType());
  int64_t axis = op.getAxis();
  if (axis < 0 || axis >= int64_t(data.size()))
    return emitOptionalError(loc, "nn.gather: axis ", axis,
                             " is not an axis of ",
                             str(op.getData().getType()));
  if (!elementOf(op.getIndices()).isInteger(32) &&
      !elementOf(op.getIndices()).isInteger(64))
    return emitOptionalError(loc, "nn.gather: indices must be i32 or i64, not ",
                             str(op.getIndices().getType()));
  Shape shape(ArrayRef(data).take_front(axis));
  shape.append(indices.begin(), indices.end());
  shape.append(data.begin() + axis + 1, data.end());
  types.push_back(getTensorType(shape, elementOf(op.getData())));
  return success();
}

LogicalResult TransposeOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  Shape x = getShape(op.getX().getType()), shape;
  SmallVector<bool> seen(x.size(), false);
  bool valid = op.getPermutation().size() == x.size();
  for (int64_t axis : op.getPermutation()) {
    valid = valid && axis >= 0 && axis < int64_t(x.size()) && !seen[axis];
    if (!valid)
      return emitOptionalError(
          loc, "nn.transpose: not a permutation of the axes of ",
          str(op.getX().getType()));
    seen[axis] = true;
    shape.push_back(x[axis]);
  }
  if (!valid)
    return emitOptionalError(loc,
                             "nn.transpose: not a permutation of the axes of ",
                             str(op.getX().getType()));
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

LogicalResult ConcatOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> loc,
                                         Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  if (op.getInputs().empty())
    return emitOptionalError(loc, "nn.concat: needs at least one input");
  Shape shape = getShape(op.getInputs()[0].getType());
  int64_t axis = op.getAxis();
  if (axis < 0 || axis >= int64_t(shape.size()))
    return emitOptionalError(loc, "nn.concat: axis ", axis,
                             " is not an axis of ",
                             str(op.getInputs()[0].getType()));
  for (Value input : op.getInputs().drop_front()) {
    Shape other = getShape(input.getType());
    bool fits = other.size() == shape.size() &&
                elementOf(input) == elementOf(op.getInputs()[0]);
    for (size_t i = 0; fits && i < shape.size(); ++i) {
      if (int64_t(i) == axis)
        continue;
      std::optional<int64_t> a = getConstant(shape[i]),
                             b = getConstant(other[i]);
      fits = !(a && b && *a != *b);
      if (b)
        shape[i] = other[i];
    }
    if (!fits)
      return emitOptionalError(loc, "nn.concat: inputs ",
                               str(op.getInputs()[0].getType()), " and ",
                               str(input.getType()), " do not fit");
    shape[axis] = shape[axis] + other[axis];
  }
  types.push_back(getTensorType(shape, elementOf(op.getInputs()[0])));
  return success();
}

LogicalResult PadOp::inferReturnTypes(MLIRContext *,
                                      std::optional<Location> loc, Adaptor op,
                                      SmallVectorImpl<Type> &types) {
  Shape shape = getShape(op.getX().getType());
  if (op.getLow().size() != shape.size() || op.getHigh().size() != shape.size())
    return emitOptionalError(
        loc, "nn.pad: needs one low and one high padding per axis of ",
        str(op.getX().getType()));
  for (size_t i = 0; i < shape.size(); ++i)
    shape[i] = shape[i] + (op.getLow()[i] + op.getHigh()[i]);
  types.push_back(getTensorType(shape, elementOf(op.getX())));
  return success();
}

LogicalResult ReshapeOp::verify() {
  MLIRContext *context = getContext();
  Dim from = product(getShape(getX().getType()), context),
      to = product(getShape(getResult().getType()), context);
  std::optional<int64_t> a = getConstant(from), b = getConstant(to);
  if (a && b && *a != *b)
    return emitOpError("changes the number of elements: ")
           << getX().getType() << " to " << getResult().getType();
  if (elementOf(getX()) != elementOf(getResult()))
    return emitOpError("changes the element type");
  return success();
}

LogicalResult SliceOp::verify() {
  size_t rank = rankOf(getX());
  if (getStarts().getNumResults() != rank || getSteps().size() != rank ||
      size_t(rankOf(getResult())) != rank)
    return emitOpError("needs one start, step and size per axis of ")
           << getX().getType();
  if (llvm::is_contained(getSteps(), 0))
    return emitOpError("has a step of zero");
  if (elementOf(getX()) != elementOf(getResult()))
    return emitOpError("changes the element type");
  return success();
}

LogicalResult ExpandOp::verify() {
  std::optional<Shape> shape =
      broadcast(getShape(getX().getType()), getShape(getResult().getType()));
  if (!shape || shape->size() != size_t(rankOf(getResult())))
    return emitOpError("cannot broadcast ")
           << getX().getType() << " to " << getResult().getType();
  return success();
}

LogicalResult ResizeOp::verify() {
  Shape x = getShape(getX().getType()), y = getShape(getResult().getType());
  if (x.size() != y.size() || x.size() < 3 || x.front() != y.front() ||
      x.back() != y.back())
    return emitOpError("may only change spatial axes: ")
           << getX().getType() << " to " << getResult().getType();
  if (getScales() && getScales()->size() != x.size() - 2)
    return emitOpError("needs one scale per spatial axis");
  return success();
}

LogicalResult DimValuesOp::verify() {
  auto type = cast<RankedTensorType>(getResult().getType());
  if (!type.getElementType().isInteger(64) || !type.hasStaticShape() ||
      type.getNumElements() != getValues().getNumResults())
    return emitOpError("needs an i64 result with one element per expression");
  return success();
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

LogicalResult QuantizeOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> loc,
                                           Adaptor op,
                                           SmallVectorImpl<Type> &types) {
  Shape shape;
  if (failed(broadcastResult(loc, "quantize", op.getX(), op.getScale(), shape)))
    return failure();
  types.push_back(getTensorType(getShape(op.getX().getType()), op.getCodes()));
  return success();
}

LogicalResult
DynamicQuantizeOp::inferReturnTypes(MLIRContext *context,
                                    std::optional<Location> loc, Adaptor op,
                                    SmallVectorImpl<Type> &types) {
  Shape shape = getShape(op.getX().getType());
  if (shape.empty())
    return emitOptionalError(
        loc, "nn.dynamic_quantize: the input needs at least one axis");
  types.push_back(getTensorType(shape, op.getCodes()));
  if (op.getGroup()) {
    int64_t group = *op.getGroup();
    std::optional<int64_t> size = getConstant(shape.back());
    if (op.getAsymmetric())
      return emitOptionalError(
          loc, "nn.dynamic_quantize: codes with groups are symmetric");
    if (group <= 0 || !size || *size % group != 0)
      return emitOptionalError(loc, "nn.dynamic_quantize: groups of ", group,
                               " do not divide the last axis of ",
                               str(op.getX().getType()));
    shape.back() = constant(*size / group, context);
  } else {
    shape.back() = constant(1, context);
  }
  types.push_back(getTensorType(shape, Float32Type::get(context)));
  if (op.getAsymmetric()) {
    if (op.getCodes().getIntOrFloatBitWidth() != 8)
      return emitOptionalError(
          loc, "nn.dynamic_quantize: asymmetric codes have 8 bits");
    types.push_back(getTensorType(shape, IntegerType::get(context, 32)));
  }
  return success();
}

LogicalResult DequantizeOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location> loc,
                                             Adaptor op,
                                             SmallVectorImpl<Type> &types) {
  if (getGroupSize(op.getCodes(), op.getScale())) {
    if (op.getZeroPoint())
      return emitOptionalError(
          loc, "nn.dequantize: codes with groups have no zero point");
    types.push_back(getTensorType(getShape(op.getCodes().getType()),
                                  Float32Type::get(context)));
    return success();
  }
  Shape shape;
  if (failed(broadcastResult(loc, "dequantize", op.getCodes(), op.getScale(),
                             shape)))
    return failure();
  types.push_back(getTensorType(getShape(op.getCodes().getType()),
                                Float32Type::get(context)));
  return success();
}

} // namespace pare::nn
