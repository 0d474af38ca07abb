//===- ProductTest.cpp - oneDNN's products against plain loops ------------===//
#include "tests/unit/onednn/ShimStep.h"

using namespace pare::test;

namespace {

class Product : public ShimStep {
public:
  Product(int64_t m, int64_t n, int64_t k, int64_t flags,
          std::vector<Post> posts = {}, int64_t rows = 32)
      : ShimStep(pare_onednn_product, pare_onednn_product_state),
        x(randomFloats(m * k, 1)), w(randomFloats(n * k, 2)) {
    dims.resize(PARE_ONEDNN_PRODUCT_DIMS);
    dims[PARE_ONEDNN_FLAGS] = flags & PARE_ONEDNN_TRANSPOSED;
    dims[PARE_ONEDNN_N] = n;
    dims[PARE_ONEDNN_K] = k;
    dims[PARE_ONEDNN_ROWS] = rows;
    ptrs = {x.data(), w.data()};
    addEpilogue(flags & PARE_ONEDNN_BIAS, posts, m, n);
    setRows(m);
  }

  /// No more than at first.
  void setRows(int64_t m) {
    dims[PARE_ONEDNN_M] = m;
    numTasks = (m + dims[PARE_ONEDNN_ROWS] - 1) / dims[PARE_ONEDNN_ROWS];
    prepare();
  }

  double error() const {
    int64_t m = dims[PARE_ONEDNN_M], n = dims[PARE_ONEDNN_N],
            k = dims[PARE_ONEDNN_K];
    bool transposed = dims[PARE_ONEDNN_FLAGS] & PARE_ONEDNN_TRANSPOSED;
    std::vector<double> product(m * n, 0);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t l = 0; l < k; ++l)
          product[i * n + j] +=
              double(x[i * k + l]) * w[transposed ? j * k + l : l * n + j];
    return compare(product);
  }

  std::vector<float> x, w;
};

constexpr int64_t kAll = PARE_ONEDNN_TRANSPOSED | PARE_ONEDNN_BIAS;

} // namespace

// The projections of MiniLM and of a vision transformer at several numbers of
// rows, with what follows them.
TEST(OneDnnProduct, PicksNoReferenceImplementation) {
  const std::vector<Post> tails[] = {{},
                                     {{PARE_ONEDNN_GELU}},
                                     {{PARE_ONEDNN_ADD}},
                                     {{PARE_ONEDNN_SILU}, {PARE_ONEDNN_ADD}}};
  for (int64_t m : {1, 16, 32, 33, 63, 128})
    for (auto [k, n] : {std::pair<int64_t, int64_t>{384, 384},
                        {384, 1152},
                        {384, 1536},
                        {1536, 384},
                        {768, 3072}})
      for (const std::vector<Post> &posts : tails)
        Product(m, n, k, PARE_ONEDNN_BIAS, posts).expectNoReference();
}

TEST(OneDnnProduct, ComputesWhatItSays) {
  for (int64_t flags : {0, 1, 2, 3})
    for (int64_t m : {1, 16, 37}) {
      Product product(m, 96, 64, flags, {}, 16);
      product.run();
      EXPECT_LT(product.error(), 1e-4) << m << " rows, flags " << flags;
    }
}

TEST(OneDnnProduct, AppliesEveryPost) {
  for (const Post &post : allPosts()) {
    Product product(20, 33, 47, kAll, {post}, 16);
    product.expectNoReference();
    product.run();
    EXPECT_LT(product.error(), 1e-4) << post.kind << " " << post.alpha;
  }
  Product product(20, 40, 24, kAll,
                  {{PARE_ONEDNN_HARD_SWISH, 1 / 6.0f, 0.5f},
                   {PARE_ONEDNN_MUL, 1},
                   {PARE_ONEDNN_LINEAR, 2, -1},
                   {PARE_ONEDNN_ADD}},
                  16);
  product.run();
  EXPECT_LT(product.error(), 1e-4);
}

TEST(OneDnnProduct, FollowsTheNumberOfRows) {
  Product product(70, 64, 128, PARE_ONEDNN_BIAS);
  uint64_t bytes = product.packedBytes();
  for (int64_t m : {3, 32, 70}) {
    product.setRows(m);
    product.run();
    EXPECT_LT(product.error(), 1e-4) << m;
    // The weights are in oneDNN's layout already.
    EXPECT_EQ(product.packedBytes(), bytes);
  }
}

TEST(OneDnnProduct, RunsTasksOnAnyThread) {
  Product(256, 192, 384, kAll, {{PARE_ONEDNN_SILU}, {PARE_ONEDNN_ADD}})
      .expectSameOnThreads();
}
