//===- Normalization.cpp - Reductions, softmax and normalizations ---------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

/// Folds one element into the accumulator of a reduction.
template <typename T>
static void accumulate(nn::ReduceKind kind, Sum<T> &sum, T x) {
  using K = nn::ReduceKind;
  switch (kind) {
  case K::sum:
  case K::mean:
    sum += x;
    return;
  case K::max:
    sum = sum > x || sum != sum ? sum : Sum<T>(x);
    return;
  case K::min:
    sum = sum < x || sum != sum ? sum : Sum<T>(x);
    return;
  case K::prod:
    sum *= x;
    return;
  case K::sum_square:
  case K::l2:
    sum += Sum<T>(x) * x;
    return;
  }
}

template <typename T> static Sum<T> getIdentity(nn::ReduceKind kind) {
  using Limits = std::numeric_limits<Sum<T>>;
  switch (kind) {
  case nn::ReduceKind::max:
    return Limits::has_infinity ? -Limits::infinity() : Limits::min();
  case nn::ReduceKind::min:
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  case nn::ReduceKind::prod:
    return 1;
  default:
    return 0;
  }
}

llvm::Error evaluate(nn::ReduceOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(frame.typeOf(op));
  // Strides of the result seen from x: 0 along reduced axes.
  SmallVector<int64_t> kept, strides(x.shape().size(), 0);
  for (size_t i = 0; i < x.shape().size(); ++i)
    if (!llvm::is_contained(op.getAxes(), int64_t(i)))
      kept.push_back(x.shape()[i]);
  SmallVector<int64_t> dense = getStrides(kept);
  for (size_t i = 0, k = 0; i < x.shape().size(); ++i)
    if (!llvm::is_contained(op.getAxes(), int64_t(i)))
      strides[i] = dense[k++];
  withCompute(x.element(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> values = x.read<T>(), out(result.size());
    std::vector<Sum<T>> sums(result.size(), getIdentity<T>(op.getKind()));
    const T *next = values.data();
    forEachIndex(x.shape(), {strides}, [&](ArrayRef<int64_t> at) {
      accumulate<T>(op.getKind(), sums[at[0]], *next++);
    });
    int64_t each = result.size() ? x.size() / result.size() : 0;
    for (size_t i = 0; i < sums.size(); ++i) {
      if (op.getKind() == nn::ReduceKind::mean && each)
        sums[i] /= each;
      else if (op.getKind() == nn::ReduceKind::l2)
        sums[i] = std::sqrt(sums[i]);
      out[i] = T(sums[i]);
    }
    result.write<T>(out);
  });
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::SoftmaxOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(x.type());
  std::vector<float> values = x.read<float>();
  int64_t axis = op.getAxis(), size = x.shape()[axis];
  int64_t inner = count(x.shape().drop_front(axis + 1));
  int64_t outer = count(x.shape().take_front(axis));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      float *row = values.data() + o * size * inner + i;
      double largest = -INFINITY, total = 0;
      for (int64_t j = 0; j < size; ++j)
        largest = std::max<double>(largest, row[j * inner]);
      for (int64_t j = 0; j < size; ++j)
        total += std::exp(row[j * inner] - largest);
      for (int64_t j = 0; j < size; ++j) {
        double shifted = row[j * inner] - largest;
        row[j * inner] = float(op.getLog() ? shifted - std::log(total)
                                           : std::exp(shifted) / total);
      }
    }
  result.write<float>(values);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

/// An optional per-channel parameter as f32 of `size` elements.
static std::vector<float> readChannels(Value parameter, Frame &frame,
                                       int64_t size, float absent) {
  if (!parameter)
    return std::vector<float>(size, absent);
  std::vector<float> values = frame[parameter].read<float>();
  if (values.size() == 1)
    values.assign(size, values[0]);
  return values;
}

/// Applies `fn(row, size)` to a copy of x, row by row of the last axis.
static HostTensor mapRows(const HostTensor &x,
                          llvm::function_ref<void(MutableArrayRef<float>)> fn) {
  HostTensor result(x.type());
  std::vector<float> values = x.read<float>();
  size_t size = x.shape().back();
  for (size_t at = 0; at < values.size(); at += size)
    fn(MutableArrayRef(values).slice(at, size));
  result.write<float>(values);
  return result;
}

static llvm::Error checkChannels(Operation *op, const HostTensor &x,
                                 ArrayRef<std::vector<float>> parameters) {
  for (const std::vector<float> &parameter : parameters)
    if (int64_t(parameter.size()) != x.shape().back())
      return fail(op, "a parameter does not fit the last axis");
  return llvm::Error::success();
}

llvm::Error evaluate(nn::LayerNormOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  int64_t size = x.shape().back();
  std::vector<float> scale = readChannels(op.getScale(), frame, size, 1),
                     bias = readChannels(op.getBias(), frame, size, 0);
  if (llvm::Error error = checkChannels(op, x, {scale, bias}))
    return error;
  double epsilon = op.getEpsilon().convertToFloat();
  frame.set(op, mapRows(x, [&](MutableArrayRef<float> row) {
              double mean = 0, variance = 0;
              for (float v : row)
                mean += v;
              mean /= size;
              for (float v : row)
                variance += (v - mean) * (v - mean);
              double inverse = 1 / std::sqrt(variance / size + epsilon);
              for (int64_t i = 0; i < size; ++i)
                row[i] = float((row[i] - mean) * inverse * scale[i] + bias[i]);
            }));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::RmsNormOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  int64_t size = x.shape().back();
  std::vector<float> scale = readChannels(op.getScale(), frame, size, 1);
  if (llvm::Error error = checkChannels(op, x, {scale}))
    return error;
  double epsilon = op.getEpsilon().convertToFloat();
  frame.set(op, mapRows(x, [&](MutableArrayRef<float> row) {
              double squares = 0;
              for (float v : row)
                squares += double(v) * v;
              double inverse = 1 / std::sqrt(squares / size + epsilon);
              for (int64_t i = 0; i < size; ++i)
                row[i] = float(row[i] * inverse * scale[i]);
            }));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::BatchNormOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  int64_t size = x.shape().back();
  std::vector<float> scale = readChannels(op.getScale(), frame, size, 1),
                     bias = readChannels(op.getBias(), frame, size, 0),
                     mean = readChannels(op.getMean(), frame, size, 0),
                     variance = readChannels(op.getVariance(), frame, size, 1);
  if (llvm::Error error = checkChannels(op, x, {scale, bias, mean, variance}))
    return error;
  double epsilon = op.getEpsilon().convertToFloat();
  frame.set(op, mapRows(x, [&](MutableArrayRef<float> row) {
              for (int64_t i = 0; i < size; ++i)
                row[i] = float((double(row[i]) - mean[i]) /
                                   std::sqrt(variance[i] + epsilon) * scale[i] +
                               bias[i]);
            }));
  return llvm::Error::success();
}

} // namespace pare::reference
