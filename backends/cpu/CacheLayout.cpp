//===- CacheLayout.cpp - Where a sequence's cache holds what --------------===//
#include "backends/cpu/CacheLayout.h"
#include "llvm/Support/MathExtras.h"

namespace pare::cpu {

CacheLayout::CacheLayout(mlir::ModuleOp module) {
  module->walk([&](nn::CacheOp cache) {
    int64_t capacity = llvm::alignTo(int64_t(cache.getCapacity()), kCacheBlock);
    uint32_t rowBytes =
        cache.getHeadDim() * nn::getElementBytes(cache.getType());
    int64_t regionBytes = llvm::alignTo(capacity * rowBytes, PARE_ALIGN);
    places_[cache] = {int64_t(bytes_), regionBytes, capacity};
    for (uint32_t blockRows : {uint32_t(kCacheBlock), 1u})
      for (int64_t head = 0; head < cache.getHeads(); ++head) {
        regions_.push_back(
            {bytes_, blockRows, blockRows * rowBytes, uint32_t(capacity)});
        bytes_ += regionBytes;
      }
  });
}

CachePlace CacheLayout::get(nn::CacheOp cache) const {
  return places_.at(cache);
}

} // namespace pare::cpu
