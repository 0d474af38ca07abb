#include "tools/Compare.h"
#include "mlir/IR/Builders.h"
#include "gtest/gtest.h"
#include <cmath>
#include <numeric>

using namespace pare;
using tools::compare;
using tools::compareInAnyLayout;

namespace {

class CompareTest : public testing::Test {
protected:
  HostTensor tensor(std::vector<float> values) {
    return tensor({int64_t(values.size())}, values);
  }
  HostTensor tensor(llvm::ArrayRef<int64_t> shape, std::vector<float> values) {
    mlir::Builder builder(&context);
    return HostTensor(mlir::RankedTensorType::get(shape, builder.getF32Type()),
                      llvm::ArrayRef(values));
  }
  /// 0, 1, 2, …
  HostTensor count(llvm::ArrayRef<int64_t> shape) {
    std::vector<float> values;
    for (int64_t size : shape)
      values.resize(std::max<size_t>(1, values.size()) * size);
    std::iota(values.begin(), values.end(), 0.0f);
    return tensor(shape, values);
  }
  mlir::MLIRContext context;
};

TEST_F(CompareTest, EqualTensorsHaveNoError) {
  tools::Difference d = compare(tensor({1, -2, 3}), tensor({1, -2, 3}));
  EXPECT_DOUBLE_EQ(d.cosine, 1);
  EXPECT_EQ(d.maxError, 0);
  EXPECT_EQ(d.rmsError, 0);
}

TEST_F(CompareTest, ErrorsAreRelativeToTheReference) {
  tools::Difference d = compare(tensor({3, 0}), tensor({0, 4}));
  EXPECT_DOUBLE_EQ(d.cosine, 0);
  EXPECT_DOUBLE_EQ(d.maxError, 1);       // max(3, 4) / 4
  EXPECT_DOUBLE_EQ(d.rmsError, 5.0 / 4); // |(3, -4)| / |(0, 4)|
}

TEST_F(CompareTest, ZerosAgreeWithZerosOnly) {
  EXPECT_EQ(compare(tensor({0, 0}), tensor({0, 0})).rmsError, 0);
  EXPECT_EQ(compare(tensor({0, 0}), tensor({0, 0})).cosine, 1);
  tools::Difference d = compare(tensor({1, 0}), tensor({0, 0}));
  EXPECT_TRUE(std::isinf(d.rmsError));
  EXPECT_EQ(d.cosine, 0);
}

TEST_F(CompareTest, CountsElementsThatAreFiniteOnOneSideOnly) {
  float inf = INFINITY, nan = NAN;
  tools::Difference d =
      compare(tensor({inf, nan, nan, 1}), tensor({inf, nan, 2, -inf}));
  EXPECT_EQ(d.nonFinite, 2u);
}

TEST_F(CompareTest, LayoutsAreSeenThrough) {
  // [1, 2, 3]: channels last of [1, 3, 2], and the other way round.
  HostTensor last = tensor({1, 3, 2}, {0, 3, 1, 4, 2, 5});
  auto forward = compareInAnyLayout(last, count({1, 2, 3}));
  auto back = compareInAnyLayout(count({1, 2, 3}), last);
  ASSERT_TRUE(forward && back);
  EXPECT_EQ(forward->rmsError, 0);
  EXPECT_EQ(back->rmsError, 0);
  // [batch, heads, sequence, size] with as many heads as steps.
  auto heads = compareInAnyLayout(
      tensor({1, 2, 2, 2}, {0, 1, 4, 5, 2, 3, 6, 7}), count({1, 2, 2, 2}));
  ASSERT_TRUE(heads);
  EXPECT_EQ(heads->rmsError, 0);
}

TEST_F(CompareTest, OtherElementsAreNoLayout) {
  EXPECT_FALSE(compareInAnyLayout(count({6}), count({2, 3})));
  EXPECT_FALSE(compareInAnyLayout(count({2, 3, 4}), count({3, 2, 4})));
  EXPECT_FALSE(compareInAnyLayout(count({2, 3}), count({3, 2})));
  auto scaled = compareInAnyLayout(tensor({2, 1, 2}, {0, 2, 4, 6}),
                                   tensor({2, 1, 2}, {0, 1, 2, 3}));
  ASSERT_TRUE(scaled);
  EXPECT_DOUBLE_EQ(scaled->rmsError, 1);
}

} // namespace
