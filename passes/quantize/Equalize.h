//===- Equalize.h - Inputs that lose less in 8 bits -------------*- C++ -*-===//
//
// One channel of an activation that is far larger than the others sets the step
// of all. Where what makes the activation has numbers of its own per channel,
// those can move and scale it, and the product's weight and bias undo that: the
// float function stays what it is.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_QUANTIZE_EQUALIZE_H
#define PARE_PASSES_QUANTIZE_EQUALIZE_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"
#include "passes/calibrate/SecondMoments.h"
#include "passes/quantize/InputMover.h"

namespace pare {

/// The transform of a product's inputs under which 8-bit codes of inputs, one
/// scale per row in `codeType`, and of weights, one scale per output, are
/// expected to lose least at the outputs: inputs by uniform noise of one step
/// of each kept row, weights by that of their scales, of which GPTQ leaves half
/// (measured on ViT-S). Candidates are the mean as shift or none (channel-wise
/// shifting: Wei et al. 2023, section 3.1), and scales max|x|^α / ‖w‖^(1 - α)
/// (SmoothQuant: Xiao et al. 2023, equation 4, with norms of weights) for α of
/// 0.3 … 0.9 or none. nullopt where none gains a tenth, and of fewer than four
/// rows per input. `weights` are
/// [inner, outputs] row-major.
std::optional<InputTransform>
chooseInputTransform(const SecondMoments &moments,
                     llvm::ArrayRef<float> weights, mlir::Type codeType);

/// Equalizes the inputs that `moments` are of, where all their uses are matrix
/// products whose weights `isQuantized` and what makes them can take it: a
/// layer normalization with scale and bias, or an attention, whose values come
/// from a product with a bias (rows of attention weights sum to 1). `moments`
/// become those of the new inputs. `onReplace` hears of values that others took
/// the place of.
void equalizeInputs(
    mlir::ModuleOp module, WeightStore &weights,
    llvm::DenseMap<mlir::Value, SecondMoments> &moments,
    llvm::function_ref<bool(mlir::OpOperand &)> isQuantized,
    mlir::Type codeType,
    llvm::function_ref<void(mlir::Value from, mlir::Value to)> onReplace);

} // namespace pare

#endif
