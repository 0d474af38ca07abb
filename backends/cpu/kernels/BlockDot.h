//===- BlockDot.h - Integer sums of codes in blocks -------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_KERNELS_BLOCKDOT_H
#define PARE_BACKENDS_CPU_KERNELS_BLOCKDOT_H

#include "backends/cpu/kernels/BlockWeights.h"
#include <memory>

namespace pare::cpu {

/// One way to multiply quads of weight bytes (BlockWeights) with a quad of
/// activation codes in [-127, 127], and to sum over a group. All ways give the
/// same, exact sums.
class BlockDot {
public:
  virtual ~BlockDot() = default;

  unsigned lanes = 8;      ///< rows of W in a vector
  bool isUnsigned = false; ///< weight bytes have to be unsigned
  /// What a sum starts at is added at its end: it starts in 16 bits.
  bool addsLate = false;
  unsigned registers = 16;
  /// Rows of activations in a register tile, most first; the last is 1.
  virtual llvm::SmallVector<unsigned, 4>
  tiles(const BlockBytes &meaning) const = 0;
  /// The same of sparse weights that are multiplied as words; none: it is
  /// faster to multiply them as quads.
  virtual llvm::SmallVector<unsigned, 4> sparseTiles() const { return {}; }
  /// Whether pick() exists.
  virtual bool canPick() const { return true; }
  /// Arithmetic vector instructions of prepare(), and of add() with its share
  /// of finish().
  virtual double preparing(const BlockBytes &) const { return 0; }
  virtual double multiplying(const BlockBytes &) const { return 1; }
  /// Whether a tile of so many vectors has registers for its f32 sums beside
  /// its integer ones.
  bool keepsSums(unsigned vectors) const {
    return 2 * vectors + 4 <= registers;
  }

  /// The sums of one group while quads are added: of `lanes` rows by one row of
  /// activations.
  struct Sums {
    mlir::Value wide;   ///< i32; null: zero
    mlir::Value small;  ///< i16, pairs of lanes; null: zero
    unsigned quads = 0; ///< in `small`
  };
  /// A quad of weights; what `multiply` wants of it is made once.
  struct Quad {
    mlir::Value bytes, magnitude;
  };

  virtual Quad prepare(KernelBuilder &b, mlir::Value bytes,
                       const BlockBytes &meaning) const;
  /// sums += quad · codes; `codes` is one quad, repeated (broadcast), or has
  /// each row's own (pick).
  virtual void add(KernelBuilder &b, Sums &sums, const Quad &quad,
                   mlir::Value codes, const BlockBytes &meaning) const = 0;
  /// The sums as vector<lanes x i32>.
  virtual mlir::Value finish(KernelBuilder &b, const Sums &sums) const;

  /// The quad of codes at `from`, repeated in all lanes.
  mlir::Value broadcast(KernelBuilder &b, mlir::Value from) const;
  /// The 8 codes of two quads at `from`, repeated.
  mlir::Value broadcastPair(KernelBuilder &b, mlir::Value from) const;
  /// The codes, of those that broadcastPair gave, that a word of sparse weights
  /// is multiplied with: `numbers` is of BlockWeights::picks.
  mlir::Value pick(KernelBuilder &b, mlir::Value codes,
                   mlir::Value numbers) const;

protected:
  mlir::VectorType wideType(KernelBuilder &b) const {
    return b.vecType(lanes, b.getI32Type());
  }
};

std::unique_ptr<BlockDot> makeBlockDot(const Isa &isa);

} // namespace pare::cpu

#endif
