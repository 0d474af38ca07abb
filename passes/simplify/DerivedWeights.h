//===- DerivedWeights.h - Weights that passes make --------------*- C++ -*-===//
#ifndef PARE_PASSES_SIMPLIFY_DERIVEDWEIGHTS_H
#define PARE_PASSES_SIMPLIFY_DERIVEDWEIGHTS_H

#include "passes/simplify/Match.h"

namespace pare {

/// On a weight that several were concatenated into: their names (ArrayAttr of
/// StringAttr) and their sizes along the concatenated axis (DenseI64Array).
inline constexpr llvm::StringLiteral kSourcesAttr = "nn.sources";
inline constexpr llvm::StringLiteral kSourceSizesAttr = "nn.source_sizes";
/// On a weight [outputs, inputs] in blocks whose source is [inputs, outputs].
inline constexpr llvm::StringLiteral kTransposedAttr = "nn.transposed";

/// The name in the user's file that a weight goes back to: `source`, or its own
/// name.
llvm::StringRef getSourceName(nn::WeightOp weight);

/// Says of `to` what `from` was concatenated from, if it was.
void copySources(nn::WeightOp from, nn::WeightOp to);

/// A value for a tensor that a pass made: a constant up to 1 KiB, else a new
/// weight `<name>.<suffix>` in module and store whose `source` is `name`. Takes
/// the location of `like`. `name` may be empty: the value's own name is used.
mlir::Value makeDerived(mlir::OpBuilder &builder, WeightStore &weights,
                        const HostTensor &tensor, mlir::Value like,
                        llvm::StringRef name, llvm::StringRef suffix);

/// As makeDerived, but a weight at any size.
mlir::Value makeDerivedWeight(mlir::OpBuilder &builder, WeightStore &weights,
                              const HostTensor &tensor, mlir::Value like,
                              llvm::StringRef name, llvm::StringRef suffix);

/// Declares the store's tensor `symbol`, of `type`, as a weight whose `source`
/// is `name` (empty: none); a value of it. Takes the location of `like`.
mlir::Value createWeight(mlir::OpBuilder &builder, llvm::StringRef symbol,
                         mlir::RankedTensorType type, mlir::Value like,
                         llvm::StringRef name);

/// `loc` with `.suffix` after its name: of a value that the source does not
/// have but that belongs to one that it has.
mlir::Location getDerivedLoc(mlir::Location loc, llvm::StringRef suffix);

/// Erases params without uses and weights without params, in module and store.
void eraseUnusedWeights(mlir::ModuleOp module, WeightStore &weights);

} // namespace pare

#endif
