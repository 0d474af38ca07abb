//===- Ops.td - nn operations ------------------------------*- tablegen -*-===//
#ifndef PARE_IR_OPS
#define PARE_IR_OPS

include "frontend/ir/Dialect.td"
include "frontend/ir/Interfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

//===----------------------------------------------------------------------===//
// Kinds
//===----------------------------------------------------------------------===//

class NN_Kind<string name, string summary, list<string> names>
    : I32EnumAttr<name, summary, !foreach(i, !range(0, !size(names)),
                                          I32EnumAttrCase<!cond(!eq(names[i], "and"): "logical_and",
                                                                !eq(names[i], "or"): "logical_or",
                                                                !eq(names[i], "xor"): "logical_xor",
                                                                !eq(names[i], "not"): "logical_not",
                                                                true: names[i]), i>)> {
  let cppNamespace = "::pare::nn";
  let genSpecializedAttr = 0;
}
class NN_KindAttr<EnumInfo kind, string mnemonic> : EnumAttr<NN_Dialect, kind, mnemonic>;

def NN_UnaryKind : NN_Kind<"UnaryKind", "Elementwise function of one operand", [
  "abs", "neg", "sign", "exp", "log", "sqrt", "rsqrt", "reciprocal", "erf",
  "sin", "cos", "floor", "ceil", "round", "relu", "sigmoid", "tanh", "gelu",
  "gelu_tanh", "silu", "softplus", "hard_sigmoid", "hard_swish", "leaky_relu",
  "elu", "clip", "not"]>;
def NN_UnaryKindAttr : NN_KindAttr<NN_UnaryKind, "unary_kind">;

def NN_BinaryKind : NN_Kind<"BinaryKind", "Elementwise function of two operands", [
  "add", "sub", "mul", "div", "max", "min", "pow", "mod", "and", "or", "xor",
  "equal", "less", "less_equal", "greater", "greater_equal", "prelu"]>;
def NN_BinaryKindAttr : NN_KindAttr<NN_BinaryKind, "binary_kind">;

def NN_ReduceKind : NN_Kind<"ReduceKind", "Reduction", [
  "sum", "mean", "max", "min", "prod", "sum_square", "l2"]>;
def NN_ReduceKindAttr : NN_KindAttr<NN_ReduceKind, "reduce_kind">;

def NN_PoolKind : NN_Kind<"PoolKind", "Pooling", ["max", "average"]>;
def NN_PoolKindAttr : NN_KindAttr<NN_PoolKind, "pool_kind">;

def NN_PadMode : NN_Kind<"PadMode", "What padding holds", ["constant", "reflect", "edge"]>;
def NN_PadModeAttr : NN_KindAttr<NN_PadMode, "pad_mode">;

def NN_ResizeMode : NN_Kind<"ResizeMode", "Interpolation", ["nearest", "linear", "cubic"]>;
def NN_ResizeModeAttr : NN_KindAttr<NN_ResizeMode, "resize_mode">;

def NN_ResizeCoord : NN_Kind<"ResizeCoord",
  "How an output coordinate maps to an input coordinate (ONNX Resize)", [
  "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]>;
def NN_ResizeCoordAttr : NN_KindAttr<NN_ResizeCoord, "resize_coord">;

def NN_NearestMode : NN_Kind<"NearestMode", "Rounding of nearest resize", [
  "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]>;
def NN_NearestModeAttr : NN_KindAttr<NN_NearestMode, "nearest_mode">;

//===----------------------------------------------------------------------===//
// Base classes
//===----------------------------------------------------------------------===//

class NN_Op<string mnemonic, list<Trait> traits = []> : Op<NN_Dialect, mnemonic, traits>;

/// A pure function of tensors; its cost is asked of it. `format` is the
/// assembly between the mnemonic and the attribute dictionary.
class NN_TensorOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<NN_CostInterface, ["getFlops"]>], traits)>;

/// …whose result types follow from operands and attributes.
class NN_InferredOp<string mnemonic, list<Trait> traits = []>
    : NN_TensorOp<mnemonic, !listconcat([InferTypeOpAdaptor], traits)>;

defvar Tensor = AnyRankedTensor;

//===----------------------------------------------------------------------===//
// Weights and constants
//===----------------------------------------------------------------------===//

def NN_WeightOp : NN_Op<"weight", [Symbol]> {
  let summary = "A trained tensor, by the name that its source gives it";
  let description = [{
    The bytes are in the weight store under `sym_name`. `source` names the
    tensor that this one was derived from by a pass (quantized codes, scales, a
    folded batch normalization), so that reports use the user's own names.
    `blocks` names the format of a weight that is quantized by blocks of its
    rows (`BlockFormat`): its bytes are codes and scales, its type is the f32
    that they stand for.

        nn.weight @"encoder.layer.0.output.dense.weight" : tensor<384x1536xf32>
        nn.weight @"blk.0.ffn_up.weight" : tensor<1536x576xf32> {blocks = "q4_1"}
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Tensor>:$type,
                       OptionalAttr<StrAttr>:$source, OptionalAttr<StrAttr>:$sym_visibility,
                       OptionalAttr<StrAttr>:$blocks);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
}

def NN_ParamOp : NN_Op<"param", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The value of a weight";
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def NN_ConstantOp : NN_Op<"constant", [Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A small constant (up to 1 KiB); larger ones are weights";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def NN_DimValuesOp : NN_Op<"dim_values", [Pure]> {
  let summary = "Values of symbolic expressions as an i64 tensor";
  let description = [{
    Shape arithmetic of the source is resolved at import into expressions of the
    symbolic dimensions. Where a model computes with a shape as data, this op
    makes the tensor.

        %0 = nn.dim_values affine_map<()[s0] -> (s0, s0 * 2)> : tensor<2xi64>
  }];
  let arguments = (ins AffineMapAttr:$values);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$values attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

def NN_UnaryOp : NN_InferredOp<"unary"> {
  let summary = "Elementwise function of one operand";
  let description = [{
    `alpha` and `beta` are the function's parameters: clip's bounds (minimum,
    maximum), hard_sigmoid's slope and offset, leaky_relu's and elu's slope.
    `gelu` is the exact form with erf, `gelu_tanh` its tanh approximation.

        %1 = nn.unary gelu %0 : (tensor<8x384xf32>) -> tensor<8x384xf32>
  }];
  let arguments = (ins NN_UnaryKindAttr:$kind, Tensor:$x,
                       OptionalAttr<F32Attr>:$alpha, OptionalAttr<F32Attr>:$beta);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$kind $x attr-dict `:` functional-type(operands, results)";
}

def NN_BinaryOp : NN_InferredOp<"binary"> {
  let summary = "Elementwise function of two operands, broadcast as numpy does";
  let description = [{
    Comparisons give i1. `prelu` is x where x > 0, else x * slope.

        %2 = nn.binary add %0, %1 : (tensor<8x384xf32>, tensor<384xf32>) -> tensor<8x384xf32>
  }];
  let arguments = (ins NN_BinaryKindAttr:$kind, Tensor:$lhs, Tensor:$rhs);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)";
}

def NN_SelectOp : NN_InferredOp<"select"> {
  let summary = "condition ? on_true : on_false, broadcast as numpy does";
  let arguments = (ins Tensor:$condition, Tensor:$on_true, Tensor:$on_false);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$condition `,` $on_true `,` $on_false attr-dict `:` functional-type(operands, results)";
}

def NN_CastOp : NN_InferredOp<"cast"> {
  let summary = "Conversion of the element type; float to integer truncates";
  let arguments = (ins Tensor:$x, TypeAttr:$to);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `to` $to attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Linear algebra
//===----------------------------------------------------------------------===//

def NN_MatMulOp : NN_InferredOp<"matmul"> {
  let summary = "Matrix product over the last two axes";
  let description = [{
    lhs is [..., M, K]; rhs is [..., K, N], or [..., N, K] with `transpose_rhs`.
    Leading axes broadcast as numpy does.
  }];
  let arguments = (ins Tensor:$lhs, Tensor:$rhs, UnitAttr:$transpose_rhs);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)";
}

def NN_ConvOp : NN_InferredOp<"conv"> {
  let summary = "Convolution, channels last";
  let description = [{
    x is [N, spatial…, C]; filter is [O, kernel…, C / groups]. `pads` holds all
    begins, then all ends, one per spatial axis.
  }];
  let arguments = (ins Tensor:$x, Tensor:$filter, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                       DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $filter attr-dict `:` functional-type(operands, results)";
}

def NN_ConvTransposeOp : NN_InferredOp<"conv_transpose"> {
  let summary = "Transposed convolution, channels last";
  let description = [{
    x is [N, spatial…, C]; filter is [O, kernel…, C / groups] with the taps in
    the source's (unflipped) order:
    y[s * stride - pad + t] += x[s] * filter[t].
  }];
  let arguments = (ins Tensor:$x, Tensor:$filter, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$output_pads,
                       DenseI64ArrayAttr:$dilations, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $filter attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Pooling, reductions, normalizations
//===----------------------------------------------------------------------===//

def NN_PoolOp : NN_InferredOp<"pool"> {
  let summary = "Sliding-window pooling, channels last";
  let arguments = (ins NN_PoolKindAttr:$kind, Tensor:$x, DenseI64ArrayAttr:$kernel,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, UnitAttr:$ceil_mode,
                       UnitAttr:$count_include_pad);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$kind $x attr-dict `:` functional-type(operands, results)";
}

def NN_ReduceOp : NN_InferredOp<"reduce"> {
  let summary = "Reduction over axes";
  let arguments = (ins NN_ReduceKindAttr:$kind, Tensor:$x, DenseI64ArrayAttr:$axes,
                       UnitAttr:$keep_dims);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$kind $x attr-dict `:` functional-type(operands, results)";
}

def NN_SoftmaxOp : NN_InferredOp<"softmax"> {
  let summary = "Softmax over one axis; with `log`, its logarithm";
  let arguments = (ins Tensor:$x, I64Attr:$axis, UnitAttr:$log);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

def NN_LayerNormOp : NN_InferredOp<"layer_norm", [AttrSizedOperandSegments]> {
  let summary = "Layer normalization over the last axis (Ba et al. 2016)";
  let description = "(x - mean) / sqrt(variance + epsilon) * scale + bias; scale and bias may be absent.";
  let arguments = (ins Tensor:$x, Optional<Tensor>:$scale, Optional<Tensor>:$bias, F32Attr:$epsilon);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x (`scale` $scale^)? (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def NN_RmsNormOp : NN_InferredOp<"rms_norm"> {
  let summary = "Root-mean-square normalization over the last axis (Zhang and Sennrich 2019)";
  let arguments = (ins Tensor:$x, Optional<Tensor>:$scale, F32Attr:$epsilon);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x (`scale` $scale^)? attr-dict `:` functional-type(operands, results)";
}

def NN_BatchNormOp : NN_InferredOp<"batch_norm"> {
  let summary = "Batch normalization in inference form, channels last";
  let arguments = (ins Tensor:$x, Tensor:$scale, Tensor:$bias, Tensor:$mean, Tensor:$variance,
                       F32Attr:$epsilon);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $scale `,` $bias `,` $mean `,` $variance attr-dict `:` functional-type(operands, results)";
}

def NN_AttentionOp : NN_InferredOp<"attention"> {
  let summary = "Scaled dot-product attention (Vaswani et al. 2017, section 3.2)";
  let description = [{
    query is [B, Sq, H, D], key [B, Sk, Hkv, D], value [B, Sk, Hkv, Dv] with Hkv
    dividing H; the result is [B, Sq, H, Dv]. `mask` is added to the scaled
    scores and broadcasts to [B, H, Sq, Sk]. With `causal`, query i sees keys up
    to i + Sk - Sq.
  }];
  let arguments = (ins Tensor:$query, Tensor:$key, Tensor:$value, Optional<Tensor>:$mask,
                       F32Attr:$scale, UnitAttr:$causal);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$query `,` $key `,` $value (`mask` $mask^)? attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

def NN_RopeOp : NN_InferredOp<"rope"> {
  let summary = "Rotary position embedding (Su et al. 2021)";
  let description = [{
    x is [T, H, D]; `cos` and `sin` are [T, d / 2], d <= D. Element i < d / 2 of
    a head and its partner rotate by the i-th angle of their row; elements from d
    on pass. The partner is d / 2 further on; with `interleaved`, elements 2 i
    and 2 i + 1 rotate together.

        a' = a cos - b sin
        b' = b cos + a sin
  }];
  let arguments = (ins Tensor:$x, Tensor:$cos, Tensor:$sin, UnitAttr:$interleaved);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $cos `,` $sin attr-dict `:` functional-type(operands, results)";
}

def NN_CacheResource : Resource<"::pare::nn::CacheResource">;

def NN_CacheOp : NN_Op<"cache", [Symbol]> {
  let summary = "Keys and values that a layer keeps of earlier positions";
  let description = [{
    Every sequence has its own: keys and values of `heads` heads of `head_dim`
    elements of `type` per position. Position p is in row p mod `capacity`.

        nn.cache @"layer.0" {heads = 3 : i64, head_dim = 64 : i64,
                             capacity = 8192 : i64, type = f16}
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$head_dim,
                       I64Attr:$capacity, TypeAttr:$type,
                       OptionalAttr<StrAttr>:$sym_visibility);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

/// An op on a cache. Rows are tokens: row i is position positions[i] of
/// sequence sequences[i], both i32.
class NN_CacheUserOp<string mnemonic, list<Trait> traits>
    : NN_Op<mnemonic, !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                   DeclareOpInterfaceMethods<NN_CostInterface, ["getFlops"]>], traits)>;

def NN_CacheAppendOp : NN_CacheUserOp<"cache_append", [MemoryEffects<[MemWrite<NN_CacheResource>]>]> {
  let summary = "Writes keys and values of rows to their places in a cache";
  let description = [{
    key and value are [T, heads, head_dim], positions and sequences i32 [T]; no
    two rows have the same position of one sequence.
  }];
  let arguments = (ins FlatSymbolRefAttr:$cache, Tensor:$key, Tensor:$value,
                       Tensor:$positions, Tensor:$sequences);
  let assemblyFormat = [{
    $cache `,` $key `,` $value `at` $positions `of` $sequences attr-dict
    `:` type($key) `,` type($value) `,` type($positions)`,` type($sequences)
  }];
}

def NN_CachedAttentionOp : NN_CacheUserOp<"cached_attention", [
    MemoryEffects<[MemRead<NN_CacheResource>]>, InferTypeOpAdaptor]> {
  let summary = "Causal attention of rows to what a cache holds of their sequences";
  let description = [{
    query and result are [T, H, head_dim] with the cache's heads dividing H. Row
    i sees positions up to its own, with a `window` w > 0
    the last w of them, itself included. Scores are scaled by `scale` and, where
    `soft_cap` c > 0, become c tanh(score / c) (Gemma 2).
  }];
  let arguments = (ins FlatSymbolRefAttr:$cache, Tensor:$query, Tensor:$positions,
                       Tensor:$sequences, F32Attr:$scale,
                       DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<F32Attr, "0.0f">:$soft_cap);
  let results = (outs Tensor:$result);
  let assemblyFormat = [{
    $cache `,` $query `at` $positions `of` $sequences attr-dict
    `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

def NN_RouteOp : NN_InferredOp<"route"> {
  let summary = "The experts that rows go to, and their shares (Shazeer et al. 2017)";
  let description = [{
    logits is [T, E]. `experts`, i32 [T, used], are those of a row's largest
    logits, the largest first, of equal ones the lowest number. `shares`, f32
    [T, used], are the softmax of the row's logits there: over all E, or, with
    `normalize`, over the used ones.

        %s, %e = nn.route %logits {used = 2 : i64, normalize} : (tensor<5x8xf32>) -> (tensor<5x2xf32>, tensor<5x2xi32>)
  }];
  let arguments = (ins Tensor:$logits, I64Attr:$used, UnitAttr:$normalize);
  let results = (outs Tensor:$shares, Tensor:$experts);
  let assemblyFormat = "$logits attr-dict `:` functional-type(operands, results)";
}

def NN_GroupByExpertOp : NN_InferredOp<"group_by_expert"> {
  let summary = "Which rows each expert has";
  let description = [{
    experts is i32 [T, used], of numbers below `count`; its element (t, i) is
    slot t used + i. `order`, i32 [T, used], lists all slots, those of expert 0
    first, and those of one expert in ascending order; the slots of expert e are
    its elements `starts`[e] to `starts`[e + 1] - 1. `starts` is i32 [count + 1].

        %o, %b = nn.group_by_expert %e {count = 8 : i64} : (tensor<5x2xi32>) -> (tensor<5x2xi32>, tensor<9xi32>)
  }];
  let arguments = (ins Tensor:$experts, I64Attr:$count);
  let results = (outs Tensor:$order, Tensor:$starts);
  let assemblyFormat = "$experts attr-dict `:` functional-type(operands, results)";
}

def NN_ExpertMatMulOp : NN_InferredOp<"expert_matmul"> {
  let summary = "Rows by the matrices of their experts";
  let description = [{
    weights is [E, N, K], floats of any width, one matrix per expert; x is [T, K],
    or [T, used, K] with a row of its own for each slot. The result is [T, used, N]: slot
    (t, i) holds the product of row t, or (t, i), by the rows of the matrix of
    its expert, which `order` and `starts` of nn.group_by_expert say.

        %y = nn.expert_matmul %x, %w by %o, %b : (tensor<5x64xf32>, tensor<8x96x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x96xf32>
  }];
  let arguments = (ins Tensor:$x, Tensor:$weights, Tensor:$order, Tensor:$starts);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $weights `by` $order `,` $starts attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

def NN_GatherOp : NN_InferredOp<"gather"> {
  let summary = "Slices of `data` along an axis at `indices`";
  let description = [{
    result = data[:axis] + indices.shape + data[axis+1:]. Negative indices
    count from the end. An embedding is a gather of a weight along axis 0.
  }];
  let arguments = (ins Tensor:$data, Tensor:$indices, I64Attr:$axis);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$data `,` $indices attr-dict `:` functional-type(operands, results)";
}

def NN_ReshapeOp : NN_TensorOp<"reshape"> {
  let summary = "The same elements in row-major order under another shape";
  let arguments = (ins Tensor:$x);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_TransposeOp : NN_InferredOp<"transpose"> {
  let summary = "Permutation of axes: result axis i is operand axis permutation[i]";
  let arguments = (ins Tensor:$x, DenseI64ArrayAttr:$permutation);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
}

def NN_ConcatOp : NN_InferredOp<"concat"> {
  let summary = "Concatenation along an axis";
  let arguments = (ins Variadic<Tensor>:$inputs, I64Attr:$axis);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type(operands, results)";
}

def NN_SliceOp : NN_TensorOp<"slice"> {
  let summary = "A strided part of a tensor";
  let description = [{
    `starts` gives the first index of each axis as an expression of the symbolic
    dimensions, `steps` the stride (negative: backwards); the result type gives
    the sizes.
  }];
  let arguments = (ins Tensor:$x, AffineMapAttr:$starts, DenseI64ArrayAttr:$steps);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def NN_ExpandOp : NN_TensorOp<"expand"> {
  let summary = "Broadcast to the result's shape, as numpy does";
  let arguments = (ins Tensor:$x);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_PadOp : NN_InferredOp<"pad"> {
  let summary = "Padding, per axis";
  let arguments = (ins Tensor:$x, NN_PadModeAttr:$mode, DenseI64ArrayAttr:$low,
                       DenseI64ArrayAttr:$high, DefaultValuedAttr<F32Attr, "0.0f">:$value);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$mode $x attr-dict `:` functional-type(operands, results)";
}

def NN_ResizeOp : NN_TensorOp<"resize"> {
  let summary = "Resampling of the spatial axes, channels last (ONNX Resize)";
  let description = [{
    x is [N, spatial…, C]. `scales`, one per spatial axis, are used for the
    coordinate transformation where given; else result size / operand size.
  }];
  let arguments = (ins Tensor:$x, NN_ResizeModeAttr:$mode, NN_ResizeCoordAttr:$coord,
                       DefaultValuedAttr<NN_NearestModeAttr, "::pare::nn::NearestMode::round_prefer_floor">:$nearest,
                       OptionalAttr<DenseF32ArrayAttr>:$scales,
                       DefaultValuedAttr<F32Attr, "-0.75f">:$cubic_coeff);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$mode $coord $x attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

def NN_QuantizeOp : NN_InferredOp<"quantize"> {
  let summary = "Codes of a tensor under given scales";
  let description = [{
    code = clamp(round_half_even(x / scale), -limit, limit), stored as `codes`,
    what a target's dot instruction takes: i8 holds the code and ui8 the code +
    128, both with a limit of 127; i16 has a limit of 1023. `scale` broadcasts
    against x.
  }];
  let arguments = (ins Tensor:$x, Tensor:$scale, TypeAttr:$codes);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$x `,` $scale `to` $codes attr-dict `:` functional-type(operands, results)";
}

def NN_DynamicQuantizeOp : NN_InferredOp<"dynamic_quantize"> {
  let summary = "Codes and scales of a tensor, one scale per row of the last axis";
  let description = [{
    Symmetric: scale = max|row| / limit; codes and limit as in nn.quantize.
    Asymmetric, for codes of 8 bits: the row's range [low, high] takes them all,
    with an i32 zero point per row, so that nn.dequantize gives the row back:

        scale = max((high - low) / 253, max|row| / 512)
        zero  = round_half_even(-126.5 - low / scale)
        code  = round_half_even(x / scale + zero), in [-127, 127]

    Zero points are of codes as they are stored. Scales and zero points have a
    last axis of 1.

    With `group`, which divides the last axis, K, symmetric codes have one scale
    per run of that many elements of a row, and the scales a last axis of
    K / group:

        %c, %s = nn.dynamic_quantize %x to i8 {group = 32 : i64} : (tensor<4x576xf32>) -> (tensor<4x576xi8>, tensor<4x18xf32>)
  }];
  let arguments = (ins Tensor:$x, TypeAttr:$codes, UnitAttr:$asymmetric, OptionalAttr<I64Attr>:$group);
  let results = (outs Tensor:$result, Tensor:$scales, Optional<Tensor>:$zero_points);
  let assemblyFormat = "(`asymmetric` $asymmetric^)? $x `to` $codes attr-dict `:` functional-type(operands, results)";
}

def NN_DequantizeOp : NN_InferredOp<"dequantize"> {
  let summary = "(code - zero point) * scale in f32; scale and zero point broadcast against the codes";
  let description = [{
    A last axis of the scales that is neither 1 nor that of the codes divides
    it: each scale is that of as many consecutive codes (`group` of
    nn.dynamic_quantize). Such codes have no zero point.
  }];
  let arguments = (ins Tensor:$codes, Tensor:$scale, Optional<Tensor>:$zero_point);
  let results = (outs Tensor:$result);
  let assemblyFormat = "$codes `,` $scale (`zero` $zero_point^)? attr-dict `:` functional-type(operands, results)";
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def NN_FusedOp : NN_Op<"fused", [Pure, IsolatedFromAbove, SingleBlock,
                                 DeclareOpInterfaceMethods<NN_CostInterface, ["getFlops"]>]> {
  let summary = "A group of ops that one kernel computes";
  let description = [{
    The body is ordinary nn ops on the block's arguments: an anchor (matmul,
    conv, normalization, …, with the dequantizations of its operands) and the
    elementwise ops around it. The meaning is that of the body, op by op;
    grouping decides only what stays in registers.

        %r = nn.fused "matmul+add+gelu" (%x, %w, %b) : (…) -> … {
        ^bb0(%x0: …, %w0: …, %b0: …):
          %0 = nn.matmul %x0, %w0 : …
          %1 = nn.binary add %0, %b0 : …
          %2 = nn.unary gelu %1 : …
          nn.yield %2 : …
        }
  }];
  let arguments = (ins StrAttr:$label, Variadic<Tensor>:$inputs);
  let results = (outs Variadic<Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$label `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs) $body";
  let hasVerifier = 1;
}

def NN_YieldOp : NN_Op<"yield", [Pure, Terminator, HasParent<"FusedOp">]> {
  let summary = "Results of a fused group";
  let arguments = (ins Variadic<Tensor>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

#endif
