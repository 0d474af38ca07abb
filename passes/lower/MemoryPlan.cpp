//===- MemoryPlan.cpp - Where every buffer of an entry point lives
//---------===//
#include "passes/lower/MemoryPlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace pare::lower {

static bool overlap(const Buffer &a, const Buffer &b) {
  return a.first <= b.last && b.first <= a.last;
}

/// Indices of buffers, largest first; equal sizes in order of birth.
static SmallVector<unsigned> bySize(ArrayRef<int64_t> sizes) {
  auto order = llvm::to_vector(llvm::seq<unsigned>(0, sizes.size()));
  llvm::sort(order, [&](unsigned a, unsigned b) {
    return std::pair(-sizes[a], a) < std::pair(-sizes[b], b);
  });
  return order;
}

static void planOffsets(ArrayRef<Buffer> buffers, ArrayRef<int64_t> sizes,
                        MemoryPlan &plan) {
  plan.offsets.assign(buffers.size(), 0);
  SmallVector<unsigned> placed; // by offset
  for (unsigned index : bySize(sizes)) {
    int64_t offset = 0;
    for (unsigned other : placed) {
      if (!overlap(buffers[index], buffers[other]))
        continue;
      if (offset + sizes[index] <= plan.offsets[other])
        break;
      offset = std::max(offset, plan.offsets[other] + sizes[other]);
    }
    plan.offsets[index] = offset;
    plan.arenaBytes = std::max(plan.arenaBytes, offset + sizes[index]);
    auto *at = llvm::upper_bound(placed, index, [&](unsigned a, unsigned b) {
      return plan.offsets[a] < plan.offsets[b];
    });
    placed.insert(at, index);
  }
}

static void planRegions(ArrayRef<Buffer> buffers, ArrayRef<int64_t> sizes,
                        MemoryPlan &plan) {
  plan.isStatic = false;
  plan.regionOf.assign(buffers.size(), 0);
  SmallVector<SmallVector<unsigned>> members;
  for (unsigned index : bySize(sizes)) {
    unsigned region = 0;
    while (region < members.size() && llvm::any_of(
                                          members[region],
                                          [&](unsigned other) {
                                            return overlap(buffers[index],
                                                           buffers[other]);
                                          }))
      ++region;
    if (region == members.size()) {
      members.emplace_back();
      plan.regions.emplace_back();
    }
    members[region].push_back(index);
    plan.regionOf[index] = region;
    if (!llvm::is_contained(plan.regions[region].sizes, buffers[index].bytes))
      plan.regions[region].sizes.push_back(buffers[index].bytes);
  }
}

MemoryPlan planMemory(ArrayRef<Buffer> buffers, ArrayRef<int64_t> symbolMax) {
  MemoryPlan plan;
  SmallVector<int64_t> sizes;
  bool isStatic = true;
  for (const Buffer &buffer : buffers) {
    isStatic &= nn::getConstant(buffer.bytes).has_value();
    sizes.push_back(
        alignTo(nn::evaluate(buffer.bytes, symbolMax), MemoryPlan::alignment));
  }
  if (isStatic)
    planOffsets(buffers, sizes, plan);
  else
    planRegions(buffers, sizes, plan);
  return plan;
}

} // namespace pare::lower
