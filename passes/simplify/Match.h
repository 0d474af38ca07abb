//===- Match.h - What simplification asks of values -------------*- C++ -*-===//
#ifndef PARE_PASSES_SIMPLIFY_MATCH_H
#define PARE_PASSES_SIMPLIFY_MATCH_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "mlir/IR/PatternMatch.h"
#include "passes/reference/HostTensor.h"

namespace pare {

/// The elements of a constant or weight; nullopt for other values. `weights`
/// may be null.
std::optional<HostTensor> getKnown(mlir::Value value,
                                   const WeightStore *weights);

/// True for constants, weights, and what is computed from them alone.
bool isKnown(mlir::Value value);

/// The number that every element of a known value of up to 4096 elements is;
/// looks through reshapes, expansions and float casts.
std::optional<double> getSplat(mlir::Value value, const WeightStore *weights);

/// True if `value` is the given number everywhere, to f32's precision.
bool isSplat(mlir::Value value, double number, const WeightStore *weights);

/// A constant of one element with no axes, so that it broadcasts to anything.
mlir::Value makeScalar(mlir::OpBuilder &builder, mlir::Location loc,
                       double number, mlir::Type element);

/// The binary op of `kind` that defines `value`, or null.
nn::BinaryOp getBinary(mlir::Value value, nn::BinaryKind kind);
nn::UnaryOp getUnary(mlir::Value value, nn::UnaryKind kind);
nn::ReduceOp getReduce(mlir::Value value, nn::ReduceKind kind);

/// The operand of a commutative op that is not `operand`; null if neither is.
mlir::Value getOther(nn::BinaryOp op, mlir::Value operand);

inline int64_t rankOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getRank();
}
inline mlir::Type elementOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getElementType();
}
inline nn::Shape shapeOf(mlir::Value value) {
  return nn::getShape(value.getType());
}

/// Reshapes `value`; `value` itself where the shape is the same.
mlir::Value reshapeTo(mlir::OpBuilder &builder, mlir::Location loc,
                      mlir::Value value, llvm::ArrayRef<nn::Dim> shape);

/// A value that varies along the last axis only, of `size` elements there, as
/// one of shape [size]; null if it is not one.
mlir::Value asVector(mlir::OpBuilder &builder, mlir::Location loc,
                     mlir::Value value, nn::Dim size);
/// Whether `asVector` would succeed.
bool isVector(mlir::Value value, nn::Dim size);

/// A rewrite given as a function; passes list such functions.
template <typename Op>
using Rewrite = mlir::LogicalResult (*)(Op, mlir::PatternRewriter &,
                                        const WeightStore *);

template <typename Op> struct RewritePattern : mlir::OpRewritePattern<Op> {
  RewritePattern(mlir::MLIRContext *context, Rewrite<Op> rewrite,
                 const WeightStore *weights)
      : mlir::OpRewritePattern<Op>(context), rewrite(rewrite),
        weights(weights) {}
  mlir::LogicalResult
  matchAndRewrite(Op op, mlir::PatternRewriter &rewriter) const override {
    return rewrite(op, rewriter, weights);
  }
  Rewrite<Op> rewrite;
  const WeightStore *weights;
};

/// Collects rewrites for one pass.
class Rewrites {
public:
  Rewrites(mlir::MLIRContext *context, const WeightStore *weights)
      : patterns(context), weights(weights) {}
  template <typename Op> void add(Rewrite<Op> rewrite) {
    patterns.add<RewritePattern<Op>>(patterns.getContext(), rewrite, weights);
  }
  mlir::RewritePatternSet patterns;

private:
  const WeightStore *weights;
};

} // namespace pare

#endif
