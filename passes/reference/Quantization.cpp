//===- Quantization.cpp - Codes and scales --------------------------------===//
#include "frontend/ir/Codes.h"
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

int64_t encode(float x, float scale, Type codes, int64_t zero) {
  float limit = nn::getCodeLimit(codes);
  float code = scale == 0 ? 0
                          : std::clamp(std::nearbyint(x / scale + float(zero)),
                                       -limit, limit);
  return int64_t(code) + nn::getCodeOffset(codes);
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
  forEachIndex(x.shape(), {*strides}, [&](ArrayRef<int64_t> at) {
    codes.push_back(encode(values[codes.size()], scales[at[0]], op.getCodes()));
  });
  result.write<int64_t>(codes);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

/// Scale and zero point of one row, as nn.dynamic_quantize defines them.
static std::pair<float, int64_t> getRowCoding(nn::DynamicQuantizeOp op,
                                              ArrayRef<float> row) {
  float low = INFINITY, high = -INFINITY;
  for (float v : row) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  float largest = row.empty() ? 0 : std::max(-low, high);
  if (!op.getAsymmetric())
    return {largest / nn::getCodeLimit(op.getCodes()), 0};
  if (largest == 0)
    return {0, 0};
  float scale = std::max((high - low) / 253, largest / 512);
  return {scale, int64_t(std::nearbyint(-126.5f - low / scale))};
}

llvm::Error evaluate(nn::DynamicQuantizeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor codes(frame.typeOf(op.getResult())),
      scales(frame.typeOf(op.getScales()));
  std::vector<float> values = x.read<float>(), rowScales;
  std::vector<int64_t> rowCodes, rowZeros;
  // Groups are rows of their own.
  size_t size = op.getGroup().value_or(x.shape().back());
  for (int64_t r = 0; r < scales.size(); ++r) {
    ArrayRef<float> row = ArrayRef(values).slice(r * size, size);
    auto [scale, zero] = getRowCoding(op, row);
    rowScales.push_back(scale);
    rowZeros.push_back(zero + nn::getCodeOffset(op.getCodes()));
    for (float v : row)
      rowCodes.push_back(encode(v, scale, op.getCodes(), zero));
  }
  codes.write<int64_t>(rowCodes);
  scales.write<float>(rowScales);
  frame.set(op.getResult(), std::move(codes));
  frame.set(op.getScales(), std::move(scales));
  if (Value result = op.getZeroPoints()) {
    HostTensor zeros(frame.typeOf(result));
    zeros.write<int64_t>(rowZeros);
    frame.set(result, std::move(zeros));
  }
  return llvm::Error::success();
}

llvm::Error evaluate(nn::DequantizeOp op, Frame &frame) {
  const HostTensor &codes = frame[op.getCodes()], &scale = frame[op.getScale()];
  HostTensor result(frame.typeOf(op));
  std::vector<float> values = codes.read<float>(), scales = scale.read<float>();
  if (std::optional<int64_t> group =
          nn::getGroupSize(op.getCodes(), op.getScale())) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= scales[i / *group];
    result.write<float>(values);
    frame.set(op, std::move(result));
    return llvm::Error::success();
  }
  auto scaleStrides = getBroadcastStrides(scale.shape(), codes.shape());
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
