//===- CacheLayout.cpp - Where a sequence's cache holds what --------------===//
#include "backends/cpu/CacheLayout.h"
#include "llvm/Support/MathExtras.h"

namespace pare::cpu {

CacheLayout::CacheLayout(mlir::ModuleOp module) {
  module->walk([&](nn::CacheOp cache) {
    int64_t capacity = llvm::alignTo(int64_t(cache.getCapacity()), kCacheBlock);
    unsigned elementBytes = nn::getElementBytes(cache.getType());
    uint32_t blockBytes = getCacheBlockBytes(cache.getHeadDim(), elementBytes);
    int64_t regionBytes =
        llvm::alignTo(capacity / kCacheBlock * blockBytes, PARE_ALIGN);
    places_[cache] = {int64_t(bytes_), regionBytes, capacity};
    // Values without scales are rows of their own.
    uint32_t valueRows = elementBytes == 1 ? kCacheBlock : 1;
    for (uint32_t rows : {uint32_t(kCacheBlock), valueRows})
      for (uint64_t head = 0; head < cache.getHeads(); ++head) {
        regions_.push_back({bytes_, rows,
                            blockBytes * rows / uint32_t(kCacheBlock),
                            uint32_t(capacity)});
        bytes_ += regionBytes;
      }
  });
}

CachePlace CacheLayout::get(nn::CacheOp cache) const {
  return places_.at(cache);
}

} // namespace pare::cpu
