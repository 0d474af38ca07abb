//===- ContentsTest.cpp - Arithmetic on known elements --------------------===//
#include "frontend/onnx/Contents.h"
#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

using namespace mlir;

namespace pare::onnximport {
namespace {

class AlgebraTest : public ::testing::Test {
protected:
  AlgebraTest() {
    symbol_ = graph_.getSymbol("n", 1, 100);
    other_ = graph_.getSymbol("m", 4, 8);
  }
  Element number(int64_t value) {
    return Element::of(graph_.constantDim(value));
  }
  std::optional<nn::Dim> integers(nn::BinaryKind kind, Element a, Element b) {
    Algebra::Result result = algebra_.apply(kind, a, b, i64_);
    return result ? std::optional(result->numerator) : std::nullopt;
  }
  std::optional<int64_t> constants(nn::BinaryKind kind, int64_t a, int64_t b) {
    std::optional<nn::Dim> result = integers(kind, number(a), number(b));
    return result ? nn::getConstant(*result) : std::nullopt;
  }

  MLIRContext context_;
  GraphBuilder graph_{context_, std::make_shared<WeightStore>()};
  Algebra algebra_{graph_};
  Type i64_ = IntegerType::get(&context_, 64);
  Type f32_ = Float32Type::get(&context_);
  nn::Dim symbol_, other_;
};

TEST_F(AlgebraTest, IntegersOverflowIntoNothing) {
  EXPECT_EQ(constants(nn::BinaryKind::add, 2, 3), 5);
  EXPECT_EQ(constants(nn::BinaryKind::add, INT64_MAX, 1), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::sub, INT64_MIN, 1), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::mul, INT64_MAX, 2), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::div, INT64_MIN, -1), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::div, 1, 0), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::mod, 7, 0), std::nullopt);
  EXPECT_EQ(constants(nn::BinaryKind::div, -7, 2), -3);
  EXPECT_EQ(constants(nn::BinaryKind::mod, -7, 3), 2);
}

TEST_F(AlgebraTest, ExactDivisionCancels) {
  Element product = Element::of(symbol_ * 12);
  EXPECT_EQ(integers(nn::BinaryKind::div, product, number(4)), symbol_ * 3);
  EXPECT_EQ(integers(nn::BinaryKind::div, product, Element::of(symbol_)),
            graph_.constantDim(12));
  EXPECT_EQ(integers(nn::BinaryKind::div, Element::of(symbol_), number(2)),
            symbol_.floorDiv(2));
  EXPECT_EQ(
      integers(nn::BinaryKind::div, number(12), Element::of(symbol_ - 50)),
      std::nullopt);
}

TEST_F(AlgebraTest, ComparisonsUseBounds) {
  Element n = Element::of(symbol_), m = Element::of(other_);
  EXPECT_EQ(integers(nn::BinaryKind::equal, n, number(-1)),
            graph_.constantDim(0));
  EXPECT_EQ(integers(nn::BinaryKind::equal, n, n), graph_.constantDim(1));
  EXPECT_EQ(integers(nn::BinaryKind::equal, n, number(5)), std::nullopt);
  EXPECT_EQ(integers(nn::BinaryKind::max, m, number(3)), other_);
  EXPECT_EQ(integers(nn::BinaryKind::min, m, number(3)), graph_.constantDim(3));
  EXPECT_EQ(integers(nn::BinaryKind::min, n, m), std::nullopt);
  EXPECT_EQ(integers(nn::BinaryKind::greater, n, number(0)),
            graph_.constantDim(1));
}

TEST_F(AlgebraTest, FractionsAreExact) {
  // floor((n / 3) * 6) = 2n.
  Element third = *algebra_.apply(nn::BinaryKind::div, Element::of(symbol_),
                                  Element::of(3.0), f32_);
  ASSERT_TRUE(third.denominator);
  Element product =
      *algebra_.apply(nn::BinaryKind::mul, third, Element::of(6.0), f32_);
  EXPECT_EQ(algebra_.apply(nn::UnaryKind::floor, product, f32_)->numerator,
            symbol_ * 2);
  // A scale that is a reciprocal as f32 holds it.
  Element scaled = *algebra_.apply(nn::BinaryKind::mul, Element::of(symbol_),
                                   Element::of(double(1.0f / 14.0f)), f32_);
  EXPECT_EQ(algebra_.cast(scaled, f32_, i64_)->numerator, symbol_.floorDiv(14));
  // A scale that is no fraction is not expressible.
  EXPECT_FALSE(algebra_.apply(nn::BinaryKind::mul, Element::of(symbol_),
                              Element::of(3.14159), f32_));
}

TEST_F(AlgebraTest, NumbersRoundAsTheirTypeDoes) {
  Type f16 = Float16Type::get(&context_);
  EXPECT_EQ(algebra_
                .apply(nn::BinaryKind::add, Element::of(2048.0),
                       Element::of(1.0), f16)
                ->number,
            2048.0);
  EXPECT_EQ(
      algebra_
          .apply(nn::BinaryKind::div, Element::of(1.0), Element::of(3.0), f32_)
          ->number,
      double(1.0f / 3.0f));
}

TEST_F(AlgebraTest, CastsThatWouldWrap) {
  Type i8 = IntegerType::get(&context_, 8);
  EXPECT_TRUE(algebra_.cast(number(-128), i64_, i8));
  EXPECT_FALSE(algebra_.cast(number(128), i64_, i8));
  EXPECT_FALSE(algebra_.cast(Element::of(1e300), f32_, i64_));
  EXPECT_EQ(algebra_.cast(Element::of(-2.7), f32_, i64_)->numerator,
            graph_.constantDim(-2));
}

TEST_F(AlgebraTest, RangesAndConstraints) {
  EXPECT_EQ(graph_.getRange(symbol_ * 3 - 1),
            (std::pair<int64_t, int64_t>{2, 299}));
  EXPECT_EQ(graph_.getRange((symbol_ - 1).floorDiv(2)),
            (std::pair<int64_t, int64_t>{0, 49}));
  EXPECT_TRUE(graph_.constrain(other_, 0, 10));
  // Given bounds stay.
  EXPECT_FALSE(graph_.constrain(other_, 5, 10));
  nn::Dim open = graph_.getSymbol("k", 0, 0);
  graph_.setDefaultBounds(2, 1, 64);
  EXPECT_TRUE(graph_.constrain((open + 1).floorDiv(2), 2, 4));
  EXPECT_EQ(graph_.getRange(open), (std::pair<int64_t, int64_t>{3, 8}));
  EXPECT_FALSE(graph_.constrain(open, 20, 30));
}

} // namespace
} // namespace pare::onnximport
