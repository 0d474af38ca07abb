//===- Overlap.cpp - Tensors that share bytes of a file -------------------===//
#include "frontend/weights/Overlap.h"
#include "llvm/ADT/STLExtras.h"
#include <map>

namespace pare {

llvm::Error checkOverlap(llvm::StringRef path,
                         llvm::ArrayRef<TensorRange> ranges) {
  // Tensors at one offset stay in their order.
  std::multimap<uint64_t, const TensorRange *> order;
  for (const TensorRange &range : ranges)
    if (range.size > 0)
      order.emplace(range.offset, &range);
  const TensorRange *previous = nullptr;
  for (const TensorRange *range : llvm::make_second_range(order)) {
    if (previous && previous->offset + previous->size > range->offset)
      return llvm::createStringError(
          path + ": tensors '" + previous->name + "' and '" + range->name +
          "' overlap at offset " + llvm::Twine(range->offset));
    previous = range;
  }
  return llvm::Error::success();
}

} // namespace pare
