//===- MicroKernel.h - Register tiles of inner products ---------*- C++ -*-===//
//
// The innermost block of GEMM, convolution and attention: a tile of `rows` x
// `cols` sums Σ_k A[row, k] · B[k, col] held in registers while k runs. One
// generator serves f32 and int8 on every CPU; the dot instruction is a
// parameter object (Dot.h).
//
// B lies in panels of 16 columns (kPanel), k in groups of kGroup():
//   f32   [N/16][K][16]              kGroup 1
//   int8  [N/16][ceil(K/4)][16][4]   kGroup 4, codes in [-127, 127], zero
//   padded
// A tile reads one pointer per row of A, k contiguous, and one pointer per
// group of lanes() columns of B. Each sum adds its products in the order of k
// with one accumulator whatever the tile, so that results do not depend on how
// rows and columns are cut into tiles.
//
//   MicroKernel micro(b.isa(), MicroKernel::F32);
//   MicroTile tile = micro.tiles().front();
//   auto acc = micro.start(b, tile);
//   acc = micro.accumulate(b, tile, acc, steps, {rowPtrs, groupPtrs});
//   auto results = micro.finish(b, tile, acc); // [row][group] vectors
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_MICROKERNEL_H
#define PARE_BACKENDS_CPU_KERNELS_MICROKERNEL_H

#include "backends/cpu/kernels/KernelBuilder.h"
#include <memory>

namespace pare::cpu {

class Dot;

/// Columns of one panel of packed B.
constexpr int64_t kPanel = 16;

/// A register tile. `cols` is a multiple of MicroKernel::lanes().
struct MicroTile {
  unsigned rows, cols;
};

/// Where a tile's operands are.
struct MicroOperands {
  /// tile.rows pointers to A: f32, or codes in Isa::codeStorage().
  llvm::ArrayRef<mlir::Value> rows;
  /// tile.cols / lanes() pointers to B; see MicroKernel::groupPtr.
  llvm::ArrayRef<mlir::Value> groups;
  /// Elements of A from one step of kGroup() values to the next; null:
  /// kGroup().
  mlir::Value rowStep = {};
  /// Elements of B from one step to the next; null: packed, kPanel * kGroup().
  mlir::Value groupStep = {};
};

class MicroKernel {
public:
  enum Format { F32, S8 };

  MicroKernel(const Isa &isa, Format format);
  ~MicroKernel();
  MicroKernel(MicroKernel &&);

  Format format() const { return format_; }
  /// k values that one step consumes: 1 (f32) or 4 (int8).
  unsigned kGroup() const;
  /// Columns of one result vector: 16, or 8 where a native accumulator of 16
  /// columns would be too wide. Divides kPanel.
  unsigned lanes() const;
  /// Register tiles, most rows first; the last one has one row. Small tiles are
  /// wider, to have as many independent sums in flight.
  llvm::ArrayRef<MicroTile> tiles() const;
  /// Element type of A as stored: f32, i8 or i16.
  mlir::Type rowElement(mlir::OpBuilder &b) const;
  /// Element type of B: f32 or i8.
  mlir::Type groupElement(mlir::OpBuilder &b) const;
  /// Int8 sums must start at -128 · Σ_k B[k, col] (Isa::codeStorage() is
  /// U8Plus128).
  bool needsCompensation() const { return needsCompensation_; }

  /// Pointer to columns [group * lanes(), +lanes()) of packed B with `steps`
  /// steps of k. `group` and `steps` are index values.
  mlir::Value groupPtr(KernelBuilder &b, mlir::Value packed, mlir::Value steps,
                       mlir::Value group) const;

  /// Initial accumulators: zero, or what `init(group)` gives for a group of
  /// columns (vector<lanes x i32>, int8 only).
  llvm::SmallVector<mlir::Value>
  start(KernelBuilder &b, MicroTile tile,
        llvm::function_ref<mlir::Value(unsigned group)> init = nullptr) const;

  /// Adds `steps` (index) steps of k to the accumulators.
  llvm::SmallVector<mlir::Value> accumulate(KernelBuilder &b, MicroTile tile,
                                            mlir::ValueRange acc,
                                            mlir::Value steps,
                                            MicroOperands operands) const;

  /// Sums as vector<lanes x f32> or vector<lanes x i32>, the groups of row 0
  /// first.
  llvm::SmallVector<mlir::Value> finish(KernelBuilder &b, MicroTile tile,
                                        mlir::ValueRange acc) const;

private:
  unsigned groups(MicroTile tile) const;
  void step(KernelBuilder &b, MicroTile tile,
            llvm::MutableArrayRef<mlir::Value> acc, mlir::Value first,
            unsigned turn, const MicroOperands &operands) const;

  Format format_;
  std::unique_ptr<Dot> dot_;
  bool needsCompensation_;
};

} // namespace pare::cpu

#endif
