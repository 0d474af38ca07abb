//===- Windows.cpp - Convolution and pooling ------------------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

namespace {
/// A window sliding over spatial axes; channels last.
struct Window {
  ArrayRef<int64_t> input; ///< spatial sizes of what it slides over
  ArrayRef<int64_t> kernel, strides, pads, dilations;

  int64_t taps() const { return count(kernel); }

  /// Where tap `tap` of the window at `position` lies: the row-major index
  /// among the input's pixels, or -1 in the padding. `padded`, where given, is
  /// set to whether it lies inside the padded input.
  int64_t locate(ArrayRef<int64_t> position, int64_t tap,
                 bool *padded = nullptr) const {
    int64_t pixel = 0, scale = 1;
    bool inside = true, insidePadded = true;
    for (size_t i = input.size(); i-- > 0;) {
      int64_t at =
          position[i] * strides[i] - pads[i] + tap % kernel[i] * dilations[i];
      tap /= kernel[i];
      inside &= at >= 0 && at < input[i];
      insidePadded &= at < input[i] + pads[input.size() + i];
      pixel += at * scale;
      scale *= input[i];
    }
    if (padded)
      *padded = insidePadded;
    return inside ? pixel : -1;
  }
};

/// The index tuple of a row-major position.
SmallVector<int64_t> unravel(int64_t flat, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> index(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    index[i] = flat % shape[i];
    flat /= shape[i];
  }
  return index;
}
} // namespace

/// [O, taps, C / groups] to [group][tap][channel][O / groups].
static std::vector<float> packFilter(const HostTensor &filter, int64_t groups) {
  std::vector<float> from = filter.read<float>(), to(from.size());
  int64_t outputs = filter.shape().front(), perGroup = filter.shape().back();
  int64_t taps = count(filter.shape().drop_front().drop_back());
  int64_t each = outputs / groups, inner = taps * perGroup;
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t i = 0; i < inner; ++i)
      to[(o / each * inner + i) * each + o % each] = from[o * inner + i];
  return to;
}

llvm::Error evaluate(nn::ConvOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()], &filter = frame[op.getFilter()];
  HostTensor result(frame.typeOf(op));
  ArrayRef<int64_t> inSizes = x.shape().drop_front().drop_back(),
                    outSizes = result.shape().drop_front().drop_back();
  ArrayRef<int64_t> kernel = filter.shape().drop_front().drop_back();
  Window window{inSizes, kernel, op.getStrides(), op.getPads(),
                op.getDilations()};
  int64_t groups = op.getGroups(), perGroup = filter.shape().back();
  int64_t channels = x.shape().back(), outputs = result.shape().back();
  if (channels != perGroup * groups)
    return fail(op, "the filter does not fit the input's channels");
  int64_t each = outputs / groups, taps = window.taps();
  std::vector<float> in = x.read<float>(), weights = packFilter(filter, groups);
  std::vector<float> out(result.size());
  int64_t pixels = count(outSizes), inner = taps * perGroup;
  constexpr int64_t kBlock = 32;
  std::vector<float> patches(kBlock * inner), block(kBlock * each);
  for (int64_t n = 0; n < x.shape()[0]; ++n)
    for (int64_t begin = 0; begin < pixels; begin += kBlock)
      for (int64_t g = 0; g < groups; ++g) {
        int64_t rows = std::min(kBlock, pixels - begin);
        for (int64_t r = 0; r < rows; ++r) {
          SmallVector<int64_t> position = unravel(begin + r, outSizes);
          for (int64_t t = 0; t < taps; ++t) {
            int64_t pixel = window.locate(position, t);
            float *to = patches.data() + r * inner + t * perGroup;
            if (pixel < 0)
              std::fill_n(to, perGroup, 0.0f);
            else
              std::copy_n(in.data() + (n * count(inSizes) + pixel) * channels +
                              g * perGroup,
                          perGroup, to);
          }
        }
        multiply(patches.data(), weights.data() + g * inner * each,
                 block.data(), rows, each, inner);
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(block.data() + r * each, each,
                      out.data() + (n * pixels + begin + r) * outputs +
                          g * each);
      }
  result.write<float>(out);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::ConvTransposeOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()], &filter = frame[op.getFilter()];
  HostTensor result(frame.typeOf(op));
  ArrayRef<int64_t> inSizes = x.shape().drop_front().drop_back(),
                    outSizes = result.shape().drop_front().drop_back();
  ArrayRef<int64_t> kernel = filter.shape().drop_front().drop_back();
  // The same window, sliding over the result.
  Window window{outSizes, kernel, op.getStrides(), op.getPads(),
                op.getDilations()};
  int64_t groups = op.getGroups(), perGroup = filter.shape().back();
  int64_t channels = x.shape().back(), outputs = result.shape().back();
  if (channels != perGroup * groups || outputs % groups != 0)
    return fail(op, "the filter does not fit the input's channels");
  int64_t each = outputs / groups, taps = window.taps();
  int64_t pixels = count(inSizes);
  std::vector<float> in = x.read<float>(), weights = packFilter(filter, groups);
  std::vector<double> sums(result.size(), 0);
  for (int64_t n = 0; n < x.shape()[0]; ++n)
    for (int64_t p = 0; p < pixels; ++p) {
      SmallVector<int64_t> position = unravel(p, inSizes);
      const float *from = in.data() + (n * pixels + p) * channels;
      for (int64_t t = 0; t < taps; ++t) {
        int64_t pixel = window.locate(position, t);
        if (pixel < 0)
          continue;
        double *to = sums.data() + (n * count(outSizes) + pixel) * outputs;
        for (int64_t c = 0; c < channels; ++c) {
          int64_t g = c / perGroup;
          const float *row = weights.data() +
                             ((g * taps + t) * perGroup + c % perGroup) * each;
          for (int64_t o = 0; o < each; ++o)
            to[g * each + o] += double(from[c]) * row[o];
        }
      }
    }
  result.write<double>(sums);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::PoolOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(frame.typeOf(op));
  ArrayRef<int64_t> inSizes = x.shape().drop_front().drop_back(),
                    outSizes = result.shape().drop_front().drop_back();
  Window window{inSizes, op.getKernel(), op.getStrides(), op.getPads(),
                op.getDilations()};
  bool isMax = op.getKind() == nn::PoolKind::max;
  int64_t channels = x.shape().back(), pixels = count(outSizes);
  std::vector<float> in = x.read<float>(), out(result.size());
  std::vector<double> sums(channels);
  for (int64_t n = 0; n < x.shape()[0]; ++n)
    for (int64_t p = 0; p < pixels; ++p) {
      SmallVector<int64_t> position = unravel(p, outSizes);
      std::fill(sums.begin(), sums.end(), isMax ? -INFINITY : 0.0);
      int64_t covered = 0;
      for (int64_t t = 0; t < window.taps(); ++t) {
        bool padded;
        int64_t pixel = window.locate(position, t, &padded);
        covered += pixel >= 0 || (op.getCountIncludePad() && padded);
        if (pixel < 0)
          continue;
        const float *from = in.data() + (n * count(inSizes) + pixel) * channels;
        for (int64_t c = 0; c < channels; ++c)
          sums[c] =
              isMax ? std::max<double>(sums[c], from[c]) : sums[c] + from[c];
      }
      for (int64_t c = 0; c < channels; ++c)
        out[(n * pixels + p) * channels + c] =
            float(isMax || covered == 0 ? sums[c] : sums[c] / covered);
    }
  result.write<float>(out);
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
