//===- ProductTest.cpp - oneDNN's products against plain loops ------------===//
#include "backends/runtime/onednn/Shim.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

namespace {

struct Case {
  int64_t m, n, k, flags, activation;
};

std::vector<float> randomFloats(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / float(1u << 31) - 1.0f;
  return values;
}

double activate(double x, int64_t activation) {
  switch (activation) {
  case PARE_ONEDNN_RELU:
    return std::max(x, 0.0);
  case PARE_ONEDNN_GELU:
    return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
  case PARE_ONEDNN_GELU_TANH:
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case PARE_ONEDNN_TANH:
    return std::tanh(x);
  case PARE_ONEDNN_SIGMOID:
    return 1 / (1 + std::exp(-x));
  case PARE_ONEDNN_SILU:
    return x / (1 + std::exp(-x));
  default:
    return x;
  }
}

/// A step of the shim with its data.
class Step {
public:
  Step(Case shape, int64_t rows)
      : shape(shape), x(randomFloats(shape.m * shape.k, 1)),
        w(randomFloats(shape.n * shape.k, 2)), bias(randomFloats(shape.n, 3)),
        addend(randomFloats(shape.m * shape.n, 4)), y(shape.m * shape.n, NAN) {
    dims[PARE_ONEDNN_M] = shape.m;
    dims[PARE_ONEDNN_N] = shape.n;
    dims[PARE_ONEDNN_K] = shape.k;
    dims[PARE_ONEDNN_ROWS] = rows;
    dims[PARE_ONEDNN_FLAGS] = shape.flags;
    dims[PARE_ONEDNN_ACTIVATION] = shape.activation;
    ptrs = {x.data(), w.data()};
    if (has(PARE_ONEDNN_BIAS))
      ptrs.push_back(bias.data());
    if (has(PARE_ONEDNN_ADDEND))
      ptrs.push_back(addend.data());
    ptrs.push_back(y.data());
    prepare(nullptr);
  }
  ~Step() { pare_onednn_product_state.destroy(ptrs.back()); }
  Step(const Step &) = delete;

  void prepare(void *old) {
    std::vector<const void *> weights(ptrs.size(), nullptr);
    weights[1] = w.data();
    if (has(PARE_ONEDNN_BIAS))
      weights[2] = bias.data();
    char error[160] = "";
    void *state = pare_onednn_product_state.prepare(old, weights.data(), dims,
                                                    error, sizeof(error));
    ASSERT_NE(state, nullptr) << error;
    if (old)
      ptrs.pop_back();
    ptrs.push_back(state);
  }
  void setRows(int64_t m) {
    shape.m = dims[PARE_ONEDNN_M] = m;
    prepare(ptrs.back());
  }
  int64_t tasks() const {
    int64_t rows = dims[PARE_ONEDNN_ROWS];
    return (shape.m + rows - 1) / rows;
  }
  void run() {
    for (int64_t task = tasks(); task-- > 0;)
      pare_onednn_product(ptrs.data(), dims, task, nullptr);
  }
  bool has(int64_t flag) const { return shape.flags & flag; }

  /// Largest difference to plain loops over the largest magnitude.
  double error() const {
    double difference = 0, scale = 1e-30;
    for (int64_t i = 0; i < shape.m; ++i)
      for (int64_t j = 0; j < shape.n; ++j) {
        double sum = has(PARE_ONEDNN_BIAS) ? bias[j] : 0;
        for (int64_t l = 0; l < shape.k; ++l)
          sum += double(x[i * shape.k + l]) * (has(PARE_ONEDNN_TRANSPOSED)
                                                   ? w[j * shape.k + l]
                                                   : w[l * shape.n + j]);
        sum = activate(sum, shape.activation);
        if (has(PARE_ONEDNN_ADDEND))
          sum += addend[i * shape.n + j];
        double delta = std::abs(sum - y[i * shape.n + j]);
        difference = std::isnan(delta) ? INFINITY : std::max(difference, delta);
        scale = std::max(scale, std::abs(sum));
      }
    return difference / scale;
  }
  const char *implementation(int last) const {
    return pare_onednn_implementation(ptrs.back(), last);
  }

  Case shape;
  int64_t dims[PARE_ONEDNN_NUM_DIMS];
  std::vector<float> x, w, bias, addend, y;
  std::vector<void *> ptrs;
};

constexpr int64_t kAll =
    PARE_ONEDNN_TRANSPOSED | PARE_ONEDNN_BIAS | PARE_ONEDNN_ADDEND;

} // namespace

// The projections of MiniLM and of a vision transformer at several numbers of
// rows: neither the whole nor the last task may fall to the reference.
TEST(OneDnnProduct, PicksNoReferenceImplementation) {
  for (int64_t m : {1, 16, 32, 33, 63, 128})
    for (auto [k, n] : {std::pair<int64_t, int64_t>{384, 384},
                        {384, 1152},
                        {384, 1536},
                        {1536, 384},
                        {768, 3072}}) {
      Step step({m, n, k, PARE_ONEDNN_BIAS, PARE_ONEDNN_GELU}, 32);
      for (int last : {0, 1})
        if (const char *name = step.implementation(last))
          EXPECT_NE(std::strncmp(name, "ref", 3), 0)
              << name << " for " << m << "x" << k << "x" << n;
    }
}

TEST(OneDnnProduct, ComputesWhatItSays) {
  for (int64_t flags = 0; flags <= kAll; ++flags)
    for (int64_t m : {1, 16, 37}) {
      Step step({m, 96, 64, flags, PARE_ONEDNN_GELU}, 16);
      step.run();
      EXPECT_LT(step.error(), 1e-4) << m << " rows, flags " << flags;
    }
  for (int64_t activation = PARE_ONEDNN_NONE; activation <= PARE_ONEDNN_SILU;
       ++activation) {
    Step step({20, 33, 47, kAll, activation}, 16);
    step.run();
    EXPECT_LT(step.error(), 1e-4) << "activation " << activation;
  }
}

TEST(OneDnnProduct, FollowsTheNumberOfRows) {
  Step step({70, 64, 128, PARE_ONEDNN_BIAS, PARE_ONEDNN_NONE}, 32);
  for (int64_t m : {70, 3, 32, 70}) {
    step.setRows(m);
    step.y.assign(step.y.size(), NAN);
    step.run();
    EXPECT_LT(step.error(), 1e-4) << m;
  }
}

// Tasks on several threads give the bits that one thread gives.
TEST(OneDnnProduct, RunsTasksOnAnyThread) {
  Step step({256, 192, 384, kAll, PARE_ONEDNN_SILU}, 32);
  step.run();
  std::vector<float> expected = step.y;
  for (int round = 0; round < 20; ++round) {
    step.y.assign(step.y.size(), NAN);
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int64_t task = t; task < step.tasks(); task += 4)
          pare_onednn_product(step.ptrs.data(), step.dims, task, nullptr);
      });
    for (std::thread &thread : threads)
      thread.join();
    ASSERT_EQ(std::memcmp(expected.data(), step.y.data(),
                          expected.size() * sizeof(float)),
              0);
  }
}
