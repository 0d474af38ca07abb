//===- AllocateTest.cpp - Formats that fit a budget -----------------------===//
#include "passes/quantize/Allocate.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace pare;

namespace {

using Items = std::vector<std::vector<StorageChoice>>;

struct Total {
  uint64_t bytes = 0;
  double cost = 0;
};

Total sum(const Items &items, llvm::ArrayRef<unsigned> chosen) {
  Total total;
  for (auto [choices, choice] : llvm::zip_equal(items, chosen)) {
    total.bytes += choices[choice].bytes;
    total.cost += choices[choice].cost;
  }
  return total;
}

/// All ways to choose.
std::vector<Total> enumerate(const Items &items) {
  std::vector<Total> totals = {{}};
  for (const auto &choices : items) {
    std::vector<Total> longer;
    for (Total total : totals)
      for (StorageChoice choice : choices)
        longer.push_back(
            {total.bytes + choice.bytes, total.cost + choice.cost});
    totals = std::move(longer);
  }
  return totals;
}

Items makeItems(unsigned seed) {
  std::mt19937 generator(seed);
  Items items(5);
  for (auto &choices : items) {
    uint64_t size = 20 + generator() % 60;
    double weight = 1 + double(generator() % 1000);
    for (unsigned bits = 2; bits <= 6; ++bits)
      choices.push_back(
          {size * bits, weight * std::pow(0.25, bits) *
                            (1 + double(generator() % 100) / 300)});
  }
  return items;
}

TEST(Allocate, IsNearTheBestThatFits) {
  double worst = 1;
  for (unsigned seed = 0; seed < 40; ++seed) {
    Items items = makeItems(seed);
    std::vector<Total> all = enumerate(items);
    uint64_t least = std::numeric_limits<uint64_t>::max(), most = 0;
    for (Total total : all) {
      least = std::min(least, total.bytes);
      most = std::max(most, total.bytes);
    }
    for (int i = 0; i <= 8; ++i) {
      uint64_t budget = least + (most - least) * i / 8;
      auto chosen = allocateBytes(items, budget);
      ASSERT_TRUE(chosen);
      Total total = sum(items, *chosen);
      EXPECT_LE(total.bytes, budget);
      double best = std::numeric_limits<double>::infinity();
      for (Total other : all)
        if (other.bytes <= budget)
          best = std::min(best, other.cost);
      worst = std::max(worst, total.cost / best);
    }
    EXPECT_FALSE(allocateBytes(items, least - 1));
  }
  EXPECT_LT(worst, 2.0);
}

TEST(Allocate, ACostIsKept) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Items items = makeItems(seed);
    std::vector<Total> all = enumerate(items);
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (Total total : all) {
      least = std::min(least, total.cost);
      most = std::max(most, total.cost);
    }
    for (double budget :
         {least * 1.0001, least * 2, (least + most) / 4, most}) {
      auto chosen = allocateCost(items, budget);
      ASSERT_TRUE(chosen);
      Total total = sum(items, *chosen);
      EXPECT_LE(total.cost, budget);
      uint64_t best = std::numeric_limits<uint64_t>::max();
      for (Total other : all)
        if (other.cost <= budget)
          best = std::min(best, other.bytes);
      EXPECT_LE(double(total.bytes), 1.3 * double(best));
    }
    EXPECT_FALSE(allocateCost(items, least * 0.999));
  }
}

TEST(Allocate, AChoiceThatIsLargerAndWorseIsNotTaken) {
  Items items = {{{10, 5}, {20, 6}, {30, 1}}};
  EXPECT_EQ(*allocateBytes(items, 29), std::vector<unsigned>{0});
  EXPECT_EQ(*allocateBytes(items, 30), std::vector<unsigned>{2});
}

} // namespace
