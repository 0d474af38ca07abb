#include "tools/Compare.h"
#include "mlir/IR/Builders.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace pare;
using tools::compare;

namespace {

class CompareTest : public testing::Test {
protected:
  HostTensor tensor(std::vector<float> values) {
    mlir::Builder builder(&context);
    return HostTensor(mlir::RankedTensorType::get({int64_t(values.size())},
                                                  builder.getF32Type()),
                      llvm::ArrayRef(values));
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

} // namespace
