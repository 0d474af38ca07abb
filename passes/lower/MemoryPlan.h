//===- MemoryPlan.h - Where every buffer of an entry point lives -*- C++
//-*-===//
//
// Buffers whose lives do not overlap share memory. Sizes are expressions of the
// symbolic dimensions, so the plan is too: for a static model it is a list of
// numbers, for a dynamic one a small function that the artifact evaluates when
// its dimensions change.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_LOWER_MEMORYPLAN_H
#define PARE_PASSES_LOWER_MEMORYPLAN_H

#include "frontend/ir/Shape.h"

namespace pare::lower {

/// A buffer that needs memory while steps [first, last] run.
struct Buffer {
  nn::Dim bytes;
  unsigned first, last;
};

/// A region of the arena that buffers take turns in.
struct Region {
  llvm::SmallVector<nn::Dim>
      sizes; ///< its size is their maximum, rounded up to `alignment`
};

/// Static plan: `offsets` are bytes, `arenaBytes` their extent.
/// Dynamic plan: regions lie one behind the other; `regionOf` says which region
/// holds a buffer.
struct MemoryPlan {
  static constexpr int64_t alignment = 64;
  bool isStatic = true;
  llvm::SmallVector<int64_t> offsets;
  int64_t arenaBytes = 0;
  llvm::SmallVector<unsigned> regionOf;
  llvm::SmallVector<Region> regions;
};

/// Plans greedily, largest buffer first, each at the lowest free offset
/// (Pisarchyk and Lee 2020, "greedy by size"). Where a size is symbolic,
/// buffers are assigned to regions instead, compared at `symbolMax`, the
/// largest values of the symbols.
MemoryPlan planMemory(llvm::ArrayRef<Buffer> buffers,
                      llvm::ArrayRef<int64_t> symbolMax);

} // namespace pare::lower

#endif
