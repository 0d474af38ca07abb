//===- Quantization.cpp - Codes and scales --------------------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

static int64_t encode(float x, float scale) {
  return scale == 0
             ? 0
             : int64_t(std::clamp(std::nearbyint(x / scale), -127.0f, 127.0f));
}

/// What is added to a code where it is stored: 128 in unsigned bytes.
static int64_t getOffset(Type codes) {
  return codes.isUnsignedInteger(8) ? 128 : 0;
}

llvm::Error evaluate(nn::QuantizeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()], &scale = frame[op.getScale()];
  HostTensor result(frame.typeOf(op));
  std::optional<SmallVector<int64_t>> strides =
      getBroadcastStrides(scale.shape(), x.shape());
  if (!strides)
    return fail(op, "scales do not fit at the given input shapes");
  std::vector<float> values = x.read<float>(), scales = scale.read<float>();
  std::vector<int64_t> codes;
  codes.reserve(values.size());
  int64_t offset = getOffset(op.getCodes());
  forEachIndex(x.shape(), {*strides}, [&](ArrayRef<int64_t> at) {
    codes.push_back(encode(values[codes.size()], scales[at[0]]) + offset);
  });
  result.write<int64_t>(codes);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::DynamicQuantizeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor codes(frame.typeOf(op.getResult())),
      scales(frame.typeOf(op.getScales()));
  std::vector<float> values = x.read<float>(), rowScales;
  std::vector<int64_t> rowCodes;
  size_t size = x.shape().back();
  int64_t offset = getOffset(op.getCodes());
  for (int64_t r = 0; r < scales.size(); ++r) {
    ArrayRef<float> row = ArrayRef(values).slice(r * size, size);
    float largest = 0;
    for (float v : row)
      largest = std::max(largest, std::abs(v));
    rowScales.push_back(largest / 127);
    for (float v : row)
      rowCodes.push_back(encode(v, rowScales.back()) + offset);
  }
  codes.write<int64_t>(rowCodes);
  scales.write<float>(rowScales);
  frame.set(op.getResult(), std::move(codes));
  frame.set(op.getScales(), std::move(scales));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::DequantizeOp op, Frame &frame) {
  const HostTensor &codes = frame[op.getCodes()], &scale = frame[op.getScale()];
  HostTensor result(frame.typeOf(op));
  auto scaleStrides = getBroadcastStrides(scale.shape(), codes.shape());
  std::vector<float> values = codes.read<float>(), scales = scale.read<float>();
  std::vector<float> zeros(1, 0);
  std::optional<SmallVector<int64_t>> zeroStrides(std::in_place,
                                                  codes.shape().size(), 0);
  if (op.getZeroPoint()) {
    const HostTensor &zero = frame[op.getZeroPoint()];
    zeros = zero.read<float>();
    zeroStrides = getBroadcastStrides(zero.shape(), codes.shape());
  }
  if (!scaleStrides || !zeroStrides)
    return fail(op, "scales do not fit at the given input shapes");
  float *next = values.data();
  forEachIndex(codes.shape(), {*scaleStrides, *zeroStrides},
               [&](ArrayRef<int64_t> at) {
                 *next = (*next - zeros[at[1]]) * scales[at[0]];
                 ++next;
               });
  result.write<float>(values);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
