//===- Indexing.cpp - Strides and strided copies --------------------------===//
#include "passes/reference/Evaluate.h"

using namespace mlir;

namespace pare::reference {

int64_t count(ArrayRef<int64_t> shape) {
  int64_t total = 1;
  for (int64_t size : shape)
    total *= size;
  return total;
}

SmallVector<int64_t> getStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

std::optional<SmallVector<int64_t>> getBroadcastStrides(ArrayRef<int64_t> from,
                                                        ArrayRef<int64_t> to) {
  if (from.size() > to.size())
    return std::nullopt;
  SmallVector<int64_t> strides(to.size(), 0), dense = getStrides(from);
  size_t skip = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] == to[skip + i])
      strides[skip + i] = dense[i];
    else if (from[i] != 1)
      return std::nullopt;
  }
  return strides;
}

void forEachIndex(ArrayRef<int64_t> shape, ArrayRef<ArrayRef<int64_t>> strides,
                  llvm::function_ref<void(ArrayRef<int64_t>)> fn) {
  if (llvm::is_contained(shape, 0))
    return;
  SmallVector<int64_t> index(shape.size(), 0), offsets(strides.size(), 0);
  while (true) {
    fn(offsets);
    size_t axis = shape.size();
    while (axis > 0) {
      --axis;
      bool wraps = ++index[axis] == shape[axis];
      for (size_t s = 0; s < strides.size(); ++s)
        offsets[s] +=
            wraps ? -strides[s][axis] * (shape[axis] - 1) : strides[s][axis];
      if (!wraps)
        break;
      index[axis] = 0;
      if (axis == 0)
        return;
    }
    if (shape.empty())
      return;
  }
}

HostTensor copyStrided(const HostTensor &x, RankedTensorType type,
                       int64_t offset, ArrayRef<int64_t> strides) {
  HostTensor result(type);
  size_t width = nn::getElementBytes(type.getElementType());
  const uint8_t *from = x.bytes().data();
  uint8_t *to = result.bytes().data();
  // Contiguous last axis: whole rows at once.
  ArrayRef<int64_t> shape = type.getShape();
  int64_t row = 1;
  if (!shape.empty() && strides.back() == 1) {
    row = shape.back();
    shape = shape.drop_back();
    strides = strides.drop_back();
  }
  if (row == 0)
    return result;
  forEachIndex(shape, {strides}, [&](ArrayRef<int64_t> at) {
    std::memcpy(to, from + (offset + at[0]) * width, row * width);
    to += row * width;
  });
  return result;
}

} // namespace pare::reference
