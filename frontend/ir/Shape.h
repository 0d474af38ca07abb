//===- Shape.h - Shapes as expressions of symbolic dimensions ---*- C++ -*-===//
//
// A dimension is an affine expression of the entry point's symbolic dimensions
// (s0, s1, …); a static dimension is a constant expression. Products of symbols
// are allowed (batch * sequence), so the algebra is MLIR's semi-affine one.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_IR_SHAPE_H
#define PARE_FRONTEND_IR_SHAPE_H

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace pare::nn {

using Dim = mlir::AffineExpr;
using Shape = llvm::SmallVector<Dim, 6>;

/// The shape that a tensor type carries. A dynamic dimension of a type without
/// encoding is an error of whoever made the type (asserts).
Shape getShape(mlir::Type tensor);

/// The tensor type of a shape; constant dimensions become static ones.
mlir::RankedTensorType getTensorType(llvm::ArrayRef<Dim> shape,
                                     mlir::Type element);

/// `map`'s results as a shape, and back.
Shape getShape(mlir::AffineMap map);
mlir::AffineMap getMap(llvm::ArrayRef<Dim> shape, mlir::MLIRContext *context);

Dim constant(int64_t value, mlir::MLIRContext *context);
std::optional<int64_t> getConstant(Dim dim);
/// True if `dim` is the constant `value`.
bool isConstant(Dim dim, int64_t value);

/// Canonical form: equal expressions of the kinds that shapes use compare
/// equal.
Dim simplify(Dim dim);
Dim product(llvm::ArrayRef<Dim> dims, mlir::MLIRContext *context);
/// numerator / denominator where the division is exact symbolically; null where
/// that cannot be seen.
Dim divideExactly(Dim numerator, Dim denominator);

/// The common dimension of two broadcast ones (numpy rules); null if they are
/// different constants. A symbolic dimension meeting another expression (but 1)
/// is taken to be equal to it, as ONNX Runtime does; nn::findConstraints lists
/// what a run must then check.
Dim broadcast(Dim a, Dim b);
/// Broadcast of two shapes; nullopt if they do not broadcast.
std::optional<Shape> broadcast(llvm::ArrayRef<Dim> a, llvm::ArrayRef<Dim> b);

/// Value of a dimension under given values of the symbols.
int64_t evaluate(Dim dim, llvm::ArrayRef<int64_t> symbols);
llvm::SmallVector<int64_t, 6> evaluate(llvm::ArrayRef<Dim> shape,
                                       llvm::ArrayRef<int64_t> symbols);

/// Bytes of one element (i1 is stored as a byte).
unsigned getElementBytes(mlir::Type element);

} // namespace pare::nn

#endif
