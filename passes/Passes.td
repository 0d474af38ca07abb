//===- Passes.td - Passes over nn graphs -------------------*- tablegen -*-===//
//
// Every pass, with what it does and an example; docs/passes.md is generated
// from this file. Passes that read or make weights, or ask the target, take
// them through their create function (passes/Passes.h).
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES
#define PARE_PASSES

include "mlir/Pass/PassBase.td"

class NN_Pass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::pare::nn::NNDialect"];
  let constructor = "::pare::create" # NAME # "Pass()";
}

def Simplify : NN_Pass<"nn-simplify"> {
  let summary = "Algebraic identities on single ops";
  let description = [{
    Removes ops that change nothing (x * 1, x + 0, a cast to the same type, a
    whole slice), merges chains (transposes, reshapes, clips), and says the same
    more cheaply: division by a constant as multiplication, `1 / sqrt(x)` as
    rsqrt, `pow(x, 2)` as x * x, a transposed right-hand side as
    `transpose_rhs`, a gather of one known index as a slice.

        %0 = nn.transpose %w {permutation = array<i64: 1, 0>} : …
        %1 = nn.matmul %x, %0 : …
        // becomes
        %1 = nn.matmul %x, %w {transpose_rhs} : …
  }];
}

def Recognize : NN_Pass<"nn-recognize"> {
  let summary = "Finds the ops that exporters decompose";
  let description = [{
    Layer and RMS normalization, GELU in both forms, SiLU, hard swish, softmax
    written out, and scaled dot-product attention over any arrangement of heads
    become the one nn op that they are.

        %s = nn.unary sigmoid %x : …
        %y = nn.binary mul %x, %s : …
        // becomes
        %y = nn.unary silu %x : …
  }];
}

def FoldConstants : NN_Pass<"nn-fold-constants"> {
  let summary = "Evaluates what depends on weights and constants only";
  let description = [{
    An op whose operands are weights or constants is evaluated by the
    interpreter, one op at a time. Results up to 1 KiB become `nn.constant`,
    larger ones derived weights whose `source` is the first weight that went in.
    Weights that nothing uses any more leave the module and the store.
    Dequantized weights and weights in blocks stay as they are: quantization is
    not undone.

        %0 = nn.param @w : tensor<8x4xf32>
        %1 = nn.transpose %0 {permutation = array<i64: 1, 0>} : …
        // becomes
        %1 = nn.param @w.transpose : tensor<4x8xf32>
  }];
}

def FoldNormalization : NN_Pass<"nn-fold-normalization"> {
  let summary = "Folds batch normalization and per-channel scaling into weights";
  let description = [{
    A batch normalization, or a multiplication by a constant per channel, after
    a convolution or matrix product is folded into its filter; what remains is
    one addition per channel. One before it is folded where no padding would
    see the difference. Elsewhere a batch normalization becomes one
    multiplication and one addition.

        %0 = nn.conv %x, %f {…} : …
        %1 = nn.batch_norm %0, %scale, %bias, %mean, %variance {…} : …
        // becomes
        %0 = nn.conv %x, %f.folded {…} : …
        %1 = nn.binary add %0, %f.bias : …
  }];
}

def SinkTransposes : NN_Pass<"nn-sink-transposes"> {
  let summary = "Moves layout changes to where they cancel";
  let description = [{
    Importers wrap image ops, which are channels last here, in transposes. Each
    transpose moves towards the results, through elementwise ops, concatenation,
    reduction, padding, slicing and those reshapes that keep its axes together,
    until it meets its inverse. What only moves axes of size 1 becomes a
    reshape. A graph in which more elements would be transposed than before is
    left as it was.

        %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : …
        %1 = nn.unary relu %0 : …
        %2 = nn.transpose %1 {permutation = array<i64: 0, 2, 3, 1>} : …
        // becomes
        %2 = nn.unary relu %x : …
  }];
}

def MergeMatMuls : NN_Pass<"nn-merge-matmuls"> {
  let summary = "Computes query, key and value in one matrix product";
  let description = [{
    Matrix products of the same input whose results (plus their biases) go to
    one attention through reshapes are computed at once, by the concatenation of
    their weights; slices of the last axis take their places.

        %q = nn.matmul %x, %wq : (tensor<1x8x64xf32>, tensor<64x64xf32>) -> …
        %k = nn.matmul %x, %wk : (tensor<1x8x64xf32>, tensor<64x64xf32>) -> …
        // becomes
        %qk = nn.matmul %x, %wq.merged : (tensor<1x8x64xf32>, tensor<64x128xf32>) -> …
        %q = nn.slice %qk {…} : …
        %k = nn.slice %qk {…} : …
  }];
}

def QuantizeInt8 : NN_Pass<"nn-quantize-int8"> {
  let summary = "Weights and activations of matrix products in 8 bits";
  let description = [{
    Weights get symmetric codes in [-127, 127], one scale per output channel.
    Activations of matrix products, and of 1x1 convolutions, which become such
    products, are quantized while running, one scale per row; those of other
    convolutions with one scale from calibration. Their codes fill what the
    target's dot instruction takes: 8 bits with a zero point per row, or 11 of
    the 16 bits of AVX2's. Weights
    are rounded to nearest, or by GPTQ (Frantar et al. 2022) where a calibration
    set was given; then inputs of products are equalized too, where 8 bits hold
    their codes and it is free. Embedding tables get one scale per row. What
    stays float, and why, is in the list of decisions that the pass hands back.

        %y = nn.matmul %x, %w : (tensor<4x64xf32>, tensor<64x32xf32>) -> tensor<4x32xf32>
        // becomes
        %c, %s, %z = nn.dynamic_quantize asymmetric %x to i8 : (tensor<4x64xf32>) -> (tensor<4x64xi8>, tensor<4x1xf32>, tensor<4x1xi32>)
        %0 = nn.dequantize %c, %s zero %z : …
        %1 = nn.dequantize %w.codes, %w.scales : (tensor<64x32xi8>, tensor<1x32xf32>) -> …
        %y = nn.matmul %0, %1 : …
  }];
}

def PruneStructure : NN_Pass<"nn-prune-structure"> {
  let summary = "Fewer layers, heads, hidden units or filters";
  let description = [{
    Leaves out whole parts, so that all shapes are smaller: layers of
    transformers, heads of attention (a key head with all its query heads),
    hidden units between products, and filters of convolutions. What goes with
    a channel in other weights follows from the graph (DepGraph, Fang et al.
    2023): through additions, concatenations, depthwise and grouped
    convolutions, reshapes and caches. A channel that meets an op through which
    it cannot be followed stays. What goes is chosen by what it adds to outputs
    on the samples, or by the norms of weights without samples; with them, what
    stays is fitted to the outputs of all by least squares.

        %0 = nn.matmul %x, %w : (tensor<4x64xf32>, tensor<64x256xf32>) -> …
        %1 = nn.unary gelu %0 : …
        %2 = nn.matmul %1, %v : (tensor<4x256xf32>, tensor<256x64xf32>) -> …
        // becomes, with ffn=50%
        %0 = nn.matmul %x, %w.pruned : (tensor<4x64xf32>, tensor<64x128xf32>) -> …
        %1 = nn.unary gelu %0 : …
        %2 = nn.matmul %1, %v.pruned : (tensor<4x128xf32>, tensor<128x64xf32>) -> …
  }];
}

def QuantizeWeights : NN_Pass<"nn-quantize-weights"> {
  let summary = "Weights in blocks of few bits";
  let description = [{
    Weights of matrix products and of tables whose rows are looked up get the
    format that options or rules name (`BlockFormat`). Without samples each
    weight is encoded by itself. With samples, for methods that look at inputs,
    the model is run layer by layer: a layer's weights are encoded for the
    inputs that the layers before it give now that they are quantized, with
    what the original gave beside them (Frantar et al. 2022; Li et al. 2025).

        nn.weight @w : tensor<1536x576xf32>
        %0 = nn.param @w : …
        %1 = nn.matmul %x, %0 {transpose_rhs} : …
        // becomes
        nn.weight @w.int4_g32 : tensor<1536x576xf32> {source = "w", blocks = "int4_g32"}
        %0 = nn.param @w.int4_g32 : …
        %1 = nn.matmul %x, %0 {transpose_rhs} : …
  }];
}

def QuantizeBlockProducts : NN_Pass<"nn-quantize-block-products"> {
  let summary = "8-bit activations for weights in blocks";
  let description = [{
    A product by the rows of a weight that its source quantized by blocks gets
    its activations in symmetric codes of 8 bits, one scale per 32 elements,
    where the target has an integer kernel for the weight's format. The weight
    itself stays as it is, bit for bit. Codes are made once for all products of
    an activation. What stays f32, and why, is in the list of decisions that the
    pass hands back.

        nn.weight @w : tensor<32x64xf32> {blocks = "q4_1"}
        %y = nn.matmul %x, %w {transpose_rhs} : (tensor<4x64xf32>, tensor<32x64xf32>) -> tensor<4x32xf32>
        // becomes
        %c, %s = nn.dynamic_quantize %x to i8 {group = 32 : i64} : (tensor<4x64xf32>) -> (tensor<4x64xi8>, tensor<4x2xf32>)
        %0 = nn.dequantize %c, %s : …
        %y = nn.matmul %0, %w {transpose_rhs} : …
  }];
}

def Fuse : NN_Pass<"nn-fuse"> {
  let summary = "Groups ops that one kernel computes";
  let description = [{
    Anchors (matrix products, convolutions, layer and RMS normalization, gathers
    of quantized tables) take the dequantizations of their operands and the
    elementwise ops that follow; remaining elementwise ops form groups of their
    own. A normalization takes the residual addition before it and the dynamic
    quantization after it, and then has several results. Single numbers are
    constants inside the group. Ops that stand alone stay as they are.

        %0 = nn.matmul %x, %w : …
        %1 = nn.binary add %0, %b : …
        %2 = nn.unary gelu %1 : …
        // becomes
        %2 = nn.fused "matmul+add+gelu" (%x, %w, %b) : … { … }
  }];
}

#endif
