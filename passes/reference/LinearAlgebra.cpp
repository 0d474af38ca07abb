//===- LinearAlgebra.cpp - Matrix products and attention ------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

template <typename T>
void multiply(const T *a, const T *b, T *c, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kRows = 4;
  std::vector<Sum<T>> sums(kRows * n);
  for (int64_t i = 0; i < m; i += kRows) {
    std::fill(sums.begin(), sums.end(), 0);
    int64_t rows = std::min(kRows, m - i);
    for (int64_t p = 0; p < k; ++p) {
      const T *__restrict row = b + p * n;
      for (int64_t r = 0; r < rows; ++r) {
        Sum<T> factor = a[(i + r) * k + p];
        Sum<T> *__restrict sum = sums.data() + r * n;
        for (int64_t j = 0; j < n; ++j)
          sum[j] += factor * row[j];
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < n; ++j)
        c[(i + r) * n + j] = T(sums[r * n + j]);
  }
}
template void multiply(const float *, const float *, float *, int64_t, int64_t,
                       int64_t);
template void multiply(const double *, const double *, double *, int64_t,
                       int64_t, int64_t);
template void multiply(const int64_t *, const int64_t *, int64_t *, int64_t,
                       int64_t, int64_t);

template <typename T>
static std::vector<T> transpose(const T *x, int64_t rows, int64_t columns) {
  std::vector<T> result(rows * columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[j * rows + i] = x[i * columns + j];
  return result;
}

llvm::Error evaluate(nn::MatMulOp op, Frame &frame) {
  const HostTensor &lhs = frame[op.getLhs()], &rhs = frame[op.getRhs()];
  HostTensor result(frame.typeOf(op));
  bool transposed = op.getTransposeRhs();
  int64_t m = lhs.shape().drop_back().back(), k = lhs.shape().back();
  int64_t n = rhs.shape()[rhs.shape().size() - (transposed ? 2 : 1)];
  if (rhs.shape()[rhs.shape().size() - (transposed ? 1 : 2)] != k)
    return fail(op, "inner dimensions differ at the given input shapes");
  ArrayRef<int64_t> batch = result.shape().drop_back(2);
  auto lhsStrides = getBroadcastStrides(lhs.shape().drop_back(2), batch);
  auto rhsStrides = getBroadcastStrides(rhs.shape().drop_back(2), batch);
  if (!lhsStrides || !rhsStrides)
    return fail(op, "leading axes do not broadcast at the given input shapes");
  withCompute(lhs.element(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> a = lhs.read<T>(), b = rhs.read<T>();
    std::vector<T> c(result.size());
    if (transposed)
      for (int64_t i = 0; i < count(rhs.shape().drop_back(2)); ++i)
        llvm::copy(transpose(b.data() + i * n * k, n, k),
                   b.begin() + i * n * k);
    T *out = c.data();
    forEachIndex(batch, {*lhsStrides, *rhsStrides}, [&](ArrayRef<int64_t> at) {
      multiply(a.data() + at[0] * m * k, b.data() + at[1] * k * n, out, m, n,
               k);
      out += m * n;
    });
    result.write<T>(c);
  });
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

namespace {
/// One head of one batch entry: rows of q, k and v are `stride` apart.
struct Head {
  const float *q, *k, *v, *mask;
  float *out;
  int64_t queries, keys, size, valueSize;
  int64_t qStride, kStride, vStride, outStride;
  int64_t maskRow, maskColumn;
  double scale;
  bool causal;

  void run() const {
    std::vector<double> scores(keys), sums(valueSize);
    for (int64_t i = 0; i < queries; ++i) {
      int64_t visible =
          causal ? std::clamp<int64_t>(i + keys - queries + 1, 0, keys) : keys;
      double largest = -INFINITY;
      for (int64_t j = 0; j < visible; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < size; ++d)
          dot += double(q[i * qStride + d]) * k[j * kStride + d];
        scores[j] =
            dot * scale + (mask ? mask[i * maskRow + j * maskColumn] : 0.0f);
        largest = std::max(largest, scores[j]);
      }
      double total = 0;
      std::fill(sums.begin(), sums.end(), 0);
      for (int64_t j = 0; j < visible; ++j) {
        double weight = std::exp(scores[j] - largest);
        total += weight;
        for (int64_t d = 0; d < valueSize; ++d)
          sums[d] += weight * v[j * vStride + d];
      }
      for (int64_t d = 0; d < valueSize; ++d)
        out[i * outStride + d] = float(total == 0 ? 0 : sums[d] / total);
    }
  }
};
} // namespace

llvm::Error evaluate(nn::AttentionOp op, Frame &frame) {
  const HostTensor &query = frame[op.getQuery()], &key = frame[op.getKey()],
                   &value = frame[op.getValue()];
  HostTensor result(frame.typeOf(op));
  ArrayRef<int64_t> qs = query.shape(), ks = key.shape(), vs = value.shape();
  if (ks[0] != qs[0] || vs[0] != qs[0] || ks[1] != vs[1])
    return fail(op, "query, key and value differ at the given input shapes");
  std::vector<float> q = query.read<float>(), k = key.read<float>(),
                     v = value.read<float>(), out(result.size()), mask;
  SmallVector<int64_t> maskStrides(4, 0);
  if (op.getMask()) {
    const HostTensor &tensor = frame[op.getMask()];
    auto strides =
        getBroadcastStrides(tensor.shape(), {qs[0], qs[2], qs[1], ks[1]});
    if (!strides)
      return fail(op, "the mask does not fit at the given input shapes");
    maskStrides = *strides;
    mask = tensor.read<float>();
  }
  int64_t heads = qs[2], group = heads / ks[2];
  for (int64_t b = 0; b < qs[0]; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t kv = h / group;
      Head head;
      head.q = q.data() + (b * qs[1] * heads + h) * qs[3];
      head.k = k.data() + (b * ks[1] * ks[2] + kv) * ks[3];
      head.v = v.data() + (b * vs[1] * vs[2] + kv) * vs[3];
      head.out = out.data() + (b * qs[1] * heads + h) * vs[3];
      head.mask = op.getMask()
                      ? mask.data() + b * maskStrides[0] + h * maskStrides[1]
                      : nullptr;
      head.queries = qs[1], head.keys = ks[1];
      head.size = qs[3], head.valueSize = vs[3];
      head.qStride = heads * qs[3], head.kStride = ks[2] * ks[3];
      head.vStride = vs[2] * vs[3], head.outStride = heads * vs[3];
      head.maskRow = maskStrides[2], head.maskColumn = maskStrides[3];
      head.scale = op.getScale().convertToFloat();
      head.causal = op.getCausal();
      head.run();
    }
  result.write<float>(out);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
