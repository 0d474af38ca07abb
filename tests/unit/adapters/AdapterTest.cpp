//===- AdapterTest.cpp - Patterns and low-rank updates --------------------===//
#include "frontend/adapters/Adapter.h"
#include "frontend/adapters/LowRank.h"
#include "gtest/gtest.h"
#include <cmath>

namespace pare::adapters {
namespace {

bool matches(llvm::StringRef pattern, llvm::StringRef path) {
  llvm::Expected<bool> result = matchesPattern(pattern, path);
  EXPECT_TRUE(bool(result)) << llvm::toString(result.takeError());
  return *result;
}

TEST(Patterns, MatchWhatFollowsADotOrTheWholePath) {
  constexpr llvm::StringLiteral path = "model.layers.12.self_attn.q_proj";
  EXPECT_TRUE(matches("q_proj", path));
  EXPECT_TRUE(matches("self_attn.q_proj", path));
  EXPECT_TRUE(matches("^model.layers.12.self_attn.q_proj", path));
  EXPECT_TRUE(matches(R"(layers\.\d+\.self_attn\.(?:q|k)_proj)", path));
  EXPECT_TRUE(matches(R"(.*\.\w+_proj)", path));
  EXPECT_FALSE(matches("proj", path)); // not after a dot
  EXPECT_FALSE(matches("self_attn", path));
  EXPECT_FALSE(matches(R"(layers\.1\.self_attn\.q_proj)", path));
  EXPECT_FALSE(matches("^self_attn.q_proj", path));
}

TEST(Patterns, RefuseWhatIsNotUnderstood) {
  for (llvm::StringRef pattern : {"(?!q)k_proj", "(q_proj", "[q"}) {
    llvm::Expected<bool> result = matchesPattern(pattern, "q_proj");
    ASSERT_FALSE(bool(result));
    EXPECT_NE(llvm::toString(result.takeError()).find(pattern.str()),
              std::string::npos);
  }
}

// in = 2, out = 3, rank 1 twice.
const std::vector<float> a0{1, 2}, b0{3, 4, 5}, a1{-1, 1}, b1{1, 0, 2};

TEST(LowRank, SumsUpdatesInBothOrientations) {
  LowRank change{.in = 2, .out = 3};
  change.add(a0, b0, 2);
  change.add(a1, b1, 0.5);
  EXPECT_EQ(change.rank, 2);
  std::vector<float> rows(6, 10), columns(6, 10);
  change.merge(rows, Orientation::OutIn);
  change.merge(columns, Orientation::InOut);
  for (int o = 0; o < 3; ++o)
    for (int i = 0; i < 2; ++i) {
      float want = 10 + 2 * b0[o] * a0[i] + 0.5f * b1[o] * a1[i];
      EXPECT_FLOAT_EQ(rows[o * 2 + i], want);
      EXPECT_FLOAT_EQ(columns[i * 3 + o], want);
    }
}

TEST(LowRank, ScalesOutputsToTheirMagnitudes) {
  const std::vector<float> magnitude{1, 2, 3}, weight(6, 1);
  for (Orientation orientation : {Orientation::OutIn, Orientation::InOut}) {
    LowRank change{.in = 2, .out = 3};
    change.addScaled(a0, b0, 1, magnitude, weight, orientation);
    std::vector<float> merged = weight;
    change.merge(merged, orientation);
    bool byRow = orientation == Orientation::OutIn;
    for (int o = 0; o < 3; ++o) {
      float x = merged[byRow ? o * 2 : o],
            y = merged[byRow ? o * 2 + 1 : 3 + o];
      EXPECT_NEAR(std::hypot(x, y), magnitude[o], 1e-5);
      EXPECT_NEAR(y / x, (1 + 2 * b0[o]) / (1 + b0[o]), 1e-5);
    }
  }
}

} // namespace
} // namespace pare::adapters
