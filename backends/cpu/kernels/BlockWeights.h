//===- BlockWeights.h - Packed blocks in registers --------------*- C++ -*-===//
//
// Emits the decoding of weights that BlockLayout packed: codes as bytes for
// integer dot products, values as f32, scales and minima as f32, zero points.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_BLOCKWEIGHTS_H
#define PARE_BACKENDS_CPU_KERNELS_BLOCKWEIGHTS_H

#include "backends/cpu/kernels/BlockLayout.h"
#include "backends/cpu/kernels/KernelBuilder.h"

namespace pare::cpu {

/// How the bytes that a code is decoded to stand for its value:
///
///     value = byte - bias
struct BlockBytes {
  bool isSigned;
  unsigned limit; ///< of a byte's magnitude
  int bias;
};

/// Emits f32 of `lanes` scales that lie side by side at `from`.
mlir::Value loadScales(KernelBuilder &b, ScaleType type, mlir::Value from,
                       unsigned lanes);

/// Decodes vectors of `lanes` rows of a panel; `row`, an index and a multiple
/// of `lanes`, is the first of them.
class BlockWeights {
public:
  /// With `isUnsigned`, codes are decoded to unsigned bytes whatever their
  /// values. Without, integers of sparse formats have no bias: sums of just the
  /// activations that a row takes would be needed.
  BlockWeights(const BlockFormat &format, unsigned lanes, bool isUnsigned);

  const BlockFormat &format() const { return layout_.format; }
  const BlockLayout &layout() const { return layout_; }
  const BlockBytes &bytes() const { return bytes_; }
  unsigned lanes() const { return lanes_; }

  using RunBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::Value run, mlir::Value firstStep, mlir::ValueRange)>;
  using StepBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::Value step, mlir::ValueRange)>;
  /// Visits the runs of the panel at `packed`, of `k` elements a row, with
  /// carried values; `firstStep` counts from the panel's begin.
  llvm::SmallVector<mlir::Value> forRuns(KernelBuilder &b, mlir::Value packed,
                                         int64_t k, mlir::ValueRange init,
                                         RunBody body) const;
  /// Visits the steps of a run.
  llvm::SmallVector<mlir::Value>
  forSteps(KernelBuilder &b, mlir::ValueRange init, StepBody body) const;

  /// What the steps of a run share: scales and minima, one vector per scale of
  /// the run.
  struct Run {
    mlir::Value address, row;
    llvm::SmallVector<mlir::Value, 2> scales, minima;
  };
  Run loadRun(KernelBuilder &b, mlir::Value address, mlir::Value row) const;
  /// The scale of group `group` of step `step`.
  mlir::Value scale(KernelBuilder &b, const Run &run, mlir::Value step,
                    unsigned group) const;
  /// What is added to scaled codes, sign included: the minimum, or what the
  /// zero point makes, -scale · zero.
  mlir::Value shift(KernelBuilder &b, const Run &run, mlir::Value step,
                    unsigned group) const;
  bool hasShift() const {
    return format().hasMinimum() || format().zeroBits != 0;
  }

  /// What turns bytes of group `group` of step `step` into weights, as
  /// decodeBlocks does; null: the format has none.
  struct Group {
    mlir::Value scale, minimum, zero; ///< f32, f32, i32
  };
  Group loadGroup(KernelBuilder &b, const Run &run, mlir::Value step,
                  unsigned group) const;

  /// Bytes of word `word` of step `step` of a sparse format: 4 * lanes() of
  /// codes that are stored.
  mlir::Value word(KernelBuilder &b, const Run &run, mlir::Value step,
                   unsigned word) const;
  /// For each word of step `step` the numbers, among the 8 k of its two quads,
  /// that its codes belong to, in the lowest 3 bits of bytes. Bit 3 is zero; on
  /// x86, whose shuffles do not look at bits 4 to 6, these are anything.
  llvm::SmallVector<mlir::Value, 4> picks(KernelBuilder &b, const Run &run,
                                          mlir::Value step) const;

  /// Bytes of quad `quad` of step `step`, 4 * lanes() of them; codes that are
  /// not stored are zero's.
  mlir::Value quad(KernelBuilder &b, const Run &run, mlir::Value step,
                   unsigned quad) const;
  /// Weights of the `k`-th of each quad of `bytes`, as f32.
  mlir::Value weights(KernelBuilder &b, mlir::Value bytes, unsigned k,
                      const Group &group) const;
  /// Weights of all bytes, in order, where lanes() is 1.
  mlir::Value allWeights(KernelBuilder &b, mlir::Value bytes,
                         const Group &group) const;

private:
  mlir::Value number(KernelBuilder &b, const Run &run, int64_t planes,
                     unsigned bits, mlir::Value step, unsigned group) const;
  mlir::Value minimum(KernelBuilder &b, const Run &run, mlir::Value step,
                      unsigned group) const;
  mlir::Value storedCodes(KernelBuilder &b, const Run &run, mlir::Value step,
                          unsigned quad) const;
  mlir::Value loadPlaces(KernelBuilder &b, const Run &run,
                         mlir::Value step) const;
  mlir::Value toBytes(KernelBuilder &b, mlir::Value codes) const;
  mlir::Value toWeights(KernelBuilder &b, mlir::Value numbers,
                        const Group &group) const;

  BlockLayout layout_;
  unsigned lanes_;
  llvm::SmallVector<BitPlane, 3> codePlanes_;
  BlockBytes bytes_;
  int flip_ = 0;                        ///< bits of a code that are inverted
  int less_ = 0;                        ///< what is then taken off
  llvm::SmallVector<int8_t, 16> table_; ///< of integers
  llvm::SmallVector<float, 16> levels_; ///< of other numbers
  std::optional<SmallFloat> smallFloat_;
};

} // namespace pare::cpu

#endif
