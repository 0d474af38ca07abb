//===- InputMover.h - Inputs of products, moved and scaled ------*- C++ -*-===//
//
// Where what makes the inputs of products has numbers of its own per channel,
// those can move and scale them, and the products' weights and biases undo
// that: the float function stays what it is.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_QUANTIZE_INPUTMOVER_H
#define PARE_PASSES_QUANTIZE_INPUTMOVER_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include <functional>
#include <optional>

namespace pare {

/// x → (x - shift) / scale, element by element.
struct InputTransform {
  std::vector<double> shift, scale;
};

class InputMover {
public:
  /// `onReplace` hears of results of products that others took the place of; it
  /// may be null.
  InputMover(WeightStore &weights,
             std::function<void(mlir::Value from, mlir::Value to)> onReplace)
      : weights(weights), onReplace(std::move(onReplace)) {}

  /// Channels of a product's result, from `begin` on.
  struct ProductChannels {
    nn::MatMulOp product;
    mlir::OpOperand *bias; ///< or null
    int64_t begin;
  };
  /// What makes an input and can take a transform.
  struct Maker {
    mlir::Operation *norm; ///< or null
    ProductChannels product;
  };

  /// A layer normalization with a scale (and a bias, if it is to shift); the
  /// product that makes an attention's values (rows of attention weights sum to
  /// 1), with a bias if it is to shift; if it need not shift also an RMS
  /// normalization, the product that a gated layer's units are multiplied by,
  /// and one below a ReLU. Nothing where `x` is made by something else.
  std::optional<Maker> find(mlir::Value x, bool shifts) const;

  /// Transforms what `maker` was found to make; `uses` are the weights of the
  /// products that read it, which must be all that does.
  void move(const Maker &maker, llvm::ArrayRef<mlir::OpOperand *> uses,
            const InputTransform &to);

  /// Divides `x` by a multiplication of its own, for the products by the
  /// weights `uses` alone; its result.
  mlir::Value scaleByProduct(mlir::Value x,
                             llvm::ArrayRef<mlir::OpOperand *> uses,
                             llvm::ArrayRef<double> scale);

  /// Whether nothing else reads the weight of a matrix product.
  bool isOwn(mlir::OpOperand &use) const;

private:
  std::optional<ProductChannels> findProduct(mlir::Value value,
                                             int64_t begin) const;
  std::optional<ProductChannels> findValues(mlir::Value x) const;
  std::optional<ProductChannels> findUnits(mlir::Value x) const;
  void
  rewriteWeight(mlir::OpOperand &use,
                llvm::function_ref<double(int64_t, int64_t, double)> change);
  void undo(mlir::OpOperand &use, const InputTransform &to);
  void moveProduct(const ProductChannels &values, const InputTransform &to);

  WeightStore &weights;
  std::function<void(mlir::Value, mlir::Value)> onReplace;
};

/// Adds one number per channel to a product's result: to the bias that is added
/// to it, or as one. Returns what takes the place of `product` where it was
/// used by more than such a bias, else `product`.
mlir::Value addToProduct(mlir::Value product, llvm::ArrayRef<double> numbers,
                         WeightStore &weights);

} // namespace pare

#endif
