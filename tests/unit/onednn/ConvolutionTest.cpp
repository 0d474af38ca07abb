//===- ConvolutionTest.cpp - oneDNN's convolutions against plain loops ----===//
#include "tests/unit/onednn/ShimStep.h"

using namespace pare::test;

namespace {

struct Window {
  int64_t images, h, w, c, o, kh, kw;
  int64_t stride = 1, pad = 0, dilation = 1, groups = 1;
  int64_t padEnd = -1; ///< negative: as `pad`
  int64_t strideW = 0; ///< 0: as `stride`

  static int64_t size(int64_t in, int64_t kernel, int64_t stride, int64_t pads,
                      int64_t dilation) {
    return (in + pads - (kernel - 1) * dilation - 1) / stride + 1;
  }
  int64_t pads() const { return pad + (padEnd < 0 ? pad : padEnd); }
  /// Windows of one line are not padded above and below.
  bool isLine() const { return h == 1 && kh == 1; }
  int64_t oh() const {
    return isLine() ? 1 : size(h, kh, stride, pads(), dilation);
  }
  int64_t ow() const {
    return size(w, kw, strideW ? strideW : stride, pads(), dilation);
  }
};

class Convolution : public ShimStep {
public:
  Convolution(const Window &window, bool withBias, std::vector<Post> posts = {},
              bool isInt8 = false)
      : ShimStep(pare_onednn_conv, pare_onednn_conv_state), window(window),
        x(randomFloats(window.images * window.h * window.w * window.c, 1)),
        filter(randomFloats(
            window.o * window.kh * window.kw * window.c / window.groups, 2)) {
    dims.resize(PARE_ONEDNN_CONV_DIMS);
    setWindow();
    ptrs = {x.data(), filter.data()};
    if (isInt8)
      setCodes();
    addEpilogue(withBias, posts, window.images * window.oh() * window.ow(),
                window.o);
    prepare();
  }

  /// Another image size, no larger than the first.
  void setImage(int64_t h, int64_t w) {
    window.h = h;
    window.w = w;
    setWindow();
    prepare();
  }

  double error() const { return compare(reference()); }

  Window window;
  std::vector<float> x, filter, scales;
  std::vector<uint8_t> xCodes;
  std::vector<int8_t> filterCodes;

private:
  /// Codes in place of the floats, which become what the codes stand for.
  /// Filters of half the range: more saturates on CPUs without VNNI.
  void setCodes() {
    constexpr int kZero = 120;
    dims[PARE_ONEDNN_FLAGS] |= PARE_ONEDNN_INT8;
    dims[PARE_ONEDNN_ZERO] = kZero;
    xCodes = randomCodes<uint8_t>(x.size(), 0, 255, 5);
    filterCodes = randomCodes<int8_t>(filter.size(), -64, 64, 6);
    scales = randomFloats(window.o, 7);
    for (float &scale : scales)
      scale = std::abs(scale) * 1e-3f + 1e-4f;
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(xCodes[i] - kZero);
    for (size_t i = 0; i < filter.size(); ++i)
      filter[i] = filterCodes[i] * scales[i / (filter.size() / window.o)];
    ptrs = {xCodes.data(), filterCodes.data(), scales.data()};
  }

  void setWindow() {
    int64_t strideW = window.strideW ? window.strideW : window.stride;
    bool isLine = window.isLine();
    const std::pair<int, int64_t> values[] = {
        {PARE_ONEDNN_IMAGES, window.images},
        {PARE_ONEDNN_H, window.h},
        {PARE_ONEDNN_W, window.w},
        {PARE_ONEDNN_C, window.c},
        {PARE_ONEDNN_OH, window.oh()},
        {PARE_ONEDNN_OW, window.ow()},
        {PARE_ONEDNN_O, window.o},
        {PARE_ONEDNN_KH, window.kh},
        {PARE_ONEDNN_KW, window.kw},
        {PARE_ONEDNN_STRIDE_H, isLine ? 1 : window.stride},
        {PARE_ONEDNN_STRIDE_W, strideW},
        {PARE_ONEDNN_PAD_TOP, isLine ? 0 : window.pad},
        {PARE_ONEDNN_PAD_LEFT, window.pad},
        {PARE_ONEDNN_DILATION_H, isLine ? 1 : window.dilation},
        {PARE_ONEDNN_DILATION_W, window.dilation},
        {PARE_ONEDNN_GROUPS, window.groups},
        {PARE_ONEDNN_PARTS, 8}};
    for (auto [dim, value] : values)
      dims[dim] = value;
    numTasks = window.images * 8;
  }

  std::vector<double> reference() const {
    const Window &s = window;
    int64_t perGroup = s.c / s.groups, oh = s.oh(), ow = s.ow(),
            strideW = s.strideW ? s.strideW : s.stride,
            padH = s.isLine() ? 0 : s.pad;
    std::vector<double> result(s.images * oh * ow * s.o, 0);
    for (int64_t n = 0; n < s.images; ++n)
      for (int64_t p = 0; p < oh; ++p)
        for (int64_t q = 0; q < ow; ++q)
          for (int64_t i = 0; i < s.kh; ++i)
            for (int64_t j = 0; j < s.kw; ++j) {
              int64_t row = p * s.stride - padH + i * s.dilation,
                      col = q * strideW - s.pad + j * s.dilation;
              if (row < 0 || row >= s.h || col < 0 || col >= s.w)
                continue;
              for (int64_t o = 0; o < s.o; ++o) {
                int64_t group = o / (s.o / s.groups);
                const float *in = &x[((n * s.h + row) * s.w + col) * s.c +
                                     group * perGroup],
                            *f =
                                &filter[((o * s.kh + i) * s.kw + j) * perGroup];
                double sum = 0;
                for (int64_t c = 0; c < perGroup; ++c)
                  sum += double(in[c]) * f[c];
                result[((n * oh + p) * ow + q) * s.o + o] += sum;
              }
            }
    return result;
  }
};

/// Windows of real networks: stems, depthwise, pointwise, dilated, grouped, of
/// lines, in patches.
const Window kWindows[] = {
    {.images = 1,
     .h = 48,
     .w = 80,
     .c = 3,
     .o = 16,
     .kh = 3,
     .kw = 3,
     .stride = 2,
     .pad = 1},
    {.images = 1,
     .h = 24,
     .w = 40,
     .c = 32,
     .o = 32,
     .kh = 3,
     .kw = 3,
     .pad = 1,
     .groups = 32},
    {.images = 2,
     .h = 24,
     .w = 40,
     .c = 64,
     .o = 64,
     .kh = 5,
     .kw = 5,
     .stride = 2,
     .pad = 2,
     .groups = 64,
     .strideW = 1},
    {.images = 2, .h = 12, .w = 40, .c = 64, .o = 128, .kh = 1, .kw = 1},
    {.images = 1,
     .h = 12,
     .w = 40,
     .c = 120,
     .o = 24,
     .kh = 1,
     .kw = 1,
     .stride = 2},
    {.images = 1,
     .h = 28,
     .w = 28,
     .c = 64,
     .o = 64,
     .kh = 3,
     .kw = 3,
     .pad = 1},
    {.images = 1,
     .h = 28,
     .w = 28,
     .c = 48,
     .o = 64,
     .kh = 3,
     .kw = 3,
     .stride = 2,
     .pad = 0,
     .padEnd = 1},
    {.images = 1,
     .h = 30,
     .w = 26,
     .c = 32,
     .o = 32,
     .kh = 3,
     .kw = 3,
     .pad = 2,
     .dilation = 2},
    {.images = 1,
     .h = 30,
     .w = 30,
     .c = 64,
     .o = 64,
     .kh = 3,
     .kw = 3,
     .pad = 1,
     .groups = 4},
    {.images = 2,
     .h = 1,
     .w = 300,
     .c = 64,
     .o = 96,
     .kh = 1,
     .kw = 5,
     .pad = 2},
    {.images = 1,
     .h = 1,
     .w = 301,
     .c = 48,
     .o = 48,
     .kh = 1,
     .kw = 7,
     .stride = 2,
     .pad = 3,
     .groups = 48},
    {.images = 1,
     .h = 64,
     .w = 64,
     .c = 3,
     .o = 96,
     .kh = 16,
     .kw = 16,
     .stride = 16},
    {.images = 1,
     .h = 9,
     .w = 9,
     .c = 63,
     .o = 63,
     .kh = 3,
     .kw = 3,
     .stride = 2,
     .pad = 1,
     .groups = 63},
    {.images = 1,
     .h = 4,
     .w = 40,
     .c = 64,
     .o = 60,
     .kh = 1,
     .kw = 3,
     .pad = 0},
};

std::string describe(const Window &s) {
  std::string text;
  for (int64_t size : {s.images, s.h, s.w, s.c, s.o, s.kh, s.kw, s.stride,
                       s.pad, s.dilation, s.groups})
    text += std::to_string(size) + " ";
  return text;
}

} // namespace

TEST(OneDnnConvolution, PicksNoReferenceImplementation) {
  const std::vector<Post> tails[] = {
      {},
      {{PARE_ONEDNN_RELU}},
      {{PARE_ONEDNN_HARD_SWISH, 1 / 6.0f, 0.5f}, {PARE_ONEDNN_LINEAR, 2, 1}},
      {{PARE_ONEDNN_SILU}, {PARE_ONEDNN_ADD}}};
  for (const Window &window : kWindows)
    for (const std::vector<Post> &posts : tails) {
      SCOPED_TRACE(describe(window));
      Convolution(window, true, posts).expectNoReference();
    }
}

TEST(OneDnnConvolution, ComputesWhatItSays) {
  for (const Window &window : kWindows)
    for (bool withBias : {false, true}) {
      Convolution conv(window, withBias);
      conv.run();
      EXPECT_LT(conv.error(), 1e-4) << describe(window);
    }
}

TEST(OneDnnConvolution, AppliesEveryPost) {
  for (const Window &window : {kWindows[1], kWindows[3], kWindows[5]})
    for (const Post &post : allPosts()) {
      Convolution conv(window, true, {post});
      conv.expectNoReference();
      conv.run();
      EXPECT_LT(conv.error(), 1e-4)
          << post.kind << " " << post.alpha << ", " << describe(window);
    }
}

TEST(OneDnnConvolution, ComputesWithCodes) {
  const std::vector<Post> tails[] = {
      {}, {{PARE_ONEDNN_RELU}}, {{PARE_ONEDNN_SILU}, {PARE_ONEDNN_ADD}}};
  for (const Window &window : kWindows)
    for (const std::vector<Post> &posts : tails) {
      if (window.groups > 1)
        continue; // Not chosen: see OneDnn.cpp.
      SCOPED_TRACE(describe(window));
      Convolution conv(window, true, posts, /*isInt8=*/true);
      conv.expectNoReference();
      conv.run();
      EXPECT_LT(conv.error(), 1e-4);
    }
}

// Padding that whole parts of an image would lie in.
TEST(OneDnnConvolution, TakesMorePaddingThanAPart) {
  Convolution conv({.images = 1,
                    .h = 6,
                    .w = 64,
                    .c = 64,
                    .o = 64,
                    .kh = 5,
                    .kw = 5,
                    .pad = 4},
                   true);
  conv.run();
  EXPECT_LT(conv.error(), 1e-4);
}

TEST(OneDnnConvolution, FollowsTheImage) {
  Convolution conv(kWindows[5], true, {{PARE_ONEDNN_RELU}});
  uint64_t bytes = conv.packedBytes();
  EXPECT_GT(bytes, 0u);
  for (auto [h, w] :
       {std::pair<int64_t, int64_t>{7, 28}, {20, 9}, {28, 28}, {1, 3}}) {
    conv.setImage(h, w);
    conv.y.resize(h * w * conv.window.o);
    conv.run();
    EXPECT_LT(conv.error(), 1e-4) << h << "x" << w;
    // The filter is in oneDNN's layout already; a tiny image has another.
    if (h > 1)
      EXPECT_EQ(conv.packedBytes(), bytes);
  }
}

TEST(OneDnnConvolution, RunsTasksOnAnyThread) {
  Convolution(kWindows[5], true, {{PARE_ONEDNN_SILU}, {PARE_ONEDNN_ADD}})
      .expectSameOnThreads();
}
