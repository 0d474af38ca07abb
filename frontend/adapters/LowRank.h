//===- LowRank.h - Sums of low-rank updates ---------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_ADAPTERS_LOWRANK_H
#define PARE_FRONTEND_ADAPTERS_LOWRANK_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace pare::adapters {

/// How a weight lies in memory.
enum class Orientation {
  OutIn, ///< a row per output
  InOut, ///< a row per input: Conv1D of GPT-2, tables of embeddings
};

/// The updates of one weight by all adapters: diag(d) W + B A.
struct LowRank {
  int64_t in = 0, out = 0, rank = 0;
  std::vector<float> a = {}; ///< [rank, in]
  std::vector<float> b = {}; ///< [rank, out], scales included: the rows of Bᵀ
  std::vector<float> d = {}; ///< [out]; empty: ones

  /// Adds scale · B A with `a` [r, in] and `b` [out, r], r as `a` has it.
  void add(llvm::ArrayRef<float> a, llvm::ArrayRef<float> b, double scale);
  /// As add, for an update whose rows are scaled to the lengths `magnitude`
  /// [out]. `weight` is what it is an update of. Where several adapters update
  /// a weight, each is scaled by itself and what they change is added, as PEFT
  /// does for several active adapters.
  void addScaled(llvm::ArrayRef<float> a, llvm::ArrayRef<float> b, double scale,
                 llvm::ArrayRef<float> magnitude, llvm::ArrayRef<float> weight,
                 Orientation orientation);
  /// Replaces a weight of in · out elements by its updated self.
  void merge(llvm::MutableArrayRef<float> weight,
             Orientation orientation) const;
};

} // namespace pare::adapters

#endif
