//===- ConvIndirect.h - Matrix products of gathered rows --------*- C++ -*-===//
//
// The loops that convolution and transposed convolution share. Internal to
// Conv*.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_CONVINDIRECT_H
#define PARE_BACKENDS_CPU_KERNELS_CONVINDIRECT_H

#include "backends/cpu/kernels/Conv.h"
#include "backends/cpu/kernels/MicroKernel.h"
#include <functional>
#include <optional>

namespace pare::cpu {

/// The sizes of an indirect matrix product. Each row is `taps` runs of
/// `runPixels` neighbouring input pixels; group g multiplies `runLength` values
/// of each from element g * channels / groups on. Packed weights are
/// [groups][panels of O / groups][taps][ceil(runLength / kGroup)][16][kGroup].
struct IndirectShape {
  int64_t taps = 1;
  int64_t runPixels = 1;
  int64_t channels = 0; ///< of an input pixel
  int64_t outputs = 0;  ///< output channels
  int64_t groups = 1;
  bool int8 = false;

  int64_t runLength() const { return runPixels * channels / groups; }
  int64_t groupOutputs() const { return outputs / groups; }
  int64_t panels() const { return llvm::divideCeil(groupOutputs(), kPanel); }
  int64_t kGroup() const { return int8 ? 4 : 1; }
  /// Steps of kGroup values in a run.
  int64_t runSteps() const { return llvm::divideCeil(runLength(), kGroup()); }
  /// Elements of one group's packed weights.
  int64_t groupWeights() const {
    return panels() * taps * runSteps() * kPanel * kGroup();
  }
  /// Values that a step reads beyond a run, which weights of zero ignore.
  int64_t overread() const { return runSteps() * kGroup() - runLength(); }
  /// A run may have to be copied: it has borders, or reads beyond itself.
  bool copies() const { return runPixels > 1 || overread() > 0; }
  /// Elements of scratch per copied run, with what reads may go beyond it.
  int64_t slotLength() const {
    return llvm::alignTo(runPixels * channels + overread(), 16);
  }
};

/// Packed weights of all groups; `weight(o, tap, i)` is value i of the run of
/// tap `tap` of output channel o's filter.
template <typename T, typename Weight>
llvm::SmallVector<T, 0> packIndirect(const IndirectShape &shape,
                                     Weight weight) {
  int64_t kGroup = shape.kGroup(), steps = shape.runSteps();
  llvm::SmallVector<T, 0> packed(shape.groups * shape.groupWeights());
  for (int64_t o = 0; o < shape.outputs; ++o) {
    int64_t group = o / shape.groupOutputs(), column = o % shape.groupOutputs();
    int64_t panel = group * shape.panels() + column / kPanel;
    for (int64_t tap = 0; tap < shape.taps; ++tap)
      for (int64_t i = 0; i < shape.runLength(); ++i) {
        int64_t step = (panel * shape.taps + tap) * steps + i / kGroup;
        int64_t at = (step * kPanel + column % kPanel) * kGroup + i % kGroup;
        packed[at] = weight(o, tap, i);
      }
  }
  return packed;
}

/// Register tile, tasks and scratch of an indirect product of `rows` rows
/// (fixed, or unknown).
struct IndirectTiling {
  IndirectTiling(const IndirectShape &shape, const Isa &isa,
                 std::optional<int64_t> rows);

  MicroTile tile;
  int64_t columnBlocks; ///< of tile.cols columns, over all groups
  int64_t blocksPerTask;
  int64_t rowsPerTask, columnTasks;
  bool rowsOutermost; ///< all weights of a task stay in cache
  // Byte offsets into scratch.
  int64_t zeros, table, sums, slots, scratchBytes;
};

/// Which input pixels the rows of a product read. A row is a pixel of a grid
/// [N, lines, columns] of outputs.
struct RowGeometry {
  mlir::Value n, h, w;        ///< of the input
  mlir::Value lines, columns; ///< of the grid
  /// Input columns between neighbours in a line of the grid.
  int64_t columnStep = 1;
  /// Input lines and columns that a row's runs reach, first and last; they may
  /// be outside of the input.
  struct Bounds {
    mlir::Value yFirst, yLast, xFirst, xLast;
  };
  std::function<Bounds(const Pixel &row)> bounds;
  /// Calls `run` for every tap: its number, input line and first column.
  using RunFn =
      llvm::function_ref<void(mlir::Value tap, mlir::Value iy, mlir::Value ix)>;
  std::function<void(const Pixel &row, RunFn run)> forEachRun;
};

/// One indirect product being emitted. The owner sets the fields, then calls
/// `emit` inside the kernel.
class IndirectProduct {
public:
  IndirectProduct(KernelBuilder &kb, const IndirectShape &shape,
                  const IndirectTiling &tiling);

  mlir::Value in, out, weights;     ///< pointers
  mlir::Value scales, compensation; ///< pointers, int8 only
  mlir::Value tapCount;             ///< taps in use; null: all
  RowGeometry rows;
  Epilogue epilogue;
  /// Where the result of a row and a column goes: channel `channel` of output
  /// pixel `pixel`, if `exists` (i1; null: always).
  struct Place {
    mlir::Value pixel, channel, exists;
  };
  /// Null: the row is the pixel, the column the channel.
  std::function<Place(mlir::Value row, mlir::Value column)> place;
  int64_t outChannels; ///< of an output pixel; shape.outputs unless set
  /// Columns [i * placeColumns, (i + 1) * placeColumns) go to one pixel; 0: all
  /// columns do.
  int64_t placeColumns = 0;

  /// Computes rows [first, last) and the columns of task `columnTask`.
  void emit(mlir::Value first, mlir::Value last, mlir::Value columnTask);

private:
  mlir::Value at(int64_t byteOffset); ///< pointer into scratch
  mlir::Value padding();
  mlir::Value both(mlir::Value a, mlir::Value b);
  mlir::Value atLeast(mlir::Value a, mlir::Value b);
  mlir::Value tableIndex(mlir::Value rowBlock, mlir::Value tap);
  void fillZeros();
  void gather(mlir::Value rowBlock, mlir::Value lastRow);
  void gatherInterior(mlir::Value rowBlock, const Pixel &pixel);
  void gatherRow(mlir::Value rowBlock, mlir::Value r, mlir::Value row);
  mlir::Value readable(mlir::Value pixel);
  void copyRun(mlir::Value to, mlir::Value from, mlir::Value ix);
  void emitBlock(mlir::Value rowBlock, mlir::Value rowsLeft, mlir::Value block);
  void emitTile(mlir::Value rowBlock, mlir::Value rowsLeft, mlir::Value group,
                mlir::Value column, int64_t columns);
  void storeRow(mlir::Value row, mlir::Value offset, mlir::Value group,
                mlir::Value column, int64_t columns);

  KernelBuilder &kb;
  IndirectShape shape;
  IndirectTiling tiling;
  MicroKernel micro;
  mlir::Type elem; ///< of the input
  mlir::Value firstRow;
};

} // namespace pare::cpu

#endif
