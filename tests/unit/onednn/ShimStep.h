//===- ShimStep.h - A step of oneDNN's shim with its data -------*- C++ -*-===//
#ifndef PARE_TESTS_UNIT_ONEDNN_SHIMSTEP_H
#define PARE_TESTS_UNIT_ONEDNN_SHIMSTEP_H

#include "backends/runtime/onednn/Shim.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

namespace pare::test {

inline std::vector<float> randomFloats(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / float(1u << 31) - 1.0f;
  return values;
}

/// Integers in [low, high].
template <typename T>
std::vector<T> randomCodes(size_t count, int low, int high, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<T> values(count);
  for (T &value : values)
    value = T(low + int(generator() % unsigned(high - low + 1)));
  return values;
}

/// An op after the product; operands are random, of the result's shape or one
/// number per column.
struct Post {
  int64_t kind;
  float alpha = 0, beta = 0;
  bool hasOperand() const { return kind >= PARE_ONEDNN_ADD; }
};

inline double apply(const Post &post, double v, double operand) {
  auto clip = [](double x, double low, double high) {
    return std::min(std::max(x, low), high);
  };
  auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  double a = post.alpha, b = post.beta;
  switch (post.kind) {
  case PARE_ONEDNN_RELU:
    return v < 0 ? a * v : v;
  case PARE_ONEDNN_ELU:
    return v < 0 ? a * std::expm1(v) : v;
  case PARE_ONEDNN_GELU:
    return v * 0.5 * (1 + std::erf(v / std::sqrt(2.0)));
  case PARE_ONEDNN_GELU_TANH:
    return 0.5 * v *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  case PARE_ONEDNN_TANH:
    return std::tanh(v);
  case PARE_ONEDNN_SIGMOID:
    return sigmoid(v);
  case PARE_ONEDNN_SILU:
    return v * sigmoid(v);
  case PARE_ONEDNN_HARD_SIGMOID:
    return clip(a * v + b, 0, 1);
  case PARE_ONEDNN_HARD_SWISH:
    return v * clip(a * v + b, 0, 1);
  case PARE_ONEDNN_CLIP:
    return clip(v, a, b);
  case PARE_ONEDNN_LINEAR:
    return a * v + b;
  case PARE_ONEDNN_ADD:
    return v + operand;
  case PARE_ONEDNN_SUB:
    return v - operand;
  case PARE_ONEDNN_MUL:
    return v * operand;
  }
  return NAN;
}

/// All kinds of posts, each with parameters that its inputs straddle.
inline std::vector<Post> allPosts() {
  return {{PARE_ONEDNN_RELU},
          {PARE_ONEDNN_RELU, 0.1f},
          {PARE_ONEDNN_ELU, 1.5f},
          {PARE_ONEDNN_GELU},
          {PARE_ONEDNN_GELU_TANH},
          {PARE_ONEDNN_TANH},
          {PARE_ONEDNN_SIGMOID},
          {PARE_ONEDNN_SILU},
          {PARE_ONEDNN_HARD_SIGMOID, 0.2f, 0.5f},
          {PARE_ONEDNN_HARD_SWISH, 1 / 6.0f, 0.5f},
          {PARE_ONEDNN_CLIP, -0.5f, 1.25f},
          {PARE_ONEDNN_LINEAR, -0.75f, 0.5f},
          {PARE_ONEDNN_ADD, 0},
          {PARE_ONEDNN_ADD, 1},
          {PARE_ONEDNN_SUB, 0},
          {PARE_ONEDNN_SUB, 1},
          {PARE_ONEDNN_MUL, 0},
          {PARE_ONEDNN_MUL, 1}};
}

/// A step: derived classes fill `dims` and `ptrs`, call prepare, and say what
/// is right before the posts.
class ShimStep {
public:
  using KernelFn = void (*)(void *const *, const int64_t *, int64_t, void *);

  ShimStep(KernelFn kernel, const PareStepState &state)
      : kernel(kernel), hooks(state) {}
  ~ShimStep() { hooks.destroy(state); }
  ShimStep(const ShimStep &) = delete;

  void prepare() {
    std::vector<const void *> weights(ptrs.size() + 1, nullptr);
    for (size_t i = 1; i + 1 < ptrs.size(); ++i)
      weights[i] = ptrs[i];
    char error[160] = "";
    state =
        hooks.prepare(state, weights.data(), dims.data(), error, sizeof(error));
    ASSERT_NE(state, nullptr) << error;
  }

  /// Runs every task once, on `threads` threads; from the last to the first.
  void run(int64_t numThreads = 1) {
    std::fill(y.begin(), y.end(), NAN);
    std::vector<void *> all = ptrs;
    all.push_back(state);
    auto work = [&](int64_t first) {
      for (int64_t task = numTasks - 1 - first; task >= 0; task -= numThreads)
        kernel(all.data(), dims.data(), task, nullptr);
    };
    std::vector<std::thread> threads;
    for (int64_t t = 1; t < numThreads; ++t)
      threads.emplace_back(work, t);
    work(0);
    for (std::thread &thread : threads)
      thread.join();
  }

  std::vector<std::string> implementations() const {
    std::vector<std::string> names;
    while (const char *name = pare_onednn_implementation(state, names.size()))
      names.push_back(name);
    return names;
  }
  void expectNoReference() const {
    EXPECT_FALSE(implementations().empty());
    for (const std::string &name : implementations())
      EXPECT_FALSE(name.starts_with("ref")) << name;
  }
  /// Tasks on several threads give the bits that one thread gives.
  void expectSameOnThreads() {
    run();
    std::vector<float> expected = y;
    for (int round = 0; round < 20; ++round) {
      run(4);
      ASSERT_EQ(std::memcmp(expected.data(), y.data(),
                            expected.size() * sizeof(float)),
                0);
    }
  }
  uint64_t packedBytes() const { return pare_onednn_packed_bytes(state); }

  std::vector<int64_t> dims;
  std::vector<void *> ptrs; ///< without the state
  std::vector<float> y;
  int64_t numTasks = 0;

protected:
  /// Appends bias, operands of posts and y to the pointers, posts to the dims.
  void addEpilogue(bool withBias, const std::vector<Post> &given, int64_t rows,
                   int64_t columns) {
    posts = given;
    numColumns = columns;
    y.assign(size_t(rows * columns), NAN);
    dims[PARE_ONEDNN_POSTS] = int64_t(posts.size());
    if (withBias) {
      dims[PARE_ONEDNN_FLAGS] |= PARE_ONEDNN_BIAS;
      bias = randomFloats(columns, 3);
      ptrs.push_back(bias.data());
    }
    operands.resize(posts.size());
    for (size_t i = 0; i < posts.size(); ++i) {
      int32_t bits[2];
      std::memcpy(&bits[0], &posts[i].alpha, 4);
      std::memcpy(&bits[1], &posts[i].beta, 4);
      dims.insert(dims.end(), {posts[i].kind, bits[0], bits[1]});
      if (!posts[i].hasOperand())
        continue;
      operands[i] =
          randomFloats(posts[i].alpha ? columns : rows * columns, 10 + i);
      ptrs.push_back(operands[i].data());
    }
    ptrs.push_back(y.data());
  }

  /// Largest difference to `product` and its epilogue over the largest value.
  double compare(const std::vector<double> &product) const {
    double difference = 0, scale = 1e-30;
    for (size_t i = 0; i < product.size(); ++i) {
      double v = product[i] + (bias.empty() ? 0 : bias[i % numColumns]);
      for (size_t p = 0; p < posts.size(); ++p) {
        double operand = !posts[p].hasOperand() ? 0
                         : posts[p].alpha       ? operands[p][i % numColumns]
                                                : operands[p][i];
        v = apply(posts[p], v, operand);
      }
      double delta = std::abs(v - y[i]);
      difference = std::isnan(delta) ? INFINITY : std::max(difference, delta);
      scale = std::max(scale, std::abs(v));
    }
    return difference / scale;
  }

private:
  KernelFn kernel;
  const PareStepState &hooks;
  void *state = nullptr;
  std::vector<Post> posts;
  std::vector<float> bias;
  std::vector<std::vector<float>> operands;
  int64_t numColumns = 0;
};

} // namespace pare::test

#endif
