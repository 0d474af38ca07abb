//===- Allocate.h - Which of several formats fit a budget -------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_ALLOCATE_H
#define PARE_PASSES_QUANTIZE_ALLOCATE_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace pare {

/// One way to store an item.
struct StorageChoice {
  uint64_t bytes;
  double cost; ///< what it does to quality; adds up over items
};

/// For each item, which has at least one choice, the index of the one to take:
/// together at most `maxBytes` and of small cost. nullopt where not even the
/// smallest choices fit.
///
/// The items' lower convex hulls are descended by falling gain per byte: the
/// optimum of the continuous problem (Lagrange; Shoham and Gersho 1988, section
/// III), then what still fits is taken.
std::optional<std::vector<unsigned>>
allocateBytes(llvm::ArrayRef<std::vector<StorageChoice>> items,
              uint64_t maxBytes);

/// The same the other way round: few bytes for a total cost of at most
/// `maxCost`; nullopt where the best choices cost more.
std::optional<std::vector<unsigned>>
allocateCost(llvm::ArrayRef<std::vector<StorageChoice>> items, double maxCost);

} // namespace pare

#endif
