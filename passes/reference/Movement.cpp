//===- Movement.cpp - Ops that move elements ------------------------------===//
#include "passes/reference/Evaluate.h"

using namespace mlir;

namespace pare::reference {

llvm::Error evaluate(nn::GatherOp op, Frame &frame) {
  const HostTensor &data = frame[op.getData()];
  std::vector<int64_t> indices = frame[op.getIndices()].read<int64_t>();
  HostTensor result(frame.typeOf(op));
  int64_t axis = op.getAxis(), size = data.shape()[axis];
  int64_t outer = count(data.shape().take_front(axis));
  size_t row = count(data.shape().drop_front(axis + 1)) *
               nn::getElementBytes(data.element());
  uint8_t *to = result.bytes().data();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t index : indices) {
      int64_t at = index < 0 ? index + size : index;
      if (at < 0 || at >= size)
        return fail(op, "index " + llvm::Twine(index) +
                            " is out of range for an axis of size " +
                            llvm::Twine(size));
      std::memcpy(to, data.bytes().data() + (o * size + at) * row, row);
      to += row;
    }
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ReshapeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  RankedTensorType type = frame.typeOf(op);
  if (x.size() != type.getNumElements())
    return fail(op, "the number of elements changes from " +
                        llvm::Twine(x.size()) + " to " +
                        llvm::Twine(type.getNumElements()));
  frame.set(op, x.withType(type));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::TransposeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  SmallVector<int64_t> strides = getStrides(x.shape()), permuted;
  for (int64_t axis : op.getPermutation())
    permuted.push_back(strides[axis]);
  frame.set(op, copyStrided(x, frame.typeOf(op), 0, permuted));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ConcatOp op, Frame &frame) {
  HostTensor result(frame.typeOf(op));
  int64_t axis = op.getAxis();
  int64_t outer = count(result.shape().take_front(axis));
  size_t inner = count(result.shape().drop_front(axis + 1)) *
                 nn::getElementBytes(result.element());
  size_t stride = result.shape()[axis] * inner, at = 0;
  for (Value input : op.getInputs()) {
    const HostTensor &x = frame[input];
    size_t row = x.shape()[axis] * inner;
    if (at + row > stride || x.bytes().size() != outer * row)
      return fail(op, "the inputs do not fit together at the given shapes");
    for (int64_t o = 0; o < outer; ++o)
      std::memcpy(result.bytes().data() + o * stride + at,
                  x.bytes().data() + o * row, row);
    at += row;
  }
  if (at != stride)
    return fail(op, "the inputs do not fill the result at the given shapes");
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::SliceOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  RankedTensorType type = frame.typeOf(op);
  SmallVector<int64_t> strides = getStrides(x.shape());
  SmallVector<int64_t, 6> starts =
      nn::evaluate(nn::getShape(op.getStarts()), frame.symbols);
  int64_t offset = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    int64_t size = type.getDimSize(i), step = op.getSteps()[i];
    int64_t last = starts[i] + (size - 1) * step;
    if (size > 0 && (starts[i] < 0 || starts[i] >= x.shape()[i] || last < 0 ||
                     last >= x.shape()[i]))
      return fail(op, "reaches outside axis " + llvm::Twine(i) + " of size " +
                          llvm::Twine(x.shape()[i]));
    offset += starts[i] * strides[i];
    strides[i] *= step;
  }
  frame.set(op, copyStrided(x, type, offset, strides));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ExpandOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  RankedTensorType type = frame.typeOf(op);
  std::optional<SmallVector<int64_t>> strides =
      getBroadcastStrides(x.shape(), type.getShape());
  if (!strides)
    return fail(op, "does not broadcast at the given input shapes");
  frame.set(op, copyStrided(x, type, 0, *strides));
  return llvm::Error::success();
}

/// The source index of a padded one; -1 where the padding value goes.
static int64_t unpad(nn::PadMode mode, int64_t index, int64_t size) {
  switch (mode) {
  case nn::PadMode::constant:
    return index >= 0 && index < size ? index : -1;
  case nn::PadMode::edge:
    return std::clamp<int64_t>(index, 0, size - 1);
  case nn::PadMode::reflect: {
    if (size == 1)
      return 0;
    int64_t period = 2 * (size - 1);
    index = ((index % period) + period) % period;
    return index < size ? index : period - index;
  }
  }
  llvm_unreachable("unknown padding mode");
}

llvm::Error evaluate(nn::PadOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(frame.typeOf(op));
  if (x.size() == 0 && op.getMode() != nn::PadMode::constant)
    return fail(op, "cannot extend an empty tensor");
  size_t width = nn::getElementBytes(x.element());
  HostTensor fill(RankedTensorType::get({}, x.element()),
                  ArrayRef<float>(op.getValue().convertToFloat()));
  SmallVector<int64_t> strides = getStrides(x.shape());
  SmallVector<int64_t> dense = getStrides(result.shape());
  forEachIndex(result.shape(), {dense}, [&](ArrayRef<int64_t> at) {
    int64_t from = 0, rest = at[0];
    bool inside = true;
    for (size_t i = 0; i < strides.size() && inside; ++i) {
      int64_t index =
          unpad(op.getMode(), rest / dense[i] - op.getLow()[i], x.shape()[i]);
      rest %= dense[i];
      inside = index >= 0;
      from += index * strides[i];
    }
    std::memcpy(result.bytes().data() + at[0] * width,
                inside ? x.bytes().data() + from * width : fill.bytes().data(),
                width);
  });
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
