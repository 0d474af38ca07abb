//===- WeightTarget.h - A weight that gets a format -------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_WEIGHTTARGET_H
#define PARE_PASSES_QUANTIZE_WEIGHTTARGET_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "passes/prune/Prune.h"
#include <optional>

namespace pare {

/// A matrix that gets a format, with the operands that read it: all of them
/// right-hand sides of products or tables whose rows are looked up.
struct WeightTarget {
  nn::WeightOp weight;
  llvm::SmallVector<mlir::OpOperand *> uses;
  bool isTransposed; ///< [inputs, outputs], else [outputs, inputs]
  /// Null: not chosen yet, or none: a pruned weight of f32.
  const BlockFormat *format;
  std::optional<prune::Sparsity> sparsity = std::nullopt;
  /// Why zeros of a pattern are stored in `format`; empty: they are not, or
  /// there is no pattern.
  std::string whyDense = {};
  /// Where a budget chose the format: what rounding to nearest in it loses.
  std::optional<double> loss = std::nullopt;
  std::string inputScales = {}; ///< what was done to inputs, for people

  llvm::StringRef symbol() const { return nn::WeightOp(weight).getSymName(); }
  uint64_t elements() const { return type().getNumElements(); }
  /// One row per output, as blocks are.
  mlir::RankedTensorType blockType() const {
    int64_t rows = type().getDimSize(isTransposed),
            columns = type().getDimSize(!isTransposed);
    return mlir::RankedTensorType::get(
        {rows, columns}, mlir::Float32Type::get(type().getContext()));
  }

private:
  mlir::RankedTensorType type() const {
    return mlir::cast<mlir::RankedTensorType>(nn::WeightOp(weight).getType());
  }
};

/// A matrix in f32, one row per output; only rows that are multiples of `step`.
std::vector<float> readRows(const TensorData &data, bool isTransposed,
                            int64_t step = 1);

/// Makes `use`, of a WeightTarget, read the weight `symbol`, in blocks of
/// `type`, [outputs, inputs].
nn::ParamOp useBlocks(mlir::OpOperand &use, llvm::StringRef symbol,
                      mlir::RankedTensorType type);

/// Bytes of `elements` weights in a format, scales included, as kernels have
/// them: without bits between planes.
inline uint64_t getBlockBytes(const BlockFormat &format, uint64_t elements) {
  return uint64_t(double(elements) * format.getBitsPerWeight() / 8);
}

} // namespace pare

#endif
