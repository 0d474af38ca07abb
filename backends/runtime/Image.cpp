#include "backends/runtime/Image.h"

#include "backends/runtime/Modules.h"
#include "backends/runtime/StbImage.h"

using namespace pare::rt;

/// A tiny file can announce a huge picture.
constexpr int64_t kMaxPixels = 1 << 26;

namespace {
/// The two neighbours of a sample along one axis and the second's weight.
struct Tap {
  int64_t low, high;
  float weight;
};

Tap tapAt(int64_t out, int64_t outSize, int64_t inSize) {
  float at = (float(out) + 0.5f) * (float(inSize) / float(outSize)) - 0.5f;
  at = min(max(at, 0.0f), float(inSize - 1));
  int64_t low = int64_t(at);
  return {low, min(low + 1, inSize - 1), at - float(low)};
}
} // namespace

void pare::rt::resizeImage(const uint8_t *pixels, int64_t inWidth,
                           int64_t inHeight, const PareImageInfo &info,
                           int64_t width, int64_t height, uint32_t dtype,
                           void *out) {
  int64_t channels = info.channels;
  for (int64_t y = 0; y < height; ++y) {
    Tap ty = tapAt(y, height, inHeight);
    const uint8_t *upper = pixels + ty.low * inWidth * channels;
    const uint8_t *lower = pixels + ty.high * inWidth * channels;
    for (int64_t x = 0; x < width; ++x) {
      Tap tx = tapAt(x, width, inWidth);
      for (int64_t c = 0; c < channels; ++c) {
        // Grey and alpha keep their places in either order.
        int64_t source = info.bgr && channels >= 3 && c < 3 ? 2 - c : c;
        float a = upper[tx.low * channels + source];
        float b = upper[tx.high * channels + source];
        float d = lower[tx.low * channels + source];
        float e = lower[tx.high * channels + source];
        float top = a + (b - a) * tx.weight;
        float bottom = d + (e - d) * tx.weight;
        float value = top + (bottom - top) * ty.weight;
        int64_t index = info.nchw ? (c * height + y) * width + x
                                  : (y * width + x) * channels + c;
        if (dtype == PARE_U8)
          static_cast<uint8_t *>(out)[index] = uint8_t(value + 0.5f);
        else
          static_cast<float *>(out)[index] =
              (value / 255.0f - info.mean[c]) / info.std[c];
      }
    }
  }
}

static bool sizeOf(Str file, int64_t &width, int64_t &height, Message &error) {
  int w = 0, h = 0;
  if (file.size > INT32_MAX) {
    error.start().put("is larger than 2 GiB");
    return false;
  }
  if (!decodedSize(reinterpret_cast<const uint8_t *>(file.data), int(file.size),
                   w, h)) {
    error.start().put("is a damaged picture: ").put(decodeError());
    return false;
  }
  width = w;
  height = h;
  if (width < 1 || height < 1 || width > kMaxPixels / height) {
    error.start()
        .put("is a picture of ")
        .num(width)
        .put(" x ")
        .num(height)
        .put(" pixels, more than 64 million");
    return false;
  }
  return true;
}

static bool load(Str file, const PareImageInfo &info, int64_t width,
                 int64_t height, uint32_t dtype, void *out, Message &error) {
  int64_t inWidth, inHeight;
  if (!sizeOf(file, inWidth, inHeight, error))
    return false;
  int w, h;
  uint8_t *pixels = decode(reinterpret_cast<const uint8_t *>(file.data),
                           int(file.size), int(info.channels), w, h);
  if (!pixels) {
    error.start().put("is a damaged picture: ").put(decodeError());
    return false;
  }
  resizeImage(pixels, w, h, info, width, height, dtype, out);
  releaseDecoded(pixels);
  return true;
}

extern "C" __attribute__((visibility("default")))
const PareImageModule pare_module_image = {sizeOf, load};
