//===- LanguageModel.cpp - Rotary embeddings and attention to caches ------===//
#include "frontend/ir/Codes.h"
#include "passes/reference/Evaluate.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

llvm::Error evaluate(nn::RopeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  std::vector<float> values = x.read<float>(),
                     cos = frame[op.getCos()].read<float>(),
                     sin = frame[op.getSin()].read<float>();
  int64_t heads = x.shape()[1], size = x.shape()[2],
          half = frame[op.getCos()].shape()[1];
  int64_t step = op.getInterleaved() ? 2 : 1,
          partner = op.getInterleaved() ? 1 : half;
  for (int64_t row = 0; row < x.shape()[0]; ++row)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < half; ++i) {
        float &a = values[(row * heads + head) * size + i * step];
        float &b = (&a)[partner];
        float c = cos[row * half + i], s = sin[row * half + i];
        float rotated = a * c - b * s;
        b = b * c + a * s;
        a = rotated;
      }
  HostTensor result(x.type());
  result.write<float>(values);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

static nn::CacheOp findCache(Operation *op, FlatSymbolRefAttr symbol) {
  return SymbolTable::lookupNearestSymbolFrom<nn::CacheOp>(op, symbol);
}

/// Positions and sequences of the rows, checked.
static llvm::Error readRows(Operation *op, const HostTensor &positions,
                            const HostTensor &sequences) {
  for (const HostTensor *numbers : {&positions, &sequences})
    for (int32_t number : numbers->values<int32_t>())
      if (number < 0)
        return fail(op, "a position or sequence is negative");
  return llvm::Error::success();
}

/// Keys or values [T, heads, head_dim] as the cache gives them back.
static std::vector<float> store(const HostTensor &x, nn::CacheOp cache) {
  std::vector<float> values = x.read<float>();
  if (!cache.getType().isInteger(8)) {
    HostTensor stored(RankedTensorType::get(x.shape(), cache.getType()));
    stored.write<float>(values);
    return stored.read<float>();
  }
  MutableArrayRef<float> rest = values;
  for (; !rest.empty(); rest = rest.drop_front(cache.getHeadDim())) {
    MutableArrayRef<float> head = rest.take_front(cache.getHeadDim());
    float largest = 0;
    for (float value : head)
      largest = std::max(largest, std::fabs(value));
    float scale = largest / nn::kByteCodeLimit;
    for (float &value : head)
      value = float(encode(value, scale, cache.getType())) * scale;
  }
  return values;
}

llvm::Error evaluate(nn::CacheAppendOp op, Frame &frame) {
  if (!frame.caches)
    return fail(op, "has no caches to work on");
  nn::CacheOp cache = findCache(op, op.getCacheAttr());
  const HostTensor &positions = frame[op.getPositions()],
                   &sequences = frame[op.getSequences()];
  if (llvm::Error error = readRows(op, positions, sequences))
    return error;
  const HostTensor *parts[] = {&frame[op.getKey()], &frame[op.getValue()]};
  uint64_t width = cache.getHeads() * cache.getHeadDim();
  for (int part = 0; part < 2; ++part) {
    std::vector<float> values = store(*parts[part], cache);
    for (int64_t row = 0; row < positions.size(); ++row) {
      CacheState::Rows &rows =
          frame.caches
              ->rows[{op.getCache().str(), sequences.values<int32_t>()[row]}];
      std::vector<float> &kept = part == 0 ? rows.keys : rows.values;
      uint64_t at = positions.values<int32_t>()[row] * width;
      kept.resize(std::max<uint64_t>(kept.size(), at + width));
      std::copy_n(values.begin() + row * width, width, kept.begin() + at);
    }
  }
  return llvm::Error::success();
}

llvm::Error evaluate(nn::CachedAttentionOp op, Frame &frame) {
  if (!frame.caches)
    return fail(op, "has no caches to work on");
  nn::CacheOp cache = findCache(op, op.getCacheAttr());
  const HostTensor &query = frame[op.getQuery()],
                   &positions = frame[op.getPositions()],
                   &sequences = frame[op.getSequences()];
  if (llvm::Error error = readRows(op, positions, sequences))
    return error;
  std::vector<float> q = query.read<float>(), result(q.size());
  int64_t heads = query.shape()[1], size = query.shape()[2],
          kvHeads = cache.getHeads(), window = op.getWindow();
  double scale = op.getScale().convertToFloat(),
         cap = op.getSoftCap().convertToFloat();
  for (int64_t row = 0; row < query.shape()[0]; ++row) {
    int64_t position = positions.values<int32_t>()[row];
    const CacheState::Rows &kept =
        frame.caches
            ->rows[{op.getCache().str(), sequences.values<int32_t>()[row]}];
    if (int64_t(kept.keys.size()) < (position + 1) * kvHeads * size)
      return fail(op, "a row sees a position that the cache does not hold");
    int64_t first =
        window > 0 ? std::max<int64_t>(0, position + 1 - window) : 0;
    for (int64_t head = 0; head < heads; ++head) {
      int64_t kvHead = head / (heads / kvHeads);
      const float *from = &q[(row * heads + head) * size];
      std::vector<double> scores;
      double largest = -INFINITY, total = 0;
      for (int64_t p = first; p <= position; ++p) {
        double score = 0;
        for (int64_t i = 0; i < size; ++i)
          score +=
              double(from[i]) * kept.keys[(p * kvHeads + kvHead) * size + i];
        score *= scale;
        if (cap > 0)
          score = cap * std::tanh(score / cap);
        scores.push_back(score);
        largest = std::max(largest, score);
      }
      for (double &score : scores)
        total += score = std::exp(score - largest);
      for (int64_t i = 0; i < size; ++i) {
        double sum = 0;
        for (int64_t p = first; p <= position; ++p)
          sum += scores[p - first] *
                 kept.values[(p * kvHeads + kvHead) * size + i];
        result[(row * heads + head) * size + i] = float(sum / total);
      }
    }
  }
  HostTensor tensor(query.type());
  tensor.write<float>(result);
  frame.set(op, std::move(tensor));
  return llvm::Error::success();
}

} // namespace pare::reference
