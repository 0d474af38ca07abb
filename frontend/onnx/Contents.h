//===- Contents.h - Tensors whose values are known at import ----*- C++ -*-===//
//
// Models compute shapes with tensors: Shape, Gather, Mul, Concat, Reshape. At
// import each element of such a tensor is an expression of the symbolic
// dimensions, so that no shape arithmetic stays in the graph.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_FRONTEND_ONNX_CONTENTS_H
#define PARE_FRONTEND_ONNX_CONTENTS_H

#include "frontend/GraphBuilder.h"

namespace pare::onnximport {

/// One element: `number`, or the exact quotient numerator / denominator, which
/// integers use with a denominator of one.
struct Element {
  std::optional<double> number; ///< of a floating-point tensor
  nn::Dim numerator;            ///< where there is no number
  nn::Dim denominator;          ///< null: one

  static Element of(double value) { return {value, {}, {}}; }
  static Element of(nn::Dim value) { return {std::nullopt, value, {}}; }
  /// The value where it depends on no symbol.
  std::optional<double> getNumber() const;
};

/// The elements of a tensor, row-major.
struct Contents {
  mlir::Type element;
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<Element> values;

  int64_t rank() const { return int64_t(shape.size()); }
  bool isFloat() const { return mlir::isa<mlir::FloatType>(element); }
  /// The elements as integer expressions; nullopt where one is a fraction.
  std::optional<nn::Shape> getDims() const;
  /// The elements as constants; nullopt where one depends on a symbol.
  std::optional<llvm::SmallVector<int64_t>> getIntegers() const;
  std::optional<llvm::SmallVector<double>> getNumbers() const;
};

/// Whether elements of this type can be known: integers, and floats of 16 bits
/// or more.
bool canBeKnown(mlir::Type element);
/// `value` as `type` holds it.
llvm::APFloat roundTo(double value, mlir::FloatType type);

/// Larger tensors are data, not shapes.
inline constexpr int64_t kMaxKnownIntegers = 1024, kMaxKnownFloats = 64;

/// Arithmetic on elements. A null result: not expressible, the op stays in the
/// graph.
class Algebra {
public:
  explicit Algebra(GraphBuilder &graph) : graph_(graph) {}

  using Result = std::optional<Element>;
  Result apply(nn::BinaryKind kind, const Element &a, const Element &b,
               mlir::Type type);
  Result apply(nn::UnaryKind kind, const Element &x, mlir::Type type);
  Result cast(const Element &x, mlir::Type from, mlir::Type to);

private:
  struct Ratio {
    nn::Dim numerator, denominator;
  };
  std::optional<Ratio> getRatio(const Element &x);
  Result makeRatio(nn::Dim numerator, nn::Dim denominator);
  Result makeInteger(nn::Dim value);
  Result applyIntegers(nn::BinaryKind kind, nn::Dim a, nn::Dim b);
  Result applyFloats(nn::BinaryKind kind, const Element &a, const Element &b,
                     mlir::Type type);
  /// Round towards minus infinity or plus infinity.
  nn::Dim divide(nn::Dim a, nn::Dim b, bool ceil = false);
  nn::Dim dim(int64_t value) { return graph_.constantDim(value); }

  GraphBuilder &graph_;
};

} // namespace pare::onnximport

#endif
